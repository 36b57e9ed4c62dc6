//! `wgseg report`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Outcome, print_json};
use crate::gpu::GpuOptions;
use crate::report::console;
use crate::report::experiment::{RESULTS, TABLE_CSV, TABLE_MARKDOWN, write_on};

#[derive(clap::Args)]
pub struct Args {
    /// Folder of `wgseg two-stage` or `wgseg compare`, complete or not
    #[arg(value_name = "RUN")]
    root: PathBuf,
    /// Adapter that predicts the overlays: its number or a part of its name; see `wgseg adapters`
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Print what is in results.json; sentences and paths go to stderr
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    write(&args.root, args.adapter, args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes results and page of what is complete in `root`, and says what came out: on stdout, or with `json`
/// the results there and the rest on stderr.
pub fn write(root: &Path, adapter: Option<String>, json: bool) -> Result<(), Box<dyn std::error::Error>> {
    let written = write_on(root, &GpuOptions { adapter, ..Default::default() })?;
    let line = if json { console::tell } else { console::say };
    written.sentences.iter().for_each(|sentence| line(sentence));
    if let Some(note) = &written.note {
        console::tell(note);
    }
    if let Some(student) = &written.student {
        line(&format!("Use the student: {student}"));
    }
    line(&written.page.display().to_string());
    for name in [RESULTS, TABLE_CSV, TABLE_MARKDOWN] {
        line(&root.join(name).display().to_string());
    }
    if json {
        print_json(&written.results)?;
    }
    Ok(())
}

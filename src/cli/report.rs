//! `wgseg report`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Outcome, say};
use crate::gpu::GpuOptions;
use crate::report::experiment::{RESULTS, TABLE_CSV, TABLE_MARKDOWN, write_on};
use crate::report::{ReportError, console};

#[derive(clap::Args)]
pub struct Args {
    /// Folder of `wgseg two-stage` or `wgseg compare`, complete or not
    #[arg(value_name = "RUN")]
    root: PathBuf,
    /// Adapter that predicts the overlays: its number or a part of its name; see `wgseg adapters`
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
}

pub fn run(args: Args) -> Outcome {
    write(&args.root, args.adapter)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes results and page of what is complete in `root`, and says what came out.
pub fn write(root: &Path, adapter: Option<String>) -> Result<(), ReportError> {
    let written = write_on(root, &GpuOptions { adapter, ..Default::default() })?;
    for sentence in &written.sentences {
        say!("{sentence}");
    }
    if let Some(note) = &written.note {
        console::tell(note);
    }
    say!("{}", written.page.display());
    for name in [RESULTS, TABLE_CSV, TABLE_MARKDOWN] {
        say!("{}", root.join(name).display());
    }
    Ok(())
}

//! `wgseg init`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Outcome, say};
use crate::config::suggest::{self, Suggestion};
use crate::report::words::{count, quoted};
use crate::report::{self, atomic};

#[derive(clap::Args)]
#[command(after_help = "Example:
  wgseg init lungs --out lungs.toml")]
pub struct Args {
    /// Folder with images/ and masks/
    data: PathBuf,
    /// The config to write: must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    report::check_new_file(&args.out)?;
    let Suggestion { text, config } = suggest::of(&args.data)?;
    atomic::write(&args.out, text.as_bytes())?;
    say!(
        "{}: images of {}×{}, {}, batches of {}, {} epochs",
        args.out.display(),
        config.data.size,
        config.data.size,
        count(config.model.in_channels, "channel"),
        config.train.batch_size,
        config.train.epochs
    );
    let word = |path: &std::path::Path| quoted(&path.to_string_lossy());
    say!("next: wgseg train {} --data {} --out RUN", word(&args.out), word(&args.data));
    Ok(ExitCode::SUCCESS)
}

//! `wgseg data phantom` and `wgseg data check`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Outcome, import, print_json, say};
use crate::config::schema::DataConfig;
use crate::data::check;
use crate::data::phantom::{PhantomOptions, write_phantoms};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Generate phantom chest X-rays with pneumothorax masks.
    Phantom(PhantomArgs),
    /// Make a data folder of a set in another form.
    #[command(subcommand)]
    Import(import::Command),
    /// Tell what is in a data folder and what is wrong with it.
    Check(CheckArgs),
}

#[derive(clap::Args)]
pub struct PhantomArgs {
    /// Folder to make
    #[arg(long)]
    out: PathBuf,
    /// Number of images
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// Side in pixels
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// The same seed gives the same images
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(clap::Args)]
pub struct CheckArgs {
    /// Folder with images/ and masks/
    data: PathBuf,
    /// Mask values above this are foreground
    #[arg(long)]
    mask_threshold: Option<f64>,
    /// Split to use instead of split.csv in the folder
    #[arg(long, value_name = "FILE")]
    split_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(command: Command) -> Outcome {
    match command {
        Command::Phantom(args) => {
            let workers = DataConfig::default().workers;
            let options = PhantomOptions { count: args.count, size: args.size, seed: args.seed, workers };
            let summary = write_phantoms(&args.out, &options)?;
            say!("{summary}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Import(command) => import::run(command),
        Command::Check(args) => {
            let config = DataConfig {
                mask_threshold: args.mask_threshold,
                split_file: args.split_file,
                ..DataConfig::default()
            };
            let report = check(&args.data, &config);
            if args.json {
                print_json(&report)?;
            } else {
                say!("{report}");
            }
            Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

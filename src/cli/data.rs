//! `wgseg data phantom`, `wgseg data check` and `wgseg data split`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::{Outcome, import, print_json, say};
use crate::config::schema::DataConfig;
use crate::data::check;
use crate::data::make_split::{SplitOptions, make_split};
use crate::data::patients::PatientPattern;
use crate::data::phantom::{PhantomOptions, write_phantoms};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Generate phantom chest X-rays with pneumothorax masks.
    Phantom(PhantomArgs),
    /// Tell what is in a data folder and what is wrong with it.
    Check(CheckArgs),
    /// Divide a data folder into parts or folds, in a file that is used from then on.
    #[command(after_help = SPLIT_EXAMPLES)]
    Split(SplitArgs),
    /// Make a data folder of a data set in another form.
    #[command(subcommand)]
    Import(import::Command),
}

const SPLIT_EXAMPLES: &str = "\
Examples:
  wgseg data split DIR --stratify                         70 % to train, 15 % to validate, 15 % to test
  wgseg data split DIR --folds 5 --by patient --stratify  each fold validates once, and the next one tests
  wgseg data split DIR --folds 5 --test-fraction 0.2      a part held out tests in every fold
  wgseg data split DIR --folds 5 --patient-pattern '^nih_(\\d{8})'
  wgseg train CONFIG --data DIR --out RUN --set data.fold=2

With folds, the column `split` holds what is true of fold 0.";

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unit {
    Image,
    Patient,
}

#[derive(clap::Args)]
pub struct SplitArgs {
    /// Folder with images/ and masks/
    data: PathBuf,
    /// Folds for cross-validation; without it the images are divided by fractions
    #[arg(long, value_name = "N", conflicts_with = "val_fraction")]
    folds: Option<usize>,
    /// Share for validation; default: 0.15
    #[arg(long, value_name = "SHARE")]
    val_fraction: Option<f64>,
    /// Share for testing; default: 0.15, with --folds 0
    #[arg(long, value_name = "SHARE")]
    test_fraction: Option<f64>,
    /// What stays together; default: patient where patients are known, by the column patient of split.csv or by patients.csv
    #[arg(long, value_enum)]
    by: Option<Unit>,
    /// Regular expression that finds the patient in an id: its first group, or all that it matches
    #[arg(long, value_name = "REGEX")]
    patient_pattern: Option<PatientPattern>,
    /// Give each part its share of empty masks, and of small and large foreground
    #[arg(long)]
    stratify: bool,
    /// The same seed gives the same split
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Mask values above this are foreground
    #[arg(long, value_name = "VALUE")]
    mask_threshold: Option<f64>,
    /// File to write; default: split.csv in the folder
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
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
        Command::Split(args) => {
            let default = SplitOptions::default();
            let without_test = args.folds.map_or(default.test, |_| 0.0);
            let by_pattern = args.patient_pattern.is_some().then_some(true);
            let options = SplitOptions {
                folds: args.folds,
                val: args.val_fraction.unwrap_or(default.val),
                test: args.test_fraction.unwrap_or(without_test),
                by_patient: args.by.map(|unit| unit == Unit::Patient).or(by_pattern),
                pattern: args.patient_pattern,
                stratify: args.stratify,
                seed: args.seed,
                mask_threshold: args.mask_threshold,
                out: args.out,
                force: args.force,
                ..default
            };
            let summary = make_split(&args.data, &options)?;
            if args.json {
                print_json(&summary)?;
            } else {
                say!("{summary}");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

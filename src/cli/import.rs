//! `wgseg data import`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Outcome, say};
use crate::config::schema::DataConfig;
use crate::data::import::siim::{SiimOptions, import_siim};

#[derive(clap::Subcommand)]
pub enum Command {
    /// The SIIM-ACR pneumothorax set as downloaded: DICOM files and a table of run-length codes.
    Siim(SiimArgs),
}

#[derive(clap::Args)]
pub struct SiimArgs {
    /// Folder of the DICOM files; folders in it are searched
    #[arg(long, value_name = "DIR")]
    dicom: PathBuf,
    /// Table of image ids and run-length codes, as train-rle.csv
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
    /// Data folder to make: images/, masks/, patients.csv and skipped.csv
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Resize to so many pixels a side; default: the images' own size
    #[arg(long, value_name = "N")]
    size: Option<usize>,
}

pub fn run(command: Command) -> Outcome {
    let Command::Siim(args) = command;
    let workers = DataConfig::default().workers;
    let options = SiimOptions { dicom: args.dicom, csv: args.csv, size: args.size, workers };
    let summary = import_siim(&args.out, &options)?;
    say!("{summary}");
    Ok(ExitCode::SUCCESS)
}

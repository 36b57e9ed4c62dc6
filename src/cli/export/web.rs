//! `wgseg export web`

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::{Outcome, say};
use crate::export::web;
use crate::report::check_free;
use crate::report::console::tell;
use crate::train::model::ModelFile;

#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    /// A checkpoint
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Folder for the page: must be new or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Heading of the page: what the model marks
    #[arg(long, value_name = "TEXT", default_value = "Segment an image")]
    title: String,
}

const AFTER: &str = "\
Open DIR/index.html in a browser with WebGPU, from disk or from any static web server (over a network browsers give WebGPU
to pages from https:// alone), and drop an image on it: PNG, JPEG or DICOM of 8 or 16 bit. The page shows mask,
probability map and overlay with a slider for the threshold, and saves mask and map as PNG. It makes no connection.

Example:
  wgseg export web --model run/best.safetensors --out page --title 'Lung fields'";

pub fn run(args: Args) -> Outcome {
    let model = ModelFile::open(&args.model)?;
    check_free(&args.out)?;
    let written = web::write(&model, &args.title, &args.out)?;
    say!("{}", args.out.join("index.html").display());
    let mebibytes = written.bytes as f64 / f64::from(1 << 20);
    tell(&format!(
        "{} files, {mebibytes:.1} MiB; open index.html in a browser with WebGPU, from disk or from any web server (over a \
         network WebGPU asks for https)",
        written.files
    ));
    Ok(ExitCode::SUCCESS)
}

//! `wgseg export onnx`

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::{Outcome, say};
use crate::onnx;
use crate::train::model::ModelFile;

const ABOUT: &str = "\
The graph takes `images` [batch, channels, size, size], f32 of any scale, standardises each and gives `probabilities` \
and `logits` of the same extents. Its metadata hold threshold, size, wgseg_version, config and val_dice.";

#[derive(clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// A checkpoint
    #[arg(long)]
    model: PathBuf,
    /// The file to write; one of the same name is replaced
    #[arg(long, value_name = "FILE.onnx")]
    out: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    let model = ModelFile::open(&args.model)?;
    let bytes = onnx::write(&model, &args.out)?;
    let (size, opset) = (model.config.data.size, onnx::OPSET);
    say!(
        "{}: opset {opset}, {size} × {size}, threshold {:.2}, {:.1} MB",
        args.out.display(),
        model.info.threshold,
        bytes as f64 / 1e6
    );
    Ok(ExitCode::SUCCESS)
}

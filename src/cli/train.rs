//! `wgseg train`

use std::path::PathBuf;
use std::process::ExitCode;

use super::config_arg::ConfigArg;
use super::interrupt::{INTERRUPTED, Interrupt};
use super::{DeviceArg, Outcome, say};
use crate::gpu::Extra;
use crate::train::checkpoint::BEST;
use crate::train::min_area::MinArea;
use crate::train::single::{TrainOptions, train};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Folder with images/ and masks/
    #[arg(long)]
    data: PathBuf,
    /// Folder for the run: must be new or empty
    #[arg(long)]
    out: PathBuf,
    /// Begin with the weights in this file rather than with random ones: a model of wgseg, or PyTorch's state_dict as
    /// safetensors, with the same names (see docs/pytorch_unet.py); not read with --resume
    #[arg(long, value_name = "FILE.safetensors")]
    weights: Option<PathBuf>,
    /// Go on with an interrupted run in --out
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    adapter: DeviceArg,
}

pub fn run(args: Args) -> Outcome {
    let interrupt = Interrupt::heed()?;
    let config = args.config.load()?;
    let begun = args.resume.then_some(args.out.as_path());
    let gpu = args.adapter.open_for(Extra::None, config.train.precision, begun)?;
    let stop = interrupt.training();
    let options = TrainOptions {
        config: &config,
        data: &args.data,
        out: &args.out,
        weights: args.weights.as_deref(),
        resume: args.resume,
        stop: &stop,
    };
    let summary = train(&gpu, &options)?;
    let out = args.out.display();
    if summary.interrupted {
        crate::report::console::tell(&format!(
            "interrupted after step {}; the same command with --resume goes on from there",
            summary.steps
        ));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    say!(
        "best validation Dice {:.4} in epoch {} at threshold {:.2}: {out}/{BEST}",
        summary.best_dice,
        summary.best_epoch,
        summary.threshold
    );
    if summary.min_area != MinArea::default() {
        say!(
            "evaluate and predict empty masks of less than {} of the image, as that raises the Dice on validation images",
            summary.min_area
        );
    }
    say!("curves and overlays: {out}/report/");
    Ok(ExitCode::SUCCESS)
}

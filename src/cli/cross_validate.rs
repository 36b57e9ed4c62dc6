//! `wgseg cross-validate`

use std::path::PathBuf;
use std::process::ExitCode;

use super::config_arg::ConfigArg;
use super::interrupt::{INTERRUPTED, Interrupt};
use super::{DeviceArg, Outcome, print_json, say};
use crate::gpu::Extra;
use crate::report::console::tell;
use crate::train::TrainError;
use crate::train::cross_validation::{CrossValidationOptions, OverFolds, RESULT, cross_validate};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Folder with images/, masks/ and a split.csv with folds, as `wgseg data split --folds 5` makes it
    #[arg(long)]
    data: PathBuf,
    /// Folder for the runs fold_0, fold_1 and so on: new, empty, or of the same command before, which is then gone on with
    #[arg(long)]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    adapter: DeviceArg,
}

pub fn run(args: Args) -> Outcome {
    let interrupt = Interrupt::heed()?;
    let config = args.config.load()?;
    if let Some(fold) = config.data.fold {
        return Err(TrainError::OneFold { fold }.into());
    }
    let begun = args.out.join("fold_0");
    let begun = begun.is_dir().then_some(begun.as_path());
    let gpu = args.adapter.open_for(Extra::None, config.train.precision, begun)?;
    let stop = interrupt.training();
    let options = CrossValidationOptions { config: &config, data: &args.data, out: &args.out, stop: &stop };
    let Some(result) = cross_validate(&gpu, &options)? else {
        tell("interrupted; the same command goes on from there");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if args.json {
        print_json(&result)?;
        return Ok(ExitCode::SUCCESS);
    }
    say!("fold  images  Dice    positives  IoU     threshold");
    let optional = |x: Option<f64>| x.map_or("–".to_owned(), |x| format!("{x:.4}"));
    for fold in &result.folds {
        let scores = &fold.evaluation;
        let (images, dice, positives) =
            (scores.images.len(), scores.dice.mean, optional(scores.dice.positives_only));
        let (iou, threshold) = (scores.iou.mean, scores.threshold);
        say!("{:<4}  {images:<6}  {dice:.4}  {positives:<9}  {iou:.4}  {threshold:.2}", fold.fold);
    }
    let told = |of: OverFolds| match of.sd {
        Some(sd) => format!("{:.4} ± {sd:.4}", of.mean),
        None => format!("{:.4}", of.mean),
    };
    say!("Dice           {}   (mean and standard deviation over folds)", told(result.dice));
    if let Some(positives) = result.dice_positives_only {
        say!("  positives    {}", told(positives));
    }
    say!("IoU            {}", told(result.iou));
    say!("scores of each image: {}", args.out.join(RESULT).display());
    Ok(ExitCode::SUCCESS)
}

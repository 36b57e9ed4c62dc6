//! `wgseg evaluate`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::mask_rule::{MaskRuleArg, MirrorArg};
use super::{DeviceArg, Outcome, print_json, say};
use crate::data::{Cache, Part, Scoring};
use crate::report::{self, console};
use crate::train::model::ModelFile;
use crate::train::sheet::draw_sheet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Split {
    Train,
    Val,
    Test,
    All,
}

#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint
    #[arg(long)]
    model: PathBuf,
    /// Folder with images/ and masks/
    #[arg(long)]
    data: PathBuf,
    /// Which images
    #[arg(long, value_enum, default_value = "test")]
    split: Split,
    /// Split to use; default: that of the model's run, else split.csv in the data folder, else all
    #[arg(long, value_name = "FILE")]
    split_file: Option<PathBuf>,
    /// Mask values above this are foreground; default: as in training
    #[arg(long, value_name = "VALUE")]
    mask_threshold: Option<f64>,
    #[command(flatten)]
    rule: MaskRuleArg,
    #[command(flatten)]
    mirror: MirrorArg,
    /// Images predicted at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Write a sheet of the best, median and worst images to this PNG
    #[arg(long, value_name = "PNG")]
    sheet: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    adapter: DeviceArg,
}

pub fn run(args: Args) -> Outcome {
    args.sheet.as_deref().map(report::check_place).transpose()?;
    let file = ModelFile::open(&args.model)?;
    let mut data = file.config.data.clone();
    data.split_file = args.split_file;
    data.mask_threshold = args.mask_threshold.or(data.mask_threshold);
    let part = match args.split {
        Split::Train => Some(Part::Train),
        Split::Val => Some(Part::Val),
        Split::Test => Some(Part::Test),
        Split::All => None,
    };
    let of_run = args.model.with_file_name("split.csv");
    let scoring = Scoring::select(&args.data, &data, part, of_run.is_file().then_some(of_run.as_path()))?;
    console::tell(&format!("scoring {}", scoring.note));
    let cache = Cache::of_items(&scoring.items, file.config.model.in_channels, &data)?;
    let rule = args.rule.or_of(&file.info);
    let mirrored = args.mirror.of(&file);

    let gpu = args.adapter.open()?;
    let mut model = file.load(&gpu, usize::from(args.batch).min(cache.len()))?.mirrored(mirrored);
    let predicted = model.evaluate(&cache, rule)?;
    if let Some(sheet) = &args.sheet {
        draw_sheet(&cache, &predicted, sheet)?;
    }
    let evaluation = predicted.evaluation;
    if args.json {
        print_json(&evaluation)?;
        return Ok(ExitCode::SUCCESS);
    }
    let optional = |x: Option<f64>| x.map_or("–".to_owned(), |x| format!("{x:.4}"));
    let mirrors = if mirrored { ", with mirror images" } else { "" };
    say!("{} images at {} pixels, {rule}{mirrors}", evaluation.images.len(), cache.size());
    say!("Dice           {:.4}", evaluation.dice.mean);
    say!("  positives    {}", optional(evaluation.dice.positives_only));
    say!("IoU            {:.4}", evaluation.iou.mean);
    say!("precision      {}", optional(evaluation.precision));
    say!("recall         {}", optional(evaluation.recall));
    Ok(ExitCode::SUCCESS)
}

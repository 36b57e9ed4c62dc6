//! `wgseg evaluate`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use super::{AdapterArg, Outcome, print_json, say};
use crate::config::Config;
use crate::data::{Cache, DataError, Dataset, Part};
use crate::gpu::States;
use crate::train::TrainError;
use crate::train::checkpoint::{Checkpoint, CheckpointInfo};
use crate::train::predictor::{Predictor, load_weights};
use crate::train::trainer::write_sheet;
use crate::train::validation;

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
    /// Split to use instead of that of the run or the data folder
    #[arg(long, value_name = "FILE")]
    split_file: Option<PathBuf>,
    /// Probability above which a pixel is foreground; default: the one chosen on validation data
    #[arg(long)]
    threshold: Option<f64>,
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
    adapter: AdapterArg,
}

pub fn run(args: Args) -> Outcome {
    let checkpoint = Checkpoint::open(&args.model)?;
    let info: CheckpointInfo = checkpoint.info()?;
    let config = model_config(&args.model, &info)?;
    let dataset = open_dataset(&args, &config)?;
    let indices = match args.split {
        Split::Train => dataset.part(Part::Train),
        Split::Val => dataset.part(Part::Val),
        Split::Test => dataset.part(Part::Test),
        Split::All => (0..dataset.items().len()).collect(),
    };
    let items = indices.iter().map(|i| &dataset.items()[*i]);
    let cache = Cache::of_items(items, config.model.in_channels, &config.data)?;

    let gpu = args.adapter.open()?;
    let mut states = States::new();
    let mut predictor = Predictor::new(&gpu, &config, config.data.size);
    let batch = usize::from(args.batch).min(cache.len());
    predictor.prepare(batch, &mut states)?;
    load_weights(&gpu, &states, &config, &checkpoint)?;
    let threshold = args.threshold.unwrap_or(info.threshold);
    let evaluation = validation::evaluate(&mut predictor, &mut states, &cache, batch, threshold)?;
    if let Some(sheet) = &args.sheet {
        write_sheet(&mut predictor, &mut states, &cache, batch, threshold, sheet)?;
    }
    if args.json {
        print_json(&evaluation)?;
        return Ok(ExitCode::SUCCESS);
    }
    let optional = |x: Option<f64>| x.map_or("–".to_owned(), |x| format!("{x:.4}"));
    say!("{} images at {} pixels, threshold {threshold:.2}", evaluation.images.len(), config.data.size);
    say!("Dice           {:.4}", evaluation.dice.mean);
    say!("  positives    {}", optional(evaluation.dice.positives_only));
    say!("IoU            {:.4}", evaluation.iou.mean);
    say!("precision      {}", optional(evaluation.precision));
    say!("recall         {}", optional(evaluation.recall));
    Ok(ExitCode::SUCCESS)
}

/// The config of the run that a checkpoint lies in, or the defaults, with the checkpoint's model.
pub(super) fn model_config(model: &Path, info: &CheckpointInfo) -> Result<Config, TrainError> {
    let beside = model.with_file_name("config.toml");
    let mut config = if beside.is_file() { Config::load(&beside, &[])? } else { Config::default() };
    config.model = info.model.clone();
    config.data.size = info.size;
    Ok(config)
}

/// Opens the data with the split that the run used, where that split fits the data: a test on the
/// images that a model was trained on would be worth nothing.
fn open_dataset(args: &Args, config: &Config) -> Result<Dataset, DataError> {
    let mut data = config.data.clone();
    data.split_file = args.split_file.clone();
    let of_run = args.model.with_file_name("split.csv");
    if data.split_file.is_none() && of_run.is_file() {
        data.split_file = Some(of_run);
        if let Ok(dataset) = Dataset::open(&args.data, &data) {
            return Ok(dataset);
        }
        eprintln!("the split of the run does not fit {}; using the data folder's own", args.data.display());
        data.split_file = None;
    }
    Dataset::open(&args.data, &data)
}

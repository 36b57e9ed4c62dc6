//! `wgseg evaluate`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::{AdapterArg, Outcome, print_json, say};
use crate::config::Config;
use crate::data::{Cache, DataError, Dataset, Part, Problem};
use crate::train::model::ModelFile;
use crate::train::sheet::draw_sheet;
use crate::train::threshold::Threshold;

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
    #[arg(long, allow_negative_numbers = true)]
    threshold: Option<Threshold>,
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
    let file = ModelFile::open(&args.model)?;
    let config = &file.config;
    let dataset = open_dataset(&args, config)?;
    let indices = match args.split {
        Split::Train => dataset.part(Part::Train),
        Split::Val => dataset.part(Part::Val),
        Split::Test => dataset.part(Part::Test),
        Split::All => (0..dataset.items().len()).collect(),
    };
    let items = indices.iter().map(|i| &dataset.items()[*i]);
    let cache = Cache::of_items(items, config.model.in_channels, &config.data)?;
    let threshold = args.threshold.unwrap_or(file.info.threshold);

    let gpu = args.adapter.open()?;
    let mut model = file.load(&gpu, usize::from(args.batch).min(cache.len()))?;
    let predicted = model.evaluate(&cache, threshold)?;
    if let Some(sheet) = &args.sheet {
        draw_sheet(&cache, &predicted, sheet)?;
    }
    let evaluation = predicted.evaluation;
    if args.json {
        print_json(&evaluation)?;
        return Ok(ExitCode::SUCCESS);
    }
    let optional = |x: Option<f64>| x.map_or("–".to_owned(), |x| format!("{x:.4}"));
    say!("{} images at {} pixels, threshold {threshold:.2}", evaluation.images.len(), cache.size());
    say!("Dice           {:.4}", evaluation.dice.mean);
    say!("  positives    {}", optional(evaluation.dice.positives_only));
    say!("IoU            {:.4}", evaluation.iou.mean);
    say!("precision      {}", optional(evaluation.precision));
    say!("recall         {}", optional(evaluation.recall));
    Ok(ExitCode::SUCCESS)
}

/// Opens the data with the split that the run used: a test on the images that a model was trained
/// on would be worth nothing. Only data that has none of the run's images takes its own split.
fn open_dataset(args: &Args, config: &Config) -> Result<Dataset, DataError> {
    let mut data = config.data.clone();
    data.split_file = args.split_file.clone();
    let of_run = args.model.with_file_name("split.csv");
    if data.split_file.is_none() && of_run.is_file() {
        data.split_file = Some(of_run);
        match Dataset::open(&args.data, &data) {
            Err(DataError { problem: Problem::SplitNamesMissing { total, rows, .. }, .. })
                if total == rows =>
            {
                eprintln!("these are other images than those of the run: they are split by themselves");
                data.split_file = None;
            }
            result => return result,
        }
    }
    Dataset::open(&args.data, &data)
}

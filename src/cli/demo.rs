//! `wgseg demo`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::interrupt::{INTERRUPTED, Interrupt};
use super::{DeviceArg, Outcome, say};
use crate::config::Config;
use crate::data::phantom::{PhantomOptions, write_phantoms};
use crate::data::{Cache, Dataset, Part};
use crate::gpu::Extra;
use crate::train::checkpoint::BEST;
use crate::train::model::ModelFile;
use crate::train::sheet::draw_sheet;
use crate::train::single::{TrainOptions, train};

/// Enough for a model that finds most of the air on images it has not seen.
const IMAGES: usize = 240;

#[derive(clap::Args)]
pub struct Args {
    /// Folder for data and run: must be new or empty
    #[arg(long, default_value = "wgseg-demo")]
    out: PathBuf,
    /// Set a key of the demo's config, as in --set train.epochs=5; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    adapter: DeviceArg,
}

pub fn run(args: Args) -> Outcome {
    let interrupt = Interrupt::heed()?;
    let config = Config::load(Path::new("phantom"), &args.set)?;
    crate::report::check_free(&args.out)?;
    let gpu = args.adapter.open_for(Extra::None, config.train.precision, None)?;
    let (data, run) = (args.out.join("data"), args.out.join("run"));
    let options = PhantomOptions { count: IMAGES, size: 128, seed: 1, workers: config.data.workers };
    crate::report::console::tell(&format!("{}", write_phantoms(&data, &options)?));
    let stop = interrupt.training();
    let options =
        TrainOptions { config: &config, data: &data, out: &run, weights: None, resume: false, stop: &stop };
    if train(&gpu, &options)?.interrupted {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    interrupt.trained();

    let file = ModelFile::open(&run.join(BEST))?;
    let rule = file.info.rule();
    let dataset = Dataset::open(&data, &config.data)?;
    let indices = dataset.part(Part::Test);
    let items = indices.iter().map(|i| &dataset.items()[*i]);
    let cache = Cache::of_items(items, config.model.in_channels, &config.data)?;
    let mut model = file.load(&gpu, config.train.batch_size.min(cache.len()))?;
    let predicted = model.evaluate(&cache, rule)?;
    let sheet = run.join("report").join("test.png");
    draw_sheet(&cache, &predicted, &sheet)?;
    let dice = &predicted.evaluation.dice;
    say!(
        "Dice on {} held-out images: {:.4}; on those with a pneumothorax: {}",
        cache.len(),
        dice.mean,
        dice.positives_only.map_or("none".to_owned(), |d| format!("{d:.4}"))
    );
    say!("overlays: {}", sheet.display());
    say!("curves:   {}", run.join("report").join("curves.png").display());
    Ok(ExitCode::SUCCESS)
}

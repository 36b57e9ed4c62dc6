//! `wgseg train`: segmentation alone, from a data folder into a run folder.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::TrainError;
use super::branch::Target;
use super::checkpoint::{BEST, Checkpoint};
use super::predictor::check_weights;
use super::resume::{STATE, check_resumable};
use super::setup::{Mixing, Setup, Start};
use super::sheet::{COLUMNS, write_sheet};
use super::trainer::{TrainSummary, Trainer};
use super::watch::Console;
use crate::config::Config;
use crate::data::fingerprint::{Changed, FILE, Fingerprints};
use crate::data::{Cache, Dataset, Item, Part};
use crate::gpu::Gpu;
use crate::report;
use crate::report::console::tell;
use crate::tune::place::COPY;

/// What to train, on what, into where.
pub struct TrainOptions<'a> {
    pub config: &'a Config,
    pub data: &'a Path,
    pub out: &'a Path,
    /// A safetensors file that the weights begin as; else they are drawn.
    pub weights: Option<&'a Path>,
    /// Go on with the run in `out`.
    pub resume: bool,
    /// Set from outside to stop after the current step.
    pub stop: &'a AtomicBool,
}

/// Trains by `options`. The run folder is made only when the data is read and the program fits.
pub fn train(gpu: &Arc<Gpu>, options: &TrainOptions) -> Result<TrainSummary, TrainError> {
    let config = options.config;
    if options.resume {
        // Said before the images are read, which may take long.
        check_resumable(options.out, config)?;
    } else {
        if options.out.join(STATE).is_file() {
            return Err(TrainError::RunExists { path: options.out.to_owned() });
        }
        report::check_free(options.out)?;
    }
    // A run that goes on has its weights.
    let start = match options.weights {
        Some(weights) if !options.resume => {
            check_weights(config, &Checkpoint::open(weights)?)?;
            Start::From { checkpoint: weights.to_owned(), frozen_steps: 0 }
        }
        _ => Start::Scratch,
    };
    let (dataset, labelled) = open_data(options.data, config, options.resume.then_some(options.out))?;
    let cache = |indices: &[usize]| {
        let items = indices.iter().map(|i| &dataset.items()[*i]);
        Cache::of_items(items, config.model.in_channels, &config.data)
    };
    let mut used = labelled.clone();
    used.extend(dataset.part(Part::Val));
    let used: Vec<&Item> = used.iter().map(|i| &dataset.items()[*i]).collect();
    let files = Fingerprints::of(&used, config.data.workers)?;
    if options.resume {
        check_files(&options.out.join(FILE), &files)?;
    }
    let train_images = Arc::new(cache(&labelled)?);
    let val_images = Arc::new(cache(&dataset.part(Part::Val))?);
    train_images.require_foreground(Part::Train, &config.data)?;
    val_images.require_foreground(Part::Val, &config.data)?;
    for (part, images) in [("training", &train_images), ("validation", &val_images)] {
        images.thin_note(part).iter().for_each(|note| tell(note));
    }

    let shown: Vec<usize> = shown(&val_images).iter().map(|i| dataset.part(Part::Val)[*i]).collect();
    let mut progress = Console::default();
    let setup = Setup {
        config,
        rate_key: "train.learning_rate",
        branches: vec![Arc::new(Target::new(config, &train_images)?)],
        mixing: Mixing::Sum(vec![1.0]),
        val: Some(Arc::clone(&val_images)),
        shown: Some(cache(&shown)?),
        probes: &|_, _| Ok(vec![]),
        start,
        teach: None,
        steps_per_epoch: steps_per_epoch(config, train_images.len()),
        out: options.out,
        resume: options.resume,
        stop: options.stop,
        watch: &mut progress,
    };
    let mut trainer = Trainer::new(gpu, setup)?;
    if !options.resume {
        dataset.write_split(&options.out.join("split.csv"))?;
        files.write(&options.out.join(FILE))?;
        if let Some(table) = gpu.tuning() {
            table.write(&options.out.join(COPY))?;
        }
    }
    let (steps, program) = (trainer.total_steps(), trainer.program());
    tell(&format!(
        "{} labelled and {} validation images, {steps} steps of {}; a step takes {:.1} GFLOP and {:.1} MiB",
        train_images.len(),
        val_images.len(),
        config.train.batch_size,
        program.flops() as f64 / 1e9,
        program.peak_bytes() as f64 / f64::from(1 << 20),
    ));
    let summary = trainer.run()?;
    if !summary.interrupted {
        write_report(&mut trainer, config, &val_images, options.out, &summary)?;
    }
    Ok(summary)
}

/// Checks that what was written to `path` when a run was begun is of the files that there are `now`.
pub(super) fn check_files(path: &Path, now: &Fingerprints) -> Result<(), TrainError> {
    match Fingerprints::read(path)?.and_then(|begun| begun.changed(now)) {
        None => Ok(()),
        Some(Changed { id, what, images }) => {
            Err(TrainError::OtherFiles { path: path.to_owned(), id, what, images })
        }
    }
}

/// The images that `config` trains on, and which of them are labelled. A run that was `begun` in that folder keeps its split,
/// and is refused where `data` holds other images since.
pub(super) fn open_data(
    data: &Path,
    config: &Config,
    begun: Option<&Path>,
) -> Result<(Dataset, Vec<usize>), TrainError> {
    let mut options = config.data.clone();
    if let Some(run) = begun {
        options.split_file = Some(run.join("split.csv"));
        // It has the parts of the fold already.
        options.fold = None;
    }
    let mut dataset = Dataset::open(data, &options)?;
    let labelled = dataset.labelled(config.train.labelled, config.data.seed)?;
    dataset.keep_labelled(&labelled);
    Ok((dataset, labelled))
}

/// Positions of images to show while a model trains: of those with foreground, from all over.
fn shown(images: &Cache) -> Vec<usize> {
    let positives: Vec<usize> = (0..images.len()).filter(|i| images.mask(*i).contains(&1)).collect();
    let count = COLUMNS.min(positives.len());
    (0..count).map(|i| positives[i * positives.len() / count]).collect()
}

/// Steps in an epoch of `labelled` images.
pub fn steps_per_epoch(config: &Config, labelled: usize) -> usize {
    config.train.steps_per_epoch.unwrap_or_else(|| labelled.div_ceil(config.train.batch_size)).max(1)
}

/// Curves, and overlays of the best checkpoint on the validation images.
fn write_report(
    trainer: &mut Trainer,
    config: &Config,
    val_images: &Cache,
    out: &Path,
    summary: &TrainSummary,
) -> Result<(), TrainError> {
    let pictures = out.join("report");
    report::make_folder(&pictures)?;
    let history = report::History::read(&out.join(report::JSONL))?;
    report::write_curves(&pictures.join("curves.png"), &history)?;
    let (predictor, states) = trainer.load(&out.join(BEST))?;
    let path = pictures.join("validation.png");
    write_sheet(predictor, states, val_images, config.train.batch_size, summary.threshold, &path)
}

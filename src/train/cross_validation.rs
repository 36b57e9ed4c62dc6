//! The same training on each fold of a split, and what the models score on images that they did not see.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::checkpoint::BEST;
use super::metrics::Evaluation;
use super::model::ModelFile;
use super::resume::{STATE, check_config};
use super::single::{TrainOptions, check_files, open_data, train};
use crate::config::Config;
use crate::data::fingerprint::{FILE, Fingerprints};
use crate::data::split::count_folds;
use crate::data::{Cache, Dataset, Item, Part, Scoring};
use crate::gpu::Gpu;
use crate::method::assess::TEMPORARY;
use crate::report::console::tell;
use crate::report::experiment::statistics;
use crate::report::metrics_log::CSV;
use crate::report::run_folder::{lock, write_json};
use crate::report::words::{self, duration};
use crate::report::{EVENTS, JSONL, ReportError, check_free};
use crate::tune::place::COPY;

/// The result, in the folder of the whole.
pub const RESULT: &str = "cross_validation.json";
/// The scores of a fold's test images, in the fold's folder. Written last, so a fold that has it is done.
const SCORES: &str = "test.json";
/// What a run folder may hold before its state is first saved.
const BEFORE_STATE: [&str; 9] =
    [".lock", "config.toml", "run.json", "split.csv", FILE, COPY, CSV, JSONL, EVENTS];

/// What to train, on what, into where.
pub struct CrossValidationOptions<'a> {
    /// `data.fold` is set for each fold in turn, whatever it is.
    pub config: &'a Config,
    pub data: &'a Path,
    /// Gets a run folder `fold_K` for each fold. Folds that are there are gone on with.
    pub out: &'a Path,
    /// Set from outside to stop after the current step.
    pub stop: &'a AtomicBool,
}

/// A fold's model on its test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    pub fold: usize,
    /// Best checkpoint, as a path in the folder of the whole.
    pub model: PathBuf,
    pub evaluation: Evaluation,
}

/// Mean and sample standard deviation over folds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverFolds {
    pub mean: f64,
    /// None of one fold.
    pub sd: Option<f64>,
}

/// All folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrossValidation {
    /// Of each fold's mean Dice.
    pub dice: OverFolds,
    /// Of each fold's mean Dice over images whose mask is not empty; none where a fold has no such image.
    pub dice_positives_only: Option<OverFolds>,
    /// Of each fold's mean IoU.
    pub iou: OverFolds,
    pub folds: Vec<Fold>,
}

/// Trains a model for each fold and scores it on the fold's test images. None when it was stopped from outside: the same
/// call goes on.
///
/// # Errors
/// The split has no folds, or a fold has no image; the folder holds something else, or folds of another config, split or other
/// files; as [`train`].
pub fn cross_validate(
    gpu: &Arc<Gpu>,
    options: &CrossValidationOptions,
) -> Result<Option<CrossValidation>, TrainError> {
    let CrossValidationOptions { data, out, stop, .. } = *options;
    let own = data.join("split.csv");
    let count = count_folds(options.config.data.split_file.as_deref().unwrap_or(&own))?;
    let folders: Vec<PathBuf> = (0..count).map(|fold| out.join(format!("fold_{fold}"))).collect();
    if !folders.iter().any(|folder| folder.is_dir()) {
        check_free(out)?;
    }
    // Test images too: scores of folds that are complete stand beside those to come.
    let dataset = Dataset::open(data, &of_fold(options.config, 0).data)?;
    let used = Part::ALL.into_iter().flat_map(|part| dataset.part(part));
    let used: Vec<&Item> = used.map(|i| &dataset.items()[i]).collect();
    let files = Fingerprints::of(&used, options.config.data.workers)?;
    // What cannot be trained, and what was begun with another config or split, is told before hours of training.
    for (fold, folder) in folders.iter().enumerate() {
        let config = of_fold(options.config, fold);
        let (now, _) = open_data(data, &config, None)?;
        if remove_unbegun(folder)? {
            check_config(folder, &config)?;
            check_files(&folder.join(FILE), &files)?;
            let (begun, _) = open_data(data, &config, Some(folder))?;
            if Part::ALL.iter().any(|part| now.part(*part) != begun.part(*part)) {
                return Err(TrainError::OtherSplit { path: folder.join("split.csv"), fold });
            }
        }
    }
    let (mut folds, started, mut trained) = (vec![], Instant::now(), 0);
    for (fold, folder) in folders.iter().enumerate() {
        let scores = folder.join(SCORES);
        let evaluation = if scores.is_file() {
            read(&scores)?
        } else {
            tell(&format!("fold {fold}, {} of {count}", fold + 1));
            let config = of_fold(options.config, fold);
            let resume = folder.join(STATE).is_file();
            let training = TrainOptions { config: &config, data, out: folder, weights: None, resume, stop };
            if train(gpu, &training)?.interrupted {
                return Ok(None);
            }
            let evaluation = score(gpu, &folder.join(BEST), data)?;
            files.write(&folder.join(FILE))?;
            write_json(&scores, &evaluation)?;
            trained += 1;
            evaluation
        };
        let (mean, images) = (evaluation.dice.mean, evaluation.images.len());
        let left = match folders[fold + 1..].iter().filter(|folder| !folder.join(SCORES).is_file()).count() {
            more if more > 0 && trained > 0 => {
                let seconds = started.elapsed().as_secs_f64() / f64::from(trained) * more as f64;
                format!("; about {} left for {}", duration(seconds), words::count(more, "more fold"))
            }
            _ => String::new(),
        };
        tell(&format!("fold {fold}: Dice {mean:.4} over {images} test images{left}"));
        let model = Path::new(&format!("fold_{fold}")).join(BEST);
        folds.push(Fold { fold, model, evaluation });
    }
    let result = summarise(folds);
    write_json(&out.join(RESULT), &result)?;
    Ok(Some(result))
}

/// Removes what a training left that was killed before it could be gone on with. Whether there is one that can.
fn remove_unbegun(folder: &Path) -> Result<bool, ReportError> {
    let unusable = |source| ReportError::Folder { path: folder.into(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>().map_err(unusable)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(unusable(source)),
    };
    // A file that was being written has a name of its own until it is whole.
    let before_state = |name: &OsStr| {
        BEFORE_STATE.iter().any(|known| name == *known) || name.to_string_lossy().starts_with(TEMPORARY)
    };
    if entries.iter().any(|entry| !before_state(&entry.file_name())) {
        return Ok(true);
    }
    // Another process may just be beginning it.
    let _lock = lock(folder)?;
    std::fs::remove_dir_all(folder).map_err(unusable)?;
    Ok(false)
}

fn of_fold(config: &Config, fold: usize) -> Config {
    let mut config = config.clone();
    config.data.fold = Some(fold);
    config
}

/// Scores a run's best model on the test images of its split.
fn score(gpu: &Arc<Gpu>, model: &Path, data: &Path) -> Result<Evaluation, TrainError> {
    let file = ModelFile::open(model)?;
    let config = &file.config;
    let split = model.with_file_name("split.csv");
    let scoring = Scoring::select(data, &config.data, Some(Part::Test), Some(&split))?;
    let cache = Cache::of_items(&scoring.items, config.model.in_channels, &config.data)?;
    let (batch, threshold) = (config.train.batch_size.min(cache.len()), file.info.threshold);
    Ok(file.load(gpu, batch)?.evaluate(&cache, threshold)?.evaluation)
}

fn read(path: &Path) -> Result<Evaluation, ReportError> {
    let bytes = std::fs::read(path).map_err(|source| ReportError::Read { path: path.into(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ReportError::Read { path: path.into(), source: error.into() })
}

fn summarise(folds: Vec<Fold>) -> CrossValidation {
    let of = |value: fn(&Evaluation) -> f64| over(folds.iter().map(|fold| value(&fold.evaluation)).collect());
    let positives: Option<Vec<f64>> = folds.iter().map(|fold| fold.evaluation.dice.positives_only).collect();
    CrossValidation {
        dice: of(|evaluation| evaluation.dice.mean),
        dice_positives_only: positives.map(over),
        iou: of(|evaluation| evaluation.iou.mean),
        folds,
    }
}

fn over(values: Vec<f64>) -> OverFolds {
    // There is one at least.
    OverFolds { mean: statistics::mean(&values).unwrap_or(f64::NAN), sd: statistics::sd(&values) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::metrics::Evaluator;
    use crate::train::threshold::Threshold;

    /// One image of four pixels, of which `found` of the two that are foreground are predicted.
    fn fold(fold: usize, truth: [f32; 4], found: [f32; 4]) -> Fold {
        let mut evaluator = Evaluator::new(Threshold::default());
        evaluator.add("a", &found, &truth).unwrap();
        Fold { fold, model: PathBuf::new(), evaluation: evaluator.finish().unwrap() }
    }

    /// Dice 1 and 2/3, IoU 1 and 1/2: by hand their means and sample standard deviations are 5/6 and √2/6, 3/4 and √2/4.
    #[test]
    fn means_and_deviations_are_over_folds() {
        let both = [1.0, 1.0, 0.0, 0.0];
        let result = summarise(vec![fold(0, both, both), fold(1, both, [1.0, 0.0, 0.0, 0.0])]);
        let near = |found: OverFolds, mean: f64, sd: f64| {
            assert!((found.mean - mean).abs() < 1e-12 && (found.sd.unwrap() - sd).abs() < 1e-12, "{found:?}");
        };
        near(result.dice, 5.0 / 6.0, 2f64.sqrt() / 6.0);
        near(result.dice_positives_only.unwrap(), 5.0 / 6.0, 2f64.sqrt() / 6.0);
        near(result.iou, 0.75, 2f64.sqrt() / 4.0);
        // An empty mask says nothing of positives, so there is no mean over all folds.
        let empty = [0.0; 4];
        let result = summarise(vec![fold(0, both, both), fold(1, empty, empty)]);
        assert_eq!((result.dice_positives_only, result.dice.mean), (None, 1.0));
    }
}

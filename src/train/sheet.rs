//! A picture of how a model does on a set of images.

use std::collections::BTreeMap;
use std::path::Path;

use super::TrainError;
use super::predictor::Predictor;
use super::validation::{evaluate, predict_all};
use crate::data::Cache;
use crate::gpu::States;
use crate::report;

/// Images a row.
const COLUMNS: usize = 5;

/// Draws the best, median and worst images of `cache` with truth and prediction.
pub fn write_sheet(
    predictor: &mut Predictor,
    states: &mut States,
    cache: &Cache,
    batch: usize,
    threshold: f64,
    path: &Path,
) -> Result<(), TrainError> {
    let batch = batch.min(cache.len());
    let scores = evaluate(predictor, states, cache, batch, threshold)?.images;
    let selection = report::select(&scores, COLUMNS);
    let wanted: Vec<usize> =
        [&selection.best, &selection.median, &selection.worst].into_iter().flatten().copied().collect();
    let mut cases: BTreeMap<usize, report::Case> = BTreeMap::new();
    let size = cache.size();
    predict_all(predictor, states, cache, batch, |position, probabilities, mask| {
        if wanted.contains(&position) {
            let picture = report::picture(cache.image(position), cache.channels(), size as u32, size as u32)?;
            cases.insert(
                position,
                report::Case {
                    id: cache.ids()[position].clone(),
                    dice: scores[position].dice,
                    picture,
                    truth: mask.iter().map(|y| *y > 0.5).collect(),
                    prediction: probabilities.iter().map(|p| f64::from(*p) > threshold).collect(),
                },
            );
        }
        Ok(())
    })?;
    let row = |title: &str, positions: &[usize]| report::Row {
        title: title.to_owned(),
        cases: positions.iter().filter_map(|p| cases.get(p).cloned()).collect(),
    };
    let rows =
        [row("Best", &selection.best), row("Median", &selection.median), row("Worst", &selection.worst)];
    Ok(report::write_sheet(path, &rows)?)
}

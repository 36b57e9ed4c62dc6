//! A picture of how a model does on a set of images.

use std::path::Path;

use image::RgbImage;

use super::TrainError;
use super::predictor::Predictor;
use super::threshold::Threshold;
use super::validation::{Network, Predicted, evaluate};
use crate::data::Cache;
use crate::gpu::States;
use crate::report;

/// Images a row.
pub const COLUMNS: usize = 5;

/// Predicts the images of `cache` and draws the best, median and worst of them.
pub fn write_sheet(
    predictor: &mut Predictor,
    states: &mut States,
    cache: &Cache,
    batch: usize,
    threshold: Threshold,
    path: &Path,
) -> Result<(), TrainError> {
    let batch = batch.min(cache.len());
    let predicted = evaluate(&mut Network { predictor, states, batch }, cache, threshold)?;
    draw_sheet(cache, &predicted, path)
}

/// Draws the best, median and worst images of `cache`, with the truth and with what was predicted
/// of them.
pub fn draw_sheet(cache: &Cache, predicted: &Predicted, path: &Path) -> Result<(), TrainError> {
    let selection = report::select(&predicted.evaluation.images, COLUMNS);
    let row = |title, positions: &[usize]| row(cache, predicted, title, positions);
    let rows = [
        row("Best of the images with a mask", &selection.best)?,
        row("Median of the images with a mask", &selection.median)?,
        row("Worst", &selection.worst)?,
    ];
    Ok(report::write_sheet(path, &rows)?)
}

/// Draws all images of `cache` in one row, with the truth and with what was predicted of them.
pub fn draw_row(cache: &Cache, predicted: &Predicted, title: &str) -> Result<RgbImage, TrainError> {
    let all: Vec<usize> = (0..cache.len()).collect();
    Ok(report::sheet_of(&[row(cache, predicted, title, &all)?])?)
}

fn row(
    cache: &Cache,
    predicted: &Predicted,
    title: &str,
    positions: &[usize],
) -> Result<report::Row, TrainError> {
    let side = cache.size() as u32;
    let case = |position: &usize| -> Result<report::Case, TrainError> {
        Ok(report::Case {
            id: cache.ids()[*position].clone(),
            dice: predicted.evaluation.images[*position].dice,
            picture: report::picture(cache.image(*position), cache.channels(), side, side)?,
            truth: cache.mask(*position).iter().map(|y| *y == 1).collect(),
            prediction: predicted.masks[*position].clone(),
        })
    };
    Ok(report::Row { title: title.to_owned(), cases: positions.iter().map(case).collect::<Result<_, _>>()? })
}

//! A sheet of the best, the median and the worst cases by Dice.

use super::images::write_png;
use super::overlay::{INK, Legend, Overlay, WHITE};
use super::{ReportError, text};
use crate::train::metrics::ImageScore;
use image::{RgbImage, imageops};
use std::path::Path;

const TILE: u32 = 256;
const GAP: u32 = 16;
const TITLE: u32 = 26;
const TITLE_ROOM: u32 = 32;
const LABEL: u32 = 18;
const LABEL_ROOM: u32 = 72;

/// Which images to show, as indices of the scores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Highest Dice first.
    pub best: Vec<usize>,
    /// Around the median, highest Dice first.
    pub median: Vec<usize>,
    /// Lowest Dice first.
    pub worst: Vec<usize>,
}

/// Picks up to `count` images for each of best, median and worst; none twice.
///
/// Images with an empty truth are left out of best and median if there are
/// others: an empty mask found to be empty has a Dice of 1 and shows nothing.
/// They can be among the worst. A Dice that is NaN counts as the lowest.
pub fn select(scores: &[ImageScore], count: usize) -> Selection {
    let dice = |index: &usize| {
        let dice = scores[*index].dice;
        if dice.is_nan() { f64::NEG_INFINITY } else { dice }
    };
    let mut all: Vec<usize> = (0..scores.len()).collect();
    all.sort_by(|a, b| dice(b).total_cmp(&dice(a)));
    let mut shown: Vec<usize> = all.iter().copied().filter(|&index| scores[index].truth_pixels > 0).collect();
    if shown.is_empty() {
        shown.clone_from(&all);
    }
    // With few images the rows share them.
    let per_row = count.min(shown.len().div_ceil(3));
    let best: Vec<usize> = shown.iter().copied().take(per_row).collect();
    let worst: Vec<usize> =
        all.iter().rev().copied().filter(|index| !best.contains(index)).take(per_row).collect();
    let rest: Vec<usize> =
        shown.into_iter().filter(|index| !best.contains(index) && !worst.contains(index)).collect();
    let first = rest.len().saturating_sub(per_row) / 2;
    let median = rest.into_iter().skip(first).take(per_row).collect();
    Selection { best, median, worst }
}

/// A case of the sheet. All of one size, masks row by row.
#[derive(Clone, Debug)]
pub struct Case {
    pub id: String,
    pub dice: f64,
    pub picture: RgbImage,
    pub truth: Vec<bool>,
    pub prediction: Vec<bool>,
}

/// A row of the sheet under its title; rows without cases are left out.
#[derive(Clone, Debug)]
pub struct Row {
    pub title: String,
    pub cases: Vec<Case>,
}

/// Writes the rows as one PNG, as [`sheet_of`] draws them.
///
/// # Errors
/// As [`sheet_of`], or the file cannot be written.
pub fn write_sheet(path: &Path, rows: &[Row]) -> Result<(), ReportError> {
    write_png(path, sheet_of(rows)?)
}

/// Draws the rows: each case with its overlay, its id and its Dice, and a legend at the bottom.
///
/// # Errors
/// No case at all, or a mask with another number of pixels than its picture.
pub fn sheet_of(rows: &[Row]) -> Result<RgbImage, ReportError> {
    let rows: Vec<&Row> = rows.iter().filter(|row| !row.cases.is_empty()).collect();
    let columns = rows.iter().map(|row| row.cases.len()).max().ok_or(ReportError::Nothing)? as u32;
    // Wide enough for the legend in two lines even with a single column.
    let width = (columns * (TILE + GAP) + GAP).max(2 * TILE);
    let row_height = TITLE_ROOM + TILE + LABEL_ROOM;
    let legend = Legend::new(true, width)?;
    let legend_top = GAP + rows.len() as u32 * row_height;
    let mut sheet = RgbImage::from_pixel(width, legend_top + legend.height() + GAP / 2, WHITE);
    for (row, top) in rows.iter().zip((GAP..).step_by(row_height as usize)) {
        text::draw(&mut sheet, (GAP, top), &row.title, TITLE, INK)?;
        for (case, left) in row.cases.iter().zip((GAP..).step_by((TILE + GAP) as usize)) {
            draw_case(&mut sheet, case, left, top + TITLE_ROOM)?;
        }
    }
    legend.draw(&mut sheet, GAP - 10, legend_top)?;
    Ok(sheet)
}

fn draw_case(sheet: &mut RgbImage, case: &Case, left: u32, top: u32) -> Result<(), ReportError> {
    let (width, height) = case.picture.dimensions();
    let longer = width.max(height).max(1);
    // Keeps the shape of images that are not square.
    let side = |side: u32| (side * TILE / longer).max(1);
    let overlay = Overlay { picture: &case.picture, truth: Some(&case.truth), prediction: &case.prediction };
    let tile = overlay.draw(side(width), side(height))?;
    let (x, y) = (left + (TILE - tile.width()) / 2, top + (TILE - tile.height()) / 2);
    imageops::replace(sheet, &tile, i64::from(x), i64::from(y));
    let id = text::fit(&case.id, LABEL, TILE)?;
    text::draw(sheet, (left, top + TILE + 8), &id, LABEL, INK)?;
    text::draw(sheet, (left, top + TILE + 30), &format!("Dice {:.3}", case.dice), LABEL, INK)
}

#[cfg(test)]
mod tests {
    use super::super::overlay::tests::example;
    use super::*;

    fn scores(images: &[(f64, u64)]) -> Vec<ImageScore> {
        let score = |&(dice, truth_pixels): &(f64, u64)| ImageScore {
            id: String::new(),
            dice,
            iou: dice,
            precision: None,
            recall: None,
            truth_pixels,
            predicted_pixels: 0,
        };
        images.iter().map(score).collect()
    }

    #[test]
    fn best_median_and_worst_are_found() {
        let dice = [0.5, 0.9, 0.1, 0.7, 0.3, 0.8, 0.6, 0.2, 0.4];
        let selection = select(&scores(&dice.map(|dice| (dice, 5))), 2);
        assert_eq!(selection, Selection { best: vec![1, 5], median: vec![6, 0], worst: vec![2, 7] });
    }

    #[test]
    fn empty_masks_are_only_among_the_worst() {
        let images = [(1.0, 0), (0.9, 5), (1.0, 0), (0.0, 0), (0.5, 5), (0.4, 5)];
        let selection = select(&scores(&images), 1);
        assert_eq!(selection, Selection { best: vec![1], median: vec![4], worst: vec![3] });
    }

    #[test]
    fn few_or_strange_images_are_shown_once() {
        assert_eq!(select(&[], 3), Selection::default());
        let one = select(&scores(&[(0.5, 5)]), 3);
        assert_eq!(one, Selection { best: vec![0], ..Selection::default() });
        let two = select(&scores(&[(0.5, 5), (0.6, 5)]), 3);
        assert_eq!(two, Selection { best: vec![1], median: vec![], worst: vec![0] });
        let empty = select(&scores(&[(1.0, 0), (0.0, 0), (1.0, 0)]), 1);
        assert_eq!((empty.best, empty.worst), (vec![0], vec![1]));
        let nan = select(&scores(&[(f64::NAN, 5), (0.5, 5), (0.1, 5)]), 1);
        assert_eq!(nan, Selection { best: vec![1], median: vec![2], worst: vec![0] });
    }

    #[test]
    fn a_sheet_is_written_without_empty_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet.png");
        let row = |title: &str, shifts: &[f32]| Row {
            title: title.into(),
            cases: shifts
                .iter()
                .map(|&shift| {
                    let (picture, truth, prediction) = example(64, shift);
                    let id = format!("patient-{:05}", (shift * 1e4) as u32);
                    Case { id, dice: f64::from(1.0 - 2.0 * shift), picture, truth, prediction }
                })
                .collect(),
        };
        let rows = [row("Best", &[0.01, 0.02, 0.03]), row("Median", &[]), row("Worst", &[0.3, 0.2])];
        write_sheet(&path, &rows).unwrap();
        let (width, height) = image::image_dimensions(&path).unwrap();
        assert_eq!(width, 3 * 272 + 16);
        assert!((2 * 346..3 * 346).contains(&height));
        assert!(matches!(write_sheet(&path, &rows[1..2]), Err(ReportError::Nothing)));
    }
}

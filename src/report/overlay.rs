//! A prediction drawn over the image it belongs to.

use super::images::{size, write_png};
use super::{ReportError, text};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use std::path::Path;

pub(super) const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
pub(super) const INK: Rgb<u8> = Rgb([40, 40, 40]);
const TRUTH: Rgb<u8> = Rgb([0, 220, 90]);
const PREDICTION: Rgb<u8> = Rgb([255, 60, 50]);
/// Yellow, which stays apart from red for most people with colour blindness.
const MISSED: Rgb<u8> = Rgb([255, 215, 0]);
/// Share of the colour in filled areas, so that the image shows through.
const ALPHA: f32 = 0.45;
/// Smaller images are enlarged to at least this many pixels along the longer side.
const SMALLEST_SIDE: u32 = 512;

const FONT_SIZE: u32 = 18;
const LINE: u32 = 24;
const MARGIN: u32 = 10;
const SWATCH: u32 = 14;

/// An image with its masks, all of the same size, masks row by row.
#[derive(Clone, Debug)]
pub struct Overlay<'a> {
    pub picture: &'a RgbImage,
    /// None when the truth is not known.
    pub truth: Option<&'a [bool]>,
    pub prediction: &'a [bool],
}

impl Overlay<'_> {
    /// Draws the overlay at `width × height` pixels: outlines of truth and
    /// prediction, missed and falsely found areas filled. Without truth the
    /// whole prediction is filled.
    ///
    /// # Errors
    /// An empty image, or a mask with another number of pixels.
    pub fn draw(&self, width: u32, height: u32) -> Result<RgbImage, ReportError> {
        let (from_width, from_height) = self.picture.dimensions();
        let pixels = from_width as usize * from_height as usize;
        if pixels == 0 || width == 0 || height == 0 {
            return Err(ReportError::Nothing);
        }
        let check = |what, mask: &[bool]| {
            if mask.len() == pixels { Ok(()) } else { Err(size(what, mask.len(), from_width, from_height)) }
        };
        check("the prediction", self.prediction)?;
        self.truth.map_or(Ok(()), |truth| check("the truth", truth))?;

        let mut image = imageops::resize(self.picture, width, height, FilterType::Triangle);
        let scaled = |mask: &[bool]| scale(mask, (from_width, from_height), (width, height));
        let prediction = scaled(self.prediction);
        let truth = self.truth.map(scaled);
        let thickness = (width.max(height) / 256).max(1);
        for (index, pixel) in image.pixels_mut().enumerate() {
            let real = truth.as_ref().map(|truth| truth[index]);
            match (prediction[index], real) {
                (true, Some(false) | None) => blend(pixel, PREDICTION, ALPHA),
                (false, Some(true)) => blend(pixel, MISSED, ALPHA),
                _ => {}
            }
        }
        let size = (width, height);
        let prediction = outline(&prediction, size, thickness);
        let truth = truth.map(|truth| outline(&truth, size, thickness));
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            let index = (y * width + x) as usize;
            // Where both run they take turns, so that neither hides the other.
            let turn = ((x + y) / (6 * thickness)).is_multiple_of(2);
            match (prediction[index], truth.as_ref().is_some_and(|truth| truth[index])) {
                (true, true) => *pixel = if turn { TRUTH } else { PREDICTION },
                (true, false) => *pixel = PREDICTION,
                (false, true) => *pixel = TRUTH,
                (false, false) => {}
            }
        }
        Ok(image)
    }
}

/// Writes an overlay as PNG, small images enlarged, with a legend below.
///
/// # Errors
/// As [`Overlay::draw`], or the file cannot be written.
pub fn write_overlay(path: &Path, overlay: &Overlay) -> Result<(), ReportError> {
    let (width, height) = overlay.picture.dimensions();
    let factor = SMALLEST_SIDE.div_ceil(width.max(height).max(1));
    let tile = overlay.draw(width * factor, height * factor)?;
    let legend = Legend::new(overlay.truth.is_some(), tile.width())?;
    let mut image = RgbImage::from_pixel(tile.width(), tile.height() + legend.height(), WHITE);
    imageops::replace(&mut image, &tile, 0, 0);
    legend.draw(&mut image, 0, tile.height())?;
    write_png(path, image)
}

/// The colours and what they stand for, in as many lines as the width asks for.
pub(super) struct Legend {
    /// Place relative to the legend, and the entry.
    entries: Vec<(u32, u32, Entry)>,
    lines: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    colour: Rgb<u8>,
    filled: bool,
    label: &'static str,
}

impl Legend {
    pub(super) fn new(with_truth: bool, width: u32) -> Result<Legend, ReportError> {
        let outline = |colour, label| Entry { colour, filled: false, label };
        let area = |colour, label| Entry { colour, filled: true, label };
        let entries = if with_truth {
            vec![
                outline(TRUTH, "truth"),
                outline(PREDICTION, "prediction"),
                area(MISSED, "missed (false negative)"),
                area(PREDICTION, "wrongly found (false positive)"),
            ]
        } else {
            vec![area(PREDICTION, "prediction")]
        };
        let mut legend = Legend { entries: Vec::new(), lines: 1 };
        let mut x = MARGIN;
        for entry in entries {
            let room = SWATCH + 6 + text::width(entry.label, FONT_SIZE)? + 18;
            if x + room > width && x > MARGIN {
                legend.lines += 1;
                x = MARGIN;
            }
            legend.entries.push((x, MARGIN + (legend.lines - 1) * LINE, entry));
            x += room;
        }
        Ok(legend)
    }

    pub(super) fn height(&self) -> u32 {
        self.lines * LINE + 2 * MARGIN - (LINE - FONT_SIZE)
    }

    pub(super) fn draw(&self, image: &mut RgbImage, left: u32, top: u32) -> Result<(), ReportError> {
        for &(x, y, entry) in &self.entries {
            let (x, y) = (left + x, top + y);
            for row in 0..SWATCH {
                for column in 0..SWATCH {
                    let edge = [row, column].iter().any(|place| !(2..SWATCH - 2).contains(place));
                    let Some(pixel) = image.get_pixel_mut_checked(x + column, y + row) else { continue };
                    if edge || entry.filled {
                        *pixel = entry.colour;
                    }
                }
            }
            text::draw(image, (x + SWATCH + 6, y), entry.label, FONT_SIZE, INK)?;
        }
        Ok(())
    }
}

/// The mask at another size, by the nearest pixel.
fn scale(mask: &[bool], from: (u32, u32), to: (u32, u32)) -> Vec<bool> {
    let nearest = |place: u32, from: u32, to: u32| {
        ((2 * u64::from(place) + 1) * u64::from(from) / (2 * u64::from(to))) as usize
    };
    let columns: Vec<usize> = (0..to.0).map(|x| nearest(x, from.0, to.0)).collect();
    (0..to.1)
        .flat_map(|y| {
            let row = nearest(y, from.1, to.1) * from.0 as usize;
            columns.iter().map(move |column| mask[row + column])
        })
        .collect()
}

/// The pixels of the mask that lie within `thickness` of its edge. The border
/// of the image counts as an edge, so that outlines are closed.
fn outline(mask: &[bool], (width, height): (u32, u32), thickness: u32) -> Vec<bool> {
    let (width, height) = (i64::from(width), i64::from(height));
    let inside = |x: i64, y: i64| {
        (0..width).contains(&x) && (0..height).contains(&y) && mask[(y * width + x) as usize]
    };
    let reach = i64::from(thickness);
    let surrounded =
        |x: i64, y: i64| (-reach..=reach).all(|dy| (-reach..=reach).all(|dx| inside(x + dx, y + dy)));
    (0..height).flat_map(|y| (0..width).map(move |x| inside(x, y) && !surrounded(x, y))).collect()
}

fn blend(pixel: &mut Rgb<u8>, colour: Rgb<u8>, alpha: f32) {
    for (value, colour) in pixel.0.iter_mut().zip(colour.0) {
        *value = (f32::from(*value) * (1.0 - alpha) + f32::from(colour) * alpha).round() as u8;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A grey ramp of `side` pixels with a disc as truth and a shifted disc as prediction.
    pub(in crate::report) fn example(side: u32, shift: f32) -> (RgbImage, Vec<bool>, Vec<bool>) {
        let picture = RgbImage::from_fn(side, side, |x, y| {
            let level = (60 + 120 * (x + y) / (2 * side)) as u8;
            Rgb([level; 3])
        });
        let disc = |centre: f32| {
            let inside = |index: u32| {
                let (x, y) = ((index % side) as f32, (index / side) as f32);
                let middle = side as f32 / 2.0;
                (x - middle - centre * side as f32).hypot(y - middle) < side as f32 / 4.0
            };
            (0..side * side).map(inside).collect()
        };
        (picture, disc(0.0), disc(shift))
    }

    #[test]
    fn areas_and_outlines_have_their_colours() {
        // One row: background, missed, both, wrongly found; each four pixels wide and high.
        let picture = RgbImage::from_pixel(16, 16, Rgb([100; 3]));
        let mask = |columns: std::ops::Range<usize>| -> Vec<bool> {
            (0..256).map(|index| columns.contains(&(index % 16))).collect()
        };
        let (truth, prediction) = (mask(4..10), mask(7..13));
        let overlay = Overlay { picture: &picture, truth: Some(&truth), prediction: &prediction };
        let image = overlay.draw(16, 16).unwrap();
        let at = |x| *image.get_pixel(x, 8);
        let mut missed = Rgb([100; 3]);
        blend(&mut missed, MISSED, ALPHA);
        let mut wrong = Rgb([100; 3]);
        blend(&mut wrong, PREDICTION, ALPHA);
        assert_eq!(at(0), Rgb([100; 3]));
        assert_eq!((at(4), at(9)), (TRUTH, TRUTH));
        assert_eq!((at(7), at(12)), (PREDICTION, PREDICTION));
        assert_eq!((at(5), at(11)), (missed, wrong));
        assert_eq!(at(8), Rgb([100; 3]));
    }

    #[test]
    fn without_truth_the_prediction_is_filled() {
        let picture = RgbImage::from_pixel(8, 8, Rgb([100; 3]));
        let prediction = vec![true; 64];
        let image = Overlay { picture: &picture, truth: None, prediction: &prediction }.draw(8, 8).unwrap();
        assert_eq!(*image.get_pixel(0, 3), PREDICTION);
        assert!(image.get_pixel(4, 4).0[0] > 100 && image.get_pixel(4, 4).0[2] < 100);
    }

    #[test]
    fn masks_are_scaled_by_the_nearest_pixel() {
        assert_eq!(scale(&[true, false], (2, 1), (4, 2)), [true, true, false, false].repeat(2));
        assert_eq!(scale(&[true, true, false, false], (4, 1), (2, 1)), [true, false]);
    }

    #[test]
    fn masks_of_another_size_are_refused() {
        let picture = RgbImage::new(4, 4);
        let (short, full) = (vec![true; 15], vec![true; 16]);
        let wrong = Overlay { picture: &picture, truth: Some(&full), prediction: &short };
        assert!(wrong.draw(8, 8).unwrap_err().to_string().contains("the prediction has 15 values"));
        let wrong = Overlay { picture: &picture, truth: Some(&short), prediction: &full };
        assert!(wrong.draw(8, 8).unwrap_err().to_string().contains("the truth has 15 values"));
        let empty = Overlay { picture: &RgbImage::new(0, 0), truth: None, prediction: &[] };
        assert!(matches!(empty.draw(8, 8), Err(ReportError::Nothing)));
    }

    #[test]
    fn a_small_image_is_enlarged_and_has_a_legend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overlay.png");
        let (picture, truth, prediction) = example(96, 0.1);
        let overlay = Overlay { picture: &picture, truth: Some(&truth), prediction: &prediction };
        write_overlay(&path, &overlay).unwrap();
        let image = image::open(&path).unwrap();
        assert_eq!(image.width(), 576);
        assert!(image.height() > 576);
    }
}

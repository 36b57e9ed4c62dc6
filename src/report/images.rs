//! Masks and probability maps as PNG files, and pictures from network inputs.

use super::{ReportError, atomic};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, RgbImage};
use std::io::Cursor;
use std::path::Path;

/// Writes a mask of `width × height` pixels, row by row, as 8-bit grey PNG: 255 for true, else 0.
///
/// # Errors
/// A number of pixels that does not fit, or a file that cannot be written.
pub fn write_mask(path: &Path, mask: &[bool], width: u32, height: u32) -> Result<(), ReportError> {
    let pixels = mask.iter().map(|&set| if set { 255 } else { 0 }).collect();
    let image = GrayImage::from_raw(width, height, pixels);
    write_png(path, image.ok_or(size("the mask", mask.len(), width, height))?)
}

/// Writes probabilities of `width × height` pixels, row by row, as 16-bit grey
/// PNG: `round(65535 · p)`, so that a value is off by less than 0.00001.
///
/// # Errors
/// A number of pixels that does not fit, a probability outside 0..=1 or NaN, or
/// a file that cannot be written.
pub fn write_probability_map(
    path: &Path,
    probabilities: &[f32],
    width: u32,
    height: u32,
) -> Result<(), ReportError> {
    if let Some(index) = probabilities.iter().position(|value| !(0.0..=1.0).contains(value)) {
        return Err(ReportError::Probability { index, value: probabilities[index] });
    }
    let pixels = probabilities.iter().map(|value| (value * 65535.0).round() as u16).collect();
    let image = ImageBuffer::<Luma<u16>, Vec<u16>>::from_raw(width, height, pixels);
    write_png(path, image.ok_or(size("the probability map", probabilities.len(), width, height))?)
}

/// Writes an image as PNG.
///
/// # Errors
/// The file cannot be written.
pub fn write_png(path: &Path, image: impl Into<DynamicImage>) -> Result<(), ReportError> {
    let mut bytes = Cursor::new(Vec::new());
    let image: DynamicImage = image.into();
    image.write_to(&mut bytes, ImageFormat::Png).map_err(|error| ReportError::encode(path, error))?;
    atomic::write(path, bytes.get_ref())
}

/// A picture of a network input of shape `height × width × channels`, 1 or 3
/// channels, whatever its scale: the lowest value becomes 0 and the highest 255.
/// Values that are not finite become 0.
///
/// # Errors
/// A number of values that does not fit, or other numbers of channels.
pub fn picture(values: &[f32], channels: usize, width: u32, height: u32) -> Result<RgbImage, ReportError> {
    let pixels = width as usize * height as usize;
    if pixels == 0 || (channels != 1 && channels != 3) || values.len() != channels * pixels {
        return Err(ReportError::Size {
            what: "the image",
            found: values.len(),
            expected: channels.clamp(1, 3) * pixels,
            width,
            height,
        });
    }
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let low = finite().fold(f32::INFINITY, f32::min);
    let high = finite().fold(f32::NEG_INFINITY, f32::max);
    let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
    // The cast takes NaN to 0 and keeps the rest within 0..=255.
    let level = |value: f32| ((value - low) * scale).round() as u8;
    Ok(RgbImage::from_fn(width, height, |x, y| {
        let index = y as usize * width as usize + x as usize;
        let channel = |number: usize| level(values[index * channels + number % channels]);
        image::Rgb([channel(0), channel(1), channel(2)])
    }))
}

pub(super) fn size(what: &'static str, found: usize, width: u32, height: u32) -> ReportError {
    ReportError::Size { what, found, expected: width as usize * height as usize, width, height }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_0_or_255() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        write_mask(&path, &[true, false, false, true, true, false], 3, 2).unwrap();
        let image = image::open(&path).unwrap();
        assert_eq!(image.color(), image::ColorType::L8);
        assert_eq!((image.width(), image.height()), (3, 2));
        assert_eq!(image.into_luma8().into_raw(), [255, 0, 0, 255, 255, 0]);
    }

    #[test]
    fn a_probability_map_keeps_16_bits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.png");
        let values = [0.0, 1.0, 0.123_456, 0.5];
        write_probability_map(&path, &values, 2, 2).unwrap();
        let image = image::open(&path).unwrap();
        assert_eq!(image.color(), image::ColorType::L16);
        for (pixel, value) in image.into_luma16().into_raw().into_iter().zip(values) {
            assert!((f32::from(pixel) / 65535.0 - value).abs() < 1e-5);
        }
    }

    #[test]
    fn bad_pixels_are_refused_and_no_file_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.png");
        let error = write_probability_map(&path, &[0.5, f32::NAN], 2, 1).unwrap_err();
        assert!(matches!(error, ReportError::Probability { index: 1, .. }), "{error}");
        let error = write_mask(&path, &[true; 3], 2, 2).unwrap_err();
        assert!(error.to_string().contains("3 values, expected 4"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_picture_spans_black_to_white() {
        let grey = picture(&[-2.0, 0.0, 2.0, f32::NAN], 1, 4, 1).unwrap();
        assert_eq!(grey.into_raw(), [0, 0, 0, 128, 128, 128, 255, 255, 255, 0, 0, 0]);
        let colour = picture(&[0.0, 1.0, 0.0], 3, 1, 1).unwrap();
        assert_eq!(colour.into_raw(), [0, 255, 0]);
        let flat = picture(&[3.0, 3.0], 1, 2, 1).unwrap();
        assert_eq!(flat.into_raw(), [0; 6]);
        assert!(picture(&[0.0; 4], 2, 2, 1).is_err());
    }
}

//! To the training size and back.
//!
//! Images are resampled with a triangle filter whose width grows with the
//! factor of reduction: bilinear with antialiasing, the same as PyTorch's
//! `interpolate(mode="bilinear", antialias=True, align_corners=False)`. Masks
//! go through the same filter as 0 and 1, and what is above 0.5 is foreground.
//! The shape is not kept: a wide image is squeezed into the square.

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma, Rgb};

use super::decode::{Image, Mask};

/// `image` as `[size, size, channels]`, samples in 0..1.
pub fn resize_image(image: &Image, size: usize) -> Vec<f32> {
    resample(&image.pixels, image.width, image.height, image.channels, size, size)
}

/// `mask` as `[size, size]` of 0 and 1.
pub fn resize_mask(mask: &Mask, size: usize) -> Vec<u8> {
    let soft: Vec<f32> = mask.pixels.iter().map(|&v| f32::from(v)).collect();
    let soft = resample(&soft, mask.width, mask.height, 1, size, size);
    soft.into_iter().map(|v| u8::from(v > 0.5)).collect()
}

/// A map `[size, size]` of values in 0..1 back to `[height, width]`.
///
/// Returns an empty map when `map` does not hold `size`² values.
pub fn resize_back(map: &[f32], size: usize, width: usize, height: usize) -> Vec<f32> {
    resample(map, size, size, 1, width, height)
}

fn resample(
    pixels: &[f32],
    width: usize,
    height: usize,
    channels: usize,
    new_width: usize,
    new_height: usize,
) -> Vec<f32> {
    if (width, height) == (new_width, new_height) {
        return pixels.to_vec();
    }
    let (w, h, nw, nh) = (width as u32, height as u32, new_width as u32, new_height as u32);
    // `from_raw` is none only when the buffer is too short for the size.
    if channels == 1 {
        ImageBuffer::<Luma<f32>, _>::from_raw(w, h, pixels.to_vec())
            .map(|b| resize(&b, nw, nh, FilterType::Triangle).into_raw())
            .unwrap_or_default()
    } else {
        ImageBuffer::<Rgb<f32>, _>::from_raw(w, h, pixels.to_vec())
            .map(|b| resize(&b, nw, nh, FilterType::Triangle).into_raw())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> Image {
        let pixels = (0..width * height).map(|i| (i % width) as f32 / width as f32).collect();
        Image { width, height, channels: 1, pixels }
    }

    #[test]
    fn the_same_size_is_exact() {
        let image = ramp(8, 8);
        assert_eq!(resize_image(&image, 8), image.pixels);
    }

    /// Values from PyTorch: `interpolate(x, (2, 2), mode="bilinear", antialias=True)` of a row 0..3.
    #[test]
    fn halving_weighs_like_pytorch() {
        let row = [0.0, 0.1, 0.2, 0.3];
        let image = Image { width: 4, height: 4, channels: 1, pixels: row.repeat(4) };
        let half = resize_image(&image, 2);
        // Weights 3/7, 3/7, 1/7 of a triangle of radius 2 that is cut at the border.
        let want = [(0.3 + 0.2) / 7.0, (0.1 + 0.6 + 0.9) / 7.0];
        for (found, want) in half.iter().zip(want.repeat(2)) {
            assert!((found - want).abs() < 1e-6, "{found} {want}");
        }
    }

    #[test]
    fn doubling_is_plain_bilinear() {
        let up = resize_back(&[0.0, 1.0, 0.0, 1.0], 2, 4, 2);
        for (found, want) in up.iter().zip([0.0, 0.25, 0.75, 1.0].repeat(2)) {
            assert!((found - want).abs() < 1e-6, "{found} {want}");
        }
    }

    #[test]
    fn colour_channels_do_not_mix() {
        let pixels = [0.2, 0.5, 0.9].repeat(12);
        let image = Image { width: 4, height: 3, channels: 3, pixels };
        for pixel in resize_image(&image, 2).chunks(3) {
            assert!(pixel.iter().zip([0.2, 0.5, 0.9]).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }

    #[test]
    fn a_mask_stays_binary_and_keeps_its_share() {
        let pixels: Vec<u8> = (0..30 * 20).map(|i| u8::from(i % 30 < 15)).collect();
        let small = resize_mask(&Mask { width: 30, height: 20, pixels }, 10);
        assert!(small.iter().all(|&v| v <= 1));
        assert_eq!(small.iter().filter(|&&v| v == 1).count(), 50);
    }
}

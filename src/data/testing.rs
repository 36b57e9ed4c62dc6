//! Small image files for tests.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageBuffer, ImageFormat};

/// A picture whose every pixel differs from its neighbours. `bits` is 8 or 16, `channels` 1 or 3.
pub fn picture(width: u32, height: u32, channels: u8, bits: u8) -> DynamicImage {
    let value = |x: u32, y: u32, c: u32| (x * 37 + y * 101 + c * 59) % 251;
    let wide = |v: u32| (v * 257) as u16;
    match (channels, bits) {
        (1, 8) => DynamicImage::ImageLuma8(ImageBuffer::from_fn(width, height, |x, y| {
            image::Luma([value(x, y, 0) as u8])
        })),
        (1, 16) => DynamicImage::ImageLuma16(ImageBuffer::from_fn(width, height, |x, y| {
            image::Luma([wide(value(x, y, 0))])
        })),
        (3, 8) => DynamicImage::ImageRgb8(ImageBuffer::from_fn(width, height, |x, y| {
            image::Rgb([value(x, y, 0) as u8, value(x, y, 1) as u8, value(x, y, 2) as u8])
        })),
        _ => DynamicImage::ImageRgb16(ImageBuffer::from_fn(width, height, |x, y| {
            image::Rgb([wide(value(x, y, 0)), wide(value(x, y, 1)), wide(value(x, y, 2))])
        })),
    }
}

pub fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn png_bytes(width: u32, height: u32, channels: u8, bits: u8) -> Vec<u8> {
    encode(&picture(width, height, channels, bits), ImageFormat::Png)
}

pub fn jpeg_bytes(width: u32, height: u32, channels: u8) -> Vec<u8> {
    encode(&picture(width, height, channels, 8), ImageFormat::Jpeg)
}

pub fn tiff_bytes(width: u32, height: u32, channels: u8, bits: u8) -> Vec<u8> {
    encode(&picture(width, height, channels, bits), ImageFormat::Tiff)
}

/// Writes an 8-bit grey image of `width` with the given values.
pub fn write_grey(path: &Path, width: u32, values: &[u8]) {
    let height = values.len() as u32 / width;
    let buffer = image::GrayImage::from_raw(width, height, values.to_vec()).unwrap();
    buffer.save(path).unwrap();
}

/// A data folder of `count` 8×8 pairs named `a00`, `a01`, …; every second mask is empty.
pub fn folder(count: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("images")).unwrap();
    std::fs::create_dir(dir.path().join("masks")).unwrap();
    for i in 0..count {
        let pixels: Vec<u8> = (0..64).map(|p| ((p * 7 + i * 31) % 251) as u8).collect();
        write_grey(&dir.path().join(format!("images/a{i:02}.png")), 8, &pixels);
        let mask: Vec<u8> = (0..64).map(|p| if i % 2 == 0 && p % 8 < 3 { 255 } else { 0 }).collect();
        write_grey(&dir.path().join(format!("masks/a{i:02}.png")), 8, &mask);
    }
    dir
}

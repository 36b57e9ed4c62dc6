//! Image and mask files to pixels.
//!
//! Pixels are taken as stored: EXIF rotation and colour profiles are not
//! applied, because masks do not carry them. Of a file with several pages or
//! frames the first is read.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageFormat, ImageReader, Limits};

use super::dicom;
use super::error::{DataError, Problem};
use super::header::{Format, Header, MAX_SIDE, read_header, tiff_problem};

/// Decoders may allocate this much: the largest image at 16-bit colour with alpha, and some room.
const MAX_ALLOC: u64 = 1 << 30;
/// So many mask values are listed in an error.
const VALUES_LISTED: usize = 8;

/// An image with samples in 0..1.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// 1 or 3.
    pub channels: usize,
    /// `[height, width, channels]`.
    pub pixels: Vec<f32>,
}

/// A mask with 0 (background) and 1 (foreground).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// `[height, width]`.
    pub pixels: Vec<u8>,
}

/// Samples as stored, alpha dropped.
pub(super) struct Raw {
    pub header: Header,
    /// `[height, width, header.channels]`.
    pub samples: Vec<u16>,
    /// The sample value of white: 255 or 65535.
    pub white: u16,
}

/// Decodes an image file to samples in 0..1.
///
/// `channels` is 1 or 3. Colour becomes grey by 0.299 R + 0.587 G + 0.114 B; grey becomes colour by repetition.
///
/// # Errors
/// The file is missing, empty, cut short, damaged, of an unknown format, too
/// large, or has other pixels than 8 or 16 bit grey or colour.
pub fn decode_image(path: &Path, channels: usize) -> Result<Image, DataError> {
    Ok(decode_raw(path)?.to_image(channels))
}

/// Decodes a mask file to 0 and 1.
///
/// With a `threshold`, values above it (in the file's own units, 0..=255 or
/// 0..=65535) are foreground. Without one the file may only hold 0 and one of
/// 1, 255 and (16 bit) 65535.
///
/// # Errors
/// As [`decode_image`]; also a mask in colour, and without a threshold any other value.
pub fn decode_mask(path: &Path, threshold: Option<f64>) -> Result<Mask, DataError> {
    decode_raw(path)?.to_mask(threshold).map_err(|problem| DataError::at(path, problem))
}

pub(super) fn decode_raw(path: &Path) -> Result<Raw, DataError> {
    let header = read_header(path)?;
    if header.format == Format::Dicom {
        return Ok(dicom::decode(path)?.0);
    }
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, &e))?;
    decode_bytes(header, bytes).map_err(|problem| DataError::at(path, problem))
}

fn decode_bytes(header: Header, bytes: Vec<u8>) -> Result<Raw, Problem> {
    // Decoders fill up what a cut JPEG lacks, and do not need the end of a PNG.
    let (whole, format) = match header.format {
        Format::Png => (png_is_whole(&bytes), ImageFormat::Png),
        Format::Jpeg => (jpeg_is_whole(&bytes), ImageFormat::Jpeg),
        Format::Tiff => (true, ImageFormat::Tiff),
        Format::Dicom => return Err(Problem::UnknownFormat { found: "DICOM".into() }),
    };
    let name = header.format.name();
    if !whole {
        return Err(Problem::Truncated { format: name, found: "its end marker is missing".into() });
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ALLOC);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    // A decoder that panics on a malformed file must not take the run down.
    let image = catch_unwind(AssertUnwindSafe(|| reader.decode()))
        .map_err(|_| Problem::Corrupt { format: name, message: "the decoder failed on it".into() })?
        .map_err(|error| match (header.format, &error) {
            (Format::Tiff, _) => tiff_problem(&error),
            (_, image::ImageError::Unsupported(e)) => Problem::PixelType { found: e.to_string() },
            (_, image::ImageError::IoError(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                Problem::Truncated { format: name, found: "it ends before its last pixel".into() }
            }
            _ => Problem::Corrupt { format: name, message: error.to_string() },
        })?;
    Raw::new(header, image)
}

impl Raw {
    fn new(mut header: Header, image: DynamicImage) -> Result<Raw, Problem> {
        (header.width, header.height) = (image.width(), image.height());
        let widen = |v: Vec<u8>| v.into_iter().map(u16::from).collect::<Vec<u16>>();
        let (channels, white, samples) = match image {
            DynamicImage::ImageLuma8(b) => (1, 255, widen(b.into_raw())),
            DynamicImage::ImageLumaA8(b) => (1, 255, b.pixels().map(|p| u16::from(p.0[0])).collect()),
            DynamicImage::ImageRgb8(b) => (3, 255, widen(b.into_raw())),
            DynamicImage::ImageRgba8(b) => {
                (3, 255, b.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]]).map(u16::from).collect())
            }
            DynamicImage::ImageLuma16(b) => (1, u16::MAX, b.into_raw()),
            DynamicImage::ImageLumaA16(b) => (1, u16::MAX, b.pixels().map(|p| p.0[0]).collect()),
            DynamicImage::ImageRgb16(b) => (3, u16::MAX, b.into_raw()),
            DynamicImage::ImageRgba16(b) => {
                (3, u16::MAX, b.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]]).collect())
            }
            other => return Err(Problem::PixelType { found: format!("{:?}", other.color()) }),
        };
        header.channels = channels;
        Ok(Raw { header, samples, white })
    }

    pub fn to_image(&self, channels: usize) -> Image {
        let unit = |v: u16| f32::from(v) / f32::from(self.white);
        let samples = &self.samples;
        let pixels = match (self.header.channels, channels) {
            (1, 1) | (3, 3) => samples.iter().map(|&v| unit(v)).collect(),
            (1, _) => samples.iter().flat_map(|&v| [unit(v); 3]).collect(),
            _ => samples
                .chunks_exact(3)
                .map(|p| 0.299 * unit(p[0]) + 0.587 * unit(p[1]) + 0.114 * unit(p[2]))
                .collect(),
        };
        let (width, height) = (self.header.width as usize, self.header.height as usize);
        Image { width, height, channels: if channels == 1 { 1 } else { 3 }, pixels }
    }

    pub fn to_mask(&self, threshold: Option<f64>) -> Result<Mask, Problem> {
        let grey = self.grey()?;
        let pixels = match threshold {
            Some(t) => grey.iter().map(|&v| u8::from(f64::from(v) > t)).collect(),
            None => {
                let values = values(&grey);
                let two_valued = [1, 255, u16::MAX]
                    .iter()
                    .any(|&on| on <= self.white && values.iter().all(|&(v, _)| v == 0 || v == on));
                if !two_valued {
                    return Err(Problem::MaskValues {
                        distinct: values.len(),
                        values: values.iter().take(VALUES_LISTED).map(|&(v, _)| v).collect(),
                        jpeg: self.header.format == Format::Jpeg,
                    });
                }
                grey.iter().map(|&v| u8::from(v != 0)).collect()
            }
        };
        Ok(Mask { width: self.header.width as usize, height: self.header.height as usize, pixels })
    }

    /// One sample a pixel; colour files must have equal red, green and blue.
    pub fn grey(&self) -> Result<Vec<u16>, Problem> {
        if self.header.channels == 1 {
            return Ok(self.samples.clone());
        }
        let grey = |p: &[u16]| (p[0] == p[1] && p[1] == p[2]).then_some(p[0]);
        self.samples.chunks_exact(3).map(grey).collect::<Option<Vec<u16>>>().ok_or(Problem::ColourMask)
    }
}

/// Each value that occurs and how often, ascending by value.
pub(super) fn values(samples: &[u16]) -> Vec<(u16, u64)> {
    let mut counts = vec![0u64; usize::from(u16::MAX) + 1];
    for &v in samples {
        counts[usize::from(v)] += 1;
    }
    (0..=u16::MAX).zip(counts).filter(|&(_, n)| n > 0).collect()
}

/// Whether the chunks of a PNG lead to its IEND chunk.
fn png_is_whole(bytes: &[u8]) -> bool {
    let mut at = 8usize;
    while let Some(&[l0, l1, l2, l3, t0, t1, t2, t3]) = bytes.get(at..).and_then(|b| b.first_chunk::<8>()) {
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        // Length, type and checksum take 12 bytes.
        let Some(end) = at.checked_add(length).and_then(|n| n.checked_add(12)) else { return false };
        if end > bytes.len() {
            return false;
        }
        if [t0, t1, t2, t3] == *b"IEND" {
            return true;
        }
        at = end;
    }
    false
}

/// Whether the segments of a JPEG lead to its end-of-image marker.
///
/// Segments are walked rather than searched, for a thumbnail in the metadata has an end marker of its own.
pub(super) fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2usize;
    loop {
        // Within compressed pixels ff is followed by 00; restart markers have no body.
        let Some(offset) = bytes.get(at..).and_then(|rest| rest.iter().position(|&b| b == 0xFF)) else {
            return false;
        };
        at += offset;
        match bytes.get(at + 1) {
            None => return false,
            Some(0xD9) => return true,
            Some(0xFF) => at += 1,
            Some(0x00 | 0x01 | 0xD0..=0xD8) => at += 2,
            Some(_) => {
                let Some(&[l0, l1]) = bytes.get(at + 2..).and_then(|b| b.first_chunk::<2>()) else {
                    return false;
                };
                at += 2 + usize::from(u16::from_be_bytes([l0, l1])).max(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::{encode, jpeg_bytes, picture, png_bytes, tiff_bytes, write_grey};

    fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.png");
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    fn image_of(bytes: &[u8], channels: usize) -> Result<Image, Problem> {
        let (_dir, path) = written(bytes);
        decode_image(&path, channels).map_err(|e| e.problem)
    }

    fn mask_of(bytes: &[u8], threshold: Option<f64>) -> Result<Mask, Problem> {
        let (_dir, path) = written(bytes);
        decode_mask(&path, threshold).map_err(|e| e.problem)
    }

    /// Both readings of the same bytes must fail with the same kind of problem.
    fn both(bytes: &[u8]) -> Problem {
        let problem = image_of(bytes, 1).unwrap_err();
        assert_eq!(mask_of(bytes, Some(0.5)).unwrap_err(), problem);
        problem
    }

    #[test]
    fn lossless_formats_keep_every_value() {
        for (channels, bits) in [(1, 8), (1, 16), (3, 8), (3, 16)] {
            let picture = picture(5, 3, channels, bits);
            for format in [ImageFormat::Png, ImageFormat::Tiff] {
                let image = image_of(&encode(&picture, format), usize::from(channels)).unwrap();
                assert_eq!((image.width, image.height, image.channels), (5, 3, usize::from(channels)));
                let want = picture.to_rgb32f();
                for (i, pixel) in want.pixels().enumerate() {
                    let found = image.pixels[i * image.channels];
                    assert!((found - pixel.0[0]).abs() < 1e-6, "{found} {pixel:?}");
                }
            }
        }
    }

    #[test]
    fn grey_and_colour_turn_into_each_other() {
        let grey = image_of(&png_bytes(4, 4, 1, 8), 1).unwrap();
        let tripled = image_of(&png_bytes(4, 4, 1, 8), 3).unwrap();
        assert!(tripled.pixels.chunks(3).zip(&grey.pixels).all(|(p, g)| p == [*g; 3]));
        let red = DynamicImage::ImageRgb8(image::RgbImage::from_pixel(2, 2, image::Rgb([255, 0, 0])));
        let luma = image_of(&encode(&red, ImageFormat::Png), 1).unwrap();
        assert!(luma.pixels.iter().all(|v| (v - 0.299).abs() < 1e-6));
    }

    #[test]
    fn alpha_is_dropped() {
        let clear = image::RgbaImage::from_pixel(2, 2, image::Rgba([10, 20, 30, 0]));
        let image = image_of(&encode(&DynamicImage::ImageRgba8(clear), ImageFormat::Png), 3).unwrap();
        assert_eq!(image.pixels[..3], [10.0 / 255.0, 20.0 / 255.0, 30.0 / 255.0]);
    }

    #[test]
    fn missing() {
        let path = Path::new("no/such/file.png");
        assert_eq!(decode_image(path, 1).unwrap_err(), DataError::at(path, Problem::Missing));
        assert_eq!(decode_mask(path, None).unwrap_err(), DataError::at(path, Problem::Missing));
    }

    #[test]
    fn empty_file() {
        assert_eq!(both(b""), Problem::EmptyFile);
    }

    #[test]
    fn unknown_format() {
        assert!(matches!(both(b"just some text"), Problem::UnknownFormat { .. }));
        assert_eq!(both(b"GIF89a\x01\0\x01\0"), Problem::UnknownFormat { found: "GIF".into() });
    }

    #[test]
    fn truncated() {
        for whole in [png_bytes(40, 30, 1, 8), jpeg_bytes(40, 30, 1), tiff_bytes(40, 30, 1, 8)] {
            assert!(image_of(&whole, 1).is_ok());
            for keep in [whole.len() / 3, whole.len() / 2, whole.len() - 40, whole.len() - 1] {
                let problem = both(&whole[..keep]);
                assert!(
                    matches!(problem, Problem::Truncated { .. } | Problem::Corrupt { .. }),
                    "{keep} of {}: {problem:?}",
                    whole.len()
                );
            }
        }
    }

    #[test]
    fn a_thumbnail_does_not_end_a_jpeg() {
        let mut bytes = jpeg_bytes(40, 30, 1);
        let thumbnail = [0xFF, 0xE1, 0x00, 0x06, 0xFF, 0xD8, 0xFF, 0xD9];
        bytes.splice(2..2, thumbnail);
        assert!(image_of(&bytes, 1).is_ok());
        assert!(matches!(both(&bytes[..bytes.len() - 2]), Problem::Truncated { .. }));
    }

    #[test]
    fn damaged() {
        let mut bytes = png_bytes(40, 30, 1, 8);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xFF;
        assert!(matches!(both(&bytes), Problem::Corrupt { .. }));
    }

    #[test]
    fn random_damage_never_panics() {
        use rand::RngExt;
        let mut rng = crate::rng::rng(0, crate::rng::Purpose::Case, 0);
        for whole in [png_bytes(9, 7, 3, 8), jpeg_bytes(9, 7, 3), tiff_bytes(9, 7, 1, 16)] {
            for _ in 0..200 {
                let mut bytes = whole.clone();
                for _ in 0..rng.random_range(1..4) {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] = rng.random();
                }
                // Some damage leaves a valid file; then its pixels must fit its size.
                if let Ok(image) = image_of(&bytes, 1) {
                    assert_eq!(image.pixels.len(), image.width * image.height);
                }
            }
        }
    }

    /// A PNG whose header says `width`×`height`.
    fn claims(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = png_bytes(2, 2, 1, 8);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        bytes
    }

    #[test]
    fn zero_pixels() {
        assert_eq!(both(&claims(0, 7)), Problem::ZeroPixels { width: 0, height: 7 });
        let mut jpeg = jpeg_bytes(8, 8, 1);
        let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
        jpeg[frame + 7..frame + 9].fill(0);
        assert_eq!(both(&jpeg), Problem::ZeroPixels { width: 0, height: 8 });
    }

    #[test]
    fn huge_images_are_refused_by_their_header() {
        assert_eq!(both(&claims(20_000, 2)), Problem::TooLarge { width: 20_000, height: 2 });
        assert_eq!(both(&claims(16_384, 16_384)), Problem::TooLarge { width: 16_384, height: 16_384 });
        let mut jpeg = jpeg_bytes(8, 8, 1);
        let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
        jpeg[frame + 5..frame + 9].fill(0xFF);
        assert_eq!(both(&jpeg), Problem::TooLarge { width: 65_535, height: 65_535 });
    }

    #[test]
    fn floating_point_pixels() {
        let float = DynamicImage::ImageRgb32F(image::Rgb32FImage::new(2, 2));
        assert!(matches!(both(&encode(&float, ImageFormat::Tiff)), Problem::PixelType { .. }));
    }

    fn mask_png(values: &[u8]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.png");
        write_grey(&path, 2, values);
        std::fs::read(path).unwrap()
    }

    #[test]
    fn masks_may_be_0_1_or_0_255() {
        for values in [[0, 1, 1, 0], [0, 255, 255, 0]] {
            assert_eq!(mask_of(&mask_png(&values), None).unwrap().pixels, [0, 1, 1, 0]);
        }
        assert_eq!(mask_of(&mask_png(&[0; 4]), None).unwrap().pixels, [0; 4]);
        let wide = image::ImageBuffer::from_fn(2, 1, |x, _| image::Luma([x as u16 * 65_535]));
        let wide = encode(&DynamicImage::ImageLuma16(wide), ImageFormat::Png);
        assert_eq!(mask_of(&wide, None).unwrap().pixels, [0, 1]);
    }

    #[test]
    fn mask_with_other_values() {
        let problem = mask_of(&mask_png(&[0, 1, 128, 255]), None).unwrap_err();
        let values = vec![0, 1, 128, 255];
        assert_eq!(problem, Problem::MaskValues { values, distinct: 4, jpeg: false });
    }

    #[test]
    fn mask_threshold_is_in_raw_units_and_exclusive() {
        assert_eq!(mask_of(&mask_png(&[0, 127, 128, 255]), Some(127.0)).unwrap().pixels, [0, 0, 1, 1]);
    }

    #[test]
    fn jpeg_mask_without_threshold() {
        let problem = mask_of(&jpeg_bytes(16, 16, 1), None).unwrap_err();
        assert!(matches!(problem, Problem::MaskValues { jpeg: true, .. }));
        assert!(problem.mend().contains("data.mask_threshold"));
    }

    #[test]
    fn colour_mask() {
        assert_eq!(mask_of(&png_bytes(4, 4, 3, 8), None).unwrap_err(), Problem::ColourMask);
        let grey = DynamicImage::ImageRgb8(image::RgbImage::from_pixel(2, 1, image::Rgb([255; 3])));
        assert_eq!(mask_of(&encode(&grey, ImageFormat::Png), None).unwrap().pixels, [1, 1]);
    }
}

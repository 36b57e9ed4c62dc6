//! Format, size and pixel type of an image file, from its first bytes.
//!
//! Sizes are checked here, before a decoder allocates anything, so a small
//! file that claims to be huge is refused cheaply.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{ExtendedColorType, ImageDecoder, codecs::tiff::TiffDecoder};

use super::dicom;
use super::error::{DataError, Problem};

/// Largest side in pixels that is read.
pub const MAX_SIDE: u32 = 16_384;
/// Largest number of pixels that is read.
pub const MAX_PIXELS: u64 = 100_000_000;
/// So many bytes tell the format: DICOM has its mark after 128.
const START: u64 = 132;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Png,
    Jpeg,
    Tiff,
    Dicom,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Png => "PNG",
            Format::Jpeg => "JPEG",
            Format::Tiff => "TIFF",
            Format::Dicom => "DICOM",
        }
    }
}

/// What a file says about itself. Sizes are within the limits and not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub format: Format,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// 1 (grey) or 3 (colour), alpha not counted.
    pub channels: u8,
    /// Bits of one sample as stored.
    pub bits: u8,
}

/// Reads the header of a PNG, JPEG, TIFF or DICOM file. The format is told by the content, not by the name.
///
/// # Errors
/// Missing, unreadable, empty, of another format, cut short within the header,
/// without pixels, or larger than [`MAX_SIDE`] or [`MAX_PIXELS`].
pub fn read_header(path: &Path) -> Result<Header, DataError> {
    let file = File::open(path).map_err(|e| DataError::io(path, &e))?;
    let mut reader = BufReader::new(file);
    let mut magic = Vec::new();
    reader.by_ref().take(START).read_to_end(&mut magic).map_err(|e| DataError::io(path, &e))?;
    if !magic.is_empty() && dicom::is_dicom(path, &magic) {
        return dicom::read_header(path);
    }
    let format = sniff(&magic).map_err(|problem| DataError::at(path, problem))?;
    reader.seek(SeekFrom::Start(0)).map_err(|e| DataError::io(path, &e))?;
    let header = match format {
        Format::Png => png(&mut reader).map_err(|e| cut(path, format, &e))?,
        Format::Jpeg => jpeg(&mut reader).map_err(|e| cut(path, format, &e))?,
        Format::Tiff => tiff(reader).map_err(|problem| DataError::at(path, problem))?,
        Format::Dicom => return dicom::read_header(path),
    };
    within_limits(header.width, header.height).map_err(|problem| DataError::at(path, problem))?;
    Ok(header)
}

/// Refuses images without pixels and those that are too large.
pub(super) fn within_limits(width: u32, height: u32) -> Result<(), Problem> {
    if width == 0 || height == 0 {
        return Err(Problem::ZeroPixels { width, height });
    }
    if width.max(height) > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Problem::TooLarge { width, height });
    }
    Ok(())
}

fn sniff(magic: &[u8]) -> Result<Format, Problem> {
    if magic.is_empty() {
        return Err(Problem::EmptyFile);
    }
    match image::guess_format(magic) {
        Ok(image::ImageFormat::Png) => Ok(Format::Png),
        Ok(image::ImageFormat::Jpeg) => Ok(Format::Jpeg),
        Ok(image::ImageFormat::Tiff) => Ok(Format::Tiff),
        Ok(other) => {
            let name = other.extensions_str().first().copied().unwrap_or("another format");
            Err(Problem::UnknownFormat { found: name.to_uppercase() })
        }
        Err(_) => {
            let bytes: Vec<String> = magic.iter().take(8).map(|b| format!("{b:02x}")).collect();
            Err(Problem::UnknownFormat { found: format!("a file that starts with {}", bytes.join(" ")) })
        }
    }
}

/// A header that ends too early is a cut file; anything else is the disk's fault.
fn cut(path: &Path, format: Format, error: &std::io::Error) -> DataError {
    let problem = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Problem::Truncated { format: format.name(), found: "it ends within its header".into() }
        }
        std::io::ErrorKind::InvalidData => {
            Problem::Corrupt { format: format.name(), message: error.to_string() }
        }
        _ => return DataError::io(path, error),
    };
    DataError::at(path, problem)
}

fn invalid(message: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, message)
}

fn png(reader: &mut impl Read) -> std::io::Result<Header> {
    let mut start = [0u8; 26];
    reader.read_exact(&mut start)?;
    let [_, _, _, _, _, _, _, _, _, _, _, _, c0, c1, c2, c3, w0, w1, w2, w3, h0, h1, h2, h3, bits, colour] =
        start;
    if [c0, c1, c2, c3] != *b"IHDR" {
        return Err(invalid("its first chunk is not IHDR"));
    }
    Ok(Header {
        format: Format::Png,
        width: u32::from_be_bytes([w0, w1, w2, w3]),
        height: u32::from_be_bytes([h0, h1, h2, h3]),
        // 0 grey, 2 colour, 3 palette, 4 grey with alpha, 6 colour with alpha.
        channels: if colour == 0 || colour == 4 { 1 } else { 3 },
        bits: if colour == 3 { 8 } else { bits },
    })
}

pub(super) fn jpeg(reader: &mut (impl Read + Seek)) -> std::io::Result<Header> {
    let mut soi = [0u8; 2];
    reader.read_exact(&mut soi)?;
    loop {
        let marker = next_marker(reader)?;
        match marker {
            // Markers without a body: TEM and restarts.
            0x01 | 0xD0..=0xD7 => continue,
            0xD9 | 0xDA => return Err(invalid("its pixels come before its size")),
            _ => {}
        }
        let mut length = [0u8; 2];
        reader.read_exact(&mut length)?;
        let length = u16::from_be_bytes(length);
        if length < 2 {
            return Err(invalid("a segment has an impossible length"));
        }
        // C4, C8 and CC share the range of frame headers but are none.
        if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
            let mut frame = [0u8; 6];
            reader.read_exact(&mut frame)?;
            let [bits, h0, h1, w0, w1, components] = frame;
            return Ok(Header {
                format: Format::Jpeg,
                width: u32::from(u16::from_be_bytes([w0, w1])),
                height: u32::from(u16::from_be_bytes([h0, h1])),
                channels: if components == 1 { 1 } else { 3 },
                bits,
            });
        }
        reader.seek_relative_to(i64::from(length) - 2)?;
    }
}

/// The next marker's second byte; fill bytes (ff ff) are allowed before it.
fn next_marker(reader: &mut impl Read) -> std::io::Result<u8> {
    let mut byte = [0u8; 1];
    reader.read_exact(&mut byte)?;
    if byte[0] != 0xFF {
        return Err(invalid("a marker is missing between segments"));
    }
    while byte[0] == 0xFF {
        reader.read_exact(&mut byte)?;
    }
    Ok(byte[0])
}

trait SeekRelative {
    fn seek_relative_to(&mut self, offset: i64) -> std::io::Result<()>;
}

impl<S: Seek> SeekRelative for S {
    fn seek_relative_to(&mut self, offset: i64) -> std::io::Result<()> {
        self.seek(SeekFrom::Current(offset)).map(|_| ())
    }
}

fn tiff(reader: BufReader<File>) -> Result<Header, Problem> {
    // A decoder that panics on a malformed file must not take the run down.
    let decoder = catch_unwind(AssertUnwindSafe(|| TiffDecoder::new(reader)))
        .map_err(|_| Problem::Corrupt {
            format: Format::Tiff.name(),
            message: "the decoder failed on it".into(),
        })?
        .map_err(|e| tiff_problem(&e))?;
    let (width, height) = decoder.dimensions();
    let (channels, bits) = match decoder.original_color_type() {
        ExtendedColorType::L1 => (1, 1),
        ExtendedColorType::L8 | ExtendedColorType::La8 => (1, 8),
        ExtendedColorType::L16 | ExtendedColorType::La16 => (1, 16),
        ExtendedColorType::Rgb8 | ExtendedColorType::Rgba8 | ExtendedColorType::Cmyk8 => (3, 8),
        ExtendedColorType::Rgb16 | ExtendedColorType::Rgba16 | ExtendedColorType::Cmyk16 => (3, 16),
        other => return Err(Problem::PixelType { found: format!("{other:?}") }),
    };
    Ok(Header { format: Format::Tiff, width, height, channels, bits })
}

/// The TIFF decoder reports a cut file as a failed read.
pub(super) fn tiff_problem(error: &image::ImageError) -> Problem {
    let format = Format::Tiff.name();
    match error {
        image::ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Problem::Truncated { format, found: "it ends before its last pixel".into() }
        }
        image::ImageError::Unsupported(e) => Problem::PixelType { found: e.to_string() },
        other => Problem::Corrupt { format, message: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::{jpeg_bytes, png_bytes, tiff_bytes};

    fn header_of(bytes: &[u8]) -> Result<Header, Problem> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, bytes).unwrap();
        read_header(&path).map_err(|e| e.problem)
    }

    #[test]
    fn reads_size_and_pixel_type_of_each_format() {
        let png = header_of(&png_bytes(5, 3, 1, 16)).unwrap();
        assert_eq!(png, Header { format: Format::Png, width: 5, height: 3, channels: 1, bits: 16 });
        let jpeg = header_of(&jpeg_bytes(5, 3, 3)).unwrap();
        assert_eq!(jpeg, Header { format: Format::Jpeg, width: 5, height: 3, channels: 3, bits: 8 });
        let tiff = header_of(&tiff_bytes(5, 3, 3, 16)).unwrap();
        assert_eq!(tiff, Header { format: Format::Tiff, width: 5, height: 3, channels: 3, bits: 16 });
    }

    #[test]
    fn a_header_cut_anywhere_is_an_error() {
        for whole in [png_bytes(5, 3, 1, 8), jpeg_bytes(5, 3, 1), tiff_bytes(5, 3, 1, 8)] {
            for length in 0..20 {
                assert!(header_of(&whole[..length]).is_err(), "{length} bytes");
            }
        }
    }
}

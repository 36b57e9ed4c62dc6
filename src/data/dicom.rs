//! DICOM files to pixels, as a viewer shows them.
//!
//! Grey values go through the rescale slope and intercept (PS3.3 C.11.1), then through the first window where there is
//! one (C.11.2), else over the whole range of the stored bits, to 0..white; MONOCHROME1 is inverted. Of 8 stored
//! bits or fewer white is 255, else 65535, so no level is lost. Colour is taken as it is.
//!
//! Files are read in all transfer syntaxes that need no native library: uncompressed, deflated, RLE, JPEG and JPEG 2000.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use dicom_object::{DefaultDicomObject, OpenFileOptions, Tag};
use dicom_pixeldata::PixelDecoder;

use super::decode::{Raw, jpeg_is_whole};
use super::error::{DataError, Problem};
use super::header::{Format, Header, jpeg, within_limits};

const NAME: &str = "DICOM";

const ROWS: (Tag, &str) = (Tag(0x0028, 0x0010), "Rows");
const COLUMNS: (Tag, &str) = (Tag(0x0028, 0x0011), "Columns");
const SAMPLES: (Tag, &str) = (Tag(0x0028, 0x0002), "Samples per Pixel");
const PHOTOMETRIC: (Tag, &str) = (Tag(0x0028, 0x0004), "Photometric Interpretation");
const PLANAR: (Tag, &str) = (Tag(0x0028, 0x0006), "Planar Configuration");
const FRAMES: (Tag, &str) = (Tag(0x0028, 0x0008), "Number of Frames");
const ALLOCATED: (Tag, &str) = (Tag(0x0028, 0x0100), "Bits Allocated");
const STORED: (Tag, &str) = (Tag(0x0028, 0x0101), "Bits Stored");
const HIGH_BIT: (Tag, &str) = (Tag(0x0028, 0x0102), "High Bit");
const SIGNED: (Tag, &str) = (Tag(0x0028, 0x0103), "Pixel Representation");
const INTERCEPT: (Tag, &str) = (Tag(0x0028, 0x1052), "Rescale Intercept");
const SLOPE: (Tag, &str) = (Tag(0x0028, 0x1053), "Rescale Slope");
const CENTER: (Tag, &str) = (Tag(0x0028, 0x1050), "Window Center");
const WIDTH: (Tag, &str) = (Tag(0x0028, 0x1051), "Window Width");
const FUNCTION: (Tag, &str) = (Tag(0x0028, 0x1056), "VOI LUT Function");
const MODALITY_LUT: (Tag, &str) = (Tag(0x0028, 0x3000), "Modality LUT Sequence");
const VOI_LUT: (Tag, &str) = (Tag(0x0028, 0x3010), "VOI LUT Sequence");
pub(super) const PIXELS: (Tag, &str) = (Tag(0x7FE0, 0x0010), "Pixel Data");
const ENCRYPTED: Tag = Tag(0x0400, 0x0500);
const INSTANCE: Tag = Tag(0x0008, 0x0018);
const PATIENT: Tag = Tag(0x0010, 0x0020);

const JPEG: [&str; 4] =
    ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"];
const JPEG_LOSSLESS: [&str; 2] = ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"];
const JPEG_2000: [&str; 2] = ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"];
const NOT_COMPRESSED: [&str; 4] =
    ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"];
/// Where a JPEG 2000 codestream has precision and sign of its first component (ISO 15444-1, A.5.1).
const SSIZ: usize = 42;
const RLE: &str = "1.2.840.10008.1.2.5";

/// What a file says of its image, beside the pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// SOP Instance UID; empty where there is none.
    pub instance: String,
    /// Patient ID; empty where there is none.
    pub patient: String,
}

/// Whether a file is to be read as DICOM, by its first bytes or its name: old files lack the mark.
pub(super) fn is_dicom(path: &Path, start: &[u8]) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    start.get(128..132) == Some(b"DICM") || ["dcm", "dicom"].contains(&ending.as_str())
}

/// Size and pixel type, without reading the pixels.
///
/// # Errors
/// As [`decode`], as far as it shows without the pixels.
pub(super) fn read_header(path: &Path) -> Result<Header, DataError> {
    guarded(path, || {
        let object = OpenFileOptions::new().read_until(PIXELS.0).open_file(path).map_err(|e| unread(&e))?;
        Ok(Form::of(&object)?.header())
    })
}

/// The SOP Instance UID, without reading the pixels; empty where there is none.
///
/// # Errors
/// The file is no DICOM file, cut short or damaged.
pub(super) fn instance(path: &Path) -> Result<String, DataError> {
    guarded(path, || {
        let object = OpenFileOptions::new().read_until(PIXELS.0).open_file(path).map_err(|e| unread(&e))?;
        Ok(text(&object, INSTANCE))
    })
}

/// Decodes a DICOM file.
///
/// # Errors
/// The file is no DICOM file, cut short or damaged; it has no pixels, several frames, a palette or a modality LUT; its
/// transfer syntax is not read; it is larger than other images may be.
pub(super) fn decode(path: &Path) -> Result<(Raw, About), DataError> {
    // The header first: a file that claims to be huge is refused before its pixels are read.
    read_header(path)?;
    guarded(path, || {
        let object = OpenFileOptions::new().open_file(path).map_err(|e| unread(&e))?;
        let about = About { instance: text(&object, INSTANCE), patient: text(&object, PATIENT) };
        let form = Form::of(&object)?;
        if object.element_opt(PIXELS.0).ok().flatten().is_none() {
            let encrypted = object.element_opt(ENCRYPTED).ok().flatten().is_some();
            return Err(Problem::DicomNoPixels { encrypted });
        }
        let raw = form.show(&object, samples(&object, &form)?)?;
        Ok((raw, about))
    })
}

/// The text of an element; empty where there is none.
fn text(object: &DefaultDicomObject, tag: Tag) -> String {
    let value = object.element_opt(tag).ok().flatten().and_then(|e| e.to_str().ok());
    value.map(|v| v.trim_matches([' ', '\0']).to_string()).unwrap_or_default()
}

/// Runs `work` on the file; decoders of others panic on some damaged files.
pub(super) fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, Problem>) -> Result<T, DataError> {
    std::fs::metadata(path).map_err(|e| DataError::io(path, &e)).and_then(|found| {
        if found.len() == 0 { Err(DataError::at(path, Problem::EmptyFile)) } else { Ok(()) }
    })?;
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(corrupt("the decoder failed on it")))
        .map_err(|problem| DataError::at(path, problem))
}

pub(super) fn corrupt(message: impl std::fmt::Display) -> Problem {
    Problem::Corrupt { format: NAME, message: message.to_string() }
}

/// The whole chain of causes, as the outermost tells little.
pub(super) fn unread(error: &dyn std::error::Error) -> Problem {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        message += &format!(": {inner}");
        cause = inner.source();
    }
    corrupt(message)
}

/// How pixels are stored.
struct Form {
    syntax: String,
    width: u32,
    height: u32,
    /// 1 or 3.
    channels: u8,
    photometric: String,
    planar: bool,
    /// 8 or 16.
    allocated: u32,
    /// 1 to `allocated`.
    stored: u32,
    high_bit: u32,
    signed: bool,
}

fn number(object: &DefaultDicomObject, (tag, name): (Tag, &'static str)) -> Result<Option<u32>, Problem> {
    let Some(element) = object.element_opt(tag).ok().flatten() else { return Ok(None) };
    if element.value().multiplicity() == 0 {
        return Ok(None);
    }
    let found = || element.to_str().map(|s| s.trim().to_string()).unwrap_or_default();
    let value = element.to_int::<u32>().ok();
    value.map(Some).ok_or_else(|| bad_tag((tag, name), found(), "a whole number"))
}

fn real(object: &DefaultDicomObject, (tag, name): (Tag, &'static str)) -> Result<Option<f64>, Problem> {
    let Some(element) = object.element_opt(tag).ok().flatten() else { return Ok(None) };
    if element.value().multiplicity() == 0 {
        return Ok(None);
    }
    let text = element.to_str().map(|s| s.trim().to_string()).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let values = element.to_multi_float64().unwrap_or_default();
    let value = values.first().copied().filter(|v| v.is_finite());
    value.map(Some).ok_or_else(|| bad_tag((tag, name), text, "a number"))
}

pub(super) fn bad_tag(
    (tag, name): (Tag, &'static str),
    found: impl std::fmt::Display,
    expected: &str,
) -> Problem {
    Problem::DicomTag {
        tag: format!("{name} {tag}"),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

impl Form {
    fn of(object: &DefaultDicomObject) -> Result<Form, Problem> {
        let syntax = object.meta().transfer_syntax().trim_end_matches(['\0', ' ']).to_string();
        let known =
            JPEG.iter().chain(&JPEG_2000).chain(&NOT_COMPRESSED).any(|s| *s == syntax) || syntax == RLE;
        if !known {
            return Err(Problem::DicomSyntax { uid: syntax });
        }
        let need = |tag: (Tag, &'static str)| {
            number(object, tag)?.ok_or_else(|| bad_tag(tag, "missing", "a number, as every image has it"))
        };
        // Without a size there are no pixels either: a report, say.
        if object.element_opt(ROWS.0).ok().flatten().is_none() {
            let encrypted = object.element_opt(ENCRYPTED).ok().flatten().is_some();
            return Err(Problem::DicomNoPixels { encrypted });
        }
        let (height, width) = (need(ROWS)?, need(COLUMNS)?);
        within_limits(width, height)?;
        let frames = number(object, FRAMES)?.unwrap_or(1);
        if frames != 1 {
            return Err(bad_tag(FRAMES, frames, "1"));
        }
        let channels = match need(SAMPLES)? {
            1 => 1,
            3 => 3,
            other => return Err(bad_tag(SAMPLES, other, "1 or 3")),
        };
        let element = object.element_opt(PHOTOMETRIC.0).ok().flatten();
        let photometric =
            element.and_then(|e| e.to_str().ok()).map(|s| s.trim().to_string()).unwrap_or_default();
        let fits = match photometric.as_str() {
            "MONOCHROME1" | "MONOCHROME2" => channels == 1,
            "RGB" | "YBR_FULL" | "YBR_FULL_422" | "YBR_ICT" | "YBR_RCT" => channels == 3,
            _ => false,
        };
        if !fits {
            let expected = "MONOCHROME1 or MONOCHROME2 of one sample a pixel, RGB or YBR of three";
            return Err(bad_tag(PHOTOMETRIC, photometric, expected));
        }
        let allocated = need(ALLOCATED)?;
        if allocated != 8 && allocated != 16 {
            return Err(bad_tag(ALLOCATED, allocated, "8 or 16"));
        }
        let stored = need(STORED)?;
        if stored == 0 || stored > allocated {
            return Err(bad_tag(STORED, stored, &format!("1 to {allocated}")));
        }
        let high_bit = number(object, HIGH_BIT)?.unwrap_or(stored - 1);
        if high_bit + 1 < stored || high_bit >= allocated {
            return Err(bad_tag(HIGH_BIT, high_bit, &format!("{} to {}", stored - 1, allocated - 1)));
        }
        if object.element_opt(MODALITY_LUT.0).ok().flatten().is_some() {
            return Err(bad_tag(
                MODALITY_LUT,
                "there",
                "a rescale slope and intercept in its place, or none",
            ));
        }
        Ok(Form {
            syntax,
            width,
            height,
            channels,
            photometric,
            planar: number(object, PLANAR)?.unwrap_or(0) == 1,
            allocated,
            stored,
            high_bit,
            signed: number(object, SIGNED)?.unwrap_or(0) == 1,
        })
    }

    fn header(&self) -> Header {
        Header {
            format: Format::Dicom,
            width: self.width,
            height: self.height,
            channels: self.channels,
            bits: self.stored as u8,
        }
    }

    fn pixels(&self) -> usize {
        self.width as usize * self.height as usize
    }

    /// The lowest and the highest value that the stored bits can take.
    fn range(&self) -> (i32, i32) {
        let half = 1i32 << (self.stored - 1);
        if self.signed { (-half, half - 1) } else { (0, 2 * half - 1) }
    }

    /// The value in the stored bits of `sample`.
    fn value(&self, sample: u16) -> i32 {
        let bits = i32::from(sample >> (self.high_bit + 1 - self.stored)) & ((1 << self.stored) - 1);
        if self.signed && bits >> (self.stored - 1) == 1 { bits - (1 << self.stored) } else { bits }
    }

    /// Values `[height, width, channels]` to what is shown.
    fn show(&self, object: &DefaultDicomObject, values: Samples) -> Result<Raw, Problem> {
        let white = if self.stored <= 8 { 255 } else { u16::MAX };
        let level = |unit: f64| (unit.clamp(0.0, 1.0) * f64::from(white)).round() as u16;
        let (low, high) = self.range();
        let whole = f64::from(high) - f64::from(low);
        let samples = if self.channels == 3 {
            let unit = |v: i32| f64::from(v - low) / whole.max(1.0);
            let mut samples = Vec::with_capacity(values.values.len());
            for pixel in values.values.as_chunks::<3>().0 {
                let pixel = pixel.map(unit);
                let pixel = if values.is_ybr { rgb(pixel) } else { pixel };
                samples.extend(pixel.map(level));
            }
            samples
        } else {
            let curve = Curve::of(object, self)?;
            let invert = self.photometric == "MONOCHROME1";
            let shown: Vec<u16> = (low..=high)
                .map(|v| {
                    let unit = curve.at(f64::from(v));
                    level(if invert { 1.0 - unit } else { unit })
                })
                .collect();
            values.values.iter().map(|v| shown[(v.clamp(&low, &high) - low) as usize]).collect()
        };
        Ok(Raw { header: self.header(), samples, white })
    }
}

/// Full-range YCbCr (PS3.3 C.7.6.3.1.2), all in 0..1, as red, green and blue.
fn rgb([y, cb, cr]: [f64; 3]) -> [f64; 3] {
    // 128 of 255 is where there is no colour.
    let (cb, cr) = (cb - 128.0 / 255.0, cr - 128.0 / 255.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
}

/// From a grey value as stored to 0..1.
struct Curve {
    slope: f64,
    intercept: f64,
    shape: Shape,
}

enum Shape {
    /// Over all values between these.
    Range(f64, f64),
    Linear {
        center: f64,
        width: f64,
    },
    LinearExact {
        center: f64,
        width: f64,
    },
    Sigmoid {
        center: f64,
        width: f64,
    },
}

impl Curve {
    fn of(object: &DefaultDicomObject, form: &Form) -> Result<Curve, Problem> {
        let (slope, intercept) =
            (real(object, SLOPE)?.unwrap_or(1.0), real(object, INTERCEPT)?.unwrap_or(0.0));
        if slope == 0.0 {
            return Err(bad_tag(SLOPE, slope, "another number than 0"));
        }
        let element = object.element_opt(FUNCTION.0).ok().flatten();
        let function =
            element.and_then(|e| e.to_str().ok()).map(|s| s.trim().to_string()).unwrap_or_default();
        let shape = match (real(object, CENTER)?, real(object, WIDTH)?) {
            (Some(center), Some(width)) => match function.as_str() {
                "" | "LINEAR" if width >= 1.0 => Shape::Linear { center, width },
                "LINEAR_EXACT" if width > 0.0 => Shape::LinearExact { center, width },
                "SIGMOID" if width > 0.0 => Shape::Sigmoid { center, width },
                "" | "LINEAR" | "LINEAR_EXACT" | "SIGMOID" => return Err(bad_tag(WIDTH, width, "1 or more")),
                other => return Err(bad_tag(FUNCTION, other, "LINEAR, LINEAR_EXACT or SIGMOID")),
            },
            // With a window beside it the table is another view of the same.
            _ if object.element_opt(VOI_LUT.0).ok().flatten().is_some() => {
                return Err(bad_tag(VOI_LUT, "there", "a window beside it, or none of both"));
            }
            _ => {
                let (low, high) = form.range();
                let ends = [low, high].map(|v| slope * f64::from(v) + intercept);
                Shape::Range(ends[0].min(ends[1]), ends[0].max(ends[1]))
            }
        };
        Ok(Curve { slope, intercept, shape })
    }

    /// `value` as stored; the result is beyond 0..1 outside of the window.
    fn at(&self, value: f64) -> f64 {
        let x = self.slope * value + self.intercept;
        match self.shape {
            Shape::Range(low, high) => (x - low) / (high - low).max(f64::MIN_POSITIVE),
            // A width of 1 is a threshold.
            Shape::Linear { center, width: 1.0 } => f64::from(u8::from(x > center - 0.5)),
            Shape::Linear { center, width } => (x - (center - 0.5)) / (width - 1.0) + 0.5,
            Shape::LinearExact { center, width } => (x - center) / width + 0.5,
            Shape::Sigmoid { center, width } => 1.0 / (1.0 + (-4.0 * (x - center) / width).exp()),
        }
    }
}

/// Values as stored, `[height, width, channels]`.
struct Samples {
    values: Vec<i32>,
    /// Whether three channels are Y, Cb and Cr.
    is_ybr: bool,
}

fn samples(object: &DefaultDicomObject, form: &Form) -> Result<Samples, Problem> {
    let count = form.pixels() * usize::from(form.channels);
    if JPEG_2000.contains(&form.syntax.as_str()) {
        return jpeg_2000(&fragments(object)?, form);
    }
    let is_jpeg = JPEG.contains(&form.syntax.as_str());
    let mut as_stored = None;
    if is_jpeg {
        let bytes = fragments(object)?;
        check_jpeg(&bytes, form)?;
        if form.photometric == "RGB" && !jpeg_tells_colours(&bytes) {
            let mut decoder = jpeg_decoder::Decoder::new(bytes.as_slice());
            decoder.set_color_transform(jpeg_decoder::ColorTransform::RGB);
            as_stored = Some(decoder.decode().map_err(|e| unread(&e))?);
        }
    }
    let bytes = match as_stored {
        Some(bytes) => bytes,
        None => object.decode_pixel_data_frame(0).map_err(|e| unread(&e))?.data().to_vec(),
    };
    let found = bytes.len() / (form.allocated as usize / 8);
    if found < count {
        let found = format!("it has {found} of {count} samples");
        return Err(Problem::Truncated { format: NAME, found });
    }
    let mut values: Vec<i32> = if form.allocated == 8 {
        bytes[..count].iter().map(|b| form.value(u16::from(*b))).collect()
    } else {
        bytes.as_chunks::<2>().0[..count].iter().map(|b| form.value(u16::from_le_bytes(*b))).collect()
    };
    let is_plain = NOT_COMPRESSED.contains(&form.syntax.as_str());
    if is_plain && form.channels == 3 && form.photometric == "YBR_FULL_422" {
        return Err(bad_tag(
            PHOTOMETRIC,
            &form.photometric,
            "YBR_FULL or RGB where pixels are not compressed",
        ));
    }
    if is_plain && form.channels == 3 && form.planar {
        let plane = form.pixels();
        values = (0..count).map(|i| values[i % 3 * plane + i / 3]).collect();
    }
    // The JPEG decoder gives RGB, but of lossless JPEG what is stored.
    let is_stored = !is_jpeg || JPEG_LOSSLESS.contains(&form.syntax.as_str());
    Ok(Samples { values, is_ybr: is_stored && form.photometric.starts_with("YBR_FULL") })
}

/// The compressed image, its fragments put together.
fn fragments(object: &DefaultDicomObject) -> Result<Vec<u8>, Problem> {
    let element = object.element(PIXELS.0).map_err(|e| unread(&e))?;
    let fragments = element
        .fragments()
        .ok_or_else(|| corrupt("its pixels are not in fragments, as compressed ones are"))?;
    Ok(fragments.concat())
}

/// Decoders fill up what a cut JPEG lacks, so that it is whole and of the size that the file tells is checked first.
fn check_jpeg(bytes: &[u8], form: &Form) -> Result<(), Problem> {
    let start = bytes.get(..2).is_some_and(|b| b == [0xFF, 0xD8]);
    if !start || !jpeg_is_whole(bytes) {
        let found = "the JPEG in it has no start or end marker".into();
        return Err(Problem::Truncated { format: NAME, found });
    }
    let inner = jpeg(&mut std::io::Cursor::new(bytes)).map_err(corrupt)?;
    if inner.bits != 8 && !JPEG_LOSSLESS.contains(&form.syntax.as_str()) {
        return Err(Problem::DicomJpegBits { bits: inner.bits });
    }
    let allocated = if inner.bits <= 8 { 8 } else { 16 };
    if (inner.width, inner.height, inner.channels, allocated)
        != (form.width, form.height, form.channels, form.allocated)
    {
        return Err(other_size("JPEG", (inner.width, inner.height), inner.channels.into(), inner.bits, form));
    }
    Ok(())
}

/// Whether a JPEG says by a JFIF or Adobe segment which colours its three components are. Decoders take those of one that
/// does not for YCbCr, but in DICOM the Photometric Interpretation says it (PS3.5, 8.2.1).
fn jpeg_tells_colours(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xFF, marker, high, low, body @ ..] = rest
        && *marker != START_OF_SCAN
    {
        if (*marker == 0xE0 && body.starts_with(b"JFIF")) || (*marker == 0xEE && body.starts_with(b"Adobe")) {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = rest.get(2 + length..).unwrap_or_default();
    }
    false
}

fn other_size(what: &str, (width, height): (u32, u32), channels: usize, bits: u8, form: &Form) -> Problem {
    corrupt(format!(
        "the {what} in it is {width}×{height} with {channels} samples of {bits} bits, its header says {}×{} with {} of {}",
        form.width, form.height, form.channels, form.allocated
    ))
}

fn jpeg_2000(bytes: &[u8], form: &Form) -> Result<Samples, Problem> {
    let Some(&sign) = bytes.get(SSIZ).filter(|_| bytes.starts_with(&[0xFF, 0x4F, 0xFF, 0x51])) else {
        return Err(corrupt("its pixels are no JPEG 2000 codestream"));
    };
    let settings = hayro_jpeg2000::DecodeSettings { strict: true, ..Default::default() };
    let image = hayro_jpeg2000::Image::new(bytes, &settings).map_err(|e| unread(&e))?;
    let size = (image.width(), image.height());
    let bits = image.original_bit_depth();
    if size != (form.width, form.height) {
        return Err(other_size("JPEG 2000", size, form.channels.into(), bits, form));
    }
    let mut context = hayro_jpeg2000::DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|e| unread(&e))?;
    let planes = decoded.components();
    let fits = |plane: &hayro_jpeg2000::ComponentData| plane.samples().len() == form.pixels();
    if planes.len() != usize::from(form.channels) || !planes.iter().all(fits) {
        return Err(other_size("JPEG 2000", size, planes.len(), bits, form));
    }
    let (low, high) = form.range();
    // The decoder lifts signed values as it does unsigned ones.
    let lifted = if sign & 0x80 == 0 { 0 } else { 1i32 << (bits - 1) };
    let value = |sample: f32| {
        let value = sample.round() as i32 - lifted;
        // Signed values may be coded as the unsigned numbers of the same bits.
        let value = if form.signed && value > high { value.saturating_sub(1 << form.stored) } else { value };
        value.clamp(low, high)
    };
    let values = (0..form.pixels()).flat_map(|i| planes.iter().map(move |p| value(p.samples()[i]))).collect();
    Ok(Samples { values, is_ybr: form.photometric.starts_with("YBR_FULL") })
}

//! A mask as a DICOM Segmentation object (PS3.3 A.51): one frame, one segment, BINARY.
//!
//! It refers to the image that the mask was made of and lies in its study: patient and study are copied, and where the
//! image tells its place in the patient, so is that. What is segmented is not known here: the segment is called
//! Foreground, by a code of wgseg's own.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::mem::InMemElement;
use dicom_object::{DefaultDicomObject, FileMetaTableBuilder, InMemDicomObject, OpenFileOptions, Tag};
use sha2::{Digest, Sha256};

use super::dicom::{PIXELS, bad_tag, corrupt, guarded, is_dicom, unread};
use super::error::{DataError, Problem};
use super::images::ImageFile;

const SEGMENTATION_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.66.4";
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
/// JPEG baseline and extended, JPEG 2000 with loss, with their names in PS3.3 C.7.6.1.1.5.
const LOSSY: [(&str, &str); 3] = [
    ("1.2.840.10008.1.2.4.50", "ISO_10918_1"),
    ("1.2.840.10008.1.2.4.51", "ISO_10918_1"),
    ("1.2.840.10008.1.2.4.91", "ISO_15444_1"),
];

const SOP_CLASS: (Tag, &str) = (Tag(0x0008, 0x0016), "SOP Class UID");
const SOP_INSTANCE: (Tag, &str) = (Tag(0x0008, 0x0018), "SOP Instance UID");
const STUDY: (Tag, &str) = (Tag(0x0020, 0x000D), "Study Instance UID");
const SERIES: (Tag, &str) = (Tag(0x0020, 0x000E), "Series Instance UID");

/// Of patient and study: copied, and empty where the image lacks them.
const COPIED: [(Tag, VR); 9] = [
    (Tag(0x0008, 0x0020), VR::DA), // Study Date
    (Tag(0x0008, 0x0030), VR::TM), // Study Time
    (Tag(0x0008, 0x0050), VR::SH), // Accession Number
    (Tag(0x0008, 0x0090), VR::PN), // Referring Physician's Name
    (Tag(0x0010, 0x0010), VR::PN), // Patient's Name
    (Tag(0x0010, 0x0020), VR::LO), // Patient ID
    (Tag(0x0010, 0x0030), VR::DA), // Patient's Birth Date
    (Tag(0x0010, 0x0040), VR::CS), // Patient's Sex
    (Tag(0x0020, 0x0010), VR::SH), // Study ID
];

const PATIENT_ORIENTATION: Tag = Tag(0x0020, 0x0020);
const POSITION: Tag = Tag(0x0020, 0x0032);
const ORIENTATION: Tag = Tag(0x0020, 0x0037);
const FRAME_OF_REFERENCE: Tag = Tag(0x0020, 0x0052);
const SLICE_THICKNESS: Tag = Tag(0x0018, 0x0050);
const SPACING: Tag = Tag(0x0028, 0x0030);
const LOSSY_COMPRESSION: Tag = Tag(0x0028, 0x2110);
const LOSSY_RATIO: Tag = Tag(0x0028, 0x2112);
const LOSSY_METHOD: Tag = Tag(0x0028, 0x2114);
const SEGMENT_IDENTIFICATION: Tag = Tag(0x0062, 0x000A);
const REFERENCED_SEGMENT: Tag = Tag(0x0062, 0x000B);

type Object = InMemDicomObject;

/// Refuses images that are no DICOM, to which no such object can refer, before anything is predicted.
///
/// # Errors
/// The first of them, with how many there are; a file cannot be read.
pub fn check(images: &[ImageFile]) -> Result<(), DataError> {
    let mut others = vec![];
    for ImageFile { path, .. } in images {
        let mut start = vec![];
        let read = File::open(path).and_then(|file| file.take(132).read_to_end(&mut start));
        read.map_err(|error| DataError::io(path, &error))?;
        if !is_dicom(path, &start) {
            others.push(path);
        }
    }
    match others.first() {
        None => Ok(()),
        Some(first) => Err(DataError::at(first, Problem::SegOfOther { images: others.len() })),
    }
}

/// The bytes of a Segmentation object of `mask [height, width]`, made of the DICOM image `source` of that size.
///
/// # Errors
/// `source` cannot be read as DICOM; it lacks a UID that the object must refer to; `mask` is of another size.
pub fn encode(source: &Path, mask: &[bool], width: usize, height: usize) -> Result<Vec<u8>, DataError> {
    let bytes = std::fs::metadata(source).map_err(|e| DataError::io(source, &e))?.len();
    guarded(source, || {
        let image = OpenFileOptions::new().read_until(PIXELS.0).open_file(source).map_err(|e| unread(&e))?;
        if mask.len() != width * height || width > usize::from(u16::MAX) || height > usize::from(u16::MAX) {
            return Err(corrupt(format!("its mask has {} pixels, not {width}×{height}", mask.len())));
        }
        let object = segmentation(&image, bytes, mask, width as u16, height as u16)?;
        let meta = FileMetaTableBuilder::new().transfer_syntax(EXPLICIT_LITTLE_ENDIAN);
        let file = object.with_meta(meta).map_err(|e| unread(&e))?;
        let mut written = vec![];
        file.write_all(&mut written).map_err(|e| unread(&e))?;
        Ok(written)
    })
}

fn segmentation(
    image: &DefaultDicomObject,
    bytes: u64,
    mask: &[bool],
    width: u16,
    height: u16,
) -> Result<Object, Problem> {
    let [class, instance, study, series] =
        [SOP_CLASS, SOP_INSTANCE, STUDY, SERIES].map(|tag| uid(image, tag));
    let (class, instance, study, series) = (class?, instance?, study?, series?);
    let now = jiff::Timestamp::now();
    let uids = Uids::new(&instance, mask);
    let reference = || vec![ui(Tag(0x0008, 0x1150), &class), ui(Tag(0x0008, 0x1155), &instance)];
    let dimensions = uids.uid("dimensions");

    let mut elements = vec![
        text(Tag(0x0008, 0x0005), VR::CS, "ISO_IR 192"),
        text(Tag(0x0008, 0x0008), VR::CS, "DERIVED\\PRIMARY"),
        ui(SOP_CLASS.0, SEGMENTATION_STORAGE),
        ui(SOP_INSTANCE.0, &uids.uid("instance")),
        text(Tag(0x0008, 0x0023), VR::DA, now.strftime("%Y%m%d").to_string()),
        text(Tag(0x0008, 0x0033), VR::TM, now.strftime("%H%M%S").to_string()),
        text(Tag(0x0008, 0x0060), VR::CS, "SEG"),
        text(Tag(0x0008, 0x0070), VR::LO, "wgseg"),
        text(Tag(0x0008, 0x103E), VR::LO, "Segmentation by wgseg"),
        text(Tag(0x0008, 0x1090), VR::LO, "wgseg"),
        // Every image of a series that the object refers to.
        items(Tag(0x0008, 0x1115), [vec![items(Tag(0x0008, 0x114A), [reference()]), ui(SERIES.0, &series)]]),
        text(Tag(0x0018, 0x1000), VR::LO, "0"),
        text(Tag(0x0018, 0x1020), VR::LO, env!("CARGO_PKG_VERSION")),
        ui(STUDY.0, &study),
        ui(SERIES.0, &uids.uid("series")),
        text(Tag(0x0020, 0x0011), VR::IS, "1"),
        text(Tag(0x0020, 0x0013), VR::IS, "1"),
        items(Tag(0x0020, 0x9221), [vec![ui(Tag(0x0020, 0x9164), &dimensions)]]),
        items(
            Tag(0x0020, 0x9222),
            [vec![
                ui(Tag(0x0020, 0x9164), &dimensions),
                tag(Tag(0x0020, 0x9165), REFERENCED_SEGMENT),
                tag(Tag(0x0020, 0x9167), SEGMENT_IDENTIFICATION),
            ]],
        ),
        short(Tag(0x0028, 0x0002), 1),
        text(Tag(0x0028, 0x0004), VR::CS, "MONOCHROME2"),
        text(Tag(0x0028, 0x0008), VR::IS, "1"),
        short(Tag(0x0028, 0x0010), height),
        short(Tag(0x0028, 0x0011), width),
        short(Tag(0x0028, 0x0100), 1),
        short(Tag(0x0028, 0x0101), 1),
        short(Tag(0x0028, 0x0102), 0),
        short(Tag(0x0028, 0x0103), 0),
        text(Tag(0x0062, 0x0001), VR::CS, "BINARY"),
        items(Tag(0x0062, 0x0002), [segment()]),
        text(Tag(0x0070, 0x0080), VR::CS, "WGSEG"),
        text(Tag(0x0070, 0x0081), VR::LO, "Made by a program for research, not for diagnosis"),
        text(Tag(0x0070, 0x0084), VR::PN, ""),
        DataElement::new(PIXELS.0, VR::OB, PrimitiveValue::U8(packed(mask).into())),
    ];
    elements.extend(COPIED.map(|(tag, vr)| copied(image, tag).unwrap_or_else(|| text(tag, vr, ""))));
    elements.extend(compression(image, bytes));
    elements.extend(places(image, reference()));
    Ok(Object::from_element_iter(elements))
}

/// What the one segment is.
fn segment() -> Vec<InMemElement> {
    vec![
        code(Tag(0x0062, 0x0003), "309825002", "SCT", "Spatial and Relational Concept"),
        short(Tag(0x0062, 0x0004), 1),
        text(Tag(0x0062, 0x0005), VR::LO, "Foreground"),
        text(Tag(0x0062, 0x0008), VR::CS, "AUTOMATIC"),
        text(Tag(0x0062, 0x0009), VR::LO, "wgseg"),
        code(Tag(0x0062, 0x000F), "FOREGROUND", "99WGSEG", "Foreground"),
    ]
}

/// The functional groups, and the place in the patient where the image tells it.
fn places(image: &DefaultDicomObject, reference: Vec<InMemElement>) -> Vec<InMemElement> {
    let mut source = reference;
    source.push(text(Tag(0x0028, 0x135A), VR::CS, "YES"));
    source.push(code(Tag(0x0040, 0xA170), "121322", "DCM", "Source image for image processing operation"));
    let derivation = vec![
        items(Tag(0x0008, 0x2112), [source]),
        code(Tag(0x0008, 0x9215), "113076", "DCM", "Segmentation"),
    ];
    let mut shared = vec![items(SEGMENT_IDENTIFICATION, [vec![short(REFERENCED_SEGMENT, 1)]])];
    let index = DataElement::new(Tag(0x0020, 0x9157), VR::UL, PrimitiveValue::from(1u32));
    // Of the frame rather than shared, as readers look for the source there.
    let mut frame = vec![items(Tag(0x0008, 0x9124), [derivation]), items(Tag(0x0020, 0x9111), [vec![index]])];
    let mut elements = vec![];
    let of = |tag| copied(image, tag);
    match (of(FRAME_OF_REFERENCE), of(POSITION), of(ORIENTATION), of(SPACING)) {
        (Some(reference), Some(position), Some(orientation), Some(spacing)) => {
            elements.push(reference);
            elements.push(text(Tag(0x0020, 0x1040), VR::LO, ""));
            let measures: Vec<_> = of(SLICE_THICKNESS).into_iter().chain([spacing]).collect();
            shared.push(items(Tag(0x0028, 0x9110), [measures]));
            shared.push(items(Tag(0x0020, 0x9116), [vec![orientation]]));
            frame.push(items(Tag(0x0020, 0x9113), [vec![position]]));
        }
        _ => elements.push(of(PATIENT_ORIENTATION).unwrap_or_else(|| text(PATIENT_ORIENTATION, VR::CS, ""))),
    }
    elements.push(items(Tag(0x5200, 0x9229), [shared]));
    elements.push(items(Tag(0x5200, 0x9230), [frame]));
    elements
}

/// Whether the image was ever compressed with loss, which is told of what is derived from it as well.
fn compression(image: &DefaultDicomObject, bytes: u64) -> Vec<InMemElement> {
    let syntax = image.meta().transfer_syntax().trim_end_matches(['\0', ' ']);
    let method = LOSSY.iter().find(|(lossy, _)| *lossy == syntax).map(|(_, method)| *method);
    let told = copied(image, LOSSY_COMPRESSION).and_then(|e| e.to_str().ok().map(|s| s.trim() == "01"));
    if method.is_none() && told != Some(true) {
        return vec![text(LOSSY_COMPRESSION, VR::CS, "00")];
    }
    let of = |tag: u16| copied(image, Tag(0x0028, tag)).and_then(|e| e.to_int::<u32>().ok()).unwrap_or(1);
    // Rows, columns, samples and bits.
    let raw = [0x0010, 0x0011, 0x0002, 0x0100].map(of).map(f64::from).iter().product::<f64>() / 8.0;
    // Where an earlier compression is told without how it was done, nobody knows.
    let ratio = method.map(|_| text(LOSSY_RATIO, VR::DS, format!("{:.2}", raw / bytes.max(1) as f64)));
    let method = method.map(|method| text(LOSSY_METHOD, VR::CS, method));
    let elements = [
        Some(text(LOSSY_COMPRESSION, VR::CS, "01")),
        copied(image, LOSSY_RATIO).or(ratio),
        copied(image, LOSSY_METHOD).or(method),
    ];
    elements.into_iter().flatten().collect()
}

/// An element of the image that has a value.
fn copied(image: &DefaultDicomObject, tag: Tag) -> Option<InMemElement> {
    image.get(tag).filter(|element| element.value().multiplicity() > 0).cloned()
}

fn uid(image: &DefaultDicomObject, (tag, name): (Tag, &'static str)) -> Result<String, Problem> {
    let found =
        copied(image, tag).and_then(|e| e.to_str().ok().map(|s| s.trim_matches([' ', '\0']).to_owned()));
    match found {
        Some(uid) if !uid.is_empty() => Ok(uid),
        _ => Err(bad_tag((tag, name), "missing", "a UID, to which a segmentation refers")),
    }
}

/// UIDs of one object, by PS3.5 B.2: 2.25 and a UUID as a number. It is of what the object is made of and of the time, so
/// that no two are alike.
struct Uids(Sha256);

impl Uids {
    fn new(instance: &str, mask: &[bool]) -> Uids {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut hash = Sha256::new_with_prefix(instance);
        hash.update(packed(mask));
        hash.update(since.as_nanos().to_le_bytes());
        hash.update(std::process::id().to_le_bytes());
        Uids(hash)
    }

    fn uid(&self, what: &str) -> String {
        let digest = self.0.clone().chain_update(what).finalize();
        let mut number = [0; 16];
        number.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        // Version 8 and variant 10 of RFC 9562: a UUID of one's own making.
        number[6] = number[6] & 0x0F | 0x80;
        number[8] = number[8] & 0x3F | 0x80;
        format!("2.25.{}", u128::from_be_bytes(number))
    }
}

/// Eight pixels a byte, the first in the lowest bit (PS3.5 8.1.1), of even length.
fn packed(mask: &[bool]) -> Vec<u8> {
    let byte = |pixels: &[bool]| pixels.iter().rev().fold(0, |byte, pixel| byte << 1 | u8::from(*pixel));
    let mut bytes: Vec<u8> = mask.chunks(8).map(byte).collect();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

fn text(tag: Tag, vr: VR, value: impl Into<String>) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(value.into()))
}

fn ui(tag: Tag, uid: &str) -> InMemElement {
    text(tag, VR::UI, uid)
}

fn short(tag: Tag, value: u16) -> InMemElement {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

fn tag(at: Tag, pointed: Tag) -> InMemElement {
    DataElement::new(at, VR::AT, PrimitiveValue::Tags([pointed].into_iter().collect()))
}

fn items<const N: usize>(tag: Tag, items: [Vec<InMemElement>; N]) -> InMemElement {
    let items: Vec<Object> = items.into_iter().map(Object::from_element_iter).collect();
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// A sequence of one code (PS3.3 8.8).
fn code(tag: Tag, value: &str, scheme: &str, meaning: &str) -> InMemElement {
    items(
        tag,
        [vec![
            text(Tag(0x0008, 0x0100), VR::SH, value),
            text(Tag(0x0008, 0x0102), VR::SH, scheme),
            text(Tag(0x0008, 0x0104), VR::LO, meaning),
        ]],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_packed_from_the_lowest_bit_on() {
        let mask: Vec<bool> = [1, 0, 0, 0, 0, 0, 0, 1, 0, 1].map(|pixel| pixel == 1).to_vec();
        assert_eq!(packed(&mask), [0b1000_0001, 0b10]);
        assert_eq!(packed(&mask[..8]), [0b1000_0001, 0]);
    }

    #[test]
    fn uids_are_their_own_and_of_the_standards_form() {
        let uids = Uids::new("1.2.3", &[true]);
        let (instance, series) = (uids.uid("instance"), uids.uid("series"));
        assert_ne!(instance, series);
        assert_ne!(instance, Uids::new("1.2.3", &[true]).uid("instance"));
        for uid in [instance, series] {
            let number: u128 = uid.strip_prefix("2.25.").unwrap().parse().unwrap();
            assert!(uid.len() <= 64 && number >> 76 & 0xF == 8, "{uid}");
        }
    }

    #[test]
    fn what_is_no_dicom_image_is_refused() {
        let folder = crate::data::testing::folder(1);
        let image = folder.path().join("images/a00.png");
        let file = ImageFile { id: "a00".into(), path: image.clone() };
        let error = check(&[file.clone(), file]).unwrap_err();
        assert_eq!(error.problem, Problem::SegOfOther { images: 2 });
        let error = encode(&image, &[false; 64], 8, 8).unwrap_err();
        assert_eq!(error.path.as_deref(), Some(&*image));
    }
}

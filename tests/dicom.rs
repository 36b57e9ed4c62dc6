//! DICOM files and the SIIM-ACR set: real ones beside pydicom, damaged ones, and made ones that are to be refused.

mod common;

use std::path::{Path, PathBuf};

use common::real;
use wgseg::data::decode::{Mask, decode_image, decode_mask};
use wgseg::data::header::read_header;
use wgseg::data::import::siim::{SiimOptions, import_siim};
use wgseg::data::{Problem, rle};

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

/// What [`decode_image`] says of a file with these bytes.
fn problem(bytes: &[u8]) -> Problem {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.dcm");
    std::fs::write(&path, bytes).unwrap();
    decode_image(&path, 1).unwrap_err().problem
}

#[test]
fn real_files_are_as_in_pydicom() {
    let text = std::fs::read_to_string(common::fixture("dicom_pixels.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    for folder in ["dicom", "siim/dicom"] {
        let Some(dir) = real(folder) else { return };
        for path in files(&dir) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let want = &expected[name];
            // 12-bit JPEG, which pydicom reads, is refused, as what has no pixels or no DICOM header.
            if want.is_null() || name == "JPGExtended.dcm" {
                let error = decode_image(&path, 1).unwrap_err();
                let found = match name {
                    "reportsi.dcm" => matches!(error.problem, Problem::DicomNoPixels { encrypted: false }),
                    "no_meta.dcm" => matches!(error.problem, Problem::Corrupt { .. }),
                    "JPGExtended.dcm" => error.problem == Problem::DicomJpegBits { bits: 12 },
                    _ => false,
                };
                assert!(found, "{error}");
                continue;
            }
            let shape: Vec<usize> = serde_json::from_value(want["shape"].clone()).unwrap();
            let image = decode_image(&path, shape[2]).unwrap();
            assert_eq!([image.height, image.width, image.channels], shape[..], "{name}");
            let number = |v: &serde_json::Value| v.as_f64().unwrap();
            // Lossy decoders may differ by one level as stored; in the rest 16 bits are rounded.
            let lossy = name.contains("jpeg") || name.contains("J2KI") || name.contains("JPEG2000");
            let tolerance = if folder != "dicom" || name.contains("rgb_jpeg") {
                2.0 / 255.0
            } else if lossy {
                2e-2
            } else {
                1e-5
            };
            let values = image.pixels.iter().map(|v| f64::from(*v));
            let mean = values.clone().sum::<f64>() / image.pixels.len() as f64;
            let std = (values.map(|v| (v - mean).powi(2)).sum::<f64>() / image.pixels.len() as f64).sqrt();
            let close = if lossy || folder != "dicom" { 5e-4 } else { 1e-5 };
            assert!((mean - number(&want["mean"])).abs() < close, "{name}: mean {mean}, {}", want["mean"]);
            assert!((std - number(&want["std"])).abs() < close, "{name}: deviation {std}, {}", want["std"]);
            let places = want["places"].as_array().unwrap().iter().zip(want["values"].as_array().unwrap());
            for (place, value) in places {
                let found = f64::from(image.pixels[place.as_u64().unwrap() as usize]);
                assert!((found - number(value)).abs() < tolerance, "{name} at {place}: {found}, {value}");
            }
        }
    }
}

#[test]
fn damaged_files_are_read_or_refused() {
    let Some(dir) = real("dicom") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("x.dcm");
    let attempt = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        if let Ok(image) = decode_image(&path, 1) {
            assert_eq!(image.pixels.len(), image.width * image.height);
        }
    };
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for file in files(&dir) {
        let whole = std::fs::read(&file).unwrap();
        let large = whole.len() > 100_000;
        for part in 0..if large { 2 } else { 8 } {
            attempt(&whole[..whole.len() * part / 8]);
        }
        for _ in 0..if large { 1 } else { 13 } {
            let mut bytes = whole.clone();
            for _ in 0..1 + random(8) {
                // Half of them in the header, where they do more.
                let end = if random(2) == 0 { bytes.len().min(2000) } else { bytes.len() };
                let at = random(end);
                bytes[at] = random(256) as u8;
            }
            attempt(&bytes);
        }
    }
}

#[test]
fn a_cut_file_is_refused_wherever_it_ends() {
    let Some(dir) = real("dicom") else { return };
    for name in ["CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "JPEG2000.dcm"] {
        let whole = std::fs::read(dir.join(name)).unwrap();
        for part in 1..8 {
            let problem = problem(&whole[..whole.len() * part / 8]);
            assert!(!matches!(problem, Problem::Io { .. } | Problem::Worker { .. }), "{name}: {problem}");
        }
    }
}

/// A DICOM file in explicit little endian, with the elements of a grey image of 2×3 pixels except as `change` says.
fn made(change: &[(u32, &[u8; 2], Vec<u8>)], without: &[u32]) -> Vec<u8> {
    let short = |v: u16| v.to_le_bytes().to_vec();
    let mut elements: Vec<(u32, [u8; 2], Vec<u8>)> = vec![
        (0x0028_0002, *b"US", short(1)),
        (0x0028_0004, *b"CS", b"MONOCHROME2 ".to_vec()),
        (0x0028_0010, *b"US", short(2)),
        (0x0028_0011, *b"US", short(3)),
        (0x0028_0100, *b"US", short(16)),
        (0x0028_0101, *b"US", short(12)),
        (0x0028_0102, *b"US", short(11)),
        (0x0028_0103, *b"US", short(0)),
        (0x7FE0_0010, *b"OW", [0u16, 1, 2, 4095, 2048, 1000].iter().flat_map(|v| v.to_le_bytes()).collect()),
    ];
    for (tag, vr, value) in change {
        elements.retain(|e| e.0 != *tag);
        elements.push((*tag, **vr, value.clone()));
    }
    elements.retain(|e| !without.contains(&e.0));
    elements.sort_by_key(|e| e.0);
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    let syntax =
        change.iter().find(|c| c.0 == 0x0002_0010).map_or(b"1.2.840.10008.1.2.1\0".to_vec(), |c| c.2.clone());
    let mut meta = Vec::new();
    for (tag, vr, value) in [
        (0x0002_0002u32, b"UI", b"1.2.840.10008.5.1.4.1.1.7\0".to_vec()),
        (0x0002_0003, b"UI", b"1.2.3\0".to_vec()),
        (0x0002_0010, b"UI", syntax),
        (0x0002_0012, b"UI", b"1.2\0".to_vec()),
    ] {
        put(&mut meta, tag, *vr, &value);
    }
    put(&mut bytes, 0x0002_0000, *b"UL", &(meta.len() as u32).to_le_bytes());
    bytes.extend(meta);
    for (tag, vr, value) in elements.iter().filter(|e| e.0 >> 16 != 2) {
        put(&mut bytes, *tag, *vr, value);
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, tag: u32, vr: [u8; 2], value: &[u8]) {
    bytes.extend(((tag >> 16) as u16).to_le_bytes());
    bytes.extend((tag as u16).to_le_bytes());
    bytes.extend(vr);
    if [*b"OW", *b"OB", *b"SQ"].contains(&vr) {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend(value);
}

fn shown(change: &[(u32, &[u8; 2], Vec<u8>)]) -> Vec<f32> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no ending");
    std::fs::write(&path, made(change, &[])).unwrap();
    let image = decode_image(&path, 1).unwrap();
    assert_eq!((image.width, image.height), (3, 2));
    image.pixels
}

fn near(found: &[f32], want: [f64; 6]) {
    assert!(found.iter().zip(want).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{found:?}, {want:?}");
}

#[test]
fn grey_values_by_hand() {
    let ds = |text: &str| text.as_bytes().to_vec();
    near(&shown(&[]), [0.0, 1.0 / 4095.0, 2.0 / 4095.0, 1.0, 2048.0 / 4095.0, 1000.0 / 4095.0]);
    let inverted = shown(&[(0x0028_0004, b"CS", b"MONOCHROME1 ".to_vec())]);
    near(&inverted, [1.0, 4094.0 / 4095.0, 4093.0 / 4095.0, 0.0, 2047.0 / 4095.0, 3095.0 / 4095.0]);
    // Signed: 4095 is −1 and 2048 is −2048, of −2048 to 2047.
    let signed = shown(&[(0x0028_0103, b"US", vec![1, 0])]);
    near(&signed, [2048.0, 2049.0, 2050.0, 2047.0, 0.0, 3048.0].map(|v| v / 4095.0));
    // 2·v − 100, of which a window from 900 to 2900 is shown: (x − 1899.5) / 2000 + 0.5.
    let window = shown(&[
        (0x0028_1052, b"DS", ds("-100")),
        (0x0028_1053, b"DS", ds("2 ")),
        (0x0028_1050, b"DS", ds("1900\\50 ")),
        (0x0028_1051, b"DS", ds("2001\\10 ")),
    ]);
    near(&window, [0.0, 0.0, 0.0, 1.0, 1.0, (1900.0 - 1899.5) / 2000.0 + 0.5]);
    // A window counts before a table.
    let both = shown(&[
        (0x0028_1050, b"DS", ds("2000")),
        (0x0028_1051, b"DS", ds("1 ")),
        (0x0028_3010, b"SQ", vec![]),
    ]);
    near(&both, [0.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
}

#[test]
fn what_is_no_image_is_refused_and_says_by_which_tag() {
    let us = |v: u16| v.to_le_bytes().to_vec();
    let tag = |change: &[(u32, &[u8; 2], Vec<u8>)], name: &str| {
        let problem = problem(&made(change, &[]));
        assert!(matches!(&problem, Problem::DicomTag { tag, .. } if tag.contains(name)), "{name}: {problem}");
    };
    tag(&[(0x0028_0008, b"IS", b"30".to_vec())], "Number of Frames (0028,0008)");
    tag(&[(0x0028_0002, b"US", us(4))], "Samples per Pixel");
    tag(&[(0x0028_0004, b"CS", b"PALETTE COLOR ".to_vec())], "Photometric Interpretation");
    tag(&[(0x0028_0100, b"US", us(32))], "Bits Allocated");
    tag(&[(0x0028_0101, b"US", us(17))], "Bits Stored");
    tag(&[(0x0028_0101, b"US", us(0))], "Bits Stored");
    tag(&[(0x0028_0102, b"US", us(16))], "High Bit");
    tag(&[(0x0028_1053, b"DS", b"0 ".to_vec())], "Rescale Slope");
    tag(&[(0x0028_1053, b"DS", b"x ".to_vec())], "Rescale Slope");
    tag(&[(0x0028_3000, b"SQ", vec![])], "Modality LUT Sequence");
    tag(&[(0x0028_3010, b"SQ", vec![])], "VOI LUT Sequence");
    let size = |height, width| {
        problem(&made(&[(0x0028_0010, b"US", us(height)), (0x0028_0011, b"US", us(width))], &[]))
    };
    assert_eq!(size(60_000, 60_000), Problem::TooLarge { width: 60_000, height: 60_000 });
    assert_eq!(size(0, 3), Problem::ZeroPixels { width: 3, height: 0 });
    assert!(matches!(size(20, 30), Problem::Corrupt { .. } | Problem::Truncated { .. }));
    assert_eq!(problem(&made(&[], &[0x7FE0_0010])), Problem::DicomNoPixels { encrypted: false });
    let encrypted = made(&[(0x0400_0500, b"SQ", vec![])], &[0x7FE0_0010]);
    assert_eq!(problem(&encrypted), Problem::DicomNoPixels { encrypted: true });
    let mpeg = b"1.2.840.10008.1.2.4.102\0".to_vec();
    assert_eq!(
        problem(&made(&[(0x0002_0010, b"UI", mpeg)], &[])),
        Problem::DicomSyntax { uid: "1.2.840.10008.1.2.4.102".into() }
    );
    assert_eq!(problem(b""), Problem::EmptyFile);
}

#[test]
fn the_real_run_length_codes_come_back() {
    let Some(table) = real("siim/train-rle.csv") else { return };
    let mut csv = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(table).unwrap();
    let mut rows = 0;
    for record in csv.records() {
        let record = record.unwrap();
        let mask = rle::decode(&record[1], 1024, 1024).unwrap();
        assert_eq!(rle::encode(1024, 1024, |x, y| mask.pixels[y * 1024 + x] == 1), record[1]);
        rows += 1;
    }
    assert_eq!(rows, 750);
}

#[test]
fn the_real_masks_are_those_of_the_codes() {
    let Some(dir) = real("siim") else { return };
    let mut codes = std::collections::BTreeMap::<String, Vec<String>>::new();
    for table in ["train-rle.csv", "train-rle-sample.csv"] {
        let mut csv = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(dir.join(table)).unwrap();
        for record in csv.records().map(Result::unwrap) {
            codes.entry(record[0].to_string()).or_default().push(record[1].to_string());
        }
    }
    let mut compared = 0;
    for path in files(&dir.join("mask")) {
        let Some(codes) = codes.get(path.file_stem().unwrap().to_str().unwrap()) else { continue };
        let given = decode_mask(&path, Some(127.0)).unwrap();
        let mut mask = Mask { width: given.width, height: given.height, pixels: vec![0; given.pixels.len()] };
        codes.iter().for_each(|code| rle::add(code, &mut mask).unwrap());
        assert!(mask.pixels == given.pixels, "{}", path.display());
        compared += 1;
    }
    assert_eq!(compared, 6);
}

/// Pixel Data of one fragment.
fn encapsulated(mut fragment: Vec<u8>) -> Vec<u8> {
    if fragment.len() % 2 == 1 {
        fragment.push(0);
    }
    let item = |tag: u16, bytes: &[u8]| {
        let mut item = [0xFFFEu16.to_le_bytes(), tag.to_le_bytes()].concat();
        item.extend((bytes.len() as u32).to_le_bytes());
        item.extend(bytes);
        item
    };
    // The offset table, which may be empty, the fragment and the end.
    [item(0xE000, &[]), item(0xE000, &fragment), item(0xE0DD, &[])].concat()
}

/// An 8-bit file of 16×16 pixels whose fragment is `fragment`.
fn encoded(syntax: &str, photometric: &str, channels: u16, fragment: Vec<u8>) -> Vec<u8> {
    let short = |v: u16| v.to_le_bytes().to_vec();
    let even = |text: &str, fill: u8| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(text.len().next_multiple_of(2), fill);
        bytes
    };
    let mut bytes = made(
        &[
            (0x0002_0010, b"UI", even(syntax, 0)),
            (0x0028_0002, b"US", short(channels)),
            (0x0028_0004, b"CS", even(photometric, b' ')),
            (0x0028_0006, b"US", short(0)),
            (0x0028_0010, b"US", short(16)),
            (0x0028_0011, b"US", short(16)),
            (0x0028_0100, b"US", short(8)),
            (0x0028_0101, b"US", short(8)),
            (0x0028_0102, b"US", short(7)),
        ],
        &[0x7FE0_0010],
    );
    // Of a length that is not told, as all that is in fragments.
    bytes.extend([0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    bytes.extend(encapsulated(fragment));
    bytes
}

/// The three channels of the first pixel, from 0 to 255.
fn first_pixel(bytes: &[u8]) -> [f32; 3] {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.dcm");
    std::fs::write(&path, bytes).unwrap();
    let image = decode_image(&path, 3).unwrap();
    assert_eq!((image.width, image.height), (16, 16));
    [0, 1, 2].map(|channel| 255.0 * image.pixels[channel])
}

#[test]
fn a_jpeg_that_does_not_tell_its_colours_has_those_of_the_header() {
    const BASELINE: &str = "1.2.840.10008.1.2.4.50";
    let red = image::RgbImage::from_pixel(16, 16, image::Rgb([255, 0, 0]));
    let mut jfif = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jfif, 100).encode_image(&red).unwrap();
    assert_eq!(&jfif[2..4], [0xFF, 0xE0]);
    let length = usize::from(u16::from_be_bytes([jfif[4], jfif[5]]));
    let bare = [&jfif[..2], &jfif[4 + length..]].concat();

    let near = |found: [f32; 3], expected: [f32; 3]| {
        let is_near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 3.0);
        assert!(is_near, "{found:?}, expected {expected:?}");
    };
    let of = |photometric: &str, jpeg: &[u8]| first_pixel(&encoded(BASELINE, photometric, 3, jpeg.to_vec()));
    near(of("YBR_FULL_422", &jfif), [255.0, 0.0, 0.0]);
    near(of("YBR_FULL_422", &bare), [255.0, 0.0, 0.0]);
    // JFIF is always YCbCr, whatever the header says.
    near(of("RGB", &jfif), [255.0, 0.0, 0.0]);
    // Red is Y 76, Cb 85, Cr 255 (ITU-T T.871).
    near(of("RGB", &bare), [76.0, 85.0, 255.0]);
}

/// Lossless JPEG (ISO 10918-1, H) of 16×16 pixels of one colour: the first differs from 128, each other from its neighbour by 0.
fn lossless(colour: [u8; 3]) -> Vec<u8> {
    let mut jpeg = vec![0xFF, 0xD8];
    let mut segment = |marker: u8, body: &[u8]| {
        jpeg.extend([0xFF, marker]);
        jpeg.extend((body.len() as u16 + 2).to_be_bytes());
        jpeg.extend(body);
    };
    // Categories 0, 7 and 6 by the codes 0, 10 and 110.
    let mut table = vec![0u8; 17];
    table[1..4].copy_from_slice(&[1, 1, 1]);
    table.extend([0, 7, 6]);
    segment(0xC4, &table);
    segment(0xC3, &[8, 0, 16, 0, 16, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    // Each is predicted by its left neighbour.
    segment(0xDA, &[3, 1, 0, 2, 0, 3, 0, 1, 0, 0]);
    let mut bits = String::new();
    for value in colour {
        let difference = i32::from(value) - 128;
        let (code, category) = if difference.abs() >= 64 { ("10", 7) } else { ("110", 6) };
        assert!((32..128).contains(&difference.abs()));
        let low = if difference < 0 { difference + (1 << category) - 1 } else { difference };
        bits += &format!("{code}{low:0category$b}");
    }
    bits += &"0".repeat(3 * 255);
    bits += &"1".repeat(bits.len().next_multiple_of(8) - bits.len());
    let bytes = bits
        .as_bytes()
        .chunks(8)
        .map(|bits| u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap());
    let bytes: Vec<u8> = bytes.collect();
    assert!(!bytes.contains(&0xFF), "it would have to be stuffed");
    jpeg.extend(bytes);
    jpeg.extend([0xFF, 0xD9]);
    jpeg
}

#[test]
fn a_lossless_jpeg_has_the_colours_of_the_header() {
    // Y 76, Cb 85, Cr 255: red.
    let jpeg = lossless([76, 85, 255]);
    let of = |photometric: &str| {
        first_pixel(&encoded("1.2.840.10008.1.2.4.70", photometric, 3, jpeg.clone())).map(f32::round)
    };
    assert_eq!(of("RGB"), [76.0, 85.0, 255.0]);
    let [red, green, blue] = of("YBR_FULL");
    assert!(red >= 253.0 && green <= 2.0 && blue <= 2.0, "{red} {green} {blue}");
}

#[test]
fn grey_jpeg_and_run_lengths_are_decoded() {
    let rows: Vec<u8> = (0..16).flat_map(|y| [y * 16; 16]).collect();
    let grey = image::GrayImage::from_raw(16, 16, rows.clone()).unwrap();
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 100).encode_image(&grey).unwrap();
    // One segment (PS3.5, G): each row is a run of 16, written as 1 - 16 and the value.
    let mut runs = [1u32, 64].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    runs.resize(64, 0);
    runs.extend((0..16u8).flat_map(|y| [-15i8 as u8, y * 16]));
    for (syntax, fragment, bound) in
        [("1.2.840.10008.1.2.4.50", jpeg, 3.0), ("1.2.840.10008.1.2.5", runs, 0.0)]
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.dcm");
        std::fs::write(&path, encoded(syntax, "MONOCHROME2", 1, fragment)).unwrap();
        let image = decode_image(&path, 1).unwrap();
        for (found, expected) in image.pixels.iter().zip(&rows) {
            let off = (255.0 * found - f32::from(*expected)).abs();
            assert!(off <= bound + 1e-3, "{syntax}: {found} for {expected}");
        }
    }
}

#[test]
fn of_files_of_one_id_the_first_by_path_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let uid = (0x0008_0018, b"UI" as &[u8; 2], b"1.2.8\0".to_vec());
    let names = ["z/1.2.7.dcm", "b/1.2.7.dcm", "c/1.2.7.dcm", "d/IM1", "e/IM1", "a/IM2", "a/1.2.7.dcm"];
    for (i, name) in names.iter().enumerate() {
        let path = at("dicom").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let patient = (0x0010_0020, b"LO" as &[u8; 2], format!("P{i}.").into_bytes());
        let bytes = made(&[patient, uid.clone()], &[]);
        // The first of one id is cut short.
        let length = if *name == "a/1.2.7.dcm" { bytes.len() - 5 } else { bytes.len() };
        std::fs::write(path, &bytes[..length]).unwrap();
    }
    std::fs::write(at("t.csv"), "ImageId,EncodedPixels\n1.2.7,-1\n1.2.8,-1\n").unwrap();
    for round in 0..5 {
        let options = SiimOptions { dicom: at("dicom"), csv: at("t.csv"), size: None, workers: 4 };
        let out = at(&format!("out{round}"));
        let summary = import_siim(&out, &options).unwrap();
        let patients = std::fs::read_to_string(out.join("patients.csv")).unwrap();
        assert_eq!(patients, "id,patient\n1.2.7,P1.\n1.2.8,P5.\n");
        let twice = summary.skipped.iter().filter(|s| s.reason.contains("taken twice")).count();
        assert_eq!((summary.skipped.len(), twice), (5, 4), "{:?}", summary.skipped);
    }
}

#[test]
fn a_nested_set_is_imported_and_what_was_not_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("dicom/a/b")).unwrap();
    std::fs::create_dir_all(at("dicom/c")).unwrap();
    let patient = |name: &str| (0x0010_0020, b"LO", name.as_bytes().to_vec());
    std::fs::write(at("dicom/a/b/1.2.7.dcm"), made(&[patient("P1")], &[])).unwrap();
    // Found by its UID.
    let by_uid = made(&[patient("P2"), (0x0008_0018, b"UI", b"1.2.8\0".to_vec())], &[]);
    std::fs::write(at("dicom/c/IM0001"), by_uid).unwrap();
    std::fs::write(at("dicom/c/1.2.9.dcm"), made(&[], &[0x7FE0_0010])).unwrap();
    std::fs::write(at("dicom/c/1.2.10.dcm"), made(&[], &[])).unwrap();
    std::fs::write(at("dicom/c/1.2.11.dcm"), made(&[], &[])).unwrap();
    std::fs::write(
        at("t.csv"),
        "ImageId, EncodedPixels\n1.2.7, 0 1\n1.2.7, -1\n1.2.7, 5 1\n1.2.8, -1\n1.2.9, -1\n1.2.11, 0 7\n1.2.12, -1\n../x, -1\n",
    )
    .unwrap();
    let options = SiimOptions { dicom: at("dicom"), csv: at("t.csv"), size: None, workers: 2 };
    let summary = import_siim(&at("out"), &options).unwrap();
    assert_eq!((summary.images, summary.positives, summary.patients), (2, 1, 2));
    let [note] = &summary.notes[..] else { panic!("{:?}", summary.notes) };
    assert!(note.starts_with("1 image with a row of -1 and rows of runs, such as 1.2.7"), "{note}");
    let skipped: Vec<(&str, &str)> =
        summary.skipped.iter().map(|s| (s.id.as_str(), s.reason.split([',', ':']).next().unwrap())).collect();
    let expected = [
        ("../x", "the id `../x` is not fit for a file name"),
        ("1.2.10", "the table has no row for it"),
        ("1.2.11", "line 7 of the table"),
        ("1.2.12", "the table has it"),
        ("1.2.9", "the DICOM file has no Pixel Data (7FE0"),
    ];
    assert_eq!(skipped, expected);
    // Of 3×2 pixels, down the columns: the first and the last.
    assert_eq!(decode_mask(&at("out/masks/1.2.7.png"), None).unwrap().pixels, [1, 0, 0, 0, 0, 1]);
    let header = read_header(&at("out/images/1.2.8.png")).unwrap();
    assert_eq!((header.width, header.height, header.bits), (3, 2, 16));
    assert_eq!(std::fs::read_to_string(at("out/patients.csv")).unwrap(), "id,patient\n1.2.7,P1\n1.2.8,P2\n");
    let again = import_siim(&at("out"), &options).unwrap_err();
    assert_eq!(again.problem, Problem::NotEmpty);
}

#[test]
fn real_siim_files_are_imported_as_they_are() {
    let Some(dir) = real("siim/dicom") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (table, out) = (scratch.path().join("t.csv"), scratch.path().join("out"));
    let ids: Vec<String> =
        files(&dir).iter().map(|p| p.file_stem().unwrap().to_str().unwrap().to_string()).collect();
    let rows: String = ids.iter().map(|id| format!("{id}, 1048575 1\n")).collect();
    std::fs::write(&table, format!("ImageId, EncodedPixels\n{rows}")).unwrap();
    let run = ["data", "import", "siim", "--csv", table.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let done = common::wgseg().args(run).arg("--dicom").arg(&dir).assert().success();
    let said = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    assert!(
        said.starts_with("5 images in ")
            && said.contains("5 with foreground, of 5 patients; nothing was skipped"),
        "{said}"
    );
    for id in ids {
        let given = decode_image(&dir.join(format!("{id}.dcm")), 1).unwrap();
        assert_eq!(decode_image(&out.join(format!("images/{id}.png")), 1).unwrap(), given);
        let mask = decode_mask(&out.join(format!("masks/{id}.png")), None).unwrap();
        assert_eq!(mask.pixels.iter().position(|v| *v == 1), Some(1024 * 1024 - 1));
    }
}

//! Bad data folders, one test each, and the real data where it is at hand.

mod common;

use std::path::{Path, PathBuf};

use common::real;
use image::{GrayImage, Luma};
use tempfile::TempDir;
use wgseg::config::schema::DataConfig;
use wgseg::data::decode::{decode_image, decode_mask};
use wgseg::data::{Cache, Dataset, Part, Problem, check, list_images};

fn grey(width: u32, height: u32, seed: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| Luma([((x * 7 + y * 13 + seed * 29) % 251) as u8]))
}

fn mask(width: u32, height: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, _| Luma([if x < 3 { 255 } else { 0 }]))
}

/// A sound folder of ten 8×8 pairs, `a0` to `a9`.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["images", "masks"] {
        std::fs::create_dir(dir.path().join(sub)).unwrap();
    }
    for i in 0..10 {
        grey(8, 8, i).save(dir.path().join(format!("images/a{i}.png"))).unwrap();
        mask(8, 8).save(dir.path().join(format!("masks/a{i}.png"))).unwrap();
    }
    dir
}

fn config() -> DataConfig {
    DataConfig { size: 8, ..Default::default() }
}

/// The problem that opening `dir` and decoding all of it meets; its text must name `file` and a cure.
fn refused(dir: &TempDir, file: &str) -> Problem {
    let result = Dataset::open(dir.path(), &config())
        .and_then(|data| Cache::of_items(data.items(), 1, &config()).map(|_| ()));
    let error = result.expect_err("the folder must be refused");
    let text = error.to_string();
    assert!(error.path.as_deref().is_some_and(|p| p.ends_with(file)), "{text}");
    assert!(text.ends_with(&error.problem.mend()), "{text}");
    // The full check must report it as well.
    let report = check(dir.path(), &config());
    let what = error.problem.to_string();
    assert!(report.problems.iter().any(|f| f.what == what), "{what} is not in\n{report}");
    error.problem
}

fn write(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(dir.path().join(name), bytes).unwrap();
}

fn read(dir: &TempDir, name: &str) -> Vec<u8> {
    std::fs::read(dir.path().join(name)).unwrap()
}

fn split(dir: &TempDir, edit: impl Fn(String) -> String) {
    let path = dir.path().join("split.csv");
    let data = Dataset::open(dir.path(), &config()).unwrap();
    data.write_split(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, edit(text)).unwrap();
}

#[test]
fn missing_folder() {
    let error = Dataset::open(Path::new("no/such/folder"), &config()).unwrap_err();
    assert_eq!(error.problem, Problem::Missing);
}

#[test]
fn no_images_folder() {
    let dir = folder();
    std::fs::remove_dir_all(dir.path().join("images")).unwrap();
    assert_eq!(refused(&dir, ""), Problem::NoImagesFolder);
}

#[test]
fn no_masks_folder() {
    let dir = folder();
    std::fs::remove_dir_all(dir.path().join("masks")).unwrap();
    assert_eq!(refused(&dir, ""), Problem::NoMasksFolder);
}

#[test]
fn no_images() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("images")).unwrap();
    std::fs::create_dir(dir.path().join("masks")).unwrap();
    assert_eq!(refused(&dir, "images"), Problem::NoImages { endings: ".png, .jpg, .tif or .dcm" });
}

#[test]
fn image_without_mask() {
    let dir = folder();
    std::fs::remove_file(dir.path().join("masks/a4.png")).unwrap();
    assert!(matches!(refused(&dir, "images/a4.png"), Problem::NoMask { .. }));
}

#[test]
fn mask_without_image() {
    let dir = folder();
    std::fs::remove_file(dir.path().join("images/a4.png")).unwrap();
    assert!(matches!(refused(&dir, "masks/a4.png"), Problem::NoImage { .. }));
}

#[test]
fn duplicate_name() {
    let dir = folder();
    grey(8, 8, 0).save(dir.path().join("images/a4.tif")).unwrap();
    assert!(matches!(refused(&dir, "images/a4.tif"), Problem::SameName { .. }));
}

#[test]
fn mask_of_another_size() {
    let dir = folder();
    mask(9, 8).save(dir.path().join("masks/a4.png")).unwrap();
    let Problem::SizeMismatch { image_size, mask_size, .. } = refused(&dir, "masks/a4.png") else {
        panic!("another problem")
    };
    assert_eq!((image_size, mask_size), ((8, 8), (9, 8)));
}

#[test]
fn empty_image_file() {
    let dir = folder();
    write(&dir, "images/a4.png", "");
    assert_eq!(refused(&dir, "images/a4.png"), Problem::EmptyFile);
}

#[test]
fn empty_mask_file() {
    let dir = folder();
    write(&dir, "masks/a4.png", "");
    assert_eq!(refused(&dir, "masks/a4.png"), Problem::EmptyFile);
}

#[test]
fn truncated_png() {
    let dir = folder();
    let whole = read(&dir, "images/a4.png");
    write(&dir, "images/a4.png", &whole[..whole.len() - 16]);
    assert!(matches!(refused(&dir, "images/a4.png"), Problem::Truncated { .. }));
}

#[test]
fn truncated_jpeg() {
    let dir = folder();
    std::fs::remove_file(dir.path().join("images/a4.png")).unwrap();
    grey(8, 8, 4).save(dir.path().join("images/a4.jpg")).unwrap();
    let whole = read(&dir, "images/a4.jpg");
    write(&dir, "images/a4.jpg", &whole[..whole.len() - 10]);
    assert!(matches!(refused(&dir, "images/a4.jpg"), Problem::Truncated { .. }));
}

#[test]
fn truncated_tiff() {
    let dir = folder();
    std::fs::remove_file(dir.path().join("masks/a4.png")).unwrap();
    mask(8, 8).save(dir.path().join("masks/a4.tiff")).unwrap();
    let whole = read(&dir, "masks/a4.tiff");
    write(&dir, "masks/a4.tiff", &whole[..whole.len() - 10]);
    let problem = refused(&dir, "masks/a4.tiff");
    assert!(matches!(problem, Problem::Truncated { .. } | Problem::Corrupt { .. }), "{problem:?}");
}

#[test]
fn text_named_as_png() {
    let dir = folder();
    write(&dir, "images/a4.png", "not an image");
    assert!(matches!(refused(&dir, "images/a4.png"), Problem::UnknownFormat { .. }));
}

#[test]
fn foreign_format() {
    let dir = folder();
    write(&dir, "images/b.npy", "whatever");
    assert!(matches!(refused(&dir, "images/b.npy"), Problem::UnknownFormat { .. }));
}

#[cfg(target_os = "linux")]
#[test]
fn file_name_that_is_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let dir = folder();
    let name = std::ffi::OsStr::from_bytes(b"b\xff.png");
    std::fs::write(dir.path().join("images").join(name), "x").unwrap();
    assert_eq!(Dataset::open(dir.path(), &config()).unwrap_err().problem, Problem::FileName);
}

/// Makes the header of a PNG say another size.
fn claim(dir: &TempDir, name: &str, width: u32, height: u32) {
    let mut bytes = read(dir, name);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    write(dir, name, bytes);
}

#[test]
fn zero_pixel_image() {
    let dir = folder();
    claim(&dir, "images/a4.png", 0, 0);
    assert_eq!(refused(&dir, "images/a4.png"), Problem::ZeroPixels { width: 0, height: 0 });
}

#[test]
fn huge_image() {
    let dir = folder();
    claim(&dir, "masks/a4.png", 60_000, 60_000);
    assert_eq!(refused(&dir, "masks/a4.png"), Problem::TooLarge { width: 60_000, height: 60_000 });
}

#[test]
fn mask_with_grey_values() {
    let dir = folder();
    grey(8, 8, 1).save(dir.path().join("masks/a4.png")).unwrap();
    assert!(matches!(refused(&dir, "masks/a4.png"), Problem::MaskValues { jpeg: false, .. }));
}

#[test]
fn colour_mask() {
    let dir = folder();
    image::RgbImage::from_pixel(8, 8, image::Rgb([255, 0, 0])).save(dir.path().join("masks/a4.png")).unwrap();
    assert_eq!(refused(&dir, "masks/a4.png"), Problem::ColourMask);
}

#[test]
fn split_file_that_is_not_there() {
    let dir = folder();
    let config = DataConfig { split_file: Some(PathBuf::from("no/split.csv")), ..config() };
    assert_eq!(Dataset::open(dir.path(), &config).unwrap_err().problem, Problem::Missing);
}

#[test]
fn split_names_a_missing_image() {
    let dir = folder();
    split(&dir, |text| text + "zz,train\n");
    let want = Problem::SplitNamesMissing { ids: vec!["zz".into()], total: 1 };
    assert_eq!(refused(&dir, "split.csv"), want);
}

#[test]
fn split_misses_an_image() {
    let dir = folder();
    split(&dir, |text| text.lines().filter(|l| !l.starts_with("a4")).map(|l| format!("{l}\n")).collect());
    assert_eq!(refused(&dir, "split.csv"), Problem::SplitMisses { ids: vec!["a4".into()], total: 1 });
}

#[test]
fn split_has_an_id_twice() {
    let dir = folder();
    split(&dir, |text| text + "a4,train\n");
    let want = Problem::SplitTwice { id: "a4".into(), line: 12, first_line: 6 };
    assert_eq!(refused(&dir, "split.csv"), want);
}

#[test]
fn split_has_an_unknown_word() {
    let dir = folder();
    split(&dir, |text| text.replace("train", "training"));
    assert!(matches!(refused(&dir, "split.csv"), Problem::SplitWord { .. }));
}

#[test]
fn split_without_a_column() {
    let dir = folder();
    split(&dir, |text| text.replace("id,split", "id,part"));
    assert!(matches!(refused(&dir, "split.csv"), Problem::Columns { missing: "split", .. }));
}

#[test]
fn split_file_that_is_empty() {
    let dir = folder();
    split(&dir, |_| String::new());
    assert!(matches!(refused(&dir, "split.csv"), Problem::Columns { missing: "id", .. }));
}

#[test]
fn split_that_is_not_text() {
    let dir = folder();
    write(&dir, "split.csv", b"id,split\n\xff\xfe\x00,train\n");
    assert!(matches!(refused(&dir, "split.csv"), Problem::SplitCsv { .. }));
}

#[test]
fn split_leaves_a_part_empty() {
    let dir = folder();
    split(&dir, |text| text.replace("test", "train"));
    assert_eq!(refused(&dir, "split.csv"), Problem::EmptyPart { part: Part::Test, images: 10 });
}

#[test]
fn too_few_images_to_split() {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["images", "masks"] {
        std::fs::create_dir(dir.path().join(sub)).unwrap();
        mask(8, 8).save(dir.path().join(sub).join("only.png")).unwrap();
    }
    assert!(matches!(refused(&dir, ""), Problem::EmptyPart { images: 1, .. }));
}

#[test]
fn more_labelled_than_there_are() {
    let dir = folder();
    let data = Dataset::open(dir.path(), &config()).unwrap();
    let available = data.part(Part::Train).len();
    let problem = data.labelled(Some(99), 0).unwrap_err().problem;
    assert_eq!(problem, Problem::Labelled { wanted: 99, available });
    assert!(data.labelled(Some(0), 0).is_err());
}

#[test]
fn real_lungs_are_sound() {
    let Some(dir) = real("lungs") else { return };
    let report = check(&dir, &config());
    assert!(report.is_sound(), "{report}");
    assert_eq!((report.images, report.positives), (704, 704));
    let data = Dataset::open(&dir, &config()).unwrap();
    let some = &data.items()[..20];
    let cache = Cache::of_items(some, 1, &DataConfig { size: 64, ..config() }).unwrap();
    assert_eq!(cache.image(0).len(), 64 * 64);
}

#[test]
fn real_vessels_of_odd_size_are_read() {
    let Some(dir) = real("vessels/training") else { return };
    let data = Dataset::open(&dir, &config()).unwrap();
    let cache = Cache::of_items(data.items(), 1, &DataConfig { size: 96, ..config() }).unwrap();
    assert_eq!(cache.len(), 19);
    assert!(cache.positives().iter().all(|&p| p));
}

#[test]
fn real_jpeg_images_and_masks() {
    let Some(dir) = real("siim") else { return };
    for file in list_images(&[dir.join("image")]).unwrap() {
        let image = decode_image(&file.path, 1).unwrap();
        assert_eq!((image.width, image.height), (1024, 1024));
    }
    for file in list_images(&[dir.join("mask")]).unwrap() {
        let mask = decode_mask(&file.path, Some(127.0)).unwrap();
        assert_eq!(mask.pixels.len(), 1024 * 1024);
    }
}

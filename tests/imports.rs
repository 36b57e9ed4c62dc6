//! Data sets in other forms, imported as a user does, and the way from an nnU-Net folder to overlays.

mod common;

use std::path::{Path, PathBuf};

use common::wgseg;
use image::GrayImage;
use tempfile::TempDir;

/// Files that nibabel wrote; tests/fixtures/make_nifti.py has their values.
fn nifti(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nifti").join(name)
}

fn put(root: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn copy(from: &Path, root: &Path, name: &str) {
    put(root, name, std::fs::read(from).unwrap());
}

/// Runs `wgseg data import ARGS --out OUT`; gives OUT and stderr.
fn import(folder: &TempDir, args: &[&str], succeeds: bool) -> (PathBuf, String) {
    let out = folder.path().join("out");
    let mut command = wgseg();
    command.args(["data", "import"]).args(args).arg("--out").arg(&out);
    let assert = command.assert();
    let assert = if succeeds { assert.success() } else { assert.failure().code(1).stdout("") };
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    if !succeeds {
        assert!(!out.exists(), "nothing half done is left");
    }
    (out, stderr)
}

fn text(out: &Path, name: &str) -> String {
    std::fs::read_to_string(out.join(name)).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What the file of nibabel holds at column `i`, row `j` of slice `k`.
fn stored(i: u32, j: u32, k: u32) -> u32 {
    i + 10 * j + 100 * k
}

#[test]
fn slices_of_an_nnunet_volume() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("Dataset001_Test");
    put(
        &set,
        "dataset.json",
        r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1, "lesion": 2},
            "numTraining": 5, "file_ending": ".nii.gz"}"#,
    );
    copy(&nifti("image.nii.gz"), &set, "imagesTr/a_0000.nii.gz");
    copy(&nifti("label.nii.gz"), &set, "labelsTr/a.nii.gz");
    copy(&nifti("image.nii.gz"), &set, "imagesTr/moved_0000.nii.gz");
    copy(&nifti("moved_label.nii.gz"), &set, "labelsTr/moved.nii.gz");
    copy(&nifti("four.nii.gz"), &set, "imagesTr/four_0000.nii.gz");
    copy(&nifti("four.nii.gz"), &set, "labelsTr/four.nii.gz");
    copy(&nifti("image.nii.gz"), &set, "imagesTr/alone_0000.nii.gz");
    copy(&nifti("label.nii.gz"), &set, "labelsTr/lonely.nii.gz");
    let cut = std::fs::read(nifti("image.nii.gz")).unwrap();
    put(&set, "imagesTr/cut_0000.nii.gz", &cut[..cut.len() / 2]);
    copy(&nifti("label.nii.gz"), &set, "labelsTr/cut.nii.gz");
    copy(&nifti("flat.nii"), &set, "imagesTr/other_0000.nii");
    copy(&nifti("flat_label.nii"), &set, "labelsTr/other.nii");
    copy(&nifti("image.nii.gz"), &set, "imagesTs/later_0000.nii.gz");

    let dir = set.to_str().unwrap();
    let (out, stderr) = import(&folder, &["nnunet", dir, "--label", "lesion"], true);
    assert!(stderr.contains("imagesTs has 1 image without labels"), "{stderr}");
    assert!(stderr.contains("`numTraining` is 5, but 4 cases are found"), "{stderr}");
    assert_eq!(names(&out.join("images")), ["a_s000.png", "a_s001.png"]);
    assert_eq!(text(&out, "patients.csv"), "id,patient\na_s000,a\na_s001,a\n");
    for k in 0..2 {
        let image = image::open(out.join(format!("images/a_s00{k}.png"))).unwrap().into_luma16();
        let mask = image::open(out.join(format!("masks/a_s00{k}.png"))).unwrap().into_luma8();
        assert_eq!(image.dimensions(), (6, 5));
        for (i, j, pixel) in image.enumerate_pixels() {
            // From 0 to 145 in the volume, whatever slope and intercept.
            let expected = (f64::from(stored(i, j, k)) / 145.0 * 65535.0).round();
            assert_eq!(f64::from(pixel.0[0]), expected, "{i} {j} {k}");
            assert_eq!(mask.get_pixel(i, j).0[0], if (i + j + k) % 3 == 2 { 255 } else { 0 });
        }
    }
    let skipped = text(&out, "skipped.csv");
    for (id, reason) in [
        ("a_s002", "every pixel has the value"),
        ("moved", "affines of image and label differ"),
        ("four", "the volume is 4×4×2×2"),
        ("alone", "the image has no mask"),
        ("lonely", "the mask has no image"),
        ("cut", "the NIfTI file cannot be read"),
        ("other", "does not end in .nii.gz"),
        ("other_0000", "does not end in .nii.gz"),
    ] {
        let row = skipped.lines().find(|line| line.starts_with(&format!("{id},")));
        assert!(row.is_some_and(|row| row.contains(reason)), "{id} in\n{skipped}");
    }
}

#[test]
fn the_first_version_of_nnunet_lists_its_cases() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("Task501_Test");
    put(
        &set,
        "dataset.json",
        r#"{"modality": {"0": "MR"}, "labels": {"0": "background", "1": "organ", "2": "lesion"},
            "training": [{"image": "./imagesTr/a.nii", "label": "./labelsTr/a.nii"},
                         {"image": "./imagesTr/gone.nii", "label": "./labelsTr/gone.nii"},
                         {"image": "./imagesTr/b.nii", "label": "../../b.nii"}], "test": []}"#,
    );
    copy(&nifti("flat.nii"), &set, "imagesTr/a_0000.nii");
    copy(&nifti("flat_label.nii"), &set, "labelsTr/a.nii");
    copy(&nifti("flat.nii"), &set, "imagesTr/extra_0000.nii");
    copy(&nifti("flat_label.nii"), &set, "labelsTr/extra.nii");
    let (out, _) = import(&folder, &["nnunet", set.to_str().unwrap(), "--label", "organ"], true);
    // Big endian, two dimensions: from 0 to 45. The label is 1 by its slope alone.
    let image = image::open(out.join("images/a.png")).unwrap().into_luma16();
    let mask = image::open(out.join("masks/a.png")).unwrap().into_luma8();
    for (i, j, pixel) in image.enumerate_pixels() {
        let expected = (f64::from(stored(i, j, 0)) / 45.0 * 65535.0).round();
        assert_eq!(f64::from(pixel.0[0]), expected);
        assert_eq!(mask.get_pixel(i, j).0[0], if stored(i, j, 0) > 20 { 255 } else { 0 });
    }
    let skipped = text(&out, "skipped.csv");
    for reason in ["gone", "leads out of the data set", "it is not listed in dataset.json"] {
        assert!(skipped.contains(reason), "{reason} in\n{skipped}");
    }
}

#[test]
fn an_nnunet_set_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    let dir = set.to_str().unwrap();
    copy(&nifti("flat.nii"), &set, "imagesTr/a_0000.nii");
    copy(&nifti("flat.nii"), &set, "imagesTr/a_0001.nii");
    copy(&nifti("flat_label.nii"), &set, "labelsTr/a.nii");
    let refused = |json: &str, more: &[&str]| {
        put(&set, "dataset.json", json);
        import(&folder, &[&["nnunet", dir], more].concat(), false).1
    };
    let message = refused("{\n \"labels\": {,}}", &[]);
    assert!(message.contains("dataset.json") && message.contains("line 2 column 13"), "{message}");
    let json = r#"{"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii"}"#;
    let message = refused(json, &[]);
    assert!(message.contains("0: T1, 1: T2") && message.contains("--channel"), "{message}");
    let message = refused(json, &["--channel", "0", "--label", "liver"]);
    assert!(message.contains("no label `liver`") && message.contains("organ: [1]"), "{message}");
    let message =
        refused(r#"{"labels": {"organ": 1}, "training": [{"label": "gone.nii"}]}"#, &["--channel", "0"]);
    assert!(message.contains("no image to import"), "{message}");
}

#[test]
fn a_list_of_monai() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    copy(&nifti("flat.nii"), &set, "x/a.nii");
    copy(&nifti("flat_label.nii"), &set, "y/a.nii");
    put(
        &set,
        "list.json",
        r#"{"training": [{"image": "x/a.nii", "label": "y/a.nii"}, {"image": "x/gone.nii", "label": "y/gone.nii"},
                         {"image": "../a.nii", "label": "y/a.nii"}],
            "validation": [{"image": ["x/a.nii", "x/b.nii"], "label": "y/a.nii"}], "test": ["x/c.nii"]}"#,
    );
    let list = set.join("list.json");
    let (out, _) = import(&folder, &["monai", list.to_str().unwrap()], true);
    assert_eq!(names(&out.join("images")), ["a.png"]);
    let skipped = text(&out, "skipped.csv");
    assert_eq!(skipped.lines().count(), 5, "{skipped}");
    for reason in
        ["there is no such file", "leads out", "of the channels there are 2", "no label in the list"]
    {
        assert!(skipped.contains(reason), "{reason} in\n{skipped}");
    }
}

#[test]
fn folders_whose_names_differ() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for sub in ["scans", "truth"] {
        std::fs::create_dir(root.join(sub)).unwrap();
    }
    let picture = GrayImage::from_fn(8, 8, |x, y| image::Luma([(x * 9 + y * 20) as u8]));
    let mask = GrayImage::from_fn(8, 8, |x, _| image::Luma([if x < 3 { 255 } else { 0 }]));
    for id in ["a", "b", "only"] {
        picture.save(root.join(format!("scans/{id}_0000.png"))).unwrap();
    }
    mask.save(root.join("truth/a_mask.png")).unwrap();
    mask.save(root.join("truth/b_seg.tif")).unwrap();
    mask.save(root.join("truth/stray_mask.png")).unwrap();
    put(root, "truth/notes.txt", "x");
    let (scans, truth) = (root.join("scans"), root.join("truth"));
    let args =
        ["folder", "--images", scans.to_str().unwrap(), "--masks", truth.to_str().unwrap(), "--size", "4"];
    let (out, _) = import(&folder, &args, true);
    assert_eq!(names(&out.join("images")), ["a.png", "b.png"]);
    assert_eq!(names(&out.join("masks")), ["a.png", "b.png"]);
    assert_eq!(image::open(out.join("masks/b.png")).unwrap().to_luma8().dimensions(), (4, 4));
    let skipped = text(&out, "skipped.csv");
    for id in ["notes,", "only,", "stray,"] {
        assert!(skipped.lines().any(|line| line.starts_with(id)), "{skipped}");
    }
}

/// A PNG of 8×4 with 1 bit: 1 in the first three columns.
const ONE_BIT: &[u8] = b"\
    \x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x08\x00\x00\x00\x04\
    \x01\x00\x00\x00\x00\x9b\xb6\x43\x5d\x00\x00\x00\x0c\x49\x44\x41\x54\x78\xda\x63\x78\xc0\x00\x86\
    \x00\x0e\x08\x03\x81\x19\xb0\x09\x88\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";
/// A PNG of 8×4 with 4 bits: 0, 1, 2, 3 and then 0 in each row.
const FOUR_BITS: &[u8] = b"\
    \x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x08\x00\x00\x00\x04\
    \x04\x00\x00\x00\x00\x53\x56\xcc\x2d\x00\x00\x00\x0f\x49\x44\x41\x54\x78\xda\x63\x60\x54\x66\x60\
    \x60\x40\x25\x00\x06\x00\x00\x91\x33\x00\xe1\x83\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

/// A NIfTI file of floats, one row of voxels a slice; `edit` changes its header.
fn volume(slices: &[&[f32]], edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = vec![0u8; 352];
    bytes[..4].copy_from_slice(&348i32.to_le_bytes());
    for (i, side) in [3, slices[0].len() as i16, 1, slices.len() as i16, 1, 1, 1, 1].iter().enumerate() {
        bytes[40 + 2 * i..][..2].copy_from_slice(&side.to_le_bytes());
        bytes[76 + 4 * i..][..4].copy_from_slice(&1f32.to_le_bytes());
    }
    bytes[70..72].copy_from_slice(&16i16.to_le_bytes());
    bytes[72..74].copy_from_slice(&32i16.to_le_bytes());
    bytes[108..112].copy_from_slice(&352f32.to_le_bytes());
    bytes[344..348].copy_from_slice(b"n+1\0");
    edit(&mut bytes);
    slices.iter().flat_map(|slice| *slice).for_each(|v| bytes.extend(v.to_le_bytes()));
    bytes
}

fn floats(at: usize, values: &[f32]) -> impl FnOnce(&mut [u8]) {
    move |bytes| {
        for (i, value) in values.iter().enumerate() {
            bytes[at + 4 * i..][..4].copy_from_slice(&value.to_le_bytes());
        }
    }
}

fn grey(width: u32, value: impl Fn(u32) -> u8) -> Vec<u8> {
    let picture = GrayImage::from_fn(width, 4, |x, _| image::Luma([value(x)]));
    let mut bytes = std::io::Cursor::new(vec![]);
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The first row of a mask.
fn row(out: &Path, id: &str) -> Vec<u8> {
    let mask = image::open(out.join(format!("masks/{id}.png"))).unwrap().to_luma8();
    mask.as_raw()[..mask.width() as usize].to_vec()
}

/// The line of `skipped.csv` that has all `parts`.
fn skipped(out: &Path, parts: &[&str]) {
    let text = text(out, "skipped.csv");
    assert!(text.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{parts:?} in\n{text}");
}

/// Imports a list of MONAI of the files `x/ID.ENDING` and `y/ID.ENDING`.
fn import_list(folder: &TempDir, ids: &[&str], more: &[&str]) -> (PathBuf, String) {
    let entries = ids.iter().map(|id| format!(r#"{{"image": "x/{id}", "label": "y/{id}"}}"#));
    let json = format!(r#"{{"training": [{}]}}"#, entries.collect::<Vec<_>>().join(", "));
    put(folder.path(), "list.json", json);
    let list = folder.path().join("list.json");
    import(folder, &[&["monai", list.to_str().unwrap()], more].concat(), true)
}

fn import_folders(folder: &TempDir, more: &[&str]) -> PathBuf {
    let (x, y) = (folder.path().join("x"), folder.path().join("y"));
    let dirs = ["folder", "--images", x.to_str().unwrap(), "--masks", y.to_str().unwrap()];
    import(folder, &[&dirs, more].concat(), true).0
}

#[test]
fn labels_of_few_bits_keep_their_values_and_a_label_that_is_nowhere_is_told() {
    let on =
        |columns: &[usize]| (0..8).map(|i| if columns.contains(&i) { 255 } else { 0 }).collect::<Vec<u8>>();
    for (label, one, four) in [("1", on(&[0, 1, 2]), on(&[1])), ("3", on(&[]), on(&[3]))] {
        let folder = tempfile::tempdir().unwrap();
        for (id, bytes) in [("one.png", ONE_BIT), ("four.png", FOUR_BITS)] {
            put(folder.path(), &format!("x/{id}"), grey(8, |x| x as u8));
            put(folder.path(), &format!("y/{id}"), bytes);
        }
        let (out, stderr) =
            import_list(&folder, &["one.png", "four.png"], &["--label", label, "--label", "7"]);
        assert_eq!((row(&out, "one"), row(&out, "four")), (one, four), "{label}");
        assert!(
            stderr.contains("has the value 7") && !stderr.contains(&format!("value {label}")),
            "{stderr}"
        );
    }
}

#[test]
fn label_values_beside_whole_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let image = volume(&[&[0.0, 1.0, 2.0]], |_| ());
    // 255 of a slope that is 1/255 but for rounding.
    let near = volume(&[&[0.0, 255.0, 510.0]], floats(112, &[1.0 / 255.0]));
    for (id, label) in [("near.nii", near), ("far.nii", volume(&[&[0.0, 1.0, 0.5]], |_| ()))] {
        put(folder.path(), &format!("x/{id}"), &image);
        put(folder.path(), &format!("y/{id}"), label);
    }
    let (out, stderr) = import_list(&folder, &["near.nii", "far.nii"], &["--label", "1"]);
    assert!(!stderr.contains("no label"), "{stderr}");
    assert_eq!(row(&out, "near"), [0, 255, 0]);
    skipped(&out, &["y/far.nii", "the value 0.5, expected whole numbers", "without interpolation"]);
}

#[test]
fn masks_that_are_volumes_have_two_values_too() {
    let image = volume(&[&[0.0, 1.0, 2.0], &[4.0, 5.0, 6.0]], |_| ());
    let masks: [(&str, [&[f32]; 2]); 4] = [
        ("many", [&[0.0, 1.0, 2.0], &[3.0, 0.0, 0.0]]),
        ("part", [&[0.0, 0.3, 1.0], &[0.0, 0.0, 0.0]]),
        ("one", [&[0.0, 1.0, 1.0], &[0.0, 0.0, 0.0]]),
        ("wide", [&[0.0, 0.0, 0.0], &[255.0, 0.0, 0.0]]),
    ];
    let put_all = |folder: &TempDir| {
        for (id, mask) in masks {
            put(folder.path(), &format!("x/{id}.nii"), &image);
            put(folder.path(), &format!("y/{id}.nii"), volume(&mask, |_| ()));
        }
    };
    let folder = tempfile::tempdir().unwrap();
    put_all(&folder);
    let out = import_folders(&folder, &[]);
    assert_eq!(names(&out.join("masks")), ["one_s000.png", "one_s001.png", "wide_s000.png", "wide_s001.png"]);
    assert_eq!((row(&out, "one_s000"), row(&out, "wide_s001")), (vec![0, 255, 255], vec![255, 0, 0]));
    skipped(&out, &["y/many.nii", "the values 0, 1, 2, 3, expected only 0 and one of 1", "--mask-threshold"]);
    skipped(&out, &["y/part.nii", "the values 0, 0.3, 1,"]);
    let folder = tempfile::tempdir().unwrap();
    put_all(&folder);
    let out = import_folders(&folder, &["--mask-threshold", "1.5"]);
    assert_eq!((row(&out, "many_s000"), row(&out, "part_s000")), (vec![0, 0, 255], vec![0, 0, 0]));
}

#[test]
fn jpeg_labels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    put(root, "x/a.png", grey(8, |x| x as u8));
    put(root, "y/a.png", grey(8, |x| u8::from(x < 2)));
    put(root, "x/b.jpg", grey(8, |x| x as u8));
    image::load_from_memory(&grey(8, |x| u8::from(x < 2))).unwrap().save(root.join("y/b.jpg")).unwrap();
    let (out, _) = import_list(&folder, &["a.png", "b.jpg"], &[]);
    assert_eq!(names(&out.join("images")), ["a.png"]);
    skipped(&out, &["y/b.jpg", "the label is a JPEG file", "Save labels as PNG"]);
}

#[test]
fn equal_names_belong_together_whatever_they_end_in() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..4u8 {
        let pixels = grey(8, |x| x as u8 * (i + 1));
        put(folder.path(), &format!("x/scan_000{i}.png"), &pixels);
        put(folder.path(), &format!("x/other_000{i}.png"), pixels);
        let mask = grey(8, |x| u8::from(x <= u32::from(i)));
        if i != 2 {
            put(folder.path(), &format!("y/scan_000{i}.png"), &mask);
        }
        put(folder.path(), &format!("y/other_000{i}_mask.png"), mask);
    }
    put(folder.path(), "y/other_0000_seg.png", grey(8, |_| 0));
    let out = import_folders(&folder, &[]);
    let ids = ["other_0000", "other_0001", "other_0002", "other_0003", "scan_0000", "scan_0001", "scan_0003"];
    assert_eq!(names(&out.join("masks")), ids.map(|id| format!("{id}.png")));
    for id in ids {
        let i: usize = id[id.len() - 1..].parse().unwrap();
        assert_eq!(row(&out, id).iter().filter(|v| **v == 255).count(), i + 1, "{id}");
    }
    skipped(&out, &["x/scan_0002.png", "expected `scan_0002` with"]);
    skipped(&out, &["y/other_0000_seg.png", "taken twice", "y/other_0000_mask.png"]);
}

#[test]
fn equal_file_names_in_several_folders() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let ids = ["p0/image.png", "p1/image.png", "./p2/image.png", "p3/other.png", "q/r.png", "q.png"];
    for id in ids.iter().chain(["s/x_y.png", "s_x/y.png", "s_x/x_y.png", "z/y.png"].iter()) {
        put(root, &format!("x/{id}"), grey(8, |x| x as u8));
        put(root, &format!("y/{id}"), grey(8, |x| u8::from(x < 2)));
    }
    let all = [&ids[..], &["s/x_y.png", "s_x/y.png", "s_x/x_y.png", "z/y.png", "q.png"]].concat();
    let (out, _) = import_list(&folder, &all, &[]);
    let expected =
        ["other", "q", "r", "x_p0_image", "x_p1_image", "x_p2_image", "x_s_x_x_y", "x_s_x_y", "x_z_y"];
    assert_eq!(names(&out.join("images")), expected.map(|id| format!("{id}.png")));
    // The two make one name, and one image is listed twice: what is named is a file of the user's.
    skipped(&out, &["x_s_x_y,", "is taken twice", "also by", "/x/s"]);
    skipped(&out, &["q,", "is taken twice", "/x/q.png"]);
}

#[test]
fn where_image_and_label_lie_is_compared_by_qform_too() {
    let half = 0.5f32.sqrt();
    let code = |at: usize| move |bytes: &mut [u8]| bytes[at] = 1;
    let qform = |quaternion: [f32; 6]| {
        move |bytes: &mut [u8]| {
            code(252)(bytes);
            floats(256, &quaternion)(bytes);
        }
    };
    // A quarter about the third axis, moved by 5, 6 and 7.
    let turned = qform([0.0, 0.0, half, 5.0, 6.0, 7.0]);
    let rows = |bytes: &mut [u8]| {
        code(254)(bytes);
        floats(280, &[0.0, -1.0, 0.0, 5.0, 1.0, 0.0, 0.0, 6.0, 0.0, 0.0, 1.0, 7.0])(bytes);
    };
    let values: [&[f32]; 2] = [&[0.0, 1.0, 1.0], &[1.0, 0.0, 0.0]];
    let folder = tempfile::tempdir().unwrap();
    for (id, image, label) in [
        ("same", volume(&values, turned), volume(&values, turned)),
        ("both_ways", volume(&values, turned), volume(&values, rows)),
        ("neither", volume(&values, |_| ()), volume(&values, |_| ())),
        ("moved", volume(&values, turned), volume(&values, qform([0.0, 0.0, half, 5.0, 6.0, 9.0]))),
        ("straight", volume(&values, rows), volume(&values, qform([0.0, 0.0, 0.0, 5.0, 6.0, 7.0]))),
        ("without", volume(&values, turned), volume(&values, |_| ())),
    ] {
        put(folder.path(), &format!("x/{id}.nii"), image);
        put(folder.path(), &format!("y/{id}.nii"), label);
    }
    let out = import_folders(&folder, &[]);
    assert_eq!(text(&out, "patients.csv").lines().count(), 7, "{}", text(&out, "patients.csv"));
    for id in ["same_s000", "both_ways_s000", "neither_s000"] {
        assert_eq!(row(&out, id), [0, 255, 255]);
    }
    skipped(&out, &["moved,", "affines of image and label differ"]);
    skipped(&out, &["straight,", "affines of image and label differ"]);
    skipped(&out, &["without,", "the label does not say by sform or qform", "copy sform and qform"]);
}

#[test]
fn what_lists_lack_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    copy(&nifti("flat.nii"), &set, "imagesTr/a_0000.nii");
    copy(&nifti("flat.nii"), &set, "imagesTr/odd.nii");
    copy(&nifti("flat_label.nii"), &set, "labelsTr/a.nii");
    let lists = r#"{"labels": {"0": "background", "1": "organ"},
                    "training": [{"label": "labelsTr/a.nii"}, {"image": "imagesTr/b.nii"}]}"#;
    put(&set, "dataset.json", lists);
    let (out, _) = import(&folder, &["nnunet", set.to_str().unwrap()], true);
    skipped(&out, &["odd,", "imagesTr/odd.nii", "a channel of four digits"]);
    skipped(&out, &["b,", "entry 2 of `training` has no `label`"]);

    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    copy(&nifti("image.nii.gz"), root, "x/A.NII.GZ");
    copy(&nifti("label.nii.gz"), root, "y/A.NII.GZ");
    put(
        root,
        "list.json",
        r#"{"training": [{"image": "x/A.NII.GZ", "label": "y/A.NII.GZ"}, {"label": "y/A.NII.GZ"}]}"#,
    );
    let list = root.join("list.json");
    let (_, stderr) = import(&folder, &["monai", list.to_str().unwrap(), "--channel", "1"], false);
    assert!(stderr.contains("1 is asked for, and entry 1 of `training` has 1"), "{stderr}");
    let (out, _) = import(&folder, &["monai", list.to_str().unwrap(), "--channel", "0"], true);
    assert_eq!(names(&out.join("images")), ["A_s000.png", "A_s001.png"]);
    skipped(&out, &["entry 2 of `training` has no `image`"]);
}

/// The four commands of the README.
#[test]
fn from_an_nnunet_folder_to_overlays() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let phantom = root.join("phantom");
    let count = ["data", "phantom", "--count", "20", "--size", "32", "--seed", "3", "--out"];
    wgseg().args(count).arg(&phantom).assert().success();
    let set = root.join("Dataset002_Phantom");
    let json = r#"{"channel_names": {"0": "xray"}, "labels": {"background": 0, "pneumothorax": 1}, "numTraining": 16, "file_ending": ".png"}"#;
    put(&set, "dataset.json", json);
    for (i, name) in names(&phantom.join("images")).iter().enumerate() {
        let id = name.trim_end_matches(".png");
        let images = if i < 16 { "imagesTr" } else { "imagesTs" };
        copy(&phantom.join("images").join(name), &set, &format!("{images}/{id}_0000.png"));
        if i < 16 {
            // Labels count from 1, as nnU-Net has them.
            let mut label = image::open(phantom.join("masks").join(name)).unwrap().to_luma8();
            label.pixels_mut().for_each(|pixel| pixel.0[0] /= 255);
            std::fs::create_dir_all(set.join("labelsTr")).unwrap();
            label.save(set.join("labelsTr").join(name)).unwrap();
        }
    }
    let run = |args: &[&str]| {
        wgseg().current_dir(root).args(args).assert().success();
    };
    run(&["data", "import", "nnunet", "Dataset002_Phantom", "--out", "data"]);
    let tiny = ["--set", "data.size=32", "--set", "model.base_channels=4", "--set", "model.depth=2"];
    let short = ["--set", "train.epochs=1", "--set", "train.batch_size=4"];
    run(&[&["train", "phantom", "--data", "data", "--out", "run"][..], &tiny, &short].concat());
    run(&["evaluate", "--model", "run/best.safetensors", "--data", "data"]);
    run(&["predict", "--model", "run/best.safetensors", "--out", "predicted", "Dataset002_Phantom/imagesTs"]);
    assert_eq!(names(&root.join("predicted/overlays")).len(), 4);
}

/// Masks beside their images in one folder, as some sets come: no file is its own mask.
#[test]
fn images_and_masks_in_one_folder() {
    for more in [&[][..], &["--mask-suffix", "_mask"]] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("all");
        std::fs::create_dir(&root).unwrap();
        let picture = GrayImage::from_fn(8, 8, |x, y| image::Luma([(x * 9 + y * 20) as u8]));
        let mask = GrayImage::from_fn(8, 8, |x, _| image::Luma([if x < 3 { 255 } else { 0 }]));
        for id in ["benign (0)", "benign (1)"] {
            picture.save(root.join(format!("{id}.png"))).unwrap();
            mask.save(root.join(format!("{id}_mask.png"))).unwrap();
        }
        let all = root.to_str().unwrap();
        let args = [&["folder", "--images", all, "--masks", all][..], more].concat();
        let (out, _) = import(&folder, &args, true);
        assert_eq!(names(&out.join("images")), ["benign (0).png", "benign (1).png"]);
        let found = image::open(out.join("images/benign (0).png")).unwrap().to_luma8();
        assert_eq!(found, picture);
        assert_eq!(text(&out, "skipped.csv").lines().count(), 1);
    }
}

/// What a value means that the data set does not name is not known, so its case is left out and told.
#[test]
fn label_values_that_dataset_json_does_not_name() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    for (case, value) in [("a", 1), ("b", 2)] {
        put(&set, &format!("imagesTr/{case}_0000.png"), grey(8, |x| 20 * x as u8));
        put(&set, &format!("labelsTr/{case}.png"), grey(8, |x| if x < 3 { value } else { 0 }));
    }
    let volume_of = |value: f32| volume(&[&[0.0, value, value, 0.0]], |_| {});
    put(&set, "imagesTr/c_0000.nii", volume(&[&[0.0, 10.0, 20.0, 30.0]], |_| {}));
    put(&set, "labelsTr/c.nii", volume_of(2.0));
    let json = |labels: &str| {
        put(&set, "dataset.json", format!(r#"{{"channel_names": {{"0": "x-ray"}}, "labels": {labels}}}"#));
    };
    let args = ["nnunet", set.to_str().unwrap()];
    json(r#"{"background": 0, "lung": 1}"#);
    let (out, _) = import(&folder, &args, true);
    assert_eq!(names(&out.join("images")), ["a.png"]);
    let skipped = text(&out, "skipped.csv");
    assert_eq!(
        skipped.matches("the label has the value 2, which `labels` of dataset.json").count(),
        2,
        "{skipped}"
    );
    std::fs::remove_dir_all(&out).unwrap();

    json(r#"["background", "lung"]"#);
    let (_, said) = import(&folder, &args, false);
    assert!(said.contains("dataset.json") && said.contains("`labels` is"), "{said}");
    put(&set, "dataset.json", "[]");
    let (_, said) = import(&folder, &args, false);
    assert!(said.contains("dataset.json: there is no `labels`"), "{said}");
    let two = r#"{"channel_names": {"0": "a", "1": "b"}, "labels": {"background": 0, "lung": 1}}"#;
    put(&set, "dataset.json", two);
    let (_, said) = import(&folder, &args, false);
    assert!(said.contains("there are 2") && said.contains("1: b"), "{said}");

    // What should count for nothing is background here, which is told.
    json(r#"{"background": 0, "lung": 1, "ignore": 2}"#);
    let (out, said) = import(&folder, &args, true);
    // Three columns of four pixels, and two pixels of the volume.
    assert!(said.contains("14 pixels have the value 2, which dataset.json names `ignore`"), "{said}");
    let mask = image::open(out.join("masks/b.png")).unwrap().to_luma8();
    assert!(mask.pixels().all(|pixel| pixel.0[0] == 0));
    std::fs::remove_dir_all(&out).unwrap();
    json(r#"{"background": 0, "lung": 3, "ignore": 2, "other": 1}"#);
    let (_, said) = import(&folder, &[&args[..], &["--label", "lung"]].concat(), true);
    assert!(said.contains("no label that was read has the value 3"), "{said}");
    assert!(said.contains("14 pixels have the value 2") && said.contains("no mask has foreground"), "{said}");
}

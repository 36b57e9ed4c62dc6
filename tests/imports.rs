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
    copy(&nifti("image.nii.gz"), &set, "imagesTs/later_0000.nii.gz");

    let dir = set.to_str().unwrap();
    let (out, stderr) = import(&folder, &["nnunet", dir, "--label", "lesion"], true);
    assert!(stderr.contains("imagesTs has 1 more"), "{stderr}");
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

//! What `predict` writes, by its options.

mod common;

use std::path::{Path, PathBuf};

use common::{wgseg, with_min_area};
use tempfile::TempDir;

/// A model that was trained for a few steps on images of 32 × 32, with its data.
struct Trained {
    folder: TempDir,
}

impl Trained {
    fn new() -> Trained {
        let folder = tempfile::tempdir().expect("a folder");
        common::train_phantom(folder.path());
        Trained { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self) -> PathBuf {
        self.file("run/best.safetensors")
    }

    fn image(&self) -> PathBuf {
        self.file("data/images/phantom_0001.png")
    }

    fn predict(&self, model: &Path, out: &str, options: &[&str], images: &[&Path]) -> assert_cmd::Command {
        let mut command = wgseg();
        command.arg("predict").args(options).arg("--model").arg(model);
        command.arg("--out").arg(self.file(out)).args(images);
        command
    }

    /// What it says on stdout and on stderr.
    fn predicted(&self, model: &Path, out: &str, options: &[&str], images: &[&Path]) -> (String, String) {
        let output = self.predict(model, out, options, images).assert().success().get_output().clone();
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (text(output.stdout), text(output.stderr))
    }

    /// Foreground pixels of a written mask.
    fn marked(&self, out: &str, id: &str) -> usize {
        let path = self.file(out).join("masks").join(format!("{id}.png"));
        image::open(path).expect("a mask").to_luma8().pixels().filter(|pixel| pixel.0[0] == 255).count()
    }
}

#[test]
fn a_mask_below_the_smallest_area_is_emptied() {
    let trained = Trained::new();
    let image = trained.image();
    let images = [image.as_path()];
    // At 0 all pixels are foreground, which is as much as there can be.
    let all = ["--threshold", "0"];
    let (model, old) = (trained.file("model.safetensors"), trained.file("old.safetensors"));
    with_min_area(&trained.model(), &model, Some(0.02));
    with_min_area(&trained.model(), &old, None);
    let pixels = 32 * 32;

    // Most of the image's probabilities are small but none is 0.
    trained.predicted(&model, "whole", &all, &images);
    assert_eq!(trained.marked("whole", "phantom_0001"), pixels);
    // A threshold just below the largest probability leaves a few pixels.
    let map = image::open(trained.file("whole/probabilities/phantom_0001.png")).expect("a map").to_luma16();
    let mut values: Vec<u16> = map.pixels().map(|pixel| pixel.0[0]).collect();
    values.sort_unstable();
    let threshold = (f64::from(values[pixels - 5]) / f64::from(u16::MAX)).to_string();
    let few = ["--threshold", threshold.as_str()];

    let (said, told) = trained.predicted(&model, "by_model", &few, &images);
    assert_eq!(trained.marked("by_model", "phantom_0001"), 0);
    assert!(said.contains("below the smallest area"), "{said}");
    assert!(told.contains("smallest area 0.02"), "{told}");
    let (said, told) = trained.predicted(&model, "off", &[&few[..], &["--min-area", "0"]].concat(), &images);
    let kept = trained.marked("off", "phantom_0001");
    assert!((1..20).contains(&kept), "{kept} pixels");
    assert!(!said.contains("below") && told.contains("no smallest area"), "{said}{told}");
    trained.predicted(&model, "other", &[&few[..], &["--min-area", "0.0009"]].concat(), &images);
    assert_eq!(trained.marked("other", "phantom_0001"), kept);
    // A checkpoint of before there was a smallest area has none.
    trained.predicted(&old, "old", &few, &images);
    assert_eq!(trained.marked("old", "phantom_0001"), kept);
}

#[test]
fn a_smallest_area_that_cannot_be_used() {
    for command in ["predict", "evaluate"] {
        for area in ["nan", "2000", "-1", "small", "1e400"] {
            let args = [command, "--model", "none.safetensors", "--min-area", area];
            let output = wgseg().args(args).assert().failure().code(2).get_output().clone();
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(told.contains("0 or more and below 1"), "{told}");
        }
    }
}

#[test]
fn evaluate_scores_the_masks_that_predict_writes() {
    let trained = Trained::new();
    let evaluate = |options: &[&str]| -> serde_json::Value {
        let mut command = wgseg();
        command
            .args(["evaluate", "--split", "val", "--json"])
            .args(options)
            .arg("--model")
            .arg(trained.model());
        let output = command.arg("--data").arg(trained.file("data")).assert().success().get_output().clone();
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let dice = |scores: &serde_json::Value| scores["dice"]["mean"].as_f64().expect("a number");
    let (chosen, without) = (evaluate(&[]), evaluate(&["--min-area", "0"]));
    // It was chosen on these images.
    assert!(dice(&chosen) >= dice(&without), "{chosen} {without}");
    assert_eq!(without["min_area"], 0.0);
    let all_but_full = evaluate(&["--min-area", "0.9999"]);
    let images = all_but_full["images"].as_array().expect("images");
    assert!(images.iter().all(|image| image["predicted_pixels"] == 0), "{all_but_full}");
}

/// A probability map of a written PNG.
fn map(folder: &Path, id: &str) -> Vec<f64> {
    let map = image::open(folder.join("probabilities").join(format!("{id}.png"))).expect("a map").to_luma16();
    map.pixels().map(|pixel| f64::from(pixel.0[0]) / 65_535.0).collect()
}

#[test]
fn mirrored_images_have_mirrored_maps() {
    let trained = Trained::new();
    let model = trained.model();
    let image = image::open(trained.image()).expect("an image");
    let turned = trained.file("turned.png");
    image.fliph().save(&turned).expect("a file");
    let images = [trained.image(), turned];
    let images: Vec<&Path> = images.iter().map(PathBuf::as_path).collect();
    let difference = |out: &str| {
        let [one, other] = ["phantom_0001", "turned"].map(|id| map(&trained.file(out), id));
        let mirrored = other.chunks(32).flat_map(|row| row.iter().rev().copied().collect::<Vec<f64>>());
        one.iter().zip(mirrored).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    trained.predicted(&model, "plain", &[], &images);
    trained.predicted(&model, "tta", &["--tta"], &images);
    // The mean over an image and its mirror image does not depend on which of the two was given.
    let (plain, tta) = (difference("plain"), difference("tta"));
    assert!(plain > 1e-3 && tta < 1e-4, "{plain} {tta}");
    // It is the mean of what is answered for both.
    let (one, other, both) = (
        map(&trained.file("plain"), "phantom_0001"),
        map(&trained.file("plain"), "turned"),
        map(&trained.file("tta"), "phantom_0001"),
    );
    for (i, p) in both.iter().enumerate() {
        let back = other[i / 32 * 32 + 31 - i % 32];
        assert!((p - (one[i] + back) / 2.0).abs() < 5e-5, "pixel {i}");
    }
    // Evaluation knows it as well.
    let mut evaluate = wgseg();
    evaluate.args(["evaluate", "--split", "val", "--tta", "--model"]).arg(&model);
    let output = evaluate.arg("--data").arg(trained.file("data")).assert().success().get_output().clone();
    assert!(String::from_utf8_lossy(&output.stdout).contains("with mirror images"));
}

#[test]
fn windows_see_an_image_at_its_own_resolution() {
    let trained = Trained::new();
    let model = trained.model();
    let one = trained.image();
    let picture = image::open(&one).expect("an image").to_luma8();
    // The image at the training size, in a corner of a larger one, of odd sides, and tiny ones.
    let [large, small, dot] = ["large.png", "small.png", "dot.png"].map(|name| trained.file(name));
    let larger = image::GrayImage::from_fn(61, 47, |x, y| *picture.get_pixel(x % 32, y % 32));
    larger.save(&large).expect("a file");
    image::imageops::crop_imm(&picture, 0, 0, 9, 20).to_image().save(&small).expect("a file");
    image::GrayImage::from_pixel(1, 1, image::Luma([7])).save(&dot).expect("a file");
    let images = [&one, &large, &small, &dot].map(PathBuf::as_path);
    trained.predicted(&model, "whole", &[], &images);
    let (_, told) = trained.predicted(&model, "window", &["--window"], &images);
    assert!(told.contains("4 images in ") && told.contains(" a second: reading "), "{told}");

    let (whole, window) = (trained.file("whole"), trained.file("window"));
    assert_eq!(map(&whole, "phantom_0001"), map(&window, "phantom_0001"));
    assert_ne!(map(&whole, "large"), map(&window, "large"));
    for (id, pixels) in [("large", 61 * 47), ("small", 9 * 20), ("dot", 1)] {
        assert_eq!(map(&window, id).len(), pixels, "{id}");
    }
    // The larger image's first window is the image, and where no other reaches it alone counts.
    let (corner, alone) = (map(&window, "large"), map(&window, "phantom_0001"));
    assert_eq!(corner[8 * 61 + 8], alone[8 * 32 + 8]);
    trained.predicted(&model, "both", &["--window", "--tta"], &images);
}

#[test]
fn nifti_images_of_one_slice_are_predicted() {
    let trained = Trained::new();
    let folder = common::fixture("nifti");
    let flat = folder.join("flat.nii");
    let (said, _) = trained.predicted(&trained.model(), "predicted", &[], &[&flat]);
    assert!(said.starts_with("flat: "), "{said}");
    assert_eq!(map(&trained.file("predicted"), "flat").len(), 6 * 5);
    // A volume is told, the file beside it predicted.
    let volume = folder.join("image.nii.gz");
    let output = trained
        .predict(&trained.model(), "some", &[], &[&flat, &volume])
        .assert()
        .failure()
        .code(1)
        .get_output()
        .clone();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("image.nii.gz") && told.contains("3 slices, expected one"), "{told}");
    assert!(trained.file("some/masks/flat.png").is_file() && !trained.file("some/masks/image.png").exists());
}

#[test]
fn a_segmentation_object_holds_the_mask_and_refers_to_its_image() {
    let Some(folder) = common::real("dicom") else { return };
    let trained = Trained::new();
    // A CT slice with its place in the patient; a film of 15 bit; a colour image compressed with loss.
    let names = ["CT_small", "RG1_J2KI", "SC_rgb_jpeg_dcmtk"];
    let images = names.map(|name| folder.join(format!("{name}.dcm")));
    // Of each image some pixels are above the median of one.
    trained.predicted(&trained.model(), "first", &[], &[&images[0]]);
    let mut values = map(&trained.file("first"), "CT_small");
    values.sort_by(f64::total_cmp);
    let threshold = values[values.len() / 2].to_string();
    let options = ["--dicom-seg", "--min-area", "0", "--threshold", &threshold];
    trained.predicted(&trained.model(), "out", &options, &images.each_ref().map(PathBuf::as_path));
    assert!(trained.marked("out", "CT_small") > 0);
    for name in names {
        let bytes = std::fs::read(trained.file(&format!("out/segmentations/{name}.dcm"))).expect(name);
        assert_eq!(&bytes[128..132], b"DICM", "{name}");
    }

    let Some(python) = common::python(&["numpy", "pydicom", "highdicom"]) else { return };
    for (name, image) in names.iter().zip(&images) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/predict/read_seg.py");
        let (seg, read) = (trained.file(&format!("out/segmentations/{name}.dcm")), trained.file("read"));
        let output = std::process::Command::new(&python)
            .arg(script)
            .args([&seg, image, &read])
            .output()
            .expect("Python");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let expected = serde_json::json!({
            "type": "BINARY",
            "label": "Foreground",
            "copied": ["PatientName", "PatientID", "StudyInstanceUID", "StudyDate"],
            "of_series": true,
            "own": true,
            "lossy": if *name == "CT_small" { "00" } else { told["lossy"].as_str().expect("a string") },
        });
        assert_eq!(told, expected, "{name}");
        let mask = image::open(trained.file(&format!("out/masks/{name}.png"))).expect("a mask").to_luma8();
        let read = std::fs::read(read).expect("pixels");
        assert_eq!(read.len(), mask.as_raw().len(), "{name}");
        assert!(read.iter().zip(mask.as_raw()).all(|(read, mask)| (*read == 1) == (*mask == 255)), "{name}");
    }
}

#[test]
fn no_segmentation_object_of_what_is_no_dicom_image() {
    let trained = Trained::new();
    let mut predict = trained.predict(&trained.model(), "out", &["--dicom-seg"], &[&trained.image()]);
    let output = predict.assert().failure().code(1).get_output().clone();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("phantom_0001.png") && told.contains("DICOM"), "{told}");
    // Before anything is made, so that the same folder serves without the option.
    assert!(!trained.file("out").exists());
}

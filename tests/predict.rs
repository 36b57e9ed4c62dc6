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
        let (data, run) = (folder.path().join("data"), folder.path().join("run"));
        let phantom = ["data", "phantom", "--count", "24", "--size", "32", "--seed", "3", "--out"];
        wgseg().args(phantom).arg(&data).assert().success();
        let small = ["data.size=32", "model.base_channels=4", "model.depth=2", "train.batch_size=4"];
        let short = ["train.epochs=2", "train.steps_per_epoch=6", "train.learning_rate=0.01"];
        let set = small.iter().chain(&short).flat_map(|key| ["--set", key]);
        let mut train = wgseg();
        train.args(["train", "phantom"]).args(set).arg("--data").arg(&data).arg("--out").arg(&run);
        train.assert().success();
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

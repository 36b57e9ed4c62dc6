//! The exported page beside `wgseg predict`, run by Chromium on SwiftShader and by Dawn in Node.
//!
//! They need what `scripts/webgpu.sh` installs, and are skipped where it is not.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{node_tools, wgseg};
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgba};
use serde_json::Value;
use tempfile::TempDir;
use wgseg::train::model::ModelFile;

/// How far a probability may be from that of `wgseg predict`.
const OFF: f64 = 1e-3;

fn chromium() -> Option<PathBuf> {
    if !Path::new("/usr/bin/chromium").exists() {
        eprintln!("skipped: there is no /usr/bin/chromium");
        return None;
    }
    node_tools("playwright-core")
}

/// A model trained on phantoms, and its page.
struct Exported {
    folder: TempDir,
    model: PathBuf,
    page: PathBuf,
}

impl Exported {
    fn new() -> Exported {
        let folder = tempfile::tempdir().expect("a folder");
        let run = common::train_phantom(folder.path());
        let (model, page) = (run.join("best.safetensors"), folder.path().join("page"));
        let mut export = wgseg();
        export.args(["export", "web", "--title", "Lungs </script>", "--model"]).arg(&model);
        export.arg("--out").arg(&page).assert().success();
        Exported { folder, model, page }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// PNG images of every kind that is read by hand, larger and smaller than the model's, not square.
    fn images(&self) -> Vec<PathBuf> {
        let level = |x: u32, y: u32| ((x * 37 + y * 11) % 251 + x / 2) as u16;
        let grey = GrayImage::from_fn(61, 47, |x, y| Luma([level(x, y) as u8]));
        let wide = ImageBuffer::from_fn(20, 90, |x, y| Luma([level(x, y) * 173]));
        // What is clear has colours too.
        let clear = ImageBuffer::from_fn(40, 33, |x, y| {
            Rgba([level(x, y) as u8, level(y, x) as u8, (x * y % 256) as u8, (x * 6) as u8])
        });
        let images: [(&str, DynamicImage); 3] =
            [("grey", grey.into()), ("sixteen_bit", wide.into()), ("alpha", clear.into())];
        let mut paths: Vec<PathBuf> = images
            .iter()
            .map(|(name, image)| {
                let path = self.file(&format!("{name}.png"));
                image.save(&path).expect("a file");
                path
            })
            .collect();
        paths.extend(first_of("lungs/images", 2));
        // Plain pixels of 16 bit, signed and not; those of JPEG are the browser's to decode.
        let plain = ["dicom/CT_small.dcm", "dicom/MR_small_implicit.dcm", "dicom/MR_small_padded.dcm"];
        paths.extend(plain.into_iter().filter_map(common::real));
        paths
    }

    /// Asserts that masks and probabilities in `out` are those of `wgseg predict`.
    fn assert_same_as_predicted(&self, out: &Path, images: &[PathBuf]) {
        let predicted = self.file("predicted");
        wgseg()
            .args(["predict", "--model"])
            .arg(&self.model)
            .arg("--out")
            .arg(&predicted)
            .args(images)
            .assert()
            .success();
        let threshold = ModelFile::open(&self.model).expect("the model").info.threshold.to_string();
        let threshold: f64 = threshold.parse().expect("a number");
        for path in images {
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            let open =
                |path: PathBuf| image::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let map = |path| open(path).as_luma16().expect("16 bit").clone();
            let mask = |path| open(path).as_luma8().expect("8 bit").clone();
            let found = map(out.join(format!("{name}-probability.png")));
            let wanted = map(predicted.join("probabilities").join(format!("{name}.png")));
            let found_mask = mask(out.join(format!("{name}-mask.png")));
            let wanted_mask = mask(predicted.join("masks").join(format!("{name}.png")));
            assert_eq!(found.dimensions(), wanted.dimensions());
            assert_eq!(found_mask.dimensions(), wanted_mask.dimensions());
            let (mut worst, mut differing) = (0.0f64, 0);
            for (i, (found, wanted)) in found.iter().zip(wanted.iter()).enumerate() {
                let wanted = f64::from(*wanted) / 65_535.0;
                worst = worst.max((f64::from(*found) / 65_535.0 - wanted).abs());
                if found_mask.as_raw()[i] != wanted_mask.as_raw()[i] {
                    differing += 1;
                    assert!(
                        (wanted - threshold).abs() < OFF,
                        "{name}: pixel {i} of {wanted} is marked otherwise"
                    );
                }
            }
            eprintln!("{name}: probabilities within {worst:.1e}, {differing} pixels of the mask differ");
            assert!(worst < OFF, "{name}: a probability is off by {worst}");
        }
    }

    /// What the page says.
    fn in_chromium(&self, tools: &Path, options: &[&str], out: &Path, images: &[PathBuf]) -> Value {
        std::fs::create_dir_all(out).expect("a folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/segment_chromium.mjs");
        let mut node = Command::new("node");
        node.arg(script).args(options).arg(tools).arg(&self.page).arg(out).args(images);
        let run = node.output().expect("node");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        serde_json::from_slice(&run.stdout).expect("JSON")
    }
}

/// The first images of a folder of real data; none where it is not.
fn first_of(folder: &str, count: usize) -> Vec<PathBuf> {
    let Some(folder) = common::real(folder) else { return vec![] };
    let entries = std::fs::read_dir(&folder).expect("a folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.truncate(count);
    paths
}

#[test]
fn dawn_marks_what_predict_marks() {
    let Some(tools) = node_tools("webgpu") else { return };
    let exported = Exported::new();
    let images = exported.images();
    let out = exported.file("out");
    std::fs::create_dir(&out).expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/segment_dawn.mjs");
    let run =
        Command::new("node").arg(script).arg(tools).arg(&exported.page).arg(&out).args(&images).output();
    let run = run.expect("node");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    exported.assert_same_as_predicted(&out, &images);
}

#[test]
fn the_page_marks_what_predict_marks_and_asks_no_network() {
    let Some(tools) = chromium() else { return };
    let exported = Exported::new();
    let mut images = exported.images();
    images.extend(first_of("siim/image", 2));
    let out = exported.file("out");
    let told = exported.in_chromium(&tools, &["--drop", "--lose"], &out, &images);
    for result in told["results"].as_array().expect("results") {
        assert_eq!(result["title"], "Done", "{result}");
    }
    exported.assert_same_as_predicted(&out, &images);
    let loaded = told["loaded"].as_array().expect("addresses");
    let local =
        |url: &Value| url.as_str().is_some_and(|url| url.starts_with("file:") || url.starts_with("blob:"));
    assert!(loaded.iter().all(local), "{loaded:?}");
    assert_ne!(told["fetched"], "answered");
    // The device was lost, and found again.
    assert_eq!(
        (&told["lostTitle"], &told["title"]),
        (&"The graphics device was lost".into(), &"Ready".into())
    );
}

#[test]
fn the_page_says_what_is_wrong() {
    let Some(tools) = chromium() else { return };
    let exported = Exported::new();
    let text = exported.file("text.png");
    std::fs::write(&text, "no image").expect("a file");
    let cut = exported.file("cut.png");
    let whole = std::fs::read(&exported.images()[0]).expect("a file");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("a file");
    let told = exported.in_chromium(&tools, &[], &exported.file("out"), &[text, cut]);
    let said: Vec<&str> = (0..2).map(|i| told["results"][i]["more"].as_str().expect("words")).collect();
    assert_eq!(said[0], "This is not a PNG, JPEG or DICOM image.");
    assert!(said[1].starts_with("The PNG file is cut short"), "{said:?}");

    let told = exported.in_chromium(&tools, &["--without-webgpu"], &exported.file("out"), &[]);
    assert_eq!(told["title"], "This browser offers no WebGPU");
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let exported = Exported::new();
    let mut export = wgseg();
    export.args(["export", "web", "--model"]).arg(&exported.model).arg("--out").arg(&exported.page);
    export.assert().failure().code(1).stdout("");
}

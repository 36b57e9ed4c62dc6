//! A run's event file, read by TensorBoard itself.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use wgseg::report::{History, JSONL};

#[derive(Deserialize)]
struct Read {
    scalars: BTreeMap<String, Vec<(usize, f64)>>,
    images: BTreeMap<String, Vec<(usize, u32, u32)>>,
}

fn read(python: &Path, run: &Path) -> Read {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tensorboard/read.py");
    let output = Command::new(python).arg(script).arg(run).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Steps and f32 values, which is what an event file has.
fn series<Row>(rows: &[Row], value: impl Fn(&Row) -> (usize, Option<f64>)) -> Vec<(usize, f64)> {
    let there = |row| match value(row) {
        (step, Some(value)) => Some((step, f64::from(value as f32))),
        (_, None) => None,
    };
    rows.iter().filter_map(there).collect()
}

/// Ctrl-C within the first epoch and --resume: every step stands once.
#[cfg(unix)]
#[test]
fn tensorboard_reads_what_metrics_tell_of_a_run_that_was_resumed() {
    let Some(python) = common::python(&["tensorboard"]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (data, run) = (folder.path().join("data"), folder.path().join("run"));
    common::wgseg()
        .args(["data", "phantom", "--count", "24", "--size", "32", "--seed", "3", "--out"])
        .arg(&data)
        .assert()
        .success();
    let settings = [
        "data.size=32",
        "model.base_channels=4",
        "model.depth=2",
        "train.epochs=2",
        "train.steps_per_epoch=100",
    ];
    let train = |more: &[&str]| {
        let mut command = common::process();
        command.args(["train", "phantom"]).args(settings.iter().flat_map(|s| ["--set", s])).args(more);
        command.arg("--data").arg(&data).arg("--out").arg(&run).stderr(std::process::Stdio::null());
        command
    };
    let mut child = train(&[]).spawn().expect("wgseg starts");
    let steps = || std::fs::read_to_string(run.join(JSONL)).map_or(0, |text| text.lines().count());
    while steps() < 20 && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill").success());
    assert_eq!(child.wait().expect("wait").code(), Some(130));
    assert!(!read(&python, &run).scalars["train/loss"].is_empty());
    assert!(train(&["--resume"]).status().expect("wgseg runs").success());

    let history = History::read(&run.join(JSONL)).expect("metrics");
    assert_eq!((history.steps.len(), history.epochs.len()), (200, 2));
    let Read { scalars, images } = read(&python, &run);
    // Nothing is lost where a run that has ended is given again.
    assert!(train(&["--resume"]).status().expect("wgseg runs").success());
    assert_eq!(read(&python, &run).images, images);
    let of_steps = |value: fn(&wgseg::report::StepRow) -> f64| {
        series(&history.steps, |row| (row.step, Some(value(row))))
    };
    let of_epochs = |value: fn(&wgseg::report::EpochRow) -> Option<f64>| {
        series(&history.epochs, |row| (row.step, value(row)))
    };
    let expected = BTreeMap::from([
        ("train/loss", of_steps(|row| row.loss)),
        ("train/learning_rate", of_steps(|row| row.learning_rate)),
        ("train/mean_loss_of_epoch", of_epochs(|row| Some(row.train_loss))),
        ("train/images_per_s", of_epochs(|row| Some(row.images_per_s))),
        ("val/loss", of_epochs(|row| row.val_loss)),
        ("val/dice", of_epochs(|row| row.val_dice)),
        ("val/dice_positives_only", of_epochs(|row| row.val_dice_positives_only)),
        ("val/iou", of_epochs(|row| row.val_iou)),
        ("val/threshold", of_epochs(|row| row.threshold.map(f64::from))),
    ]);
    for (tag, expected) in &expected {
        assert_eq!(&scalars[*tag], expected, "{tag}");
    }
    let others: Vec<&String> = scalars.keys().filter(|tag| !expected.contains_key(tag.as_str())).collect();
    assert!(others.is_empty(), "{others:?}");
    // One of each epoch that was the best so far.
    let mut best = f64::NEG_INFINITY;
    let of_best = |row: &wgseg::report::EpochRow| {
        let dice = row.val_dice.expect("validation");
        (dice > best).then(|| best = dice).map(|()| row.step)
    };
    let steps: Vec<usize> = history.epochs.iter().filter_map(of_best).collect();
    let [(tag, shown)] = &images.into_iter().collect::<Vec<_>>()[..] else { panic!("one tag") };
    assert_eq!(tag, "val/overlays");
    assert_eq!(shown.iter().map(|(step, ..)| *step).collect::<Vec<_>>(), steps);
    assert!(shown.iter().all(|(_, width, height)| *width >= 512 && *height > 256), "{shown:?}");
}

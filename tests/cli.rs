//! The program as a user runs it: the main job end to end, and what it says of bad input.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use common::wgseg;
use serde_json::Value;
use tempfile::TempDir;
use wgseg::data::rle;

/// A config small enough for a test.
const TINY: [&str; 14] = [
    "--set",
    "data.size=32",
    "--set",
    "model.base_channels=4",
    "--set",
    "model.depth=2",
    "--set",
    "train.batch_size=4",
    "--set",
    "train.epochs=2",
    "--set",
    "train.steps_per_epoch=6",
    "--set",
    "train.learning_rate=0.01",
];

fn phantom(folder: &TempDir) -> PathBuf {
    let data = folder.path().join("data");
    wgseg()
        .args(["data", "phantom", "--count", "24", "--size", "32", "--seed", "3", "--out"])
        .arg(&data)
        .assert()
        .success();
    data
}

fn train(data: &Path, out: &Path, more: &[&str]) -> assert_cmd::assert::Assert {
    wgseg()
        .args(["train", "phantom"])
        .args(TINY)
        .args(more)
        .arg("--data")
        .arg(data)
        .arg("--out")
        .arg(out)
        .assert()
}

/// Runs, expects failure with code 1 and nothing on stdout, and returns stderr.
fn failure(command: &mut assert_cmd::Command) -> String {
    let output = command.assert().failure().code(1).stdout("").get_output().clone();
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn expect_words(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[test]
fn train_evaluate_predict_and_the_same_bits_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let run = folder.path().join("run");
    train(&data, &run, &[]).success();
    for name in [
        "best.safetensors",
        "last.safetensors",
        "config.toml",
        "metrics.csv",
        "metrics.jsonl",
        "run.json",
        "split.csv",
        "report/curves.png",
        "report/validation.png",
    ] {
        assert!(run.join(name).is_file(), "{name} is missing");
    }

    // A second run with the same seed, stopped nowhere, writes the same bytes.
    let again = folder.path().join("again");
    train(&data, &again, &[]).success();
    for name in ["best.safetensors", "last.safetensors", "training_state.safetensors"] {
        let bytes = |run: &Path| std::fs::read(run.join(name)).expect(name);
        assert!(bytes(&run) == bytes(&again), "{name} differs between two runs of one seed");
    }
    let other = folder.path().join("other");
    train(&data, &other, &["--seed", "9"]).success();
    let last = |run: &Path| std::fs::read(run.join("last.safetensors")).expect("last");
    assert!(last(&run) != last(&other), "another seed gives other weights");

    let model = run.join("best.safetensors");
    let sheet = folder.path().join("sheet.png");
    let output = wgseg()
        .args(["evaluate", "--split", "test", "--json", "--data"])
        .arg(&data)
        .arg("--sheet")
        .arg(&sheet)
        .arg("--model")
        .arg(&model)
        .assert()
        .success()
        .get_output()
        .clone();
    assert!(sheet.is_file());
    let scores: Value = serde_json::from_slice(&output.stdout).expect("one JSON document on stdout");
    let dice = scores["dice"]["mean"].as_f64().expect("dice.mean");
    assert!((0.0..=1.0).contains(&dice), "{dice}");
    let images = scores["images"].as_array().expect("images");
    assert!(!images.is_empty());
    let mean = images.iter().map(|i| i["dice"].as_f64().expect("dice")).sum::<f64>() / images.len() as f64;
    assert!((mean - dice).abs() < 1e-12, "dice.mean is the mean over images");
    for key in ["precision", "recall"] {
        assert!(scores.get(key).is_some(), "{key}");
    }
    assert!(scores["iou"]["mean"].is_number());

    let predicted = folder.path().join("predicted");
    wgseg()
        .arg("predict")
        .arg("--model")
        .arg(&model)
        .arg("--out")
        .arg(&predicted)
        .arg(data.join("images"))
        .assert()
        .success();
    for kind in ["masks", "probabilities", "overlays"] {
        assert_eq!(std::fs::read_dir(predicted.join(kind)).expect(kind).count(), 24, "{kind}");
    }
}

#[test]
fn an_interrupted_run_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let whole = folder.path().join("whole");
    // Long enough that the run is still under way when it is killed.
    let epochs = ["--set", "train.epochs=6"];
    train(&data, &whole, &epochs).success();

    let cut = folder.path().join("cut");
    let mut child = common::process()
        .args(["train", "phantom"])
        .args(TINY)
        .args(epochs)
        .arg("--data")
        .arg(&data)
        .arg("--out")
        .arg(&cut)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("wgseg starts");
    let rows = |run: &Path| std::fs::read_to_string(run.join("metrics.csv")).map_or(0, |t| t.lines().count());
    // A header and two epochs: the state of the first is saved. No chance to tidy up.
    while rows(&cut) < 3 && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().expect("kill");
    child.wait().expect("wait");
    assert!((3..7).contains(&rows(&cut)), "killed midway, not before the first or after the last epoch");
    let resume = [&epochs[..], &["--resume"]].concat();
    train(&data, &cut, &resume).success();
    for name in ["best.safetensors", "last.safetensors"] {
        let bytes = |run: &Path| std::fs::read(run.join(name)).expect(name);
        assert!(bytes(&whole) == bytes(&cut), "{name} differs after a resume");
    }
    assert_eq!(rows(&whole), rows(&cut));

    // Another adapter is told of: the file says that one began the run.
    let info = cut.join("run.json");
    let text =
        std::fs::read_to_string(&info).expect("run.json").replace("\"backend\": \"", "\"backend\": \"other ");
    std::fs::write(&info, text).expect("run.json");
    let output = train(&data, &cut, &resume).success().get_output().clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["another adapter"]);

    // With another config there is nothing to resume.
    let message = failure(
        wgseg()
            .args(["train", "phantom"])
            .args(TINY)
            .args(["--set", "train.batch_size=2", "--resume", "--data"])
            .arg(&data)
            .arg("--out")
            .arg(&cut),
    );
    expect_words(&message, &["train.batch_size", "4", "2"]);
}

/// The steps that the state of a run has behind it.
fn saved_step(run: &Path) -> u64 {
    let bytes = std::fs::read(run.join("training_state.safetensors")).expect("a state");
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("safetensors");
    let ours = header.metadata().as_ref().and_then(|metadata| metadata.get("wgseg")).expect("our part");
    let progress: Value = serde_json::from_str(ours).expect("JSON");
    progress["step"].as_u64().expect("a step")
}

/// Ctrl-C in the middle of an epoch keeps what was done of it.
#[cfg(unix)]
#[test]
fn a_run_stopped_within_an_epoch_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let whole = folder.path().join("whole");
    let long = ["--set", "train.epochs=2", "--set", "train.steps_per_epoch=150"];
    train(&data, &whole, &long).success();

    let cut = folder.path().join("cut");
    let mut child = common::process()
        .args(["train", "phantom"])
        .args(TINY)
        .args(long)
        .arg("--data")
        .arg(&data)
        .arg("--out")
        .arg(&cut)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("wgseg starts");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let first = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("epoch 1/2, step")));
    assert!(first.is_some(), "no step was told");
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    assert_eq!(child.wait().expect("wait").code(), Some(130));
    let rows = |run: &Path| std::fs::read_to_string(run.join("metrics.csv")).map_or(0, |t| t.lines().count());
    assert!(rows(&cut) < 2, "stopped before the end of the first epoch");
    let step = saved_step(&cut);
    assert!((1..150).contains(&step), "what was done of the epoch is saved, not its start: step {step}");
    train(&data, &cut, &[&long[..], &["--resume"]].concat()).success();
    for name in ["best.safetensors", "last.safetensors"] {
        let bytes = |run: &Path| std::fs::read(run.join(name)).expect(name);
        assert!(bytes(&whole) == bytes(&cut), "{name} differs after a resume");
    }
    // Times differ from run to run, the rest does not.
    let losses = |run: &Path| {
        let text = std::fs::read_to_string(run.join("metrics.csv")).expect("metrics.csv");
        text.lines().map(|line| line.split(',').take(3).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
    };
    assert_eq!(losses(&whole), losses(&cut));
}

#[test]
fn a_run_is_not_resumed_on_other_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    std::fs::remove_file(data.join("split.csv")).expect("the split");
    let run = folder.path().join("run");
    train(&data, &run, &[]).success();
    // With one image more another split would be drawn.
    for part in ["images", "masks"] {
        std::fs::copy(data.join(part).join("phantom_0001.png"), data.join(part).join("new.png"))
            .expect("a copy");
    }
    let output = train(&data, &run, &["--resume"]).failure().code(1).get_output().clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["split.csv", "new"]);
    // What the run never saw is not scored either.
    let output = wgseg()
        .args(["evaluate", "--json", "--data"])
        .arg(&data)
        .arg("--model")
        .arg(run.join("best.safetensors"))
        .assert()
        .success()
        .get_output()
        .clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["split.csv", "1 are not in that split"]);
}

#[test]
fn a_run_is_not_resumed_on_other_masks() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let run = folder.path().join("run");
    train(&data, &run, &[]).success();
    let files = std::fs::read_to_string(run.join("images.csv")).expect("what it was made from");
    // Training and validation images; what is tested on was not seen.
    let split = std::fs::read_to_string(run.join("split.csv")).expect("the split");
    let used = |line: &&str| line.ends_with(",train") || line.ends_with(",val");
    assert_eq!(files.lines().count() - 1, split.lines().filter(used).count());
    let ids: Vec<&str> = files.lines().skip(1).map(|line| line.split(',').next().expect("an id")).collect();
    let mask = |id: &str| data.join("masks").join(format!("{id}.png"));
    let (before, other) =
        (std::fs::read(mask(ids[2])).expect("a mask"), std::fs::read(mask(ids[3])).expect("a mask"));
    assert!(before != other);
    std::fs::write(mask(ids[2]), &other).expect("another mask");
    let output = train(&data, &run, &["--resume"]).failure().code(1).get_output().clone();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    expect_words(
        &told,
        &["images.csv", &format!("the mask of `{}` is another file", ids[2]), "another folder"],
    );
    std::fs::write(mask(ids[2]), &before).expect("the mask");
    train(&data, &run, &["--resume"]).success();
}

#[test]
fn other_images_than_those_of_the_run_are_split_by_themselves() {
    let (folder, _, model) = model();
    let other = folder.path().join("other");
    wgseg()
        .args(["data", "phantom", "--count", "12", "--size", "32", "--out"])
        .arg(&other)
        .assert()
        .success();
    for part in ["images", "masks"] {
        for entry in std::fs::read_dir(other.join(part)).expect("a folder") {
            let path = entry.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().replace("phantom", "other");
            std::fs::rename(&path, path.with_file_name(name)).expect("a rename");
        }
    }
    std::fs::remove_file(other.join("split.csv")).expect("the split");
    let output = wgseg()
        .args(["evaluate", "--json", "--data"])
        .arg(&other)
        .arg("--model")
        .arg(&model)
        .assert()
        .success()
        .get_output()
        .clone();
    let scores: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(scores["images"].as_array().expect("images").len(), 12, "all are scored");
}

#[test]
fn weights_load_with_pytorchs_names_and_layout() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let run = folder.path().join("run");
    train(&data, &run, &[]).success();
    let ours = std::fs::read(run.join("last.safetensors")).expect("last");
    let ours = safetensors::SafeTensors::deserialize(&ours).expect("safetensors");
    let fixture = std::fs::read(common::fixture("torch_steps.safetensors")).expect("the fixture");
    let theirs = safetensors::SafeTensors::deserialize(&fixture).expect("safetensors");
    // The fixture's U-Net is one stage deeper; stage 0 to 2, the decoder's last block and the head are alike.
    for name in ["down.0.0.weight", "down.0.1.running_var", "down.2.3.weight", "head.weight", "head.bias"] {
        let shape = |tensors: &safetensors::SafeTensors, name: &str| {
            tensors.tensor(name).unwrap_or_else(|_| panic!("no {name}")).shape().to_vec()
        };
        assert_eq!(shape(&ours, name), shape(&theirs, &format!("init.{name}")), "{name}");
    }
    let up =
        |tensors: &safetensors::SafeTensors, name: &str| tensors.tensor(name).expect("up").shape().to_vec();
    assert_eq!(up(&ours, "up.0.weight"), [16, 8, 2, 2]);
    assert_eq!(up(&theirs, "init.up.0.weight"), [32, 16, 2, 2]);
}

#[test]
fn verify_one_op_as_json() {
    let output = wgseg().args(["verify", "--op", "relu", "--json"]).assert().success().get_output().clone();
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["failed"], 0);
    assert_eq!(
        report["passed"].as_u64().expect("passed") as usize,
        report["ops"].as_array().expect("ops").len()
    );
    for key in ["op", "case", "pass", "max_error", "bound"] {
        assert!(report["ops"][0].get(key).is_some(), "{key}");
    }
    assert!(report["adapter"].is_string());
}

#[test]
fn verify_an_unknown_op() {
    let message = failure(wgseg().args(["verify", "--op", "convd2"]));
    expect_words(&message, &["convd2", "conv2d"]);
}

#[test]
fn adapters_as_json() {
    let output = wgseg().args(["adapters", "--json"]).assert().success().get_output().clone();
    let adapters: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(adapters[0]["chosen"], true);
}

#[test]
fn an_unknown_adapter() {
    let message = failure(wgseg().args(["verify", "--op", "add", "--adapter", "no such card"]));
    expect_words(&message, &["no such card", "there are", "0:"]);
}

#[test]
fn no_adapter_at_all() {
    let mut command = wgseg();
    command.env("VK_DRIVER_FILES", "/nonexistent.json").env("VK_ICD_FILENAMES", "/nonexistent.json");
    command.env("WGPU_BACKEND", "vulkan").args(["verify", "--op", "add"]);
    let message = failure(&mut command);
    expect_words(&message, &["no GPU adapter", "install", "mesa-vulkan-drivers"]);
}

#[test]
fn an_output_folder_that_is_not_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let out = folder.path().join("full");
    std::fs::create_dir(&out).expect("a folder");
    std::fs::write(out.join("notes.txt"), "mine").expect("a file");
    let output = train(&data, &out, &[]).failure().code(1).get_output().clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["full", "not empty"]);
    assert_eq!(std::fs::read_dir(&out).expect("out").count(), 1, "nothing was written");
}

#[test]
fn an_output_folder_that_is_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let out = folder.path().join("file");
    std::fs::write(&out, "x").expect("a file");
    let output = train(&data, &out, &[]).failure().code(1).get_output().clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["file"]);
}

#[test]
fn an_output_folder_that_cannot_be_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let out = folder.path().join("data/split.csv/run");
    let output = train(&data, &out, &[]).failure().code(1).get_output().clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["split.csv/run"]);
}

#[test]
fn early_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let run = folder.path().join("run");
    // At this rate nothing changes, so the first epoch stays the best.
    let more =
        ["--set", "train.learning_rate=1e-30", "--set", "train.epochs=9", "--set", "train.early_stop=2"];
    let output = train(&data, &run, &more).success().get_output().clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["stopping early"]);
    let rows = std::fs::read_to_string(run.join("metrics.csv")).expect("metrics").lines().count();
    assert_eq!(rows, 1 + 3, "a header and three epochs");
}

#[test]
fn a_bad_config_or_bad_data_leaves_no_run_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let out = folder.path().join("run");
    let output = train(&data, &out, &["--set", "model.depht=3"]).failure().code(1).get_output().clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["model.depht", "model.depth"]);
    assert!(!out.exists());
    std::fs::write(data.join("images/phantom_0001.png"), b"\x89PNG").expect("a file");
    let output = train(&data, &out, &[]).failure().code(1).get_output().clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["phantom_0001.png"]);
    assert!(!out.exists());
}

#[test]
fn a_loss_that_becomes_nan_stops_and_keeps_the_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let out = folder.path().join("run");
    let more =
        ["--set", "train.optimizer=sgd", "--set", "train.learning_rate=1e30", "--set", "train.epochs=3"];
    let output = train(&data, &out, &more).failure().code(1).get_output().clone();
    expect_words(
        &String::from_utf8_lossy(&output.stderr),
        &["the loss became", "step", "train.learning_rate"],
    );
    // The last update of an epoch, which no loss is computed after.
    let last = folder.path().join("last");
    let more = [&more[..], &["--set", "train.steps_per_epoch=1"]].concat();
    let output = train(&data, &last, &more).failure().code(1).get_output().clone();
    expect_words(
        &String::from_utf8_lossy(&output.stderr),
        &["after step 1", "not finite", "train.learning_rate"],
    );
    for name in ["best.safetensors", "last.safetensors"] {
        if let Ok(bytes) = std::fs::read(out.join(name)) {
            safetensors::SafeTensors::deserialize(&bytes).expect("a checkpoint is whole");
        }
    }
}

#[test]
fn a_program_that_is_too_large_for_the_adapter() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let out = folder.path().join("run");
    let more = ["--set", "data.size=2048", "--set", "model.base_channels=64", "--set", "train.batch_size=8"];
    let output = train(&data, &out, &more).failure().code(1).get_output().clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["bytes", "train.batch_size"]);
    assert!(!out.exists());
}

/// A trained model and its data, for the tests of bad checkpoints.
fn model() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let run = folder.path().join("run");
    train(&data, &run, &["--set", "train.epochs=1", "--set", "train.steps_per_epoch=1"]).success();
    let model = run.join("last.safetensors");
    (folder, data, model)
}

#[test]
fn bad_checkpoints() {
    let (folder, data, good) = model();
    let evaluate = |model: &Path| {
        failure(wgseg().args(["evaluate", "--json", "--data"]).arg(&data).arg("--model").arg(model))
    };
    let missing = folder.path().join("none.safetensors");
    expect_words(&evaluate(&missing), &["none.safetensors", "read"]);

    let truncated = folder.path().join("truncated.safetensors");
    let bytes = std::fs::read(&good).expect("a checkpoint");
    std::fs::write(&truncated, &bytes[..bytes.len() / 2]).expect("a file");
    expect_words(&evaluate(&truncated), &["truncated.safetensors", "truncated"]);

    let foreign = common::fixture("torch_steps.safetensors");
    expect_words(&evaluate(&foreign), &["torch_steps.safetensors", "wgseg"]);

    // The description says base 4, the tensors are of base 4; with base 8 none fits.
    let other = folder.path().join("other.safetensors");
    let key = b"base_channels\\\":";
    let at = bytes.windows(key.len()).position(|w| w == key).expect("a description") + key.len();
    let mut changed = bytes.clone();
    assert_eq!(changed[at], b'4');
    changed[at] = b'8';
    std::fs::write(&other, changed).expect("a file");
    expect_words(&evaluate(&other), &["other.safetensors", "tensor", "architecture"]);
}

#[test]
fn training_begins_with_given_weights() {
    let (folder, data, good) = model();
    let run = folder.path().join("begun");
    let begin = |weights: &Path, out: &Path, more: &[&str]| {
        let weights = ["--weights", weights.to_str().expect("a name")];
        train(
            &data,
            out,
            &[&weights[..], &["--set", "train.epochs=1", "--set", "train.steps_per_epoch=1"], more].concat(),
        )
    };
    // Adam moves a weight by the learning rate at most.
    begin(&good, &run, &["--set", "train.learning_rate=1e-9"]).success();
    let bytes = [&good, &run.join("last.safetensors")].map(|path| std::fs::read(path).expect("a file"));
    let [given, found] =
        [&bytes[0], &bytes[1]].map(|b| safetensors::SafeTensors::deserialize(b).expect("tensors"));
    let numbers = |file: &safetensors::SafeTensors, name: &str| -> Vec<f32> {
        bytemuck::pod_collect_to_vec(file.tensor(name).expect("a tensor").data())
    };
    for name in given.names().into_iter().filter(|name| !name.contains("running_")) {
        let (given, found) = (numbers(&given, name), numbers(&found, name));
        assert!(given.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-8), "{name}");
    }
    let info: Value =
        serde_json::from_slice(&std::fs::read(run.join("run.json")).expect("run.json")).expect("JSON");
    assert_eq!(info["weights"].as_str().map(str::len), Some(64));
    // What it goes on with is its own: a file that is gone does not stop it.
    begin(&folder.path().join("gone"), &run, &["--set", "train.learning_rate=1e-9", "--resume"]).success();

    let refused = |weights: &Path, more: &[&str]| {
        let out = folder.path().join("refused");
        let output = begin(weights, &out, more).failure().code(1).get_output().clone();
        assert!(!out.exists());
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let other = refused(&good, &["--set", "model.base_channels=8"]);
    expect_words(&other, &["last.safetensors", "model.base_channels = 4", "says 8"]);
    let norm = refused(&good, &["--set", "model.norm=\"instance\""]);
    expect_words(&norm, &["last.safetensors", "model.norm = \"batch\"", "says \"instance\""]);
    expect_words(
        &refused(&good, &["--set", "model.depth=3"]),
        &["last.safetensors", "model.depth = 2", "says 3"],
    );
    let state = good.with_file_name("training_state.safetensors");
    expect_words(
        &refused(&state, &[]),
        &["training_state.safetensors", "none of the network's", "best.safetensors"],
    );
    expect_words(&refused(&folder.path().join("none"), &[]), &["none", "read"]);
}

#[test]
fn predict_tells_bad_images_and_does_the_others() {
    let (folder, data, model) = model();
    let bad = folder.path().join("bad.png");
    std::fs::write(&bad, b"").expect("a file");
    let out = folder.path().join("predicted");
    let output = wgseg()
        .arg("predict")
        .arg("--model")
        .arg(&model)
        .arg("--out")
        .arg(&out)
        .arg(&bad)
        .arg(data.join("images/phantom_0001.png"))
        .args(["--threshold", "0.35"])
        .assert()
        .failure()
        .code(1)
        .get_output()
        .clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["bad.png", "empty"]);
    assert!(out.join("masks/phantom_0001.png").is_file());
}

#[test]
fn a_submission_has_the_masks_that_are_written() {
    let (folder, data, model) = model();
    let table = folder.path().join("submission.csv");
    let predict = |out: &str, options: &[&str]| {
        let mut command = wgseg();
        command.arg("predict").args(options).arg("--model").arg(&model);
        command.arg("--out").arg(folder.path().join(out)).arg(data.join("images"));
        command
    };
    // The median of one image's probabilities: a network of one step may put all of them on one side of any number we name.
    predict("first", &[]).assert().success();
    let map =
        image::open(folder.path().join("first/probabilities/phantom_0001.png")).expect("a map").to_luma16();
    let mut values: Vec<u16> = map.pixels().map(|pixel| pixel.0[0]).collect();
    values.sort_unstable();
    let threshold = (f64::from(values[values.len() / 2]) / f64::from(u16::MAX)).to_string();
    let options = ["--threshold", &threshold, "--submission", table.to_str().expect("a name")];

    predict("predicted", &options).assert().success();
    let mut csv = csv::Reader::from_path(&table).expect("a table");
    assert_eq!(csv.headers().expect("a first line"), vec!["ImageId", "EncodedPixels"]);
    let (mut rows, mut foreground) = (0, 0);
    for row in csv.records().map(|row| row.expect("a row")) {
        let path = folder.path().join("predicted/masks").join(format!("{}.png", &row[0]));
        let written = image::open(path).expect("a mask").to_luma8();
        let told = rle::decode(&row[1], 32, 32).expect("a code");
        assert!(told.pixels.iter().zip(written.pixels()).all(|(told, p)| (*told == 1) == (p.0[0] == 255)));
        (rows, foreground) = (rows + 1, foreground + told.pixels.iter().filter(|p| **p == 1).count());
    }
    assert!(rows == 24 && foreground > 0, "{foreground} pixels in {rows} rows");
    expect_words(&failure(&mut predict("again", &options)), &["submission.csv", "exists already"]);
    assert!(!folder.path().join("again").exists());
}

/// Three folds of eight images: each image is tested on once. What is done is not done again, and what was begun is gone on
/// with.
#[test]
fn cross_validation_tests_each_image_once_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let out = folder.path().join("folds");
    let command = |more: &[&str]| {
        let mut command = wgseg();
        command
            .args(["cross-validate", "phantom", "--json"])
            .args(TINY)
            .args(["--set", "train.epochs=1"])
            .args(more);
        command.arg("--data").arg(&data).arg("--out").arg(&out);
        command
    };
    std::fs::remove_file(data.join("split.csv")).expect("the split");
    wgseg().args(["data", "split", "--test-fraction", "0.2"]).arg(&data).assert().success();
    expect_words(&failure(&mut command(&[])), &["split.csv", "fold", "wgseg data split DIR --folds 5"]);
    assert!(!out.exists());

    wgseg().args(["data", "split", "--folds", "3", "--force"]).arg(&data).assert().success();
    let result = |command: &mut assert_cmd::Command| -> Value {
        serde_json::from_slice(&command.assert().success().get_output().stdout).expect("JSON")
    };
    let first = result(&mut command(&[]));
    let folds = first["folds"].as_array().expect("folds");
    let mut ids: Vec<&str> = folds
        .iter()
        .flat_map(|fold| fold["evaluation"]["images"].as_array().expect("images"))
        .map(|image| image["id"].as_str().expect("an id"))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((folds.len(), ids.len()), (3, 24));
    let dice = |fold: &Value| fold["evaluation"]["dice"]["mean"].as_f64().expect("a number");
    let mean = folds.iter().map(dice).sum::<f64>() / 3.0;
    assert!((first["dice"]["mean"].as_f64().expect("a number") - mean).abs() < 1e-12);
    for fold in folds {
        assert!(out.join(fold["model"].as_str().expect("a path")).is_file());
    }

    // The second fold loses its scores and the third is not there at all.
    let when =
        || std::fs::metadata(out.join("fold_0/metrics.jsonl")).and_then(|m| m.modified()).expect("a time");
    let before = when();
    std::fs::remove_file(out.join("fold_1/test.json")).expect("the scores");
    std::fs::remove_dir_all(out.join("fold_2")).expect("the fold");
    assert_eq!(result(&mut command(&[])), first);
    assert_eq!(when(), before);

    let other = failure(&mut command(&["--set", "train.batch_size=2"]));
    expect_words(&other, &["fold_0", "train.batch_size", "4", "2"]);
    // By its config, where the state was removed to make room.
    std::fs::remove_file(out.join("fold_0/training_state.safetensors")).expect("the state");
    let other = failure(&mut command(&["--set", "train.batch_size=2"]));
    expect_words(&other, &["fold_0", "train.batch_size", "4", "2"]);
    assert_eq!(result(&mut command(&[])), first);
    expect_words(&failure(&mut command(&["--set", "data.fold=1"])), &["data.fold is 1", "wgseg train"]);

    // Of what the first fold was tested on, another mask: its scores are not of these images any more.
    let tested = &folds[0]["evaluation"]["images"];
    let [id, other] = [0, 1].map(|i| tested[i]["id"].as_str().expect("an id"));
    let mask = |id: &str| data.join("masks").join(format!("{id}.png"));
    let before = std::fs::read(mask(id)).expect("a mask");
    std::fs::copy(mask(other), mask(id)).expect("another mask");
    let told = failure(&mut command(&[]));
    expect_words(&told, &["fold_0", "images.csv", &format!("the mask of `{id}` is another file")]);
    std::fs::write(mask(id), before).expect("the mask");
    assert_eq!(result(&mut command(&[])), first);

    wgseg().args(["data", "split", "--folds", "3", "--seed", "9", "--force"]).arg(&data).assert().success();
    expect_words(&failure(&mut command(&[])), &["fold_0", "split.csv", "another split", "new folder"]);
}

/// Ctrl-C in the second of three folds, and the same command.
#[cfg(unix)]
#[test]
fn an_interrupted_cross_validation_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    wgseg().args(["data", "split", "--folds", "3", "--force"]).arg(&data).assert().success();
    let command = |out: &Path| {
        let mut command = common::process();
        command
            .args(["cross-validate", "phantom", "--json"])
            .args(TINY)
            .args(["--set", "train.steps_per_epoch=40"]);
        command.arg("--data").arg(&data).arg("--out").arg(out).stderr(std::process::Stdio::null());
        command
    };
    let result = |out: &Path| -> Value {
        let output = command(out).output().expect("wgseg runs");
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    let whole = result(&whole);
    let mut child = command(&cut).stdout(std::process::Stdio::null()).spawn().expect("wgseg starts");
    let steps =
        || std::fs::read_to_string(cut.join("fold_1/metrics.jsonl")).map_or(0, |text| text.lines().count());
    while steps() < 10 && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .expect("kill")
            .success()
    );
    assert_eq!(child.wait().expect("wait").code(), Some(130));
    assert!(!cut.join("fold_2").exists());
    // As if it had been killed before its first state.
    std::fs::create_dir(cut.join("fold_2")).expect("a folder");
    for name in ["metrics.jsonl", ".wgseg-a1b2c3"] {
        std::fs::write(cut.join("fold_2").join(name), "").expect("a file");
    }
    assert_eq!(result(&cut), whole);
}

#[test]
fn a_mask_threshold_that_is_no_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let output = wgseg()
        .args(["data", "check", "--mask-threshold", "nan"])
        .arg(&data)
        .assert()
        .failure()
        .code(1)
        .get_output()
        .clone();
    expect_words(&String::from_utf8_lossy(&output.stdout), &["data.mask_threshold", "NaN"]);
}

#[test]
fn a_threshold_that_cannot_be_used() {
    for command in ["predict", "evaluate"] {
        for threshold in ["nan", "5", "-1", "half"] {
            let output = wgseg()
                .args([command, "--model", "none.safetensors", "--threshold", threshold])
                .assert()
                .failure()
                .code(2)
                .get_output()
                .clone();
            expect_words(&String::from_utf8_lossy(&output.stderr), &[threshold, "0 or more and below 1"]);
        }
    }
}

#[test]
fn nobody_reads_the_output() {
    use std::process::{Command, Stdio};
    // A pipe whose reader has gone away.
    let closed = || {
        let mut child = Command::new("true").stdin(Stdio::piped()).spawn().expect("true");
        let pipe = child.stdin.take().expect("a pipe");
        child.wait().expect("wait");
        Stdio::from(pipe)
    };
    for args in [&["verify", "--op", "fill"][..], &["adapters"], &["train", "no such config"]] {
        let status = common::process()
            .args(args)
            .args(if args[0] == "train" { &["--data", "d", "--out", "o"][..] } else { &[] })
            .stdout(closed())
            .stderr(closed())
            .status()
            .expect("wgseg starts");
        assert!(status.code().is_some_and(|code| code < 2), "{args:?}: {status}");
    }
}

#[test]
fn masks_without_any_foreground() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = phantom(&folder);
    let out = folder.path().join("run");
    let output =
        train(&data, &out, &["--set", "data.mask_threshold=300"]).failure().code(1).get_output().clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["foreground", "data.mask_threshold", "300"]);
    assert!(!out.exists());
}

#[test]
fn a_run_that_is_there_already() {
    let (_folder, data, model) = model();
    let run = model.parent().expect("a run").to_owned();
    let output = train(&data, &run, &[]).failure().code(1).get_output().clone();
    expect_words(&String::from_utf8_lossy(&output.stderr), &["--resume"]);
    let message = failure(wgseg().args(["evaluate", "--data"]).arg(&data).arg("--model").arg(&run));
    expect_words(&message, &["folder", "best.safetensors"]);
}

#[test]
fn wrong_usage_has_exit_code_2() {
    wgseg().arg("trian").assert().failure().code(2);
}

#[test]
fn doctor_tells_what_a_config_needs_and_what_to_run_next() {
    let output = wgseg().args(["doctor", "phantom", "--no-tuning", "--json"]).assert().success();
    let found: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let needs = &found["needs"];
    assert!(needs["problem"].is_null());
    assert!(needs["step_bytes"].as_u64() > needs["predict_bytes"].as_u64());
    let adapter = &found["taken"]["adapter"];
    assert_eq!(adapter["name"], found["adapters"][0]["name"]);
    if adapter["device_type"] == "Cpu" {
        assert!(found["findings"][0]["what"].as_str().unwrap().contains("software driver"));
        assert!(found["next"].as_str().unwrap().starts_with("wgseg train phantom"));
        // Its memory is the host's, so that there is a batch that does not fit, and a smaller one that does.
        let large = ["--set", "train.batch_size=4096", "--set", "data.size=512"];
        let output = wgseg().args(["doctor", "phantom", "--no-tuning"]).args(large).assert().code(1);
        let told = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        expect_words(&told, &["ERROR", "does not fit", "--set train.batch_size="]);
    }
}

#[test]
fn init_writes_a_config_that_trains() {
    let folder = TempDir::new().unwrap();
    let data = phantom(&folder);
    let config = folder.path().join("mine.toml");
    let init = |data: &Path| {
        let mut command = wgseg();
        command.arg("init").arg(data).arg("--out").arg(&config);
        command
    };
    let output = init(&data).assert().success();
    expect_words(&String::from_utf8_lossy(&output.get_output().stdout), &["wgseg train", "mine.toml"]);
    let out = folder.path().join("run");
    let short = ["--set", "train.epochs=1", "--set", "train.steps_per_epoch=1"];
    wgseg()
        .arg("train")
        .arg(&config)
        .args(short)
        .arg("--data")
        .arg(&data)
        .arg("--out")
        .arg(&out)
        .assert()
        .success();
    expect_words(&failure(&mut init(&data)), &["mine.toml", "exists already"]);
    std::fs::remove_file(&config).unwrap();
    expect_words(&failure(&mut init(&folder.path().join("none"))), &["none", "wgseg data check"]);
    assert!(!config.exists());
}

#[test]
fn completions_and_man_pages_know_every_command() {
    let shells = ["bash", "zsh", "fish", "elvish", "powershell"];
    for shell in shells {
        let output = wgseg().args(["completions", shell]).assert().success();
        let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
        expect_words(&text, &["two-stage", "conformance"]);
    }
    let folder = TempDir::new().unwrap();
    wgseg().args(["man", "--out"]).arg(folder.path()).assert().success();
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    expect_words(&page("wgseg.1"), &[".TH", "conformance"]);
    expect_words(&page("wgseg-data-check.1"), &["split"]);
}

//! `two-stage`, `compare` and `plan` as a user runs them: what they say before any training starts.

mod common;

use std::path::Path;

use common::wgseg;
use serde_json::Value;

/// A command on `data` in `folder`, with `run` for its results.
fn experiment(command: &str, folder: &Path) -> assert_cmd::Command {
    let mut wgseg = wgseg();
    wgseg.current_dir(folder).args([command, "two_stage_phantom", "--data", "data", "--out", "run"]);
    wgseg
}

/// Runs `two-stage` in an empty folder, expects that it fails and trains nothing, and returns stderr.
fn refused(more: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("more")).unwrap();
    let output = experiment("two-stage", folder.path())
        .args(more)
        .assert()
        .failure()
        .code(1)
        .stdout("")
        .get_output()
        .clone();
    assert!(!folder.path().join("run").exists());
    String::from_utf8(output.stderr).unwrap()
}

#[track_caller]
fn says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

macro_rules! refused {
    ($($name:ident: $set:expr => $($word:expr),+;)*) => {
        $(#[test] fn $name() { says(&refused(&["--unlabelled", "more", "--set", $set]), &[$($word),+]); })*
    };
}

refused! {
    unknown_task: "method.tasks=['rotaton']" => "`rotaton`", "did you mean `rotation`", "wgseg plan --tasks";
    task_twice: "method.tasks=['edges', 'edges']" => "`edges` twice";
    no_tasks: "method.tasks=[]" => "zero elite models";
    unknown_rival: "method.rivals=['pretrain_al']" => "`pretrain_al`", "did you mean `pretrain_all`";
    negative_lambda: "lambda.rotation=-1" => "`lambda.rotation` is -1", "0 or more";
    misspelt_lambda: "lambda.rotaton=1" => "`lambda.rotaton`", "`lambda.rotation`";
    alpha_above_one: "distillation.alpha=1.5" => "`distillation.alpha` is 1.5", "0 to 1";
    cold_teachers: "distillation.temperature=0" => "`distillation.temperature` is 0", "0.01 to 100";
    no_seeds: "method.seeds=0" => "`method.seeds` is 0", "from 1";
}

#[test]
fn unlabelled_images_are_asked_for() {
    says(&refused(&[]), &["no folder of unlabelled images", "--unlabelled DIR"]);
    says(&refused(&["--unlabelled", "none"]), &["folder of unlabelled images none", "--unlabelled DIR"]);
}

#[test]
fn only_takes_runs_of_the_command() {
    let only = |name: &str| refused(&["--unlabelled", "more", "--only", name]);
    says(&only("joint_pcgrad"), &["`joint_pcgrad` is a run of `wgseg compare`"]);
    says(&only("single_joint"), &["made of the runs stage1:rotation:joint, stage1:inpainting:joint"]);
    says(&only("two_stag"), &["did you mean `two_stage`", "`wgseg plan CONFIG` lists all"]);
    assert!(!only("").contains("did you mean"));
}

/// The folder is named in plan.json, which is JSON.
#[cfg(unix)]
#[test]
fn a_name_that_is_not_utf_8_is_an_error_and_no_panic() {
    use std::os::unix::ffi::OsStrExt;
    let root = tempfile::tempdir().unwrap();
    let odd = root.path().join(std::ffi::OsStr::from_bytes(b"un\xff"));
    std::fs::create_dir(&odd).unwrap();
    let mut command = wgseg();
    command.args(["two-stage", "two_stage_phantom", "--data", "none", "--out"]).arg(root.path().join("run"));
    let output = command.arg("--unlabelled").arg(&odd).assert().failure().code(1).get_output().clone();
    says(&String::from_utf8_lossy(&output.stderr), &["un", "is not UTF-8", "rename"]);
    assert!(!root.path().join("run").exists());
}

/// Before anything is trained there is nothing to save, but the exit code is that of an interrupt.
#[cfg(unix)]
#[test]
fn a_signal_is_heeded_from_the_start() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let folder = tempfile::tempdir().unwrap();
    for name in ["data", "more"] {
        let phantom = ["data", "phantom", "--count", "40", "--size", "32", "--out", name];
        wgseg().current_dir(folder.path()).args(phantom).assert().success();
    }
    let commands = [
        "two-stage two_stage_phantom --data data --unlabelled more --out run",
        "compare two_stage_phantom --data data --unlabelled more --out run2",
        "train phantom --data data --out run3",
    ];
    for command in commands {
        let mut child = common::process()
            .current_dir(folder.path())
            .args(command.split(' '))
            .args(["--set", "train.epochs=1000"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        // The first line comes before any image is read.
        let first = told.next().unwrap();
        assert!(first.starts_with("adapter:"), "{first}");
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let rest: Vec<String> = told.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{command}: {rest:?}");
        assert!(rest.iter().any(|line| line.starts_with("interrupted")), "{command}: {rest:?}");
    }
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    for name in ["run", "more"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    std::fs::write(run.join("notes.txt"), "keep").unwrap();
    let output = experiment("compare", folder.path())
        .args(["--unlabelled", "more"])
        .assert()
        .failure()
        .code(1)
        .get_output()
        .clone();
    says(&String::from_utf8(output.stderr).unwrap(), &["run is not empty"]);
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 1);
}

/// A mistake that shows only when the images are read leaves no folder behind either.
#[test]
fn too_few_images_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let phantom = ["data", "phantom", "--count", "12", "--size", "32", "--seed", "1", "--out"];
    wgseg().current_dir(folder.path()).args(phantom).arg("data").assert().success();
    std::fs::create_dir(folder.path().join("more")).unwrap();
    std::fs::copy(folder.path().join("data/images/phantom_0001.png"), folder.path().join("more/a.png"))
        .unwrap();
    let output = experiment("two-stage", folder.path())
        .args(["--unlabelled", "more"])
        .assert()
        .failure()
        .code(1)
        .get_output()
        .clone();
    says(&String::from_utf8(output.stderr).unwrap(), &["fewer than a batch of 4"]);
    assert!(!folder.path().join("run").exists());
}

fn plan(more: &[&str]) -> Value {
    let mut command = wgseg();
    command.args(["plan", "two_stage_phantom", "--no-time", "--json"]).args(more);
    serde_json::from_slice(&command.assert().success().get_output().stdout).unwrap()
}

#[test]
fn plan_tells_every_run() {
    let table = plan(&[]);
    let runs = table["runs"].as_array().unwrap();
    let ids: Vec<_> = runs.iter().map(|run| run["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1 + 2 * 3 + 2 + 2);
    let student = runs.iter().find(|run| run["id"] == "two_stage").unwrap();
    assert_eq!(student["needs"].as_array().unwrap().len(), 4);
    assert_eq!(student["steps"], 6);
    assert_eq!(table["seconds"], Value::Null);
    // All rivals: at least the 11 couplings, pre-training on all, and the seed ensemble with its members.
    assert!(plan(&["--compare"])["runs"].as_array().unwrap().len() >= ids.len() + 11 + 2 + 3);
}

#[test]
fn plan_without_a_device_is_a_table() {
    let output = wgseg().args(["plan", "compare_lungs", "--compare", "--no-time"]).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    says(&text, &["stage1:rotation:finetune", "needs stage1:rotation:pretrain", "× 3 seeds", "not forecast"]);
}

#[test]
fn plan_lists_tasks_and_methods() {
    let list = |what: &str| {
        let output = wgseg().args(["plan", what]).assert().success();
        String::from_utf8(output.get_output().stdout.clone()).unwrap()
    };
    says(&list("--tasks"), &["rotation", "jigsaw", "inpainting", "restoration", "contrastive"]);
    says(&list("--methods"), &["joint_", "pretrain_all", "seed_ensemble_distilled"]);
}

#[test]
fn plan_lists_for_programs_too() {
    let list = |what: &str| -> Vec<String> {
        let output = wgseg().args(["plan", what, "--json"]).assert().success();
        let rows: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        assert!(rows[0]["about"].is_string(), "{rows}");
        rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(list("--tasks").contains(&"jigsaw".to_owned()));
    assert!(list("--methods").contains(&"joint_pcgrad".to_owned()));
}

#[test]
fn plan_asks_for_a_config_and_tells_of_a_lambda_without_a_task() {
    let output = wgseg().arg("plan").assert().failure().code(2).get_output().clone();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("<CONFIG>") && !text.contains("[CONFIG]"), "{text}");
    let more = ["plan", "two_stage_phantom", "--no-time", "--set", "lambda.jigsaw=search"];
    let output = wgseg().args(more).assert().success().get_output().clone();
    says(&String::from_utf8(output.stderr).unwrap(), &["lambda.jigsaw has no effect"]);
}

#[test]
fn every_config_of_the_method_can_be_planned() {
    for name in ["two_stage_lungs", "compare_lungs", "compare_vessels", "two_stage_phantom"] {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("configs/{name}.toml")).exists());
        wgseg().args(["plan", name, "--compare", "--no-time"]).assert().success();
    }
}

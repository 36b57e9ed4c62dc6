//! The two-stage method and all its rivals, end to end, on images that the program draws.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::wgseg;
use serde_json::Value;
use tempfile::TempDir;

const TASKS: &str = "method.tasks=[\"rotation\", \"jigsaw\", \"inpainting\", \"restoration\", \"contrastive\", \"super_resolution\", \"edges\"]";

fn phantom(folder: &TempDir, name: &str, count: &str, seed: &str) -> PathBuf {
    let out = folder.path().join(name);
    let command = ["data", "phantom", "--size", "32", "--count", count, "--seed", seed, "--out"];
    wgseg().args(command).arg(&out).assert().success();
    out
}

/// The arguments of an experiment on phantoms in `folder`.
fn arguments(folder: &TempDir, command: &str, out: &Path, more: &[&str]) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let mut arguments = vec![command.to_owned(), "two_stage_phantom".to_owned()];
    arguments.extend(["--data".to_owned(), path(&folder.path().join("data"))]);
    arguments.extend(["--unlabelled".to_owned(), path(&folder.path().join("more").join("images"))]);
    arguments.extend(["--out".to_owned(), path(out)]);
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    arguments
}

fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    phantom(&folder, "data", "40", "1");
    phantom(&folder, "more", "24", "2");
    folder
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

/// All files below `root` that training leaves, without what tells the time.
fn trained(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "safetensors") {
                let name = path.strip_prefix(root).expect("below").display().to_string();
                files.insert(name, std::fs::read(&path).expect("a file"));
            } else if path.ends_with("result.json") {
                let mut result = json(&path);
                result["train_seconds"] = Value::Null;
                let name = path.strip_prefix(root).expect("below").display().to_string();
                files.insert(name, result.to_string().into_bytes());
            }
        }
    }
    files
}

#[test]
fn every_task_mode_and_rival_trains_and_is_reported() {
    let folder = folder();
    let out = folder.path().join("run");
    let more = ["--seeds", "2", "--jobs", "2", "--set", TASKS, "--set", "lambda.edges=search"];
    wgseg().args(arguments(&folder, "compare", &out, &more)).assert().success();

    let results = json(&out.join("results.json"));
    let methods = results["methods"].as_array().expect("methods");
    let find = |name: &str| methods.iter().find(|m| m["name"] == name).unwrap_or_else(|| panic!("{name}"));
    let rivals = ["equal", "uncertainty", "dwa", "random", "gradnorm", "pcgrad", "cagrad", "mgda", "imtl_g"];
    let rivals =
        rivals.into_iter().chain(["nash_mtl", "cosine_gating", "lambda"]).map(|name| format!("joint_{name}"));
    let tasks =
        ["rotation", "jigsaw", "inpainting", "restoration", "contrastive", "super_resolution", "edges"];
    let singles = tasks.iter().flat_map(|t| [format!("single_joint_{t}"), format!("single_pretrain_{t}")]);
    let others = ["two_stage", "target_only", "target_only_longer", "teacher_ensemble", "pretrain_all"];
    let others = others.into_iter().chain(["seed_ensemble_distilled"]);
    for name in rivals.chain(singles).chain(others.map(str::to_owned)) {
        let method = find(&name);
        let seeds = method["seeds"].as_array().expect("seeds");
        assert_eq!(seeds.len(), 2, "{name}");
        for seed in seeds {
            let dice = seed["test"]["dice"].as_f64().expect("a Dice");
            assert!((0.0..=1.0).contains(&dice), "{name}: {dice}");
            assert!(seed["test"]["iou"].is_number() && seed["test"]["dice_positives_only"].is_number());
        }
        let [a, b] = [0, 1].map(|i| seeds[i]["test"]["dice"].as_f64().expect("a Dice"));
        assert!((method["dice_mean"].as_f64().expect("a mean") - (a + b) / 2.0).abs() < 1e-12);
        let sd = (a - b).abs() / 2f64.sqrt();
        assert!((method["dice_sd"].as_f64().expect("a deviation") - sd).abs() < 1e-12);
    }
    // Each run has as many steps as were forecast.
    let planned = ["plan", "two_stage_phantom", "--compare", "--no-time", "--json", "--set", TASKS];
    let planned = wgseg().args(planned).args(["--set", "lambda.edges=search"]).assert().success();
    let planned: Value = serde_json::from_slice(&planned.get_output().stdout).expect("JSON");
    let planned = planned["runs"].as_array().expect("runs");
    assert_eq!(results["runs"].as_u64(), u64::try_from(2 * planned.len()).ok());
    for run in planned {
        let folder = out.join("seed_1").join(run["id"].as_str().expect("an id").replace(':', "/"));
        assert_eq!(json(&folder.join("result.json"))["steps"], run["steps"], "{}", run["id"]);
        assert!(folder.join("run.json").is_file(), "what it was made on: {}", run["id"]);
    }
    // The ceiling trains nothing itself; what it costs is its teachers.
    assert!(find("teacher_ensemble")["train_seconds"].as_f64().expect("seconds") > 0.0);
    let stage1 = results["stage1"].as_array().expect("stage one");
    for task in tasks {
        let modes: Vec<&Value> = stage1.iter().filter(|row| row["task"] == task).collect();
        let chosen = modes.iter().filter(|row| row["chosen"] == true).count();
        assert!(modes.len() >= 4 && chosen == 2, "{task}: one of each seed is chosen of {modes:?}");
    }
    let page = std::fs::read_to_string(out.join("report.html")).expect("a page");
    for word in ["two_stage", "joint_nash_mtl", "contrastive", "<svg", "Wilcoxon"] {
        assert!(page.contains(word), "{word}");
    }

    // All is complete: nothing is trained again.
    let before = trained(&out);
    let again = wgseg().args(arguments(&folder, "compare", &out, &more)).assert().success();
    let told = String::from_utf8(again.get_output().stderr.clone()).expect("UTF-8");
    assert!(told.contains("0 runs to do"), "{told}");
    assert_eq!(trained(&out), before);

    // The results on stdout are those in the file.
    let report = |more: &[&str]| wgseg().arg("report").arg(&out).args(more).assert().success();
    let printed: Value = serde_json::from_slice(&report(&["--json"]).get_output().stdout).expect("JSON");
    assert_eq!(printed, json(&out.join("results.json")));
    let told = String::from_utf8(report(&[]).get_output().stdout.clone()).expect("UTF-8");
    assert!(told.contains("Use the student: wgseg predict --model"), "{told}");

    // The model that a method ends with is trained again when it is gone, to the same bytes; weights that
    // were only needed on the way are not.
    let student = out.join("seed_0/two_stage/best.safetensors");
    for gone in [&student, &out.join("seed_0/stage1/edges/pretrain/training_state.safetensors")] {
        std::fs::remove_file(gone).expect("weights");
    }
    let told = String::from_utf8(report(&[]).get_output().stdout.clone()).expect("UTF-8");
    assert!(told.contains("seed_0/two_stage: its best.safetensors is gone"), "{told}");
    let again = wgseg().args(arguments(&folder, "compare", &out, &more)).assert().success();
    let told = String::from_utf8(again.get_output().stderr.clone()).expect("UTF-8");
    assert!(told.contains("seed_0/two_stage is done anew: its best.safetensors is gone"), "{told}");
    assert!(told.contains("1 run to do") && told.contains("1 complete run without weights"), "{told}");
    assert!(std::fs::read(&student).expect("a student") == before["seed_0/two_stage/best.safetensors"]);

    // A smaller command leaves the report of the larger one whole; one of other tasks is refused.
    let fewer = ["--seeds", "1", "--set", TASKS, "--set", "lambda.edges=search"];
    let told = wgseg().args(arguments(&folder, "two-stage", &out, &fewer)).assert().success();
    let told = String::from_utf8(told.get_output().stderr.clone()).expect("UTF-8");
    assert!(told.contains("of an earlier command besides"), "{told}");
    let kept = json(&out.join("results.json"));
    let names = |results: &Value| -> BTreeSet<String> {
        let methods = results["methods"].as_array().expect("methods").iter();
        methods.map(|method| format!("{} {}", method["name"], method["dice_mean"])).collect()
    };
    assert_eq!(names(&kept), names(&results));
    assert_eq!((&kept["seeds"], &kept["runs"]), (&results["seeds"], &results["runs"]));
    let plan = std::fs::read(out.join("plan.json")).expect("a plan");
    let other = ["--set", "method.tasks=[\"rotation\"]", "--set", "lambda.edges=search"];
    let refused = wgseg().args(arguments(&folder, "two-stage", &out, &other)).assert().failure();
    let told = String::from_utf8(refused.get_output().stderr.clone()).expect("UTF-8");
    assert!(told.contains("`method.tasks` is"), "{told}");
    // The student and the ensemble are of the other tasks; what is of tasks that are not named stays.
    assert!(told.contains("are removed and done anew (") && told.contains("seed_0/two_stage"), "{told}");
    assert!(told.contains("stay there, but the report leaves them out"), "{told}");
    assert_eq!(std::fs::read(out.join("plan.json")).expect("a plan"), plan);

    // The folder of a model says what it may be scored on, whatever becomes of that of the data.
    std::fs::remove_file(folder.path().join("data/split.csv")).expect("the split");
    let model = out.join("seed_1/two_stage/best.safetensors");
    let mut evaluate = wgseg();
    evaluate.args(["evaluate", "--split", "test", "--json", "--data"]).arg(folder.path().join("data"));
    let output = evaluate.arg("--model").arg(model).assert().success().get_output().clone();
    let scores: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let student = find("two_stage");
    let expected = student["seeds"][1]["test"]["dice"].as_f64().expect("a Dice");
    assert!((scores["dice"]["mean"].as_f64().expect("a Dice") - expected).abs() < 1e-6, "{scores}");
    let images = scores["images"].as_array().expect("images").len();
    assert_eq!(u64::try_from(images).ok(), results["test_images"].as_u64(), "the test part and nothing else");
}

#[test]
fn an_experiment_that_is_killed_ends_with_the_same_bytes() {
    let folder = folder();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    // A coupling that remembers, and a narrow student whose teachers are asked at every step, one of them.
    let more = ["method.rivals=[\"joint_gradnorm\"]", "train.steps_per_epoch=8"];
    let student = [
        "student=\"scratch\"",
        "base_channels=2",
        "teachers=\"one_per_step\"",
        "teacher_outputs=\"every_step\"",
    ];
    let student = student.map(|setting| format!("distillation.{setting}"));
    let more = more.into_iter().chain(student.iter().map(String::as_str));
    let more: Vec<&str> = more.flat_map(|setting| ["--set", setting]).collect();
    let two_at_a_time = [&more[..], &["--jobs", "2"]].concat();
    wgseg().args(arguments(&folder, "compare", &whole, &two_at_a_time)).assert().success();
    let parameters =
        |run: &str| json(&whole.join("seed_0").join(run).join("result.json"))["parameters"].as_u64();
    assert!(parameters("two_stage") < parameters("target_only"));
    let complete = |root: &Path| trained(root).keys().filter(|name| name.ends_with("result.json")).count();
    let runs = complete(&whole);

    // In the middle of a training: of the target, of the student, of a coupling that remembers; and
    // between two runs.
    let steps = |run: &str| {
        let path = cut.join("seed_0").join(run).join("metrics.jsonl");
        std::fs::read_to_string(path).map_or(0, |text| text.matches("\"kind\":\"step\"").count())
    };
    let moments: [&dyn Fn() -> bool; 5] = [
        &|| steps("target_only") >= 3,
        &|| complete(&cut) > runs / 3,
        &|| steps("two_stage") >= 11,
        &|| steps("joint_gradnorm") >= 3,
        &|| steps("joint_gradnorm") >= 11,
    ];
    // The first time it may end its step.
    for (number, reached) in moments.into_iter().enumerate() {
        let (log, printed) = (folder.path().join("cut.log"), folder.path().join("printed.json"));
        let mut child = common::process()
            .args(arguments(&folder, "compare", &cut, &more))
            .arg("--json")
            .stderr(std::fs::File::create(&log).expect("a log"))
            .stdout(std::fs::File::create(&printed).expect("a file"))
            .spawn()
            .expect("a process");
        let start = Instant::now();
        while !(cut.exists() && reached()) {
            let told = || std::fs::read_to_string(&log).unwrap_or_default();
            let ended = child.try_wait().expect("a status");
            assert!(ended.is_none(), "it ended before moment {number}: {ended:?}\n{}", told());
            if start.elapsed() > Duration::from_secs(120) {
                child.kill().expect("kill");
                panic!("moment {number} did not come\n{}", told());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if number == 0 {
            let id = child.id().to_string();
            assert!(std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
            assert_eq!(child.wait().expect("an end").code(), Some(130));
            let told = std::fs::read_to_string(&log).expect("a log");
            assert!(told.contains("seed_0/target_only: interrupted"), "{told}");
            assert!(told.contains("what there is so far") && cut.join("report.html").is_file(), "{told}");
            let results = json(&cut.join("results.json"));
            assert_eq!(results["complete"], false, "{results}");
            assert_eq!(json(&printed), results);
        } else {
            child.kill().expect("kill");
            child.wait().expect("an end");
            assert!(!cut.join("results.json").exists(), "none that tells of what was before");
        }
    }
    assert!(complete(&cut) < runs);
    wgseg().args(arguments(&folder, "compare", &cut, &more)).assert().success();
    let (expected, found) = (trained(&whole), trained(&cut));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in &expected {
        assert!(found[name] == *bytes, "{name} differs");
    }
}

#[test]
fn what_was_pretrained_is_held_for_the_first_steps() {
    let folder = folder();
    let out = folder.path().join("run");
    // How far six steps of the target move the parameters that pre-training left.
    let moved = |freeze_steps: &str| -> f32 {
        let freeze = format!("pretrain.freeze_steps={freeze_steps}");
        let runs = ["--only", "stage1:inpainting:pretrain", "--only", "stage1:inpainting:finetune"];
        let more = [&runs[..], &["--redo-changed", "--set", &freeze]].concat();
        wgseg().args(arguments(&folder, "two-stage", &out, &more)).assert().success();
        let run = out.join("seed_0/stage1/inpainting");
        let parameters = |file: &str| {
            let bytes = std::fs::read(run.join(file)).expect("weights");
            let all = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
            let numbers = |data: &[u8]| -> Vec<f32> {
                data.chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect()
            };
            let all = all.iter().filter(|(name, _)| name.ends_with("weight") || name.ends_with("bias"));
            all.map(|(name, view)| (name.to_owned(), numbers(view.data()))).collect::<BTreeMap<_, _>>()
        };
        let before = parameters("pretrain/training_state.safetensors");
        let after = parameters("finetune/last.safetensors");
        let shared: Vec<&String> = after.keys().filter(|name| before.contains_key(*name)).collect();
        assert!(shared.len() > 10 && shared.len() < after.len(), "all but the head: {shared:?}");
        let distance = |name: &&String| {
            let pairs = before[*name].iter().zip(&after[*name]);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        shared.iter().map(distance).fold(0.0, f32::max)
    };
    // Adam's step is about the rate: 0.002 at first, and by its cosine 0.00013 at the last step, which alone is not held.
    let (free, held) = (moved("0"), moved("5"));
    assert!(free > 0.002, "{free}");
    assert!(held > 0.0 && held < 0.0005, "{held}");
}

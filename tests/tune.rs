//! `wgseg tune`: the table it writes, who reads it, and that a run goes on with the one it began with.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use wgseg::config::Config;
use wgseg::program::{Caps, Choices, Family, Program, compile};
use wgseg::train::step::{inference, train_step};
use wgseg::tune::{Table, TunedPoint, spots};

const SMALL: [&str; 8] = ["--batch", "2", "--size", "16", "--base", "8", "--depth", "2"];

/// The config of a small run.
const TINY: [&str; 7] = [
    "data.size=32",
    "model.base_channels=4",
    "model.depth=2",
    "train.batch_size=4",
    "train.epochs=2",
    "train.steps_per_epoch=4",
    "train.learning_rate=0.01",
];

/// A table that takes the last form everywhere, for a network of `set`.
fn last_forms(path: &Path, set: &[&str]) -> Table {
    let gpu = common::gpu();
    let set: Vec<String> = set.iter().map(|key| (*key).to_owned()).collect();
    let config = Config::parse("", "test", &set).expect("a config");
    let points = spots(&gpu, &config).expect("spots").into_iter().map(|spot| TunedPoint {
        point: spot.point,
        rule: spot.forms[0].clone(),
        rule_ms: 2.0,
        form: spot.forms.last().expect("a form").clone(),
        ms: 1.0,
    });
    let table = Table::new(gpu.description(), points.collect());
    table.write(path).expect("a file");
    table
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What of a program runs on the device.
fn dispatches(program: &Program) -> Vec<String> {
    program.dispatches.iter().map(|d| format!("{:?} {:?} {:?}", d.kernel, d.grid, d.bindings)).collect()
}

#[test]
fn without_a_table_and_with_one_of_the_rules_forms_programs_are_alike() {
    let gpu = common::gpu();
    let config = Config::default();
    let tapes =
        [train_step(&config, 8, 128).expect("a tape").tape, inference(&config, 8, 128).expect("a tape").0];
    for family in [Family::Naive, Family::Tiled, Family::Cpu] {
        let caps = Caps { family, memory_bytes: None, ..gpu.caps().clone() };
        for tape in &tapes {
            let by_rule = compile(tape, &caps).expect("a program");
            assert!(by_rule.choices.iter().all(|choice| choice.taken == 0));
            let first = by_rule.choices.iter().map(|c| (c.point.clone(), c.forms[0].clone()));
            let foreign = by_rule.choices.iter().map(|c| (c.point.clone(), "of another build".to_owned()));
            for choices in [Choices::new(first), Choices::new(foreign)] {
                let program = compile(tape, &Caps { choices, ..caps.clone() }).expect("a program");
                assert_eq!(dispatches(&program), dispatches(&by_rule), "{family}");
                assert_eq!(program.params, by_rule.params, "{family}");
            }
            // One other form changes its own node's dispatches and no others.
            let several = by_rule.choices.iter().rfind(|choice| choice.forms.len() > 1);
            assert_eq!(several.is_none(), family == Family::Naive, "{family}");
            let Some(choice) = several else { continue };
            let choices = Choices::new([(choice.point.clone(), choice.forms[1].clone())]);
            let program = compile(tape, &Caps { choices, ..caps.clone() }).expect("a program");
            let others = |p: &Program| -> Vec<String> {
                let same = |at: &&wgseg::program::Dispatch| {
                    by_rule.choices.iter().all(|c| c.node != at.node || c.point != choice.point)
                };
                p.dispatches.iter().filter(same).map(|d| format!("{:?} {:?}", d.kernel, d.grid)).collect()
            };
            assert_eq!(others(&program), others(&by_rule), "{family}");
            assert_ne!(dispatches(&program), dispatches(&by_rule), "{family}");
        }
    }
}

#[test]
fn a_table_is_written_and_read_by_other_commands_until_it_is_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("table.json");
    let tune = || common::wgseg().args(["tune", "--quick", "--out"]).arg(&path).args(SMALL).assert();
    let output = tune().success().get_output().clone();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let table = Table::read(&path).expect("a table");
    assert!(!table.points.is_empty());
    for point in &table.points {
        assert!(text.contains(&point.point.shape), "{} in {text}", point.point);
        assert!(point.rule_ms > 0.0 && point.ms > 0.0, "{point:?}");
    }
    assert!(!text.contains("WRONG"), "{text}");

    // What is measured later is added.
    let first = table.points.len();
    let more = ["--batch", "3", "--size", "16", "--base", "8", "--depth", "1"];
    common::wgseg().args(["tune", "--quick", "--out"]).arg(&path).args(more).assert().success();
    assert!(Table::read(&path).expect("a table").points.len() > first);

    let mut table =
        last_forms(&path, &["train.batch_size=2", "data.size=16", "model.base_channels=8", "model.depth=2"]);
    let bench = |tuning: &std::ffi::OsStr, more: &[&str]| {
        let mut bench = common::wgseg();
        bench
            .env("WGSEG_TUNING", tuning)
            .args(["bench", "--unet", "--json", "--reps", "1"])
            .args(SMALL)
            .args(more);
        bench.output().expect("the program runs")
    };
    let id = |output: &std::process::Output| {
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        report.get("tuning").and_then(Value::as_str).map(str::to_owned)
    };
    let tuned = bench(path.as_os_str(), &[]);
    assert!(tuned.status.success(), "{}", stderr(&tuned));
    let line = format!("kernels tuned on {}: {}", table.date, path.display());
    assert_eq!(stderr(&tuned).matches(&line).count(), 1, "{}", stderr(&tuned));
    assert_eq!(id(&tuned), table.choices().id());
    for untuned in [bench("off".as_ref(), &[]), bench(path.as_os_str(), &["--no-tuning"])] {
        assert!(untuned.status.success() && !stderr(&untuned).contains("tuned"), "{}", stderr(&untuned));
        assert_eq!(id(&untuned), None);
    }

    table.driver = "driver of last year".into();
    table.write(&path).expect("a file");
    let refused = bench(path.as_os_str(), &[]);
    assert_eq!(refused.status.code(), Some(1));
    for word in
        ["table.json", "of the driver \"driver of last year\", not of", "wgseg tune", "WGSEG_TUNING=off"]
    {
        assert!(stderr(&refused).contains(word), "{word:?} in {}", stderr(&refused));
    }
    std::fs::write(&path, "{").expect("a file");
    assert_eq!(bench(path.as_os_str(), &[]).status.code(), Some(1));
}

/// The user's own place is below HOME on Linux.
#[cfg(target_os = "linux")]
#[test]
fn the_users_own_table_is_taken_and_ignored_with_a_word_where_it_is_stale() {
    let home = tempfile::tempdir().expect("a folder");
    let run = |args: &[&str]| {
        let mut wgseg = common::wgseg();
        wgseg.env("HOME", home.path()).env_remove("XDG_CONFIG_HOME").env_remove("WGSEG_TUNING");
        wgseg.args(args).args(SMALL).output().expect("the program runs")
    };
    let bench = ["bench", "--unet", "--json", "--reps", "1"];
    assert!(!stderr(&run(&bench)).contains("tuned"));
    assert!(run(&["tune", "--quick"]).status.success());
    let tables: Vec<PathBuf> = std::fs::read_dir(home.path().join(".config/wgseg/tuning"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let [path] = &tables[..] else { panic!("{tables:?}") };
    let tuned = run(&bench);
    assert!(stderr(&tuned).contains("kernels tuned on"), "{}", stderr(&tuned));

    let mut table = Table::read(path).expect("a table");
    table.kernels = "0".into();
    table.write(path).expect("a file");
    let ignored = run(&bench);
    assert!(ignored.status.success());
    let expected = format!("kernels are not tuned: {} is of another build of wgseg", path.display());
    assert!(stderr(&ignored).contains(&expected), "{}", stderr(&ignored));

    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let (adapter, _) = name.rsplit_once('-').expect("a dash");
    std::fs::rename(path, path.with_file_name(format!("{adapter}-00000000.json"))).expect("a file");
    assert!(stderr(&run(&bench)).contains("not tuned for this driver"));
}

#[test]
fn an_interrupted_tune_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("table.json");
    let mut child = common::process()
        .args(["tune", "--out"])
        .arg(&path)
        .args(["--batch", "4", "--size", "64"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let first = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("[  2/")));
    assert!(first.is_some(), "nothing was measured");
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
    assert_eq!(child.wait().expect("wait").code(), Some(130));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_is_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().to_owned(), folder.path().join("none/table.json")] {
        let output = common::wgseg().args(["tune", "--out"]).arg(&path).output().expect("the program runs");
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(&path.display().to_string()) && output.stdout.is_empty());
    }
}

#[test]
fn a_run_goes_on_with_the_table_that_it_began_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, file) = (folder.path().join("data"), folder.path().join("table.json"));
    let phantom = ["data", "phantom", "--count", "24", "--size", "32", "--seed", "3", "--out"];
    common::wgseg().args(phantom).arg(&data).assert().success();
    let table = last_forms(&file, &TINY);
    let id = table.choices().id().expect("other forms");

    let train = |out: &str, tuning: &std::ffi::OsStr, more: &[&str]| {
        let mut train = common::wgseg();
        train.env("WGSEG_TUNING", tuning).args(["train", "phantom", "--data"]).arg(&data);
        train
            .arg("--out")
            .arg(folder.path().join(out))
            .args(TINY.iter().flat_map(|key| ["--set", *key]))
            .args(more);
        train.output().expect("the program runs")
    };
    let info = |out: &str| -> Value {
        let bytes = std::fs::read(folder.path().join(out).join("run.json")).expect("run.json");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let copy = |out: &str| folder.path().join(out).join("tuning.json");

    let tuned = train("tuned", file.as_os_str(), &[]);
    assert!(tuned.status.success(), "{}", stderr(&tuned));
    assert_eq!(info("tuned")["tuning"], id.as_str());
    assert_eq!(Table::read(&copy("tuned")).expect("a copy"), table);
    // The same table: the same bits.
    assert!(train("again", file.as_os_str(), &[]).status.success());
    let best = |out: &str| std::fs::read(folder.path().join(out).join("best.safetensors")).expect("weights");
    assert!(best("tuned") == best("again"));

    // Another table since, or none in the user's place: the run's own counts.
    std::fs::remove_file(&file).expect("the table");
    let resumed = train("tuned", file.as_os_str(), &["--resume"]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert!(stderr(&resumed).contains(&format!(
        "kernels tuned on {}: {}",
        table.date,
        copy("tuned").display()
    )));
    let told = "the run was started by another adapter, driver or version";
    assert!(!stderr(&resumed).contains(told), "{}", stderr(&resumed));

    // Without it the run is refused, with what to do.
    let refuse = |tuning: &std::ffi::OsStr, more: &[&str], out: &str| {
        let refused = train(out, tuning, &[&["--resume"], more].concat());
        assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
        let error = stderr(&refused);
        for word in [&format!("tuning table {id}"), "--no-tuning", "tuning.json", "new folder"] {
            assert!(error.contains(word), "{word:?} in {error}");
        }
    };
    refuse(file.as_os_str(), &["--no-tuning"], "tuned");
    refuse("off".as_ref(), &[], "tuned");
    std::fs::remove_file(copy("tuned")).expect("the copy");
    refuse(file.as_os_str(), &[], "tuned");

    // A run that began without a table goes on without, whatever was measured since.
    assert!(train("plain", "off".as_ref(), &[]).status.success());
    assert!(info("plain").get("tuning").is_none() && !copy("plain").exists());
    table.write(&file).expect("a file");
    let resumed = train("plain", file.as_os_str(), &["--resume"]);
    assert!(resumed.status.success() && !stderr(&resumed).contains("tuned"), "{}", stderr(&resumed));
}

#[test]
fn an_experiment_keeps_its_table_and_is_refused_without() {
    let folder = tempfile::tempdir().expect("a folder");
    let phantom = |name: &str, seed: &str| {
        let path = folder.path().join(name);
        let args = ["data", "phantom", "--count", "24", "--size", "32", "--seed", seed, "--out"];
        common::wgseg().args(args).arg(&path).assert().success();
        path
    };
    let (data, more) = (phantom("data", "1"), phantom("more", "2"));
    let (file, root) = (folder.path().join("table.json"), folder.path().join("experiment"));
    let set = ["data.size=16", "model.base_channels=4", "model.depth=1", "train.batch_size=4"];
    last_forms(&file, &set);
    let run = |tuning: &std::ffi::OsStr, args: &[&str]| {
        let mut wgseg = common::wgseg();
        wgseg.env("WGSEG_TUNING", tuning).args([
            "two-stage",
            "two_stage_phantom",
            "--only",
            "target_only",
            "--data",
        ]);
        wgseg.arg(&data).arg("--unlabelled").arg(more.join("images")).arg("--out").arg(&root);
        wgseg.args(set.iter().chain(&["train.epochs=1", "method.seeds=1"]).flat_map(|key| ["--set", *key]));
        wgseg.args(args).output().expect("the program runs")
    };
    let first = run(file.as_os_str(), &[]);
    assert!(first.status.success(), "{}", stderr(&first));
    assert!(root.join("tuning.json").is_file());
    let spec = |key: &str| -> String {
        let bytes = std::fs::read(root.join("seed_0/target_only/spec.json")).expect("spec.json");
        serde_json::from_slice::<BTreeMap<String, Value>>(&bytes).expect("JSON")[key].to_string()
    };
    assert!(spec("code").contains("+tuning."));

    // With its own table all is as it was, though the user's is gone.
    std::fs::remove_file(&file).expect("the table");
    let again = run(file.as_os_str(), &[]);
    assert!(again.status.success() && stderr(&again).contains("1 are complete"), "{}", stderr(&again));
    let refused = run("off".as_ref(), &[]);
    assert_eq!(refused.status.code(), Some(1));
    for word in ["tuned by another table, or by none", "tuning.json", "--redo-changed", "seed_0/target_only"]
    {
        assert!(stderr(&refused).contains(word), "{word:?} in {}", stderr(&refused));
    }
    let redone = run("off".as_ref(), &["--redo-changed"]);
    assert!(redone.status.success(), "{}", stderr(&redone));
    assert!(!root.join("tuning.json").exists() && !spec("code").contains("+tuning."));
}

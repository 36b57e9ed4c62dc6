//! `--executor slurm` on a real Slurm: that of `scripts/slurm.sh`, which is started where it is installed. What a real one
//! does seldom or slowly is done by programs that stand in for its own.

#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{process, wgseg};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// One test at a time has it.
static SLURM: Mutex<()> = Mutex::new(());

/// A Slurm for one test, ended when it is dropped unless it was there before.
struct Slurm {
    conf: PathBuf,
    was_there: bool,
    _alone: MutexGuard<'static, ()>,
}

impl Slurm {
    /// None, and told, where it is not installed.
    fn start() -> Option<Slurm> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let missing = ["sbatch", "slurmctld", "slurmd", "munged"].into_iter().find(|program| {
            let look = format!("PATH=$PATH:/usr/sbin command -v {program}");
            !Command::new("sh").args(["-c", &look]).stdout(Stdio::null()).status().expect("sh").success()
        });
        if let Some(missing) = missing {
            eprintln!("skipped: there is no {missing}; scripts/slurm.sh start installs Slurm");
            return None;
        }
        let alone = SLURM.lock().unwrap_or_else(PoisonError::into_inner);
        let conf = root.join("target/slurm/slurm.conf");
        let was_there = conf.is_file();
        let output = script("start");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(Slurm { conf, was_there, _alone: alone })
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program).args(arguments).env("SLURM_CONF", &self.conf).output();
        let output = output.expect(program);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The command that has Slurm do an experiment of one task on the phantoms in `folder`.
    fn arguments(folder: &TempDir, out: &Path, more: &[&str]) -> Vec<String> {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let fixed = ["two-stage", "two_stage_phantom", "--set", "method.tasks=['edges']", "--no-tuning"];
        let mut all: Vec<String> = fixed.map(str::to_owned).to_vec();
        all.extend(["--data".into(), path("data"), "--unlabelled".into(), path("more/images")]);
        all.extend(["--out".into(), out.display().to_string()]);
        all.extend(more.iter().map(|text| (*text).to_owned()));
        all
    }

    fn spawn(&self, folder: &TempDir, out: &Path, log: &Path, more: &[&str]) -> Child {
        let more = [&["--executor", "slurm"], more].concat();
        let mut command = process();
        command.args(Slurm::arguments(folder, out, &more)).env("SLURM_CONF", &self.conf);
        command.env("LP_NUM_THREADS", "1").stdout(Stdio::null());
        command.stderr(std::fs::File::create(log).expect("a log")).spawn().expect("a process")
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        if !self.was_there {
            script("stop");
        }
    }
}

fn script(what: &str) -> std::process::Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/slurm.sh");
    Command::new("bash").arg(script).arg(what).stdin(Stdio::null()).output().expect("bash")
}

fn phantoms() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (name, count, seed) in [("data", "40", "1"), ("more", "24", "2")] {
        let command = ["data", "phantom", "--size", "32", "--count", count, "--seed", seed, "--out"];
        wgseg().args(command).arg(folder.path().join(name)).assert().success();
    }
    folder
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Waits until `reached` gives something.
#[track_caller]
fn until<T>(what: &str, log: &Path, mut reached: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = reached() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not come\n{}", read(log));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The job that a run's log names last.
fn job(out: &Path, run: &str) -> Option<String> {
    let log = read(&out.join("slurm/log").join(format!("{}.log", run.replace('/', "."))));
    let last = log.lines().rev().find_map(|line| line.strip_prefix("job "))?;
    Some(last.split(' ').next()?.to_owned())
}

fn steps(out: &Path, run: &str) -> usize {
    read(&out.join(run).join("metrics.jsonl")).matches("\"kind\":\"step\"").count()
}

/// Weights, and results without what tells the time or the place.
fn outcome(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn without_times(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|key, _| !key.contains("seconds"));
                fields.values_mut().for_each(without_times);
            }
            Value::Array(values) => values.iter_mut().for_each(without_times),
            _ => {}
        }
    }
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root).expect("below").display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".safetensors") {
                files.insert(name, std::fs::read(&path).expect("a file"));
            } else if name.ends_with("result.json") || name == "results.json" {
                let mut value = serde_json::from_str(&read(&path)).expect("JSON");
                without_times(&mut value);
                files.insert(name, value.to_string().into_bytes());
            }
        }
    }
    files
}

/// One run is put back in the queue by Slurm, another's process is killed, and the command that watches is
/// stopped and given again: in the end there are the bytes of a run without any of this.
#[test]
fn jobs_that_are_requeued_and_killed_leave_the_bytes_of_a_local_run() {
    let Some(slurm) = Slurm::start() else { return };
    let folder = phantoms();
    // Long enough to be cut in the middle.
    let more = ["--set", "train.epochs=8", "--set", "train.steps_per_epoch=8"];
    let (whole, out, log) =
        (folder.path().join("local"), folder.path().join("on slurm"), folder.path().join("log"));
    wgseg().args(Slurm::arguments(&folder, &whole, &more)).assert().success();

    let mut watching = slurm.spawn(&folder, &out, &log, &more);
    let first = until("the first job", &log, || job(&out, "seed_0/target_only"));
    until("its third step", &log, || (steps(&out, "seed_0/target_only") >= 3).then_some(()));
    slurm.ask("scontrol", &["requeue", &first]);

    let joint = "seed_0/stage1/edges/joint";
    until("the third step of another", &log, || (steps(&out, joint) >= 3).then_some(()));
    // Of this test, whatever else runs here.
    let pattern = format!("run-one {} {joint}", out.display());
    let processes = Command::new("pgrep").args(["-f", &pattern]).output().expect("pgrep");
    let processes = String::from_utf8(processes.stdout).expect("UTF-8");
    let process = processes.lines().next().expect("its process");
    assert!(Command::new("kill").args(["-9", process]).status().expect("kill").success());

    // Nobody watches for a while.
    let id = watching.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
    assert_eq!(watching.wait().expect("an end").code(), Some(130), "{}", read(&log));
    assert!(read(&log).contains("the jobs go on"), "{}", read(&log));
    // Meanwhile no other executor may do the same.
    let refused = wgseg()
        .args(Slurm::arguments(&folder, &out, &more))
        .env("SLURM_CONF", &slurm.conf)
        .assert()
        .failure();
    let told = String::from_utf8(refused.get_output().stderr.clone()).expect("UTF-8");
    assert!(told.contains("of Slurm are queued or running") && told.contains("scancel"), "{told}");

    let again = folder.path().join("again");
    let mut watching = slurm.spawn(&folder, &out, &again, &more);
    let ended = until("the end", &again, || watching.try_wait().expect("a status"));
    assert_eq!(ended.code(), Some(0), "{}", read(&again));
    for run in ["seed_0/target_only", joint] {
        let log = read(&out.join("slurm/log").join(format!("{}.log", run.replace('/', "."))));
        assert!(log.contains("restart 1") && log.contains("goes on"), "{run}: {log}");
    }
    let (expected, found) = (outcome(&whole), outcome(&out));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(expected.keys().any(|name| name == "seed_0/two_stage/best.safetensors"));
    for (name, bytes) in &expected {
        assert!(found[name] == *bytes, "{name} differs");
    }
}

/// A job that a user cancels is done anew by the same command; a second command is refused meanwhile, and `--cancel` ends
/// all.
#[test]
fn what_is_cancelled_is_done_by_the_next_command() {
    let Some(slurm) = Slurm::start() else { return };
    let folder = phantoms();
    let (out, log) = (folder.path().join("run"), folder.path().join("log"));
    let more = ["--only", "target_only", "--set", "train.epochs=40", "--set", "train.steps_per_epoch=20"];
    let mut watching = slurm.spawn(&folder, &out, &log, &more);
    until("its third step", &log, || (steps(&out, "seed_0/target_only") >= 3).then_some(()));
    let second = folder.path().join("second");
    let mut refused = slurm.spawn(&folder, &out, &second, &more);
    assert_eq!(refused.wait().expect("an end").code(), Some(1));
    assert!(read(&second).contains("is being written by another process"), "{}", read(&second));

    let cancel = [&["--executor", "slurm", "--cancel"][..], &more].concat();
    let cancelled = wgseg()
        .args(Slurm::arguments(&folder, &out, &cancel))
        .env("SLURM_CONF", &slurm.conf)
        .assert()
        .success();
    let told = String::from_utf8(cancelled.get_output().stderr.clone()).expect("UTF-8");
    assert!(told.contains("1 job cancelled"), "{told}");
    let ended = until("the end", &log, || watching.try_wait().expect("a status"));
    let told = read(&log);
    assert_eq!(ended.code(), Some(130), "{told}");
    assert!(told.contains("slurm: cancelled by another command") && !told.contains("FAILED"), "{told}");
    let run = read(&out.join("slurm/log/seed_0.target_only.log"));
    assert!(run.contains("interrupted") && !run.contains("back to the queue"), "{run}");

    let again = folder.path().join("again");
    let mut watching = slurm.spawn(&folder, &out, &again, &more);
    until("the run", &again, || read(&again).contains("runs as job").then_some(()));
    let run = || read(&out.join("slurm/log/seed_0.target_only.log"));
    until("that it goes on", &again, || run().contains("goes on").then_some(()));
    let ended = until("the end", &again, || watching.try_wait().expect("a status"));
    assert_eq!(ended.code(), Some(0), "{}", read(&again));
}

/// A run that cannot be done: those that need it are told, the others are done, and the exit code is 1.
#[test]
fn a_run_that_fails_takes_only_those_that_need_it_with_it() {
    let Some(slurm) = Slurm::start() else { return };
    let folder = phantoms();
    let (out, log) = (folder.path().join("run"), folder.path().join("log"));
    // The rate of pre-training alone is such that its weights do not stay finite.
    let more = ["--set", "pretrain.learning_rate=1e30"];
    let mut watching = slurm.spawn(&folder, &out, &log, &more);
    let ended = until("the end", &log, || watching.try_wait().expect("a status"));
    let told = read(&log);
    assert_eq!(ended.code(), Some(1), "{told}");
    assert!(told.contains("seed_0/stage1/edges/pretrain: FAILED: "), "{told}");
    assert!(
        told.contains("seed_0/stage1/edges/finetune was not started: needs seed_0/stage1/edges/pretrain"),
        "{told}"
    );
    assert!(told.contains("seed_0/two_stage was not started"), "{told}");
    assert!(out.join("seed_0/target_only_longer/3/result.json").is_file(), "{told}");
    assert!(out.join("report.html").is_file(), "{told}");
}

/// A folder of programs that stand in for Slurm's, and what they are told.
fn stand_in(settings: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm_programs/stand_in.sh");
    for program in ["sbatch", "squeue", "scancel", "scontrol"] {
        let path = folder.path().join(program);
        std::fs::copy(&script, &path).expect("a copy");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    for (name, value) in settings {
        std::fs::write(folder.path().join(name), value).expect("a setting");
    }
    folder
}

/// The command by programs that stand in for Slurm's, telling into `log`.
fn begin(programs: &TempDir, data: &TempDir, out: &Path, log: &Path, more: &[&str]) -> Child {
    let path = std::env::var("PATH").expect("PATH");
    let more = [&["--executor", "slurm"], more].concat();
    process()
        .args(Slurm::arguments(data, out, &more))
        .env("PATH", format!("{}:{path}", programs.path().display()))
        .env("STAND_IN", programs.path())
        // What none of Slurm's programs must be given.
        .envs([("SQUEUE_STATES", "RUNNING"), ("SCANCEL_STATE", "PENDING"), ("SBATCH_CLUSTERS", "another")])
        .envs([("SBATCH_WAIT", "1"), ("SLURM_RESTART_COUNT", "60")])
        .env("LP_NUM_THREADS", "1")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(log).expect("a log"))
        .spawn()
        .expect("a process")
}

/// Its exit code and what it told.
fn ended(command: &mut Child, log: &Path) -> (Option<i32>, String) {
    let ended = until("the end", log, || command.try_wait().expect("a status"));
    (ended.code(), read(log))
}

/// The command from its beginning to its end.
fn by_stand_in(programs: &TempDir, data: &TempDir, out: &Path, more: &[&str]) -> (Option<i32>, String) {
    let log = programs.path().join("told");
    ended(&mut begin(programs, data, out, &log, more), &log)
}

/// Sizes of the arrays that were submitted.
fn sizes(programs: &TempDir) -> Vec<usize> {
    let submitted = read(&programs.path().join("submitted"));
    let size = |line: &str| line.split(' ').nth(1).and_then(|size| size.parse().ok()).expect("a size");
    submitted.lines().map(size).collect()
}

/// With room for two jobs in the queue and a job whose time is over, there are the bytes of a local run.
#[test]
fn a_limit_on_jobs_and_a_time_that_is_over_leave_the_bytes_of_a_local_run() {
    let folder = phantoms();
    let first = "seed_0/target_only";
    let programs = stand_in(&[("limit", "2"), ("time_over", first)]);
    let more = ["--set", "train.epochs=4", "--set", "train.steps_per_epoch=4"];
    let (whole, out) = (folder.path().join("local"), folder.path().join("out"));
    wgseg().args(Slurm::arguments(&folder, &whole, &more)).assert().success();

    let (code, told) = by_stand_in(&programs, &folder, &out, &more);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("`sbatch` refused: sbatch: error: QOSMaxSubmitJobPerUserLimit; asking again"),
        "{told}"
    );
    let log = read(&out.join("slurm/log/seed_0.target_only.log"));
    for expected in ["back to the queue", "restart 1", "goes on", "ended with exit code 0"] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
    let sizes = sizes(&programs);
    assert!(sizes.len() > 3 && sizes.iter().all(|size| (1..=2).contains(size)), "{sizes:?}");
    let (expected, found) = (outcome(&whole), outcome(&out));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in &expected {
        assert!(found[name] == *bytes, "{name} differs");
    }
}

/// A machine that died may keep its lock on a run for a while.
#[test]
fn a_run_that_is_locked_is_waited_for() {
    let folder = phantoms();
    let (out, log) = (folder.path().join("out"), folder.path().join("log"));
    let only = ["--only", "target_only"];
    wgseg().args(Slurm::arguments(&folder, &out, &only)).assert().success();
    let locked = wgseg::report::run_folder::lock(&out.join("seed_0/target_only")).expect("a lock");
    let mut command = process();
    command.arg("run-one").arg(&out).args(["seed_0/target_only", "--no-tuning"]).stdout(Stdio::null());
    let mut waiting = command.stderr(std::fs::File::create(&log).expect("a log")).spawn().expect("a process");
    until("that it waits", &log, || read(&log).contains("waiting, five minutes at most").then_some(()));
    assert!(waiting.try_wait().expect("a status").is_none());
    drop(locked);
    let (code, told) = ended(&mut waiting, &log);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("seed_0/target_only is complete"), "{told}");
}

/// A job that left the queue and told nothing: its run has failed, after as long as a file system may be late.
#[test]
fn a_job_that_is_lost_is_told_and_done_by_the_next_command() {
    let folder = phantoms();
    let programs = stand_in(&[("limit", "100"), ("lose", "seed_0/stage1/edges/pretrain")]);
    let out = folder.path().join("out");
    let only =
        ["--only", "target_only", "--only", "stage1:edges:pretrain", "--only", "stage1:edges:finetune"];
    let (code, told) = by_stand_in(&programs, &folder, &out, &only);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("pretrain: FAILED: its job was cancelled or killed"), "{told}");
    assert!(told.contains("finetune was not started: needs seed_0/stage1/edges/pretrain"), "{told}");
    assert!(out.join("seed_0/target_only/result.json").is_file(), "{told}");
    // While nobody knew what became of the one, the other was not submitted again.
    assert_eq!(sizes(&programs), [2, 1]);
    std::fs::remove_file(programs.path().join("lose")).expect("a setting");
    let (code, told) = by_stand_in(&programs, &folder, &out, &only);
    assert_eq!(code, Some(0), "{told}");
    assert!(out.join("seed_0/stage1/edges/finetune/result.json").is_file(), "{told}");
}

/// Jobs of others, or of its own, fill the queue: the command waits, and goes on watching what is there.
#[test]
fn a_queue_that_is_full_is_waited_for() {
    let folder = phantoms();
    let programs = stand_in(&[("limit", "1"), ("held", "")]);
    let (out, log) = (folder.path().join("out"), folder.path().join("log"));
    let only = ["--only", "target_only", "--only", "stage1:edges:pretrain"];
    let mut first = begin(&programs, &folder, &out, &log, &only);
    until("that it is held", &log, || read(&log).contains("in Slurm's word JobHeldAdmin").then_some(()));
    assert!(read(&log).contains("scontrol release 1"), "{}", read(&log));
    let id = first.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
    let (code, told) = ended(&mut first, &log);
    assert_eq!(code, Some(130), "{told}");

    let log = folder.path().join("again");
    let mut again = begin(&programs, &folder, &out, &log, &only);
    until("that it watches", &log, || read(&log).contains("watching those that are there").then_some(()));
    // Another's job takes the only place as soon as it is free.
    let queue = programs.path().join("queue");
    std::fs::write(queue.join("900_0"), "RUNNING|None|another").expect("a job");
    std::fs::remove_file(programs.path().join("held")).expect("a setting");
    until("the first run", &log, || read(&log).contains("1 of 2").then_some(()));
    assert_eq!(sizes(&programs), [1]);
    std::fs::remove_file(queue.join("900_0")).expect("a job");
    let (code, told) = ended(&mut again, &log);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(sizes(&programs), [1, 1]);
}

/// Another command cancels while this one is just submitting: its jobs do not run for all that.
#[test]
fn what_is_being_submitted_is_cancelled_too() {
    let folder = phantoms();
    let programs = stand_in(&[("limit", "100"), ("slow", "3"), ("held", "")]);
    let (out, log) = (folder.path().join("out"), folder.path().join("log"));
    let only =
        ["--only", "target_only", "--only", "stage1:edges:finetune", "--only", "stage1:edges:pretrain"];
    let mut watching = begin(&programs, &folder, &out, &log, &only);
    until("sbatch", &log, || programs.path().join("submitting").exists().then_some(()));
    let cancel = [&only[..], &["--cancel"]].concat();
    let (code, told) = by_stand_in(&programs, &folder, &out, &cancel);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("2 jobs cancelled"), "{told}");
    let (code, told) = ended(&mut watching, &log);
    assert_eq!(code, Some(130), "{told}");
    assert!(told.contains("slurm: cancelled by another command"), "{told}");
    assert_eq!(sizes(&programs), [2]);
    assert!(std::fs::read_dir(programs.path().join("queue")).expect("a folder").next().is_none());
    for name in ["held", "slow"] {
        std::fs::remove_file(programs.path().join(name)).expect("a setting");
    }
    let (code, told) = by_stand_in(&programs, &folder, &out, &only);
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn a_slurm_that_does_not_answer_is_told_from_one_that_refuses() {
    let folder = phantoms();
    let programs = stand_in(&[("limit", "100")]);
    for program in ["sbatch", "squeue"] {
        let text =
            "#!/bin/sh\necho 'sbatch: fatal: Could not establish a configuration source' >&2\nexit 1\n";
        std::fs::write(programs.path().join(program), text).expect("a program");
    }
    let out = folder.path().join("out");
    let (code, told) = by_stand_in(&programs, &folder, &out, &[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("Slurm does not answer here") && told.contains("SLURM_CONF"), "{told}");
    let (code, told) = by_stand_in(&programs, &folder, &out, &["--time", "2:00"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("--time 2:00 is 120 s"), "{told}");
    assert!(!out.exists());
}

#[test]
fn an_unknown_partition_is_told_by_slurm_itself_and_nothing_is_made() {
    let Some(slurm) = Slurm::start() else { return };
    let folder = phantoms();
    let (out, log) = (folder.path().join("run"), folder.path().join("log"));
    let mut command = slurm.spawn(&folder, &out, &log, &["--partition", "nowhere"]);
    assert_eq!(command.wait().expect("an end").code(), Some(1));
    let told = read(&log);
    assert!(
        told.contains("`sbatch` refused") && told.contains("invalid partition specified: nowhere"),
        "{told}"
    );
    assert!(!out.exists());
}

#[test]
fn without_slurm_the_program_that_is_missing_is_named() {
    let folder = phantoms();
    let out = folder.path().join("run");
    let ask = |more: &[&str]| {
        let refused = wgseg()
            .args(Slurm::arguments(&folder, &out, more))
            .env("PATH", folder.path())
            .assert()
            .failure()
            .code(1);
        String::from_utf8(refused.get_output().stderr.clone()).expect("UTF-8")
    };
    let told = ask(&["--executor", "slurm"]);
    assert!(told.contains("`sbatch` is not to be found") && told.contains("--executor local"), "{told}");
    let told = ask(&["--partition", "gpu"]);
    assert!(told.contains("give --executor slurm with them"), "{told}");
    assert!(!out.exists());
}

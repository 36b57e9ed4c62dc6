//! `wgseg conformance`: that it passes on this machine's adapter, and that faults such as drivers have are found, each
//! simulated by a broken kernel.

mod common;

use std::cell::Cell;
use std::sync::Arc;

use wgseg::conformance::checks::Bench;
use wgseg::conformance::limits::Limit;
use wgseg::conformance::{Check, Group, Options, Outcome, Unit, report};
use wgseg::gpu::{Gpu, GpuOptions};
use wgseg::ops::registry::find;
use wgseg::program::{Family, Program, Shader};

const QUICK: Options = Options { op: None, quick: true, default_limits: false };

/// What the unit shows on this machine's adapter, with its programs changed.
fn run(unit: &Unit, alter: &dyn Fn(&mut Program)) -> Vec<Check> {
    let mut checks = vec![];
    Bench::new(common::gpu(), QUICK).run(unit, alter, &mut |check| checks.push(check));
    checks
}

/// A unit of one case of an op.
fn op(name: &str, case: usize) -> Unit {
    let entry = find(name).expect("the op");
    Unit::Op { entry, case, name: (entry.cases)()[case].name.clone() }
}

/// Puts another text in place of one in the source of each dispatch that has it, and tells whether any had.
fn replaced(program: &mut Program, from: &str, to: &str) -> bool {
    let mut found = false;
    for dispatch in &mut program.dispatches {
        let shader = dispatch.kernel.shader;
        if shader.source.contains(from) {
            found = true;
            dispatch.kernel.shader = Box::leak(Box::new(Shader {
                name: format!("{}, {from} is {to}", shader.name).leak(),
                source: shader.source.replace(from, to).leak(),
            }));
        }
    }
    found
}

/// What the unit shows when a text of its kernels is another.
fn with(unit: &Unit, from: &str, to: &str) -> Vec<Check> {
    let found = Cell::new(false);
    let checks = run(unit, &|program| found.set(replaced(program, from, to) | found.get()));
    assert!(found.get(), "no kernel of {:?} has {from:?}", unit.label());
    checks
}

fn failed(checks: &[Check], group: Group) -> bool {
    checks.iter().any(|check| check.group == group && check.outcome == Outcome::Fail)
}

fn assert_passes(unit: &Unit) {
    let checks = run(unit, &|_| {});
    let bad: Vec<_> = checks.iter().filter(|check| check.outcome.is_bad()).collect();
    assert!(!checks.is_empty() && bad.is_empty(), "{bad:#?}");
}

#[test]
fn a_result_that_is_wrong_past_a_size_is_found() {
    let limit = Unit::Limit(Limit::LargestBinding);
    assert_passes(&limit);
    let checks = with(&limit, "output[i] = f32(", "output[i] = select(1.0, 0.0, i > 20000000u) * f32(");
    assert!(failed(&checks, Group::Limits), "{checks:#?}");
    // As where a grid's second dimension is lost.
    let groups = Unit::Limit(Limit::ManyWorkgroups);
    assert_passes(&groups);
    let checks = with(&groups, "group.z * groups.y + group.y", "group.z * groups.y");
    assert!(failed(&checks, Group::Limits), "{checks:#?}");
}

#[test]
fn a_dropped_barrier_is_found() {
    let limit = Unit::Limit(Limit::WorkgroupMemory);
    assert_passes(&limit);
    assert!(failed(&with(&limit, "workgroupBarrier();", ""), Group::Limits));
    // And in a kernel that training uses.
    let conv = (find("conv2d").expect("the op").cases)();
    let case = conv.iter().position(|case| case.elements() > 2_000).expect("a case of some size");
    assert!(failed(&with(&op("conv2d", case), "workgroupBarrier();", ""), Group::Kernel));
}

#[test]
fn nan_in_place_of_a_number_is_found() {
    let scale = op("scale", 0);
    assert_passes(&scale);
    let nan = "bitcast<f32>(0x7fc00000u + params.vectors - params.vectors)";
    let checks = with(&scale, "output[i] = params.factor", &format!("output[i] = {nan}"));
    assert!(failed(&checks, Group::Kernel), "{checks:#?}");
    let training = Unit::Training(Family::Tiled);
    let checks =
        with(&training, "let shift = bias[c];", "let shift = bias[c] + log(T(-1.0) * T(params.eps));");
    assert!(failed(&checks, Group::Training), "{checks:#?}");
}

#[test]
fn a_stale_buffer_is_found() {
    // A dispatch that a driver leaves out leaves its result as it was.
    let checks = run(&op("scale", 0), &|program| program.dispatches.clear());
    assert!(failed(&checks, Group::Kernel), "{checks:#?}");
    // A result that is added to what was there before is right once.
    let sum = "output[i] = params.factor * input[i] + output[i]";
    let checks = with(&op("scale", 0), "output[i] = params.factor * input[i]", sum);
    assert!(failed(&checks, Group::Determinism) && !failed(&checks, Group::Kernel), "{checks:#?}");
    let training = Unit::Training(Family::Tiled);
    let checks = run(&training, &|program| {
        let update = program.dispatches.iter().position(|d| d.op == "adam").expect("an update");
        program.dispatches.remove(update);
    });
    assert!(failed(&checks, Group::Training), "{checks:#?}");
}

#[test]
fn a_training_is_right_and_other_bits_are_found() {
    for family in [Family::Naive, Family::Tiled, Family::Cpu] {
        assert_passes(&Unit::Training(family));
    }
    // A sum in another order each time, as float atomics would make it: here the order of one norm's pixels.
    let runs = Cell::new(0);
    let checks = run(&Unit::Training(Family::Tiled), &|program| {
        runs.set(runs.get() + 1);
        if runs.get() > 1 {
            assert!(replaced(program, "let scale = weight[c]", "let scale = 1.0000001 * weight[c]"));
        }
    });
    assert!(failed(&checks, Group::Determinism), "{checks:#?}");
    assert!(!failed(&checks, Group::Training), "{checks:#?}");
}

#[test]
fn kernels_stay_inside_the_default_limits() {
    let options = GpuOptions { default_limits: true, ..GpuOptions::default() };
    let gpu: Arc<Gpu> = Gpu::open(&options).expect("an adapter");
    assert!(!gpu.caps().subgroups && gpu.caps().max_binding_bytes == 128 << 20);
    let mut bench = Bench::new(gpu, Options { default_limits: true, ..QUICK });
    let units =
        [op("conv2d", 0), op("norm", 0), Unit::Limit(Limit::WorkgroupMemory), Unit::Training(Family::Tiled)];
    for unit in units {
        let mut checks = vec![];
        bench.run(&unit, &|_| {}, &mut |check| checks.push(check));
        let bad: Vec<_> = checks.iter().filter(|check| check.outcome.is_bad()).collect();
        assert!(!checks.is_empty() && bad.is_empty(), "{bad:#?}");
    }
}

#[test]
fn the_command_refuses_what_it_cannot_do_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("report");
    let conformance = |args: &[&str]| {
        let mut command = common::wgseg();
        let output = command.arg("conformance").args(args).arg("--out").arg(&out).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, error) = conformance(&["--adapter", "no such adapter"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no such adapter") && error.contains("0: "), "{error}");
    assert!(!out.exists());
    std::fs::create_dir(&out).expect("a folder");
    std::fs::write(out.join("precious"), "mine").expect("a file");
    let (code, error) = conformance(&["--quick"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("report"), "{error}");
    assert_eq!(std::fs::read_dir(&out).expect("the folder").count(), 1);
}

#[test]
fn the_command_writes_a_report_and_a_page_that_do_not_differ_from_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("report");
    let run = |args: &[&str]| {
        let mut command = common::wgseg();
        let output = command.arg("conformance").args(args).arg("--out").arg(&out).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, error) = run(&["--op", "rellu"]);
    assert!(code == Some(1) && error.contains("\"relu\"") && !out.exists(), "{error}");
    let (code, error) = run(&["--op", "scale"]);
    assert_eq!(code, Some(0), "{error}");
    let report = report::read(&out.join("report.json")).expect("a report");
    assert!(report.complete && report.op.as_deref() == Some("scale"));
    let checks = &report.adapters[0].checks;
    for group in [Group::Kernel, Group::Gradient, Group::Determinism, Group::Speed] {
        assert!(
            checks.iter().any(|check| check.group == group && check.outcome == Outcome::Pass),
            "{group:?}"
        );
    }
    assert!(checks.iter().all(|check| check.group != Group::Speed || check.percent_of_peak.is_some()));
    let page = std::fs::read_to_string(out.join("report.html")).expect("a page");
    assert!(page.contains("scale does; nothing else was checked.") && !page.contains("It does"));
    let diff = common::wgseg().args(["conformance", "diff"]).args([&out, &out]).output().expect("it runs");
    assert_eq!((diff.status.code(), diff.stderr.len()), (Some(0), 0));
    assert!(String::from_utf8_lossy(&diff.stdout).ends_with("0 differences\n"));
    // A whole report is kept, one that was interrupted is begun anew.
    let (code, error) = run(&["--op", "scale", "--quick"]);
    assert!(code == Some(1) && error.contains("report.json exists already"), "{error}");
    let whole = std::fs::read_to_string(out.join("report.json")).expect("a report");
    let cut = whole.replacen("\"complete\": true", "\"complete\": false", 1);
    assert_ne!(cut, whole);
    std::fs::write(out.join("report.json"), cut).expect("a file");
    let (code, error) = run(&["--op", "scale", "--quick"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(report::read(&out.join("report.json")).expect("a report").quick);
    // What the shorter run left out is counted, and no reason to fail.
    let old = folder.path().join("old.json");
    std::fs::write(&old, whole).expect("a file");
    let diff = |all: Option<&str>| {
        let mut command = common::wgseg();
        let run =
            command.args(["conformance", "diff"]).args([&old, &out]).args(all).output().expect("it runs");
        (run.status.code(), String::from_utf8_lossy(&run.stdout).into_owned())
    };
    let ((code, short), (_, long)) = (diff(None), diff(Some("--all")));
    assert!(code == Some(0) && short.contains("note: B alone was made with --quick"), "{short}");
    assert!(short.contains("in A alone; --all lists them") && !short.contains("is not there"), "{short}");
    assert!(long.contains("B: is not there") && !long.contains("--all lists them"), "{long}");
}

#[test]
fn a_report_is_written_by_one_process_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("report");
    let arguments = ["conformance", "--op", "conv2d", "--quick", "--out"];
    let mut first = common::process()
        .args(arguments)
        .arg(&out)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    while !out.join("report.json").exists() {
        assert!(first.try_wait().expect("a child").is_none(), "it ended without a report");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let second = common::wgseg().args(arguments).arg(&out).output().expect("it runs");
    first.kill().expect("it is stopped");
    first.wait().expect("it has ended");
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(1) && error.contains("written by another process"), "{error}");
}

#[test]
fn a_process_for_an_adapter_ends_with_the_one_that_started_it() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};
    let mut child = common::process()
        .args(["conformance", "--adapter", "0", "--from", "0", "--op", "conv2d"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // As long as it is listened to it works: the checks of `conv2d` take far longer than this.
    std::thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().expect("a child").is_none());
    drop(child.stdin.take());
    let start = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if start.elapsed() > Duration::from_secs(10) {
            child.kill().expect("it is stopped");
            panic!("it goes on for nobody");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn diff_refuses_what_is_no_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let diff = || {
        let output =
            common::wgseg().args(["conformance", "diff"]).args([&path, &path]).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (text, expected) in [
        (None, "report.json"),
        (Some("no json"), "no report of `wgseg conformance`"),
        (Some("{}"), "schema"),
        (Some("{\"schema\": 99}"), "schema 99"),
    ] {
        if let Some(text) = text {
            std::fs::write(&path, text).expect("a file");
        }
        let (code, error) = diff();
        assert_eq!(code, Some(1));
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(report::SCHEMA, 1);
}

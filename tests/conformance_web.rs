//! The exported checks, run by two other implementations of WebGPU: Dawn in Node, and Chromium on SwiftShader.
//!
//! They need what `scripts/webgpu.sh` installs, and are skipped where it is not.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use wgseg::conformance::report::{Check, Group, Outcome, Report, Runner, read};
use wgseg::conformance::web::write_some;

/// Ops whose kernels are run: sums over pixels, workgroup memory, several results, an update in place.
const OPS: [&str; 5] = ["adam", "channel_sum", "conv_transpose2d", "norm", "soft_dice_sums"];

/// Where Node finds its packages; none where they are not installed.
fn tools(package: &str) -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/webgpu");
    let node = Command::new("node").arg("--version").output().is_ok_and(|o| o.status.success());
    let there = node && tools.join("node_modules").join(package).is_dir();
    if !there {
        eprintln!("skipped: {package} for Node is not installed; see scripts/webgpu.sh");
    }
    there.then_some(tools)
}

/// The checks of some ops, in a folder below the one with Node's packages.
fn exported(tools: &Path, ops: &[&str], whole: bool) -> TempDir {
    let folder = tempfile::Builder::new().prefix("page-").tempdir_in(tools).expect("a folder");
    let summary = write_some(folder.path(), ops, whole).expect("the checks are written");
    assert!(summary.checks > 0 && summary.bytes > 0, "{summary:?}");
    folder
}

fn on_dawn(folder: &Path) -> Report {
    let out = folder.join("report.json");
    let run =
        Command::new("node").arg(folder.join("dawn.mjs")).arg("--out").arg(&out).output().expect("node");
    assert!(out.is_file(), "{}", String::from_utf8_lossy(&run.stderr));
    let report = read(&out).expect("a report");
    let all_passed = checks(&report).iter().all(|check| check.outcome == Outcome::Pass);
    assert_eq!(run.status.success(), all_passed, "the exit code tells of failures");
    report
}

fn on_chromium(tools: &Path, folder: &Path) -> Report {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/chromium.mjs");
    let run = Command::new("node").arg(script).arg(tools).arg(folder).arg("run").output().expect("node");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let out = folder.join("report.json");
    std::fs::write(&out, run.stdout).expect("a file");
    read(&out).expect("a report")
}

fn checks(report: &Report) -> &[Check] {
    assert_eq!((report.runner, report.adapters.len()), (Runner::Webgpu, 1));
    &report.adapters[0].checks
}

/// Asserts that all passed, and that the ops, with their parts, were run, and the training where it is there.
fn assert_all_passed(report: &Report, ops: &[&str], whole: bool) {
    let checks = checks(report);
    let bad: Vec<_> = checks.iter().filter(|check| check.outcome != Outcome::Pass).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    for op in ops {
        assert!(checks.iter().any(|check| check.subject == *op), "{op} was not run");
    }
    assert!(
        checks.iter().filter(|c| c.group == Group::Kernel).all(|c| c.bound.is_some() && c.max_ulp.is_some())
    );
    let trained = checks.iter().filter(|check| check.group == Group::Training).count();
    assert_eq!(trained, if whole { 2 } else { 0 });
    let timed = checks.iter().filter(|check| check.group == Group::Speed);
    assert!(timed.clone().all(|check| check.milliseconds.is_some()));
    assert_eq!(timed.count() > 0, whole);
}

/// Replaces a part of a kernel in the exported data.
fn break_kernel(folder: &Path, from: &str, to: &str) {
    let path = folder.join("data/shaders.js");
    let text = std::fs::read_to_string(&path).expect("the shaders");
    assert!(text.contains(from), "the kernel is no longer written so");
    std::fs::write(path, text.replace(from, to)).expect("a file");
}

const STORE: &str = "output[i] = Output(select(x, vec4f(0.0), x < vec4f(0.0)));";

/// Kernels of `relu` that must be found, and the word of the reason.
fn broken() -> [(String, &'static str); 3] {
    [
        (
            "let zero = f32(params.vectors) * 0.0; output[i] = Output(x + zero / zero);".to_owned(),
            "not finite",
        ),
        (STORE.replace("select", "1.01 * select"), "off, the worst by"),
        ("output[i] = nothing;".to_owned(), "does not compile"),
    ]
}

fn assert_found(report: &Report, word: &str) {
    let bad: Vec<_> =
        checks(report).iter().filter(|c| c.subject == "leaky_relu" || c.subject == "relu").collect();
    assert!(!bad.is_empty());
    for check in bad.iter().filter(|check| check.subject == "relu") {
        assert_eq!(check.outcome, Outcome::Fail, "{check:#?}");
        assert!(check.reason.contains(word), "{check:#?}");
    }
    // What comes after it goes on.
    assert!(checks(report).iter().any(|c| c.subject == "scale" && c.outcome == Outcome::Pass));
}

#[test]
fn dawn_passes_the_checks() {
    let Some(tools) = tools("webgpu") else { return };
    let folder = exported(&tools, &OPS, true);
    assert_all_passed(&on_dawn(folder.path()), &OPS, true);
}

#[test]
fn dawn_finds_a_broken_kernel() {
    let Some(tools) = tools("webgpu") else { return };
    let folder = exported(&tools, &["relu", "scale"], false);
    let mut now = STORE.to_owned();
    for (kernel, word) in broken() {
        break_kernel(folder.path(), &now, &kernel);
        assert_found(&on_dawn(folder.path()), word);
        now = kernel;
    }
}

#[test]
fn chromium_passes_the_checks_and_finds_a_broken_kernel() {
    let Some(tools) = tools("playwright-core") else { return };
    if !Path::new("/usr/bin/chromium").exists() {
        eprintln!("skipped: there is no /usr/bin/chromium");
        return;
    }
    let ops = ["channel_sum", "norm", "relu", "scale"];
    let folder = exported(&tools, &ops, false);
    assert_all_passed(&on_chromium(&tools, folder.path()), &ops, false);
    let (kernel, word) = &broken()[1];
    break_kernel(folder.path(), STORE, kernel);
    assert_found(&on_chromium(&tools, folder.path()), word);
}

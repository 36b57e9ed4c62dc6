//! The exported checks, run by two other implementations of WebGPU: Dawn in Node, and Chromium on SwiftShader.
//!
//! They need what `scripts/webgpu.sh` installs, and are skipped where it is not.

mod common;

use std::path::Path;
use std::process::Command;

use common::node_tools;
use tempfile::TempDir;
use wgseg::conformance::report::{Check, Group, Outcome, Report, Runner, read};
use wgseg::conformance::web::write_some;

/// Data files that are run: sums over pixels, workgroup memory, several results, an update in place; a training.
const NAMES: [&str; 6] = ["adam", "channel_sum", "conv_transpose2d", "norm", "soft_dice_sums", "training"];

/// The checks of some ops, or `training`, in a folder below the one with Node's packages.
fn exported(tools: &Path, names: &[&str]) -> TempDir {
    let folder = tempfile::Builder::new().prefix("page-").tempdir_in(tools).expect("a folder");
    let summary = write_some(folder.path(), &|name| names.contains(&name)).expect("the checks are written");
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

/// Asserts that all passed, and that the ops, and the training where it is named, were run.
fn assert_all_passed(report: &Report, names: &[&str]) {
    let checks = checks(report);
    let bad: Vec<_> = checks.iter().filter(|check| check.outcome != Outcome::Pass).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    for name in names {
        let is_it = |check: &Check| match *name {
            "training" => check.group == Group::Training,
            op => check.group == Group::Kernel && check.subject == op,
        };
        assert!(checks.iter().any(is_it), "{name} was not run");
    }
    assert!(checks.iter().all(|check| check.bound.is_some() && check.max_ulp.is_some()));
}

/// Replaces a part of a kernel in the exported data.
fn break_kernel(folder: &Path, from: &str, to: &str) {
    let path = folder.join("data/shaders.js");
    let text = std::fs::read_to_string(&path).expect("the shaders");
    assert!(text.contains(from), "the kernel is no longer written so");
    std::fs::write(path, text.replace(from, to)).expect("a file");
}

/// What the kernel of `leaky_relu` stores.
const STORE: &str = "output[i] = Output(select(x, params.slope * x, x < vec4f(0.0)));";

/// Stores that must be found, and what is said of each.
const BROKEN: [(&str, &str); 3] = [
    ("let zero = f32(params.vectors) * 0.0; output[i] = Output(x + zero / zero);", "not finite"),
    ("output[i] = Output(1.01 * select(x, params.slope * x, x < vec4f(0.0)) + 0.001);", "off, the worst by"),
    ("output[i] = nothing;", "does not compile"),
];

/// Asserts that each check of the broken kernel failed for this reason, and that the others went on.
fn assert_found(report: &Report, reason: &str) {
    let (broken, others): (Vec<_>, Vec<_>) = checks(report).iter().partition(|c| c.subject == "leaky_relu");
    assert!(broken.len() > 2 && others.len() > 2);
    for check in broken {
        assert_eq!(check.outcome, Outcome::Fail, "{check:#?}");
        assert!(check.reason.contains(reason), "{check:#?}");
    }
    for check in others {
        assert_eq!(check.outcome, Outcome::Pass, "{check:#?}");
    }
}

#[test]
fn dawn_passes_the_checks() {
    let Some(tools) = node_tools("webgpu") else { return };
    let folder = exported(&tools, &NAMES);
    assert_all_passed(&on_dawn(folder.path()), &NAMES);
}

#[test]
fn dawn_finds_a_broken_kernel() {
    let Some(tools) = node_tools("webgpu") else { return };
    let folder = exported(&tools, &["leaky_relu", "scale"]);
    let mut now = STORE;
    for (kernel, reason) in BROKEN {
        break_kernel(folder.path(), now, kernel);
        assert_found(&on_dawn(folder.path()), reason);
        now = kernel;
    }
}

#[test]
fn chromium_passes_the_checks_and_finds_a_broken_kernel() {
    let Some(tools) = node_tools("playwright-core") else { return };
    if !Path::new("/usr/bin/chromium").exists() {
        eprintln!("skipped: there is no /usr/bin/chromium");
        return;
    }
    let names = ["channel_sum", "leaky_relu", "norm", "scale"];
    let folder = exported(&tools, &names);
    assert_all_passed(&on_chromium(&tools, folder.path()), &names);
    let (kernel, reason) = BROKEN[1];
    break_kernel(folder.path(), STORE, kernel);
    assert_found(&on_chromium(&tools, folder.path()), reason);
}

//! `scripts/drivers.sh`, and a kernel on each driver that it has fetched.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn script(args: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/drivers.sh");
    Command::new("bash").arg(script).args(args).env("WGSEG_TUNING", "off").output().expect("bash")
}

fn wgseg_on(driver: &str, args: &[&str]) -> Value {
    let output = script(&[&["run", driver, env!("CARGO_BIN_EXE_wgseg")], args].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{driver}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{driver}: {e}: {said}"))
}

#[test]
fn each_driver_is_seen_alone_and_runs_a_kernel() {
    let output = script(&["list"]);
    assert!(output.status.success());
    let list = String::from_utf8(output.stdout).expect("text");
    for (name, backend, driver) in [
        ("mesa-22.3", "vulkan", "Mesa 22.3"),
        ("mesa-25.0", "vulkan", "Mesa 25.0"),
        ("mesa-26.1", "vulkan", "Mesa 26.1"),
        ("llvmpipe-gl", "gl", "OpenGL 4.5"),
        ("swiftshader", "vulkan", "SwiftShader"),
    ] {
        let line = list.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not in {list}"));
        if line.contains("missing") {
            eprintln!("skipped: {name} was not fetched by scripts/drivers.sh");
            continue;
        }
        let adapters = wgseg_on(name, &["adapters", "--json"]);
        assert_eq!(adapters.as_array().map(Vec::len), Some(1), "{name} alone: {adapters}");
        assert_eq!(adapters[0]["backend"], backend, "{name}");
        assert!(adapters[0]["driver"].as_str().is_some_and(|d| d.contains(driver)), "{name}: {adapters}");
        let report = wgseg_on(name, &["verify", "--op", "add", "--json"]);
        assert_eq!(report["failed"], 0, "{name}: {report}");
    }
}

#[test]
fn a_driver_that_is_not_there() {
    let output = script(&["run", "mesa-1", "true"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("mesa-1") && said.contains("swiftshader"), "{said}");
}

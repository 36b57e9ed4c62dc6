//! What the integration tests share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wgseg::gpu::{Extra, Gpu, GpuOptions};

/// The best adapter of this machine.
pub fn gpu() -> Arc<Gpu> {
    Gpu::open(&GpuOptions::default()).expect("an adapter; scripts/setup.sh installs a software one")
}

/// The same, opened with f16 and matrices of f16 where it has them. Tells when it has no f16.
pub fn gpu_with_half() -> Arc<Gpu> {
    let gpu = Gpu::open(&GpuOptions { extra: Extra::CooperativeMatrix, ..Default::default() });
    let gpu = gpu.expect("an adapter; scripts/setup.sh installs a software one");
    if !gpu.has(Extra::Half) {
        eprintln!("skipped: {} has no f16 in shaders, so nothing of f16 is checked", gpu.description());
    }
    gpu
}

/// The binary under test, without what was tuned on this machine.
pub fn wgseg() -> assert_cmd::Command {
    let mut wgseg = assert_cmd::Command::new(env!("CARGO_BIN_EXE_wgseg"));
    wgseg.env("WGSEG_TUNING", "off");
    wgseg
}

/// The same, to be started and waited for.
pub fn process() -> std::process::Command {
    let mut wgseg = std::process::Command::new(env!("CARGO_BIN_EXE_wgseg"));
    wgseg.env("WGSEG_TUNING", "off");
    wgseg
}

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Trains a few steps on 24 phantoms of 32 × 32 in `folder/data`; gives the run's folder, `folder/run`.
pub fn train_phantom(folder: &Path) -> PathBuf {
    let (data, run) = (folder.join("data"), folder.join("run"));
    let phantom = ["data", "phantom", "--count", "24", "--size", "32", "--seed", "3", "--out"];
    wgseg().args(phantom).arg(&data).assert().success();
    let small = ["data.size=32", "model.base_channels=4", "model.depth=2", "train.batch_size=4"];
    let short = ["train.epochs=2", "train.steps_per_epoch=6", "train.learning_rate=0.01"];
    let set = small.iter().chain(&short).flat_map(|key| ["--set", key]);
    let mut train = wgseg();
    train.args(["train", "phantom"]).args(set).arg("--data").arg(&data).arg("--out").arg(&run);
    train.assert().success();
    run
}

/// A folder of the real data, or a note that the test is skipped.
pub fn real(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("WGSEG_SHARED_DATA")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no real data at {} (set WGSEG_SHARED_DATA)", path.display());
    None
}

/// Where Node finds its packages; none where it or `package` is not installed.
pub fn node_tools(package: &str) -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/webgpu");
    let node = std::process::Command::new("node").arg("--version").output();
    let there = node.is_ok_and(|o| o.status.success()) && tools.join("node_modules").join(package).is_dir();
    if !there {
        eprintln!("skipped: {package} for Node is not installed; see scripts/webgpu.sh");
    }
    there.then_some(tools)
}

/// The Python that `WGSEG_PYTHON` names, or that of scripts/python.sh, or `python3`, if it has all of `modules`; else `None`,
/// said plainly.
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/python/bin/python");
    let found = if ours.is_file() { ours } else { PathBuf::from("python3") };
    let python = std::env::var_os("WGSEG_PYTHON").map_or(found, PathBuf::from);
    let imports = format!("import {}", modules.join(", "));
    let output = std::process::Command::new(&python).args(["-c", &imports]).output();
    let why = match output {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!("SKIPPED: {} cannot {imports}: {why}; WGSEG_PYTHON names another", python.display());
    None
}

/// Writes the checkpoint `model` to `to` with another smallest area; none leaves the entry out, as before there was one.
pub fn with_min_area(model: &Path, to: &Path, area: Option<f64>) {
    let bytes = std::fs::read(model).expect("a checkpoint");
    let (length, rest) = bytes.split_first_chunk::<8>().expect("a length");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: serde_json::Value = serde_json::from_slice(header).expect("a header");
    let info = &mut header["__metadata__"]["wgseg"];
    let mut changed: serde_json::Value =
        serde_json::from_str(info.as_str().expect("a description")).expect("JSON");
    let entries = changed.as_object_mut().expect("entries");
    match area {
        Some(area) => entries.insert("min_area".to_owned(), area.into()),
        None => entries.remove("min_area"),
    };
    *info = changed.to_string().into();
    let mut header = header.to_string();
    // Tensors begin at a multiple of 8.
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(to, [&length, header.as_bytes(), data].concat()).expect("a file");
}

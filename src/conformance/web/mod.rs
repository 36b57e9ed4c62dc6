//! The checks as a page for any browser, which Node runs as well: a folder with programs, inputs and expected results as
//! data, and the few files of JavaScript that run and judge them.
//!
//! The kernels are those that any WebGPU device can run, the families `naive` and `tiled` in f32. The family `cpu` takes
//! 64-bit integers and subgroups, and f16 and cooperative matrices are features; WebGPU by itself has none of them.

mod check;
mod kernels;
mod speed;
mod training;

use std::path::Path;

use serde::Serialize;

use super::ConformanceError;
use super::report::SCHEMA;
use crate::ops::registry::ENTRIES;
use crate::report::{atomic, make_folder};
use crate::web::{COMMON, RUNNER, STYLE, Shaders, data_file};
use check::Checks;

/// The files that are the same whatever is checked.
const PAGE: [(&str, &str); 8] = [
    ("index.html", include_str!("page/index.html")),
    ("style.css", STYLE),
    ("page.css", include_str!("page/page.css")),
    ("page.js", include_str!("page/page.js")),
    ("checks.js", include_str!("page/checks.js")),
    ("runner.js", RUNNER),
    ("common.js", COMMON),
    ("dawn.mjs", include_str!("page/dawn.mjs")),
];

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSummary {
    pub checks: usize,
    pub files: usize,
    pub bytes: u64,
}

/// The first data file that the page loads.
#[derive(Serialize)]
struct Manifest {
    /// Of the report that the page makes.
    schema: u32,
    wgseg: &'static str,
    kernels: &'static str,
    /// In the order in which they are run.
    files: Vec<DataFile>,
}

#[derive(Serialize)]
struct DataFile {
    name: String,
    checks: usize,
    bytes: usize,
}

/// Writes all checks to `folder`, beside or over what is there.
///
/// # Errors
/// The folder cannot be written to. An op cannot be compiled for the portable contract, which is a defect of this
/// program.
pub fn write(folder: &Path) -> Result<WebSummary, ConformanceError> {
    write_some(folder, &|_| true)
}

/// As [`write`], of the data files alone whose names are `wanted`: those of the ops, `training` and `speed`.
///
/// # Errors
/// Those of [`write`].
pub fn write_some(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<WebSummary, ConformanceError> {
    make_folder(&folder.join("data"))?;
    let mut shaders = Shaders::default();
    let mut files = vec![];
    let mut summary = WebSummary { checks: 0, files: 0, bytes: 0 };
    let mut put = |path: &str, text: &str| -> Result<(), ConformanceError> {
        atomic::write(&folder.join(path), text.as_bytes())?;
        summary.files += 1;
        summary.bytes += text.len() as u64;
        Ok(())
    };
    let mut put_checks = |name: &str, checks: Checks| -> Result<(), ConformanceError> {
        let text = data_file(name, &checks)?;
        files.push(DataFile { name: name.to_owned(), checks: checks.len(), bytes: text.len() });
        put(&format!("data/{name}.js"), &text)
    };
    for entry in ENTRIES.iter().filter(|entry| wanted(entry.name)) {
        put_checks(entry.name, kernels::checks(entry, &mut shaders)?)?;
    }
    if wanted("training") {
        put_checks("training", training::checks(&mut shaders)?)?;
    }
    if wanted("speed") {
        put_checks("speed", speed::checks(&mut shaders)?)?;
    }
    put("data/shaders.js", &data_file("shaders", &shaders)?)?;
    let checks = files.iter().map(|file| file.checks).sum();
    let manifest =
        Manifest { schema: SCHEMA, wgseg: env!("CARGO_PKG_VERSION"), kernels: env!("WGSEG_KERNELS"), files };
    put("data/manifest.js", &data_file("manifest", &manifest)?)?;
    for (path, text) in PAGE {
        put(path, text)?;
    }
    summary.checks = checks;
    Ok(summary)
}

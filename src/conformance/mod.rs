//! Whether a device and its driver train rightly: every kernel against the f64 reference, the same bits run after run, the
//! device's limits used to the full, a whole training beside the reference, and how near kernels come to the device's peak.
//!
//! [`run`] does it for some adapters, each in a process of its own, and gives a [`Report`]; [`page`] draws it, [`diff`]
//! compares two.

pub mod checks;
pub mod diff;
mod known;
pub mod limits;
pub mod page;
mod process;
pub mod report;
pub mod web;

use std::path::PathBuf;

pub use checks::{Unit, units};
pub use page::page;
pub use process::{Event, run, work};
pub use report::{AdapterReport, Check, Device, Group, Outcome, Report};

use crate::program::Program;

/// What is checked, and how a device is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Check this op's kernels, gradients and speed alone.
    pub op: Option<String>,
    /// Fewer repeats, no speed, no long dispatch.
    pub quick: bool,
    /// Request nothing beyond WebGPU's default limits, and no feature.
    pub default_limits: bool,
}

/// Changes a program before it runs: how a test breaks a kernel on purpose, as a faulty driver would.
pub type Alter<'a> = &'a dyn Fn(&mut Program);

#[derive(Debug, thiserror::Error)]
pub enum ConformanceError {
    #[error("{path}: no report of `wgseg conformance`: {message}")]
    NoReport { path: PathBuf, message: String },
    #[error(
        "{path} cannot be read: {source}; give the folder or the report.json of `wgseg conformance --out`"
    )]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} is damaged or cut off, or no report of `wgseg conformance`: {message}; make it again")]
    Damaged { path: PathBuf, message: String },
    #[error("{path} names no adapter: its run was interrupted before the first check; make it again")]
    NoAdapter { path: PathBuf },
    #[error(
        "{path}: a report of schema {found}, but this wgseg reads schema {}; make both reports with one version of wgseg",
        report::SCHEMA
    )]
    OtherSchema { path: PathBuf, found: u64 },
    #[error("{path}: it has {}; choose one by its number, from 0: {path}:NUMBER", adapters(.names))]
    WhichAdapter { path: PathBuf, names: Vec<String> },
    #[error("the process for the adapter does not start: {0}")]
    Process(#[source] std::io::Error),
    #[error("cannot put checks into data files: {0}")]
    Encode(#[from] serde_json::Error),
    #[error(transparent)]
    Gpu(#[from] crate::gpu::GpuError),
    #[error(transparent)]
    Tape(#[from] crate::tape::TapeError),
    #[error(transparent)]
    Compile(#[from] crate::program::CompileError),
    #[error(transparent)]
    Verify(#[from] crate::verify::VerifyError),
    #[error(transparent)]
    Bench(#[from] crate::bench::BenchError),
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
}

fn adapters(names: &[String]) -> String {
    match names {
        [one] => format!("the adapter 0: {one}"),
        _ => {
            let named: Vec<String> =
                names.iter().enumerate().map(|(i, name)| format!("{i}: {name}")).collect();
            format!("{} adapters ({})", names.len(), named.join(", "))
        }
    }
}

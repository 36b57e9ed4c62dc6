//! The same training on every GPU: checks that anyone can run, and what they found.

pub mod report;
pub mod web;

use std::path::PathBuf;

use crate::report::ReportError;
use crate::verify::VerifyError;

#[derive(Debug, thiserror::Error)]
pub enum ConformanceError {
    #[error("{} is no report of conformance: {message}; give a report.json", .path.display())]
    NoReport { path: PathBuf, message: String },
    #[error(
        "{} is a report of schema {found}, this wgseg reads schema {}; compare reports of one version",
        .path.display(), report::SCHEMA
    )]
    OtherSchema { path: PathBuf, found: u64 },
    #[error("cannot put checks into data files: {0}")]
    Encode(#[from] serde_json::Error),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

//! Why something could not be written or drawn.

use std::path::{Path, PathBuf};

/// Why something could not be written or drawn.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("the folder {} is not empty and not of this command; choose another one", .path.display())]
    FolderNotEmpty { path: PathBuf },
    #[error("{} exists already; choose another file, or delete it", .path.display())]
    Exists { path: PathBuf },
    #[error("{} is being written by another process; wait until it has ended", .path.display())]
    Busy { path: PathBuf },
    #[error("cannot use {} as a folder for results: {source}; choose one that can be written to", .path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot write {}: {source}; see that there is room and that the folder can be written to", .path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot read {}: {source}; see that it is there and whole", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "{} was written by another build of wgseg ({version}), in a form that this one cannot read: {message}; use that \
         build, or choose another folder", .path.display()
    )]
    OtherBuild { path: PathBuf, version: String, message: String },
    #[error("line {line} of {} is not a row of metrics: {message}; delete the run's folder and train anew", .path.display())]
    Row { path: PathBuf, line: usize, message: String },
    #[error("cannot encode {}: {message}", .path.display())]
    Encode { path: PathBuf, message: String },
    #[error("{what} has {found} values, expected {expected} for {width} × {height} pixels")]
    Size { what: &'static str, found: usize, expected: usize, width: u32, height: u32 },
    #[error("the probability of pixel {index} is {value}, expected 0 to 1")]
    Probability { index: usize, value: f32 },
    #[error("{}: there is no plan.json here; expected a folder that `wgseg two-stage` or `wgseg compare` was given as --out", .path.display())]
    NoExperiment { path: PathBuf },
    #[error("there is nothing to draw")]
    Nothing,
    #[error("cannot draw: {message}")]
    Draw { message: String },
}

impl ReportError {
    pub(crate) fn write(path: &Path, source: std::io::Error) -> ReportError {
        ReportError::Write { path: path.into(), source }
    }

    pub(super) fn encode(path: &Path, error: impl std::fmt::Display) -> ReportError {
        ReportError::Encode { path: path.into(), message: error.to_string() }
    }

    pub(super) fn draw(error: impl std::fmt::Display) -> ReportError {
        ReportError::Draw { message: error.to_string() }
    }
}

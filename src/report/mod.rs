//! What a run leaves for people to look at.

pub mod atomic;
pub mod curves;
mod error;
pub mod images;
pub mod metrics_log;
pub mod overlay;
pub mod progress;
pub mod run_folder;
pub mod sheet;
mod text;

pub use error::ReportError;
pub use metrics_log::{EpochRow, History, StepRow};
pub use progress::Progress;
pub use run_folder::{RunFolder, RunInfo};

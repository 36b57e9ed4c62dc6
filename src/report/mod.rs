//! What a run leaves for people to look at.

mod appender;
pub mod atomic;
pub mod console;
pub mod curves;
pub mod document;
mod error;
mod event_file;
pub mod experiment;
pub mod growth;
pub mod images;
pub mod metrics_log;
pub mod overlay;
pub mod progress;
pub mod roofline;
pub mod run_folder;
pub mod sheet;
pub mod tally;
mod text;
pub mod words;

pub use curves::write_curves;
pub use error::ReportError;
pub use event_file::EVENTS;
pub use images::{picture, write_mask, write_probability_map};
pub use metrics_log::{BranchRow, EpochRow, History, JSONL, StepRow, TaskRow};
pub use overlay::{Overlay, write_overlay};
pub use progress::Progress;
pub use run_folder::{RunFolder, RunInfo, check_free, check_new_file, check_place, make_folder};
pub use sheet::{Case, Row, select, sheet_of, write_sheet};

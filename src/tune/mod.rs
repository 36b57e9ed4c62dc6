//! Which form of a kernel is the fastest on an adapter: measured once, kept in a table, read by `compile`.
//!
//! An op lists the forms that compute it (see [`crate::program::Choice`]). [`measure`](mod@measure) times them at the
//! shapes of a U-Net, [`table`] is the file, [`place`] says where it lies and which one counts.

pub mod measure;
pub mod place;
pub mod table;

use std::path::PathBuf;

pub use measure::{Effort, Measured, Spot, StepTimes, measure, spots, step_times};
pub use table::{Stale, Table, TunedPoint};

use crate::bench::BenchError;
use crate::gpu::GpuError;
use crate::program::{CompileError, Point};
use crate::report::ReportError;
use crate::tape::TapeError;
use crate::train::TrainError;
use crate::verify::VerifyError;

#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    #[error("{}: cannot be read: {source}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "{}: {message}; expected a table that `wgseg tune` wrote; write it anew, or delete it to do without", .path.display()
    )]
    NotATable { path: PathBuf, message: String },
    #[error(
        "{}, which {} names, is {stale}; write it anew by `wgseg tune`, or set {}=off", .path.display(),
        place::VARIABLE, place::VARIABLE
    )]
    Stale { path: PathBuf, stale: Stale },
    #[error("there is no home folder to keep the table in; name a file by --out FILE")]
    NoPlace,
    #[error("--out {}: {message}; name a file in a folder that is there", .path.display())]
    Out { path: PathBuf, message: &'static str },
    #[error(
        "{point}: the rule's form `{form}` is wrong on this adapter, so nothing is measured; `wgseg verify` tells which \
         kernels are"
    )]
    Wrong { point: Point, form: String },
    #[error(
        "the training step with the chosen forms is wrong on this adapter: its loss is {chosen}, by the rule {rule}; nothing \
         is written; please report this"
    )]
    WrongStep { rule: f64, chosen: f64 },
    #[error(transparent)]
    Bench(#[from] BenchError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Tape(#[from] TapeError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Gpu(#[from] GpuError),
    #[error(transparent)]
    Report(#[from] ReportError),
}

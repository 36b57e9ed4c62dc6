//! How fast the kernels are beside what the adapter can do at best, each time only for a result
//! that was compared with the reference in the same run.

pub(crate) mod cases;
pub mod ceilings;
pub mod compare;
mod dispatches;
pub mod growth;
pub mod ops;
pub mod trace;
pub mod unet;

use serde::{Deserialize, Serialize};

pub use ceilings::Ceilings;
pub use dispatches::DispatchRow;
pub use ops::OpRow;
pub use unet::UnetReport;

use crate::gpu::{AdapterDescription, GpuError};
use crate::program::{CompileError, Precision};
use crate::reference::ReferenceError;
use crate::report::ReportError;
use crate::tape::TapeError;
use crate::train::TrainError;
use crate::verify::VerifyError;
use crate::verify::step::{CheckedStep, step_tolerance};

/// Times of the same work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    pub median_ms: f64,
    /// From the shortest to the longest, in percent of the median.
    pub spread_percent: f64,
}

impl Timing {
    /// Of seconds in ascending order, at least one.
    pub fn of(seconds: &[f64]) -> Timing {
        let median = seconds[seconds.len() / 2];
        let spread = seconds[seconds.len() - 1] - seconds[0];
        Timing { median_ms: median * 1e3, spread_percent: 100.0 * spread / median.max(f64::MIN_POSITIVE) }
    }
}

/// What `wgseg bench --json` writes and `wgseg bench compare` reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub adapter: AdapterDescription,
    pub version: String,
    /// The table of `wgseg tune` that kernels' forms were from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<String>,
    /// The better of before and after.
    pub ceilings: Ceilings,
    /// The multiply-add rate after everything else, in percent of the rate before.
    pub final_rate_percent: f64,
    #[serde(default)]
    pub ops: Vec<OpRow>,
    #[serde(flatten)]
    pub unet: Option<UnetReport>,
}

/// Percent of the roofline: the least time that the adapter's ceilings allow, of the time taken.
pub fn roofline_percent(ceilings: &Ceilings, flops: u64, bytes: u64, timing: &Timing) -> f64 {
    100.0 * ceilings.least_seconds(flops, bytes) / (timing.median_ms * 1e-3)
}

/// The middle of numbers in any order, the upper of two; 0 of none.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error(
        "the kernel {kernel} that measures a ceiling of the adapter is wrong: result {index} is {found}, \
         expected {expected}; `wgseg verify` tells which other kernels are"
    )]
    Ceiling { kernel: &'static str, index: usize, found: f32, expected: f64 },
    #[error(
        "the training step is wrong on this adapter, so it is not timed: loss {:.1e} and gradients {:.1e} off, \
         allowed {tolerance:.0e}; `wgseg verify` tells which kernel it is",
        checked.loss_error, checked.gradient_error
    )]
    WrongStep { checked: CheckedStep, tolerance: f64 },
    #[error("{path}: {message}; expected a file of `wgseg bench --json FILE`")]
    NotAReport { path: String, message: String },
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Tape(#[from] TapeError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Gpu(#[from] GpuError),
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl BenchError {
    /// That a step is off by more than it may be.
    pub(crate) fn wrong(checked: CheckedStep, precision: Precision) -> BenchError {
        BenchError::WrongStep { checked, tolerance: step_tolerance(precision) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timing_takes_the_middle_and_the_whole_spread() {
        let timing = Timing::of(&[0.9, 1.0, 1.3]);
        assert_eq!(timing.median_ms, 1000.0);
        assert!((timing.spread_percent - 40.0).abs() < 1e-9);
    }

    #[test]
    fn percent_of_the_roofline_counts_the_slower_of_both() {
        let ceilings = Ceilings { multiply_add_gflop_per_s: 1.0, copy_gb_per_s: 1.0, ..Default::default() };
        let timing = Timing { median_ms: 4.0, spread_percent: 0.0 };
        // 1 ms of arithmetic, 2 ms of memory, 4 ms taken.
        assert_eq!(roofline_percent(&ceilings, 1_000_000, 2_000_000, &timing), 50.0);
    }
}

//! What an adapter can do at best, measured on it: the roof that kernels are held against.

mod half;
mod matrix;
mod multiply_add;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::BenchError;
use crate::gpu::{Extra, Gpu, GpuOptions, Session, States};
use crate::ops::Op;
use crate::program::compile;
use crate::tape::Tape;
pub use matrix::MatrixKind;
/// How long a sample runs.
const SAMPLE: Duration = Duration::from_millis(30);
const SAMPLES: usize = 5;
/// What is copied to measure bandwidth, larger than the caches.
const COPY_BYTES: u64 = 64 << 20;

/// The best that was measured; a kernel may come near to it, but not beyond, unless it does less
/// work than the op is counted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// f32 multiply-adds, counted as two, in 10⁹ a second.
    pub multiply_add_gflop_per_s: f64,
    /// The same in f16; null where the adapter offers none.
    #[serde(default)]
    pub multiply_add_f16_gflop_per_s: Option<f64>,
    /// Multiply-adds of cooperative matrices (tensor cores), the best of the kinds that the adapter
    /// offers; null where it offers none.
    #[serde(default)]
    pub cooperative_matrix_gflop_per_s: Option<f64>,
    /// The kind that was best.
    #[serde(default)]
    pub cooperative_matrix_kind: Option<MatrixKind>,
    /// Bytes read and bytes written, in 10⁹ a second: the better of a kernel and a buffer copy.
    pub copy_gb_per_s: f64,
    /// Microseconds of one more dispatch with nothing to do.
    pub dispatch_us: f64,
    /// Microseconds of a submission of one such dispatch, until the host knows that it is done.
    pub submit_us: f64,
}

impl Ceilings {
    /// Seconds that work of so many operations and bytes takes at least.
    pub fn least_seconds(&self, flops: u64, bytes: u64) -> f64 {
        let compute = flops as f64 / (self.multiply_add_gflop_per_s * 1e9);
        let memory = bytes as f64 / (self.copy_gb_per_s * 1e9);
        compute.max(memory)
    }

    /// The higher of each rate, the lower of each cost; of what no kernel of ours uses yet, the first.
    pub fn best(self, other: Ceilings) -> Ceilings {
        Ceilings {
            multiply_add_gflop_per_s: self.multiply_add_gflop_per_s.max(other.multiply_add_gflop_per_s),
            multiply_add_f16_gflop_per_s: self.multiply_add_f16_gflop_per_s,
            cooperative_matrix_gflop_per_s: self.cooperative_matrix_gflop_per_s,
            cooperative_matrix_kind: self.cooperative_matrix_kind,
            copy_gb_per_s: self.copy_gb_per_s.max(other.copy_gb_per_s),
            dispatch_us: self.dispatch_us.min(other.dispatch_us),
            submit_us: self.submit_us.min(other.submit_us),
        }
    }
}

/// Measures all ceilings of an adapter; a few seconds. Those of f16 and of cooperative matrices run on
/// devices of their own, opened with what they need.
pub fn measure_all(gpu: &Arc<Gpu>) -> Result<Ceilings, BenchError> {
    let open = |extra| {
        let adapter = Some(gpu.description().index.to_string());
        Gpu::open(&GpuOptions { adapter, extra, ..Default::default() })
    };
    let half = open(Extra::Half)?;
    let f16 = if half.has(Extra::Half) { Some(half::measure(&half)?) } else { None };
    drop(half);
    let matrix = matrix::measure(&open(Extra::CooperativeMatrix)?)?;
    Ok(Ceilings {
        multiply_add_f16_gflop_per_s: f16,
        cooperative_matrix_gflop_per_s: matrix.map(|(_, rate)| rate),
        cooperative_matrix_kind: matrix.map(|(kind, _)| kind),
        ..measure(gpu)?
    })
}

/// Measures the ceilings of what the kernels use: f32, memory, dispatches.
pub fn measure(gpu: &Arc<Gpu>) -> Result<Ceilings, BenchError> {
    let mut copy = scale(gpu, COPY_BYTES as usize / 4)?;
    let seconds = copy.time_runs(SAMPLES, SAMPLE)?[0].min(gpu.time_copy(COPY_BYTES, SAMPLES)?);
    let mut empty = scale(gpu, 1)?;
    let dispatch = empty.time_runs(SAMPLES, SAMPLE)?[0];
    let mut submit = f64::MAX;
    for _ in 0..20 {
        submit = submit.min(empty.time_submission(1)?);
    }
    Ok(Ceilings {
        multiply_add_gflop_per_s: multiply_add::measure(gpu)?,
        copy_gb_per_s: 2.0 * COPY_BYTES as f64 / seconds / 1e9,
        dispatch_us: dispatch * 1e6,
        submit_us: submit * 1e6,
        ..Default::default()
    })
}

/// A kernel that reads and writes each of `numbers` numbers once.
fn scale(gpu: &Arc<Gpu>, numbers: usize) -> Result<Session, BenchError> {
    alone(gpu, |tape| {
        let input = tape.input("input", [numbers])?;
        let result = tape.scale(input, 0.5)?;
        tape.output("result", result);
        Ok(())
    })
}

fn alone(
    gpu: &Arc<Gpu>,
    build: impl FnOnce(&mut Tape) -> Result<(), BenchError>,
) -> Result<Session, BenchError> {
    let mut tape = Tape::new();
    build(&mut tape)?;
    Ok(Session::new(gpu, compile(&tape, gpu.caps())?, &mut States::new())?)
}

/// A kernel that does nothing but the operations whose rate it measures.
trait CeilingKernel: Op {
    /// Floating-point operations of one run.
    fn operations(&self) -> u64;

    /// A rate counts only if the numbers are right, which also tells that no work was left out.
    fn check(&self, found: &[f32]) -> Result<(), BenchError>;
}

/// Workgroups of a kernel at most.
const MOST_GROUPS: usize = 32_768;

/// 10⁹ operations a second of the kernel that `of` makes for a number of workgroups, on as many as
/// make a sample long enough.
fn rate<K: CeilingKernel + 'static>(gpu: &Arc<Gpu>, of: impl Fn(usize) -> K) -> Result<f64, BenchError> {
    let mut groups = 4;
    loop {
        let kernel = Arc::new(of(groups));
        let mut session = alone(gpu, |tape| {
            let result = tape.push_op(Arc::clone(&kernel) as Arc<dyn Op>, &[])?;
            tape.output("result", result);
            Ok(())
        })?;
        let seconds = session.time_runs(SAMPLES, Duration::ZERO)?[0];
        if seconds >= SAMPLE.as_secs_f64() || groups >= MOST_GROUPS {
            kernel.check(&session.read("result")?)?;
            return Ok(kernel.operations() as f64 / seconds / 1e9);
        }
        let wanted = groups as f64 * 1.3 * SAMPLE.as_secs_f64() / seconds.max(1e-6);
        groups = (wanted.ceil() as usize).clamp(groups + 1, MOST_GROUPS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roof_is_the_slower_of_arithmetic_and_memory() {
        let ceilings =
            Ceilings { multiply_add_gflop_per_s: 100.0, copy_gb_per_s: 10.0, ..Default::default() };
        assert_eq!(ceilings.least_seconds(200_000_000_000, 1_000_000_000), 2.0);
        assert_eq!(ceilings.least_seconds(1_000_000_000, 40_000_000_000), 4.0);
    }
}

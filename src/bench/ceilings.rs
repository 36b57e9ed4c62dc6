//! What an adapter can do at best, measured on it: the roof that kernels are held against.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::BenchError;
use crate::gpu::{Gpu, Session, States};
use crate::ops::Op;
use crate::program::{Kernel, Lower, LowerError, Shader, compile};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape};

static MULTIPLY_ADD: Shader = shader!("bench/multiply_add");

/// Multiply-adds of each chain in a round of the kernel.
const ROUND: usize = 8;
/// So near to 1 that the result tells how many rounds were done.
const FACTOR: f32 = 0.9999;
const ADDEND: f32 = 1e-3;
/// How long a sample runs.
const SAMPLE: Duration = Duration::from_millis(30);
const SAMPLES: usize = 5;
/// What is copied to measure bandwidth, larger than the caches.
const COPY_BYTES: u64 = 64 << 20;

/// The best that was measured; a kernel may come near to it, but not beyond, unless it does less
/// work than the op is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// f32 multiply-adds, counted as two, in 10⁹ a second.
    pub multiply_add_gflop_per_s: f64,
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

    /// The higher of each rate, the lower of each cost.
    pub fn best(self, other: Ceilings) -> Ceilings {
        Ceilings {
            multiply_add_gflop_per_s: self.multiply_add_gflop_per_s.max(other.multiply_add_gflop_per_s),
            copy_gb_per_s: self.copy_gb_per_s.max(other.copy_gb_per_s),
            dispatch_us: self.dispatch_us.min(other.dispatch_us),
            submit_us: self.submit_us.min(other.submit_us),
        }
    }
}

/// Measures the ceilings of an adapter; a few seconds.
pub fn measure(gpu: &Arc<Gpu>) -> Result<Ceilings, BenchError> {
    let mut rate: f64 = 0.0;
    for chains in [3, 4, 6] {
        rate = rate.max(multiply_add_rate(gpu, chains)?);
    }
    let mut copy = scale(gpu, COPY_BYTES as usize / 4)?;
    let seconds = copy.time_runs(SAMPLES, SAMPLE)?[0].min(gpu.time_copy(COPY_BYTES, SAMPLES)?);
    let mut empty = scale(gpu, 1)?;
    let dispatch = empty.time_runs(SAMPLES, SAMPLE)?[0];
    let mut submit = f64::MAX;
    for _ in 0..20 {
        submit = submit.min(empty.time_submission(1)?);
    }
    Ok(Ceilings {
        multiply_add_gflop_per_s: rate,
        copy_gb_per_s: 2.0 * COPY_BYTES as f64 / seconds / 1e9,
        dispatch_us: dispatch * 1e6,
        submit_us: submit * 1e6,
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

/// 10⁹ operations a second with `chains` vec4s an invocation, on as many invocations as make a
/// sample long enough.
fn multiply_add_rate(gpu: &Arc<Gpu>, chains: usize) -> Result<f64, BenchError> {
    let rounds = 512;
    let mut groups = 4;
    loop {
        let op = MultiplyAdd { chains, rounds, invocations: groups * 64 };
        let flops = op.operations();
        let mut session = alone(gpu, |tape| {
            let result = tape.push_op(Arc::new(op), &[])?;
            tape.output("result", result);
            Ok(())
        })?;
        let seconds = session.time_runs(SAMPLES, Duration::ZERO)?[0];
        if seconds >= SAMPLE.as_secs_f64() || groups >= 32_768 {
            check(&session.read("result")?, &MultiplyAdd { chains, rounds, invocations: 64 })?;
            return Ok(flops as f64 / seconds / 1e9);
        }
        let wanted = groups as f64 * 1.3 * SAMPLE.as_secs_f64() / seconds.max(1e-6);
        groups = (wanted.ceil() as usize).clamp(groups + 1, 32_768);
    }
}

/// A rate counts only if the numbers are right, which also tells that no work was left out. Allowed is what
/// f32 can be off at most: half a unit in the last place for the product and the sum of each multiply-add,
/// and for each addition of the 24 chains' ends. All terms are positive, so this is relative.
fn check(found: &[f32], op: &MultiplyAdd) -> Result<(), BenchError> {
    let expected = op.reference(&[], &Shape::new(vec![64])).swap_remove(0);
    let roundings = 2 * ROUND * op.rounds + 24;
    let tolerance = roundings as f64 * f64::from(f32::EPSILON) / 2.0;
    for (index, found) in found.iter().enumerate() {
        let expected = expected[index % 64];
        let near = (f64::from(*found) - expected).abs() <= tolerance * expected.abs();
        if !near {
            return Err(BenchError::Ceiling { index, found: *found, expected });
        }
    }
    Ok(())
}

/// A kernel of multiply-adds alone. Its result: for each invocation the sum of its chains.
#[derive(Debug)]
struct MultiplyAdd {
    chains: usize,
    rounds: usize,
    invocations: usize,
}

impl MultiplyAdd {
    fn operations(&self) -> u64 {
        (2 * 4 * self.chains * ROUND * self.rounds * self.invocations) as u64
    }
}

impl Op for MultiplyAdd {
    fn name(&self) -> &'static str {
        "multiply_add"
    }

    fn shape(&self, _inputs: &[&Shape]) -> Result<Shape, String> {
        Ok(Shape::new(vec![self.invocations]))
    }

    fn reference(&self, _inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let one = |invocation: usize| {
            let seed = (invocation % 64) as f64 * f64::from(ADDEND);
            let value = |chain: usize| {
                let mut value = seed + chain as f64;
                let length = if chain < self.chains { ROUND * self.rounds } else { 0 };
                for _ in 0..length {
                    value = value * f64::from(FACTOR) + f64::from(ADDEND);
                }
                value
            };
            4.0 * (0..6).map(value).sum::<f64>()
        };
        vec![(0..output.len()).map(one).collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let kernel = Kernel::new(&MULTIPLY_ADD).with("CHAINS", self.chains as f64);
        let params = [self.rounds.into(), FACTOR.into(), ADDEND.into()];
        lower.dispatch(kernel, &params, &[lower.output()], [(self.invocations / 64) as u32, 1, 1])
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        self.operations()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roof_is_the_slower_of_arithmetic_and_memory() {
        let ceilings = Ceilings {
            multiply_add_gflop_per_s: 100.0,
            copy_gb_per_s: 10.0,
            dispatch_us: 1.0,
            submit_us: 1.0,
        };
        assert_eq!(ceilings.least_seconds(200_000_000_000, 1_000_000_000), 2.0);
        assert_eq!(ceilings.least_seconds(1_000_000_000, 40_000_000_000), 4.0);
    }

    #[test]
    fn a_wrong_multiply_add_has_no_rate() {
        let op = MultiplyAdd { chains: 3, rounds: 20, invocations: 64 };
        let right: Vec<f32> =
            op.reference(&[], &Shape::new(vec![64])).swap_remove(0).iter().map(|x| *x as f32).collect();
        assert!(check(&right, &op).is_ok());
        for wrong in [f32::NAN, right[5] * 1.01] {
            let mut found = right.clone();
            found[5] = wrong;
            assert!(matches!(check(&found, &op), Err(BenchError::Ceiling { index: 5, .. })), "{wrong}");
        }
    }

    /// A kernel that leaves out work would seem faster than it is.
    #[test]
    fn a_kernel_that_leaves_out_rounds_has_no_rate() {
        let of = |rounds| MultiplyAdd { chains: 3, rounds, invocations: 64 };
        let short = of(500).reference(&[], &Shape::new(vec![64])).swap_remove(0);
        let short: Vec<f32> = short.iter().map(|x| *x as f32).collect();
        assert!(matches!(check(&short, &of(512)), Err(BenchError::Ceiling { index: 0, .. })));
    }

    /// x ← f·x + a, n times, is fⁿ·(x − p) + p with p = a / (1 − f).
    #[test]
    fn a_chain_is_a_geometric_series() {
        let op = MultiplyAdd { chains: 6, rounds: 20, invocations: 2 };
        let found = op.reference(&[], &Shape::new(vec![2])).swap_remove(0);
        let (factor, addend) = (f64::from(FACTOR), f64::from(ADDEND));
        let point = addend / (1.0 - factor);
        for (lane, value) in found.into_iter().enumerate() {
            let end = |chain: usize| {
                let start = lane as f64 * addend + chain as f64;
                factor.powi((ROUND * 20) as i32) * (start - point) + point
            };
            let expected = 4.0 * (0..6).map(end).sum::<f64>();
            assert!((value - expected).abs() < 1e-9, "{value}, expected {expected}");
        }
    }
}

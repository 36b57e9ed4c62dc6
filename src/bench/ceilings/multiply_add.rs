//! The rate of f32 multiply-adds.

use std::sync::Arc;

use super::{CeilingKernel, rate};
use crate::bench::BenchError;
use crate::gpu::Gpu;
use crate::ops::Op;
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::Shape;

static MULTIPLY_ADD: Shader = shader!("bench/multiply_add");

/// Multiply-adds of each chain in a round of the kernel.
const ROUND: usize = 8;
const ROUNDS: usize = 512;
/// So near to 1 that the result tells how many rounds were done.
const FACTOR: f32 = 0.9999;
const ADDEND: f32 = 1e-3;

/// 10⁹ operations a second, the best of kernels of 3, 4 and 6 vec4s an invocation.
pub fn measure(gpu: &Arc<Gpu>) -> Result<f64, BenchError> {
    let mut best: f64 = 0.0;
    for chains in [3, 4, 6] {
        best =
            best.max(rate(gpu, |groups| MultiplyAdd { chains, rounds: ROUNDS, invocations: groups * 64 })?);
    }
    Ok(best)
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
            return Err(BenchError::Ceiling { kernel: MULTIPLY_ADD.name, index, found: *found, expected });
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

impl CeilingKernel for MultiplyAdd {
    fn operations(&self) -> u64 {
        (2 * 4 * self.chains * ROUND * self.rounds * self.invocations) as u64
    }

    fn check(&self, found: &[f32]) -> Result<(), BenchError> {
        check(found, &MultiplyAdd { invocations: 64, ..*self })
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

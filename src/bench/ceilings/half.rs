//! The rate of f16 multiply-adds.

use std::sync::Arc;

use super::{CeilingKernel, rate};
use crate::bench::BenchError;
use crate::gpu::Gpu;
use crate::ops::Op;
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::Shape;

static MULTIPLY_ADD_F16: Shader = shader!("bench/multiply_add_f16");

/// Multiply-adds of each chain in a round of the kernel.
const ROUND: usize = 8;
/// f16 has the whole numbers up to 2048: a chain ends at `lane + chain + ROUND / 2 · ROUNDS` at most.
const ROUNDS: usize = 256;
const FACTOR: f32 = -1.0;
const ODD: f32 = 3.0;
const EVEN: f32 = 4.0;

/// 10⁹ operations a second, the best of kernels of 3, 4 and 6 vec4s an invocation.
pub fn measure(gpu: &Arc<Gpu>) -> Result<f64, BenchError> {
    let mut best: f64 = 0.0;
    for chains in [3, 4, 6] {
        let of = |groups| HalfMultiplyAdd { chains, rounds: ROUNDS, invocations: groups * 64 };
        best = best.max(rate(gpu, of)?);
    }
    Ok(best)
}

/// A kernel of f16 multiply-adds alone. Its result: for each invocation the sum of its chains.
#[derive(Debug)]
struct HalfMultiplyAdd {
    chains: usize,
    rounds: usize,
    invocations: usize,
}

impl HalfMultiplyAdd {
    /// What an invocation gives, from the chains that it runs and those that it leaves as they were.
    fn expected(&self, invocation: usize) -> f64 {
        let pairs = ROUND / 2 * self.rounds;
        let end = |chain| invocation % 64 + chain + if chain < self.chains { pairs } else { 0 };
        (4 * (0..6).map(end).sum::<usize>()) as f64
    }
}

impl CeilingKernel for HalfMultiplyAdd {
    fn operations(&self) -> u64 {
        (2 * 4 * self.chains * ROUND * self.rounds * self.invocations) as u64
    }

    /// All numbers on the way are whole and small: the result is exact.
    fn check(&self, found: &[f32]) -> Result<(), BenchError> {
        for (index, found) in found.iter().enumerate() {
            let expected = self.expected(index);
            if f64::from(*found) != expected {
                return Err(BenchError::Ceiling {
                    kernel: MULTIPLY_ADD_F16.name,
                    index,
                    found: *found,
                    expected,
                });
            }
        }
        Ok(())
    }
}

impl Op for HalfMultiplyAdd {
    fn name(&self) -> &'static str {
        "multiply_add_f16"
    }

    fn shape(&self, _inputs: &[&Shape]) -> Result<Shape, String> {
        Ok(Shape::new(vec![self.invocations]))
    }

    fn reference(&self, _inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        vec![(0..output.len()).map(|invocation| self.expected(invocation)).collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let kernel = Kernel::new(&MULTIPLY_ADD_F16).with("CHAINS", self.chains as f64);
        let params = [self.rounds.into(), FACTOR.into(), ODD.into(), EVEN.into()];
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
    fn what_is_expected_is_what_the_chains_come_to() {
        let op = HalfMultiplyAdd { chains: 4, rounds: 3, invocations: 128 };
        for invocation in [0, 5, 63, 64, 127] {
            let mut sum = 0.0;
            for chain in 0..6 {
                let mut value = (invocation % 64 + chain) as f32;
                for step in 0..if chain < 4 { ROUND * 3 } else { 0 } {
                    value = value * FACTOR + if step % 2 == 0 { ODD } else { EVEN };
                }
                sum += 4.0 * f64::from(value);
            }
            assert_eq!(op.expected(invocation), sum);
        }
    }

    #[test]
    fn chains_stay_where_f16_is_exact() {
        assert!(63 + 5 + ROUND / 2 * ROUNDS + EVEN as usize <= 2048);
    }

    #[test]
    fn a_result_that_is_off_or_left_out_has_no_rate() {
        let of = |rounds| HalfMultiplyAdd { chains: 3, rounds, invocations: 64 };
        let numbers = |rounds| -> Vec<f32> { (0..64).map(|i| of(rounds).expected(i) as f32).collect() };
        assert!(of(20).check(&numbers(20)).is_ok());
        assert!(matches!(of(20).check(&numbers(19)), Err(BenchError::Ceiling { index: 0, .. })));
        let mut wrong = numbers(20);
        wrong[7] = f32::NAN;
        assert!(matches!(of(20).check(&wrong), Err(BenchError::Ceiling { index: 7, .. })));
    }
}

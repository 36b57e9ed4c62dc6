//! The rate of multiply-adds of cooperative matrices: tensor cores, simdgroup matrices.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wgpu::CooperativeScalarType::{F16, F32};

use super::{CeilingKernel, rate};
use crate::bench::BenchError;
use crate::gpu::Gpu;
use crate::ops::Op;
use crate::program::{BySide, Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader_by_side;
use crate::tape::Shape;

/// Of the sums, which must stay below 2²⁴ to be exact in f32: no product is larger than 16 · 2 · 3.
const ROUNDS: usize = 4096;
/// Left and right matrices of a workgroup, so four sums.
const SUMS: usize = 4;

/// What is multiplied and summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MatrixKind {
    #[serde(rename = "16x16x16 f16, sums f32")]
    Half16,
    #[serde(rename = "8x8x8 f16, sums f32")]
    Half8,
    #[serde(rename = "8x8x8 f32")]
    Single8,
}

impl std::fmt::Display for MatrixKind {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            MatrixKind::Half16 => "16x16x16 f16, sums f32",
            MatrixKind::Half8 => "8x8x8 f16, sums f32",
            MatrixKind::Single8 => "8x8x8 f32",
        })
    }
}

static HALF: BySide = shader_by_side!("bench/matrix");
/// The same of f32.
static SINGLE_8: Shader = Shader {
    name: "bench/matrix 8x8 f32",
    // On the first line, so that a message tells the line of the file.
    source: concat!(
        "enable wgpu_cooperative_matrix; const SIDE = 8u; alias Scalar = f32; \
     alias Left = coop_mat8x8<f32, A>; alias Right = coop_mat8x8<f32, B>; alias Sum = coop_mat8x8<f32, C>; ",
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/bench/matrix.wgsl"))
    ),
};

impl MatrixKind {
    const ALL: [MatrixKind; 3] = [MatrixKind::Half16, MatrixKind::Half8, MatrixKind::Single8];

    fn side(self) -> usize {
        if self == MatrixKind::Half16 { 16 } else { 8 }
    }

    fn shader(self) -> &'static Shader {
        match self {
            MatrixKind::Half16 | MatrixKind::Half8 => HALF.of(self.side()),
            MatrixKind::Single8 => &SINGLE_8,
        }
    }

    fn offered(self, gpu: &Gpu) -> bool {
        let side = self.side() as u32;
        let scalar = if self == MatrixKind::Single8 { F32 } else { F16 };
        gpu.matrices()
            .iter()
            .any(|m| [m.m_size, m.n_size, m.k_size] == [side; 3] && m.ab_type == scalar && m.cr_type == F32)
    }
}

/// The kind with the highest rate, in 10⁹ operations a second; `None` where the device offers none.
/// Where subgroups may be smaller than the largest, the rate may be told too low: of what several of
/// them do in a workgroup, one's work is counted.
pub fn measure(gpu: &Arc<Gpu>) -> Result<Option<(MatrixKind, f64)>, BenchError> {
    let mut best: Option<(MatrixKind, f64)> = None;
    for kind in MatrixKind::ALL.into_iter().filter(|kind| kind.offered(gpu)) {
        let lanes = gpu.subgroup_lanes();
        let found = rate(gpu, |groups| MatrixMultiplyAdd { kind, lanes, rounds: ROUNDS, groups })?;
        if best.is_none_or(|(_, rate)| found > rate) {
            best = Some((kind, found));
        }
    }
    Ok(best)
}

/// A kernel of matrix multiply-adds alone. Its result: the sums of each workgroup.
#[derive(Debug)]
struct MatrixMultiplyAdd {
    kind: MatrixKind,
    lanes: u32,
    rounds: usize,
    groups: usize,
}

impl MatrixMultiplyAdd {
    /// What a workgroup gives: `rounds` times each product of a left and a right matrix.
    fn sums(&self) -> Vec<f64> {
        let side = self.kind.side();
        let left = |which: usize, row: usize, column: usize| ((row + 2 * column + which) % 5) as f64 - 2.0;
        let right =
            |which: usize, row: usize, column: usize| ((3 * row + column + 2 * which) % 7) as f64 - 3.0;
        let mut sums = vec![];
        for sum in 0..SUMS {
            for row in 0..side {
                for column in 0..side {
                    let terms = (0..side).map(|k| left(sum / 2, row, k) * right(sum % 2, k, column));
                    sums.push(self.rounds as f64 * terms.sum::<f64>());
                }
            }
        }
        sums
    }
}

impl CeilingKernel for MatrixMultiplyAdd {
    fn operations(&self) -> u64 {
        (2 * self.kind.side().pow(3) * SUMS * self.rounds * self.groups) as u64
    }

    /// All numbers are whole and below 2²⁴: the result is exact.
    fn check(&self, found: &[f32]) -> Result<(), BenchError> {
        let sums = self.sums();
        for (index, found) in found.iter().enumerate() {
            let expected = sums[index % sums.len()];
            if f64::from(*found) != expected {
                let kernel = self.kind.shader().name;
                return Err(BenchError::Ceiling { kernel, index, found: *found, expected });
            }
        }
        Ok(())
    }
}

impl Op for MatrixMultiplyAdd {
    fn name(&self) -> &'static str {
        "matrix_multiply_add"
    }

    fn shape(&self, _inputs: &[&Shape]) -> Result<Shape, String> {
        let side = self.kind.side();
        Ok(Shape::new(vec![self.groups, SUMS, side, side]))
    }

    fn reference(&self, _inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        vec![self.sums().into_iter().cycle().take(output.len()).collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let kernel = Kernel::new(self.kind.shader()).with("LANES", self.lanes);
        lower.dispatch(kernel, &[self.rounds.into()], &[lower.output()], [self.groups as u32, 1, 1])
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        self.operations()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_of_each_kind_parses() {
        for kind in MatrixKind::ALL {
            let interface = kind.shader().interface().expect("a kernel");
            assert_eq!(interface.storage.len(), 1);
        }
    }

    #[test]
    fn sums_tell_a_transposed_matrix_and_stay_exact() {
        for kind in MatrixKind::ALL {
            let side = kind.side();
            let sums = MatrixMultiplyAdd { kind, lanes: 32, rounds: ROUNDS, groups: 1 }.sums();
            assert_eq!(sums.len(), SUMS * side * side);
            assert!(sums.iter().all(|sum| sum.abs() < f64::from(1 << 24)));
            for matrix in sums.chunks(side * side) {
                let transposed = |i: usize| matrix[i % side * side + i / side];
                assert!((0..side * side).any(|i| matrix[i] != transposed(i)));
            }
            assert_ne!(sums[..side * side], sums[side * side..2 * side * side]);
        }
    }

    #[test]
    fn a_round_left_out_has_no_rate() {
        let of = |rounds| MatrixMultiplyAdd { kind: MatrixKind::Half8, lanes: 32, rounds, groups: 2 };
        let numbers = |rounds| -> Vec<f32> {
            let sums = of(rounds).sums();
            sums.iter().chain(&sums).map(|x| *x as f32).collect()
        };
        assert!(of(9).check(&numbers(9)).is_ok());
        assert!(matches!(of(9).check(&numbers(8)), Err(BenchError::Ceiling { .. })));
        let mut wrong = numbers(9);
        wrong[300] = f32::NAN;
        assert!(
            matches!(of(9).check(&wrong), Err(BenchError::Ceiling { index: 300, .. }) if wrong.len() > 300)
        );
    }
}

//! Inner products of every two rows of a batch, those of a row with itself left out:
//! `out[i][j'] = factor · ⟨z_i, z_j⟩` with `j = j'` before row `i` and `j = j' + 1` from it on.
//!
//! With rows of length 1 and `factor = 1 / temperature` these are the logits of NT-Xent (Chen et
//! al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020).

use super::registry::Entry;
use super::{Case, GradContext, Op, expect_inputs, expect_same};
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("pair_similarity/forward");
static GRAD: Shader = shader!("pair_similarity/grad");

pub const ENTRY: Entry =
    Entry { name: "pair_similarity", parts: &["pair_similarity_grad"], no_backward: None, cases };

impl Tape {
    /// `[rows, 1, 1, channels]` to `[rows, 1, 1, rows − 1]`: `factor` times the inner products of each
    /// row with the other rows, in their order. At least 2 rows.
    pub fn pair_similarity(&mut self, input: Value, factor: f32) -> Result<Value, TapeError> {
        self.push(PairSimilarity { factor }, &[input])
    }
}

#[derive(Clone, Copy, Debug)]
pub struct PairSimilarity {
    pub factor: f32,
}

/// Shape of the similarities of `rows`.
fn similarities(rows: &Shape) -> Result<Shape, String> {
    match rows.nhwc()? {
        [rows, 1, 1, _] if rows >= 2 => Ok([rows, 1, 1, rows - 1].into()),
        _ => Err(format!("expected [rows, 1, 1, channels] with at least 2 rows, found {rows}")),
    }
}

/// Place of the other row `j` among the similarities of row `i`.
fn place(i: usize, j: usize) -> usize {
    if j < i { j } else { j - 1 }
}

impl Op for PairSimilarity {
    fn name(&self) -> &'static str {
        "pair_similarity"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        similarities(inputs[0])
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        Ok(vec![Some(tape.push(PairSimilarityGrad { of: *self }, &[at.inputs[0], at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let rows: Vec<&[f64]> = inputs[0].data.chunks_exact(inputs[0].shape.channels()).collect();
        let mut result = vec![0.0; output.len()];
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate().filter(|(j, _)| *j != i) {
                let product: f64 = a.iter().zip(*b).map(|(a, b)| a * b).sum();
                result[i * output.channels() + place(i, j)] = f64::from(self.factor) * product;
            }
        }
        vec![result]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (rows, channels) = (lower.input_shape(0).pixels(), lower.input_shape(0).channels());
        let params = [rows.into(), channels.into(), self.factor.into()];
        let operands = [lower.input(0), lower.output()];
        let items = lower.output_shape().len();
        lower.dispatch_items(Kernel::new(&FORWARD), &params, &operands, items)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].channels()
    }

    fn flops(&self, inputs: &[&Shape], output: &Shape) -> u64 {
        2 * (output.len() * inputs[0].channels()) as u64
    }
}

/// Inputs: the rows, the gradient of their similarities `g`.
/// `grad_z[i] = factor · Σ_{j ≠ i} (g[i][j] + g[j][i]) · z_j`.
#[derive(Debug)]
struct PairSimilarityGrad {
    of: PairSimilarity,
}

impl Op for PairSimilarityGrad {
    fn name(&self) -> &'static str {
        "pair_similarity_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        expect_same(&similarities(inputs[0])?, inputs[1])?;
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let (rows, channels, others) = (output.pixels(), output.channels(), inputs[1].shape.channels());
        let g = &inputs[1].data;
        let mut result = vec![0.0; output.len()];
        for i in 0..rows {
            for j in (0..rows).filter(|j| *j != i) {
                let both = g[i * others + place(i, j)] + g[j * others + place(j, i)];
                for c in 0..channels {
                    let z = inputs[0].data[j * channels + c];
                    result[i * channels + c] += f64::from(self.of.factor) * both * z;
                }
            }
        }
        vec![result]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (rows, channels) = (lower.output_shape().pixels(), lower.output_shape().channels());
        let params = [rows.into(), channels.into(), self.of.factor.into()];
        let operands = [lower.input(0), lower.input(1), lower.output()];
        lower.dispatch_items(Kernel::new(&GRAD), &params, &operands, rows * channels)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        2 * inputs[1].channels()
    }

    fn flops(&self, inputs: &[&Shape], output: &Shape) -> u64 {
        3 * (output.len() * inputs[1].channels()) as u64
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, rows: usize, channels: usize| {
        Case::new(name, why, PairSimilarity { factor: 2.5 }).input([rows, 1, 1, channels])
    };
    vec![
        case("2x1", "a single pair of numbers", 2, 1),
        case("3x5", "odd extents", 3, 5),
        case("16x64", "a batch of 8 images in two views", 16, 64),
        case("41x47", "primes", 41, 47),
        case("26x12 folded", "the path of more than 65,535 workgroups", 26, 12).max_workgroups(4),
    ]
}

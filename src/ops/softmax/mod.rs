//! Softmax over the channels: `exp(x) / Σ exp(x)`.

use super::registry::Entry;
use super::{Case, Fill, GradContext, Op, expect_inputs, expect_same};
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("softmax/forward");
static GRAD: Shader = shader!("softmax/grad");

pub const ENTRY: Entry = Entry { name: "softmax", parts: &["softmax_grad"], no_backward: None, cases };

impl Tape {
    /// `exp(input) / Σ exp(input)` with the sum over the channels, the last axis; of the input's
    /// shape.
    pub fn softmax(&mut self, input: Value) -> Result<Value, TapeError> {
        self.push(Softmax, &[input])
    }
}

#[derive(Debug)]
pub struct Softmax;

/// `log softmax(logits / temperature)` of one pixel, for the reference.
pub(super) fn log_softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shifted: Vec<f64> = logits.iter().map(|x| (x - largest) / temperature).collect();
    let log_sum = shifted.iter().map(|x| x.exp()).sum::<f64>().ln();
    shifted.iter().map(|x| x - log_sum).collect()
}

/// One invocation for a pixel, over the op's inputs and its result.
fn lower_pixels(lower: &mut Lower, shader: &'static Shader) -> Result<(), LowerError> {
    let (pixels, channels) = (lower.output_shape().pixels(), lower.output_shape().channels());
    let mut operands: Vec<_> = (0..lower.input_count()).map(|i| lower.input(i)).collect();
    operands.push(lower.output());
    lower.dispatch_items(Kernel::new(shader), &[pixels.into(), channels.into()], &operands, pixels)
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        Ok(inputs[0].clone())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        Ok(vec![Some(tape.push(SoftmaxGrad, &[at.output, at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let mut result = vec![];
        for pixel in inputs[0].data.chunks_exact(output.channels()) {
            result.extend(log_softmax(pixel, 1.0).iter().map(|x| x.exp()));
        }
        vec![result]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_pixels(lower, &FORWARD)
    }

    fn terms(&self, _inputs: &[&Shape], output: &Shape) -> usize {
        output.channels()
    }

    fn flops(&self, _inputs: &[&Shape], output: &Shape) -> u64 {
        4 * output.len() as u64
    }
}

/// Inputs: the result of the softmax, the gradient of that result.
/// `grad_x = y · (g − Σ y·g)`, the sum over the channels.
#[derive(Debug)]
struct SoftmaxGrad;

impl Op for SoftmaxGrad {
    fn name(&self) -> &'static str {
        "softmax_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        expect_same(inputs[0], inputs[1])?;
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let channels = output.channels();
        let mut result = vec![];
        for (y, g) in inputs[0].data.chunks_exact(channels).zip(inputs[1].data.chunks_exact(channels)) {
            let sum: f64 = y.iter().zip(g).map(|(y, g)| y * g).sum();
            result.extend(y.iter().zip(g).map(|(y, g)| y * (g - sum)));
        }
        vec![result]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_pixels(lower, &GRAD)
    }

    fn terms(&self, _inputs: &[&Shape], output: &Shape) -> usize {
        output.channels()
    }

    fn flops(&self, _inputs: &[&Shape], output: &Shape) -> u64 {
        4 * output.len() as u64
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, shape: [usize; 4]| Case::new(name, why, Softmax).input(shape);
    vec![
        case("1 channel", "always 1, gradient 0", [1, 3, 2, 1]),
        case("2x5x7x3", "odd extents, few classes", [2, 5, 7, 3]),
        case("1x41x47x8", "primes", [1, 41, 47, 8]),
        case("1x1x1x61", "one pixel, a prime number of classes", [1, 1, 1, 61]),
        case("1x20x22x4 folded", "the path of more than 65,535 workgroups", [1, 20, 22, 4]).max_workgroups(3),
        Case::new("±1000", "no overflow far from 0", Softmax).filled([1, 3, 5, 4], Fill::Extreme(1_000.0)),
        Case::new("99..101", "large numbers of like size", Softmax)
            .filled([1, 4, 5, 5], Fill::Uniform(99.0, 101.0)),
    ]
}

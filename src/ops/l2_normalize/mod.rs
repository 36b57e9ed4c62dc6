//! Scales each pixel's vector of channels to length 1: `y = x / √(Σ x² + ε)`, the sum over the
//! channels. ε keeps a vector of zeros at 0, with a finite gradient.

use super::registry::Entry;
use super::{Case, Fill, GradContext, Op, expect_inputs, expect_same};
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("l2_normalize/forward");
static GRAD: Shader = shader!("l2_normalize/grad");

pub const ENTRY: Entry =
    Entry { name: "l2_normalize", parts: &["l2_normalize_grad"], no_backward: None, cases };

impl Tape {
    /// `input / √(Σ input² + epsilon)` with the sum over the channels, the last axis; of the input's
    /// shape.
    pub fn l2_normalize(&mut self, input: Value, epsilon: f32) -> Result<Value, TapeError> {
        self.push(L2Normalize { epsilon }, &[input])
    }
}

#[derive(Clone, Copy, Debug)]
pub struct L2Normalize {
    /// Above 0.
    pub epsilon: f32,
}

impl L2Normalize {
    /// `1 / √(Σ x² + ε)` of one pixel, for the reference.
    fn factor(self, pixel: &[f64]) -> f64 {
        1.0 / (pixel.iter().map(|x| x * x).sum::<f64>() + f64::from(self.epsilon)).sqrt()
    }

    /// One invocation for a pixel, over the op's inputs and its result.
    fn lower_pixels(self, lower: &mut Lower, shader: &'static Shader) -> Result<(), LowerError> {
        let (pixels, channels) = (lower.output_shape().pixels(), lower.output_shape().channels());
        let params = [pixels.into(), channels.into(), self.epsilon.into()];
        let mut operands: Vec<_> = (0..lower.input_count()).map(|i| lower.input(i)).collect();
        operands.push(lower.output());
        lower.dispatch_items(Kernel::new(shader), &params, &operands, pixels)
    }
}

impl Op for L2Normalize {
    fn name(&self) -> &'static str {
        "l2_normalize"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        if self.epsilon.is_nan() || self.epsilon <= 0.0 {
            return Err(format!("epsilon must be above 0, found {}", self.epsilon));
        }
        Ok(inputs[0].clone())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        Ok(vec![Some(tape.push(L2NormalizeGrad { of: *self }, &[at.inputs[0], at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let pixels = inputs[0].data.chunks_exact(output.channels());
        let scaled = pixels.flat_map(|x| {
            let factor = self.factor(x);
            x.iter().map(move |x| factor * x)
        });
        vec![scaled.collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        self.lower_pixels(lower, &FORWARD)
    }

    fn terms(&self, _inputs: &[&Shape], output: &Shape) -> usize {
        output.channels()
    }

    fn flops(&self, _inputs: &[&Shape], output: &Shape) -> u64 {
        3 * output.len() as u64
    }
}

/// Inputs: the op's input, the gradient of its result.
/// `grad_x = r · g − r³ · ⟨x, g⟩ · x` with `r = 1 / √(Σ x² + ε)`.
#[derive(Debug)]
struct L2NormalizeGrad {
    of: L2Normalize,
}

impl Op for L2NormalizeGrad {
    fn name(&self) -> &'static str {
        "l2_normalize_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        expect_same(inputs[0], inputs[1])?;
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let channels = output.channels();
        let mut result = vec![];
        for (x, g) in inputs[0].data.chunks_exact(channels).zip(inputs[1].data.chunks_exact(channels)) {
            let r = self.of.factor(x);
            let along: f64 = x.iter().zip(g).map(|(x, g)| x * g).sum();
            result.extend(x.iter().zip(g).map(|(x, g)| r * g - r.powi(3) * along * x));
        }
        vec![result]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        self.of.lower_pixels(lower, &GRAD)
    }

    fn terms(&self, _inputs: &[&Shape], output: &Shape) -> usize {
        output.channels()
    }

    /// What lies along the vector is taken away from the gradient, which may be all of it.
    fn cancelling(&self, inputs: &[&Tensor]) -> f64 {
        let channels = inputs[0].shape.channels();
        let pixels = inputs[0].data.chunks_exact(channels).zip(inputs[1].data.chunks_exact(channels));
        let sizes = pixels.map(|(x, g)| self.of.factor(x) * g.iter().fold(0.0f64, |m, g| m.max(g.abs())));
        sizes.fold(0.0, f64::max)
    }

    fn flops(&self, _inputs: &[&Shape], output: &Shape) -> u64 {
        7 * output.len() as u64
    }
}

fn cases() -> Vec<Case> {
    let op = |epsilon| L2Normalize { epsilon };
    let case = |name: &str, why, shape: [usize; 4]| Case::new(name, why, op(1e-6)).input(shape);
    vec![
        Case::new("1 channel", "a number becomes its sign, gradient near 0", op(1e-6))
            .filled([1, 3, 2, 1], Fill::Uniform(0.5, 1.0)),
        case("2x5x7x3", "odd extents, few channels", [2, 5, 7, 3]),
        case("1x41x47x8", "primes", [1, 41, 47, 8]),
        case("16x1x1x61", "the rows of a batch, a prime length", [16, 1, 1, 61]),
        case("1x20x22x4 folded", "the path of more than 65,535 workgroups", [1, 20, 22, 4]).max_workgroups(3),
        Case::new("epsilon 0.5", "epsilon of the vector's own size", op(0.5)).input([1, 4, 3, 5]),
        Case::new("0", "vectors of zeros stay 0, and their gradient finite", op(0.5))
            .filled([1, 2, 3, 4], Fill::Constant(0.0)),
        Case::new("99..101", "large numbers of like size", op(1e-6))
            .filled([1, 4, 5, 5], Fill::Uniform(99.0, 101.0)),
    ]
}

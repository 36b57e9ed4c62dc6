//! Enlarges an image by a whole factor: each input becomes a square of outputs.

use super::registry::Entry;
use super::upsample::{enlarged, upsample_cases};
use super::{Case, GradContext, Op, expect_inputs, expect_same};
use crate::program::{ByWidth, Element, Kernel, Lower, LowerError, Word};
use crate::reference::Tensor;
use crate::shader_by_width;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: ByWidth = shader_by_width!("upsample_nearest/forward");
static GRAD: ByWidth = shader_by_width!("upsample_nearest/grad");

pub const ENTRY: Entry =
    Entry { name: "upsample_nearest", parts: &["upsample_nearest_grad"], no_backward: None, cases };

impl Tape {
    /// `[batch, height, width, channels]` to `[batch, height · factor, width · factor, channels]`;
    /// each output is the input that it lies in.
    pub fn upsample_nearest(&mut self, input: Value, factor: usize) -> Result<Value, TapeError> {
        self.push(UpsampleNearest { factor }, &[input])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpsampleNearest {
    /// How many times higher and wider the result is.
    pub factor: usize,
}

/// The uniform block of both kernels; `input` is the small image.
fn params(input: [usize; 4], factor: usize, width: usize) -> [Word; 4] {
    let [batch, in_h, in_w, channels] = input;
    [batch * in_h, in_w, channels / width, factor].map(Word::from)
}

/// For each output, in order, the index of its input.
fn sources(input: &Shape, output: &Shape, factor: usize) -> Result<Vec<usize>, String> {
    let [_, in_h, in_w, channels] = input.nhwc()?;
    let [_, out_h, out_w, _] = output.nhwc()?;
    let source = |i: usize| {
        let (c, x, y) = (i % channels, i / channels % out_w, i / (channels * out_w) % out_h);
        let n = i / (channels * out_w * out_h);
        ((n * in_h + y / factor) * in_w + x / factor) * channels + c
    };
    Ok((0..output.len()).map(source).collect())
}

impl Op for UpsampleNearest {
    fn name(&self) -> &'static str {
        "upsample_nearest"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn gives_half(&self, _inputs: &[Element]) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        enlarged(inputs[0], self.factor)
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let op = UpsampleNearestGrad { factor: self.factor, input: tape.shape(at.inputs[0]).clone() };
        Ok(vec![Some(tape.push(op, &[at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let sources = sources(&inputs[0].shape, output, self.factor).unwrap_or_default();
        vec![sources.into_iter().map(|at| inputs[0].data[at]).collect()]
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let input = lower.input_shape(0).nhwc().map_err(LowerError::Shader)?;
        let (shader, width) = FORWARD.of(input[3]);
        let params = params(input, self.factor, width);
        let operands = [lower.input(0), lower.output()];
        let items = lower.input_shape(0).len() / width;
        lower.dispatch_items(Kernel::new(shader), &params, &operands, items)
    }
}

/// Input: gradient of the enlarged image.
#[derive(Debug)]
struct UpsampleNearestGrad {
    factor: usize,
    /// Shape of the small image.
    input: Shape,
}

impl Op for UpsampleNearestGrad {
    fn name(&self) -> &'static str {
        "upsample_nearest_grad"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn gives_half(&self, _inputs: &[Element]) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        expect_same(&enlarged(&self.input, self.factor)?, inputs[0])?;
        Ok(self.input.clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let sources = sources(output, &inputs[0].shape, self.factor).unwrap_or_default();
        let mut grad_input = vec![0.0; output.len()];
        for (at, gradient) in sources.into_iter().zip(&inputs[0].data) {
            grad_input[at] += gradient;
        }
        vec![grad_input]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let input = self.input.nhwc().map_err(LowerError::Shader)?;
        let (shader, width) = GRAD.of(input[3]);
        let params = params(input, self.factor, width);
        let operands = [lower.input(0), lower.output()];
        let items = self.input.len() / width;
        lower.dispatch_items(Kernel::new(shader), &params, &operands, items)
    }

    fn terms(&self, _inputs: &[&Shape], _output: &Shape) -> usize {
        self.factor * self.factor
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        inputs[0].len() as u64
    }
}

fn cases() -> Vec<Case> {
    upsample_cases(|factor| UpsampleNearest { factor })
}

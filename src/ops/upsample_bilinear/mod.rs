//! Enlarges an image by a whole factor with linear interpolation on each axis, as PyTorch does with
//! `align_corners=False`: the centre of output `o` lies at `(o + ½) / factor − ½` of the input's
//! centres, and outside of the outermost centres the image goes on as it is there.

use super::registry::Entry;
use super::upsample::{enlarged, upsample_cases};
use super::{Case, GradContext, Op, expect_inputs, expect_same};
use crate::onnx::{Emit, OnnxError, text};
use crate::program::{ByWidth, Element, Kernel, Lower, LowerError, Word};
use crate::reference::Tensor;
use crate::shader_by_width;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: ByWidth = shader_by_width!("upsample_bilinear/forward");
static GRAD: ByWidth = shader_by_width!("upsample_bilinear/grad");

pub const ENTRY: Entry =
    Entry { name: "upsample_bilinear", parts: &["upsample_bilinear_grad"], no_backward: None, cases };

impl Tape {
    /// `[batch, height, width, channels]` to `[batch, height · factor, width · factor, channels]`, by
    /// linear interpolation between the centres of the inputs (`align_corners=False`).
    pub fn upsample_bilinear(&mut self, input: Value, factor: usize) -> Result<Value, TapeError> {
        self.push(UpsampleBilinear { factor }, &[input])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpsampleBilinear {
    /// How many times higher and wider the result is.
    pub factor: usize,
}

/// The uniform block of both kernels; `input` is the small image.
fn params(input: [usize; 4], factor: usize, width: usize) -> [Word; 5] {
    let [batch, in_h, in_w, channels] = input;
    [batch, in_h, in_w, channels / width, factor].map(Word::from)
}

/// The two inputs of output `o` on an axis, each with its share.
fn shares(o: usize, extent: usize, factor: usize) -> [(usize, f64); 2] {
    let place = ((o as f64 + 0.5) / factor as f64 - 0.5).max(0.0);
    let below = place as usize;
    let fraction = place - below as f64;
    [(below, 1.0 - fraction), ((below + 1).min(extent - 1), fraction)]
}

/// Calls `visit(input, output, share)` for each of the four inputs of each output.
fn each_share(
    input: &Shape,
    output: &Shape,
    factor: usize,
    mut visit: impl FnMut(usize, usize, f64),
) -> Result<(), String> {
    let [_, in_h, in_w, channels] = input.nhwc()?;
    let [_, out_h, out_w, _] = output.nhwc()?;
    for i in 0..output.len() {
        let (c, x, y) = (i % channels, i / channels % out_w, i / (channels * out_w) % out_h);
        let n = i / (channels * out_w * out_h);
        for (in_y, v) in shares(y, in_h, factor) {
            for (in_x, u) in shares(x, in_w, factor) {
                visit(((n * in_h + in_y) * in_w + in_x) * channels + c, i, u * v);
            }
        }
    }
    Ok(())
}

impl Op for UpsampleBilinear {
    fn name(&self) -> &'static str {
        "upsample_bilinear"
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
        let op = UpsampleBilinearGrad { factor: self.factor, input: tape.shape(at.inputs[0]).clone() };
        Ok(vec![Some(tape.push(op, &[at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let mut result = vec![0.0; output.len()];
        let visit = |at: usize, i: usize, share: f64| result[i] += share * inputs[0].data[at];
        match each_share(&inputs[0].shape, output, self.factor, visit) {
            Ok(()) => vec![result],
            Err(_) => vec![vec![]],
        }
    }

    fn onnx(&self, emit: &mut Emit) -> Result<(), OnnxError> {
        let scales = emit.floats("scales", &[1.0, 1.0, self.factor as f32, self.factor as f32]);
        let attributes = vec![text("mode", "linear"), text("coordinate_transformation_mode", "half_pixel")];
        // Between image and scales stands what only other modes take.
        emit.result("Resize", &[emit.inputs()[0], "", &scales], attributes);
        Ok(())
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let input = lower.input_shape(0).nhwc().map_err(LowerError::Shader)?;
        let (shader, width) = FORWARD.of(input[3]);
        let params = params(input, self.factor, width);
        let operands = [lower.input(0), lower.output()];
        let items = lower.output_shape().len() / width;
        lower.dispatch_items(Kernel::new(shader), &params, &operands, items)
    }

    fn terms(&self, _inputs: &[&Shape], _output: &Shape) -> usize {
        4
    }

    fn flops(&self, _inputs: &[&Shape], output: &Shape) -> u64 {
        9 * output.len() as u64
    }
}

/// Input: gradient of the enlarged image.
#[derive(Debug)]
struct UpsampleBilinearGrad {
    factor: usize,
    /// Shape of the small image.
    input: Shape,
}

impl Op for UpsampleBilinearGrad {
    fn name(&self) -> &'static str {
        "upsample_bilinear_grad"
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
        let mut grad_input = vec![0.0; output.len()];
        let visit = |at: usize, i: usize, share: f64| grad_input[at] += share * inputs[0].data[i];
        match each_share(output, &inputs[0].shape, self.factor, visit) {
            Ok(()) => vec![grad_input],
            Err(_) => vec![vec![]],
        }
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
        4 * self.factor * self.factor
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        9 * inputs[0].len() as u64
    }
}

fn cases() -> Vec<Case> {
    upsample_cases(|factor| UpsampleBilinear { factor })
}

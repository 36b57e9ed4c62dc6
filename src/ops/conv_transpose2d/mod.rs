//! Two-dimensional transposed convolution: the input's gradient of a convolution, with that
//! convolution's kernels.

use super::conv2d::{
    Geometry, backward, conv_inputs, lower_forward, lower_grad_input, lower_grad_weight, reference,
};
use super::registry::Entry;
use super::{Case, GradContext, Op, expect_vector};
use crate::onnx::{Emit, OnnxError, ints};
use crate::program::{Element, Lower, LowerError};
use crate::reference::Tensor;
use crate::tape::{Shape, Tape, TapeError, Value};

pub const ENTRY: Entry = Entry {
    name: "conv_transpose2d",
    parts: &["conv_transpose2d_grad_input", "conv_transpose2d_grad_weight"],
    no_backward: None,
    cases,
};

/// Stride and padding, the same on both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose2d {
    pub stride: usize,
    pub padding: usize,
}

impl Tape {
    /// `input [batch, height, width, in_channels]` with `weight [kernel_h, kernel_w, out_channels,
    /// in_channels]` and `bias [out_channels]`, to `[batch, out_h, out_w, out_channels]` where
    /// `out = (size − 1) · stride + kernel − 2 · padding`.
    pub fn conv_transpose2d(
        &mut self,
        input: Value,
        weight: Value,
        bias: Option<Value>,
        conv: ConvTranspose2d,
    ) -> Result<Value, TapeError> {
        let inputs: Vec<Value> = [input, weight].into_iter().chain(bias).collect();
        self.push(conv, &inputs)
    }
}

impl ConvTranspose2d {
    /// Of the convolution that this one reverses.
    fn geometry(&self, input: &Shape, weight: &Shape) -> Result<Geometry, String> {
        Geometry::transposed(input, weight, self.stride, self.padding)
    }
}

impl Op for ConvTranspose2d {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn takes_half(&self, index: usize) -> bool {
        index == 0
    }

    fn gives_half(&self, _inputs: &[Element]) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let (input, weight, bias) = conv_inputs(inputs)?;
        let geometry = self.geometry(input, weight)?;
        if let Some(bias) = bias {
            expect_vector("a bias", bias, geometry.in_channels)?;
        }
        Ok(geometry.input())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let [input, weight] = [at.inputs[0], at.inputs[1]];
        let grad_input = ConvTranspose2dGradInput(*self);
        let grad_weight = ConvTranspose2dGradWeight { conv: *self, weight: tape.shape(weight).clone() };
        backward(tape, at, (grad_input, [at.grad_output, weight]), (grad_weight, [at.grad_output, input]))
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let bias = inputs.get(2).map(|b| b.data.as_slice());
        let geometry = self.geometry(&inputs[0].shape, &inputs[1].shape);
        vec![geometry.map_or(vec![], |g| reference::grad_input(&g, &inputs[0].data, &inputs[1].data, bias))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let geometry =
            self.geometry(lower.input_shape(0), lower.input_shape(1)).map_err(LowerError::Shader)?;
        let bias = (lower.input_count() == 3).then(|| lower.input(2));
        let (input, weight, output) = (lower.input(0), lower.input(1), lower.output());
        lower_grad_input(lower, &geometry, input, weight, bias, output)
    }

    fn onnx(&self, emit: &mut Emit) -> Result<(), OnnxError> {
        let attributes = vec![ints("strides", &[self.stride; 2]), ints("pads", &[self.padding; 4])];
        emit.result("ConvTranspose", &emit.inputs(), attributes);
        Ok(())
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        self.geometry(inputs[0], inputs[1]).map_or(1, |g| g.grad_input_terms())
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        self.geometry(inputs[0], inputs[1]).map_or(0, |g| g.flops())
    }
}

/// Inputs: gradient of the result, weight. It is the convolution that the op reverses.
#[derive(Debug)]
struct ConvTranspose2dGradInput(ConvTranspose2d);

impl ConvTranspose2dGradInput {
    fn geometry(&self, grad_output: &Shape, weight: &Shape) -> Result<Geometry, String> {
        Geometry::forward(grad_output, weight, self.0.stride, self.0.padding)
    }
}

impl Op for ConvTranspose2dGradInput {
    fn name(&self) -> &'static str {
        "conv_transpose2d_grad_input"
    }

    fn takes_half(&self, index: usize) -> bool {
        index == 0
    }

    fn gives_half(&self, _inputs: &[Element]) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        Ok(self.geometry(inputs[0], inputs[1])?.output())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let geometry = self.geometry(&inputs[0].shape, &inputs[1].shape);
        vec![geometry.map_or(vec![], |g| reference::forward(&g, &inputs[0].data, &inputs[1].data, None))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let geometry =
            self.geometry(lower.input_shape(0), lower.input_shape(1)).map_err(LowerError::Shader)?;
        let (grad_output, weight, output) = (lower.input(0), lower.input(1), lower.output());
        lower_forward(lower, &geometry, grad_output, weight, None, output)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        self.geometry(inputs[0], inputs[1]).map_or(1, |g| g.forward_terms())
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        self.geometry(inputs[0], inputs[1]).map_or(0, |g| g.flops())
    }
}

/// Inputs: gradient of the result, the op's input.
#[derive(Debug)]
struct ConvTranspose2dGradWeight {
    conv: ConvTranspose2d,
    weight: Shape,
}

impl ConvTranspose2dGradWeight {
    fn geometry(&self, grad_output: &Shape) -> Result<Geometry, String> {
        Geometry::forward(grad_output, &self.weight, self.conv.stride, self.conv.padding)
    }
}

impl Op for ConvTranspose2dGradWeight {
    fn name(&self) -> &'static str {
        "conv_transpose2d_grad_weight"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn shape(&self, _inputs: &[&Shape]) -> Result<Shape, String> {
        Ok(self.weight.clone())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let geometry = self.geometry(&inputs[0].shape);
        vec![geometry.map_or(vec![], |g| reference::grad_weight(&g, &inputs[0].data, &inputs[1].data))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let geometry = self.geometry(lower.input_shape(0)).map_err(LowerError::Shader)?;
        let (grad_output, input, output) = (lower.input(0), lower.input(1), lower.output());
        lower_grad_weight(lower, &geometry, grad_output, input, output)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[1].pixels()
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        self.geometry(inputs[0]).map_or(0, |g| g.flops())
    }
}

fn cases() -> Vec<Case> {
    let case =
        |name: &str, why, input: [usize; 4], kernel: usize, out: usize, stride, padding, bias: bool| {
            let case = Case::new(name, why, ConvTranspose2d { stride, padding })
                .input(input)
                .input([kernel, kernel, out, input[3]]);
            if bias { case.input([out]) } else { case }
        };
    vec![
        case("2x2 1 pixel", "one pixel, one channel", [1, 1, 1, 1], 2, 1, 2, 0, true),
        case("2x2 32→16", "the up-sampling of a U-Net", [2, 7, 9, 32], 2, 16, 2, 0, true),
        case("2x2 5→3", "channels that are no multiple of 4", [3, 5, 4, 5], 2, 3, 2, 0, true),
        case("2x2 16→8 41", "a prime extent", [1, 41, 3, 16], 2, 8, 2, 0, false),
        case("3x3 stride 2 padding 1", "taps that overlap", [1, 6, 5, 8], 3, 4, 2, 1, true),
        case(
            "3x3 stride 1 padding 1",
            "the gradient of a plain convolution",
            [1, 6, 5, 8],
            3,
            8,
            1,
            1,
            false,
        ),
    ]
}

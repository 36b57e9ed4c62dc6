//! Two-dimensional convolution (cross-correlation, as in every deep-learning library).

mod forms;
mod geometry;
mod im2col;
mod kernels;
mod matmul;
mod mirrored;
pub mod reference;
mod winograd;

pub use geometry::Geometry;
pub use kernels::{lower_forward, lower_grad_input, lower_grad_weight};

use super::registry::Entry;
use super::{Case, GradContext, Op, expect_same, expect_vector};
use crate::onnx::{Emit, OnnxError, ints};
use crate::program::{Element, Lower, LowerError};
use crate::reference::Tensor;
use crate::tape::{Shape, Tape, TapeError, Value};

pub const ENTRY: Entry =
    Entry { name: "conv2d", parts: &["conv2d_grad_input", "conv2d_grad_weight"], no_backward: None, cases };

/// Stride and zero padding, the same on both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    pub stride: usize,
    pub padding: usize,
}

impl Tape {
    /// `input [batch, height, width, in_channels]` with `weight [kernel_h, kernel_w, in_channels,
    /// out_channels]` and `bias [out_channels]`, to `[batch, out_h, out_w, out_channels]` where
    /// `out = (size + 2 · padding − kernel) / stride + 1`, rounded down.
    pub fn conv2d(
        &mut self,
        input: Value,
        weight: Value,
        bias: Option<Value>,
        conv: Conv2d,
    ) -> Result<Value, TapeError> {
        let inputs: Vec<Value> = [input, weight].into_iter().chain(bias).collect();
        self.push(conv, &inputs)
    }
}

impl Conv2d {
    fn geometry(&self, input: &Shape, weight: &Shape) -> Result<Geometry, String> {
        Geometry::forward(input, weight, self.stride, self.padding)
    }
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
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
            expect_vector("a bias", bias, geometry.out_channels)?;
        }
        Ok(geometry.output())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let [input, weight] = [at.inputs[0], at.inputs[1]];
        let grad_input = Conv2dGradInput { conv: *self, input: tape.shape(input).clone() };
        let grad_weight = Conv2dGradWeight { conv: *self, weight: tape.shape(weight).clone() };
        backward(tape, at, (grad_input, [at.grad_output, weight]), (grad_weight, [input, at.grad_output]))
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let bias = inputs.get(2).map(|b| b.data.as_slice());
        let geometry = self.geometry(&inputs[0].shape, &inputs[1].shape);
        vec![geometry.map_or(vec![], |g| reference::forward(&g, &inputs[0].data, &inputs[1].data, bias))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let geometry =
            self.geometry(lower.input_shape(0), lower.input_shape(1)).map_err(LowerError::Shader)?;
        let bias = (lower.input_count() == 3).then(|| lower.input(2));
        let (input, weight, output) = (lower.input(0), lower.input(1), lower.output());
        lower_forward(lower, &geometry, input, weight, bias, output)
    }

    fn onnx(&self, emit: &mut Emit) -> Result<(), OnnxError> {
        let attributes = vec![ints("strides", &[self.stride; 2]), ints("pads", &[self.padding; 4])];
        emit.result("Conv", &emit.inputs(), attributes);
        Ok(())
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        self.geometry(inputs[0], inputs[1]).map_or(1, |g| g.forward_terms())
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        self.geometry(inputs[0], inputs[1]).map_or(0, |g| g.flops())
    }
}

/// Input, weight and perhaps bias.
pub(super) fn conv_inputs<'a>(
    inputs: &[&'a Shape],
) -> Result<(&'a Shape, &'a Shape, Option<&'a Shape>), String> {
    match inputs {
        [input, weight] => Ok((input, weight, None)),
        [input, weight, bias] => Ok((input, weight, Some(bias))),
        _ => Err(format!("expected input, weight and perhaps bias, found {} inputs", inputs.len())),
    }
}

/// The backward of what has input, weight and perhaps bias: the ops of the first two gradients, each
/// with its inputs, and the sum that is the bias's. Each is made only where it is asked for.
pub(super) fn backward(
    tape: &mut Tape,
    at: &GradContext,
    grad_input: (impl Op + 'static, [Value; 2]),
    grad_weight: (impl Op + 'static, [Value; 2]),
) -> Result<Vec<Option<Value>>, TapeError> {
    let mut gradients = vec![None; at.inputs.len()];
    if at.needs[0] {
        gradients[0] = Some(tape.push(grad_input.0, &grad_input.1)?);
    }
    if at.needs[1] {
        gradients[1] = Some(tape.push(grad_weight.0, &grad_weight.1)?);
    }
    if at.needs.get(2) == Some(&true) {
        gradients[2] = Some(tape.channel_sum(at.grad_output)?);
    }
    Ok(gradients)
}

/// Inputs: gradient of the result, weight.
#[derive(Debug)]
struct Conv2dGradInput {
    conv: Conv2d,
    /// Shape of the convolution's input, which stride alone does not tell.
    input: Shape,
}

impl Op for Conv2dGradInput {
    fn name(&self) -> &'static str {
        "conv2d_grad_input"
    }

    fn takes_half(&self, index: usize) -> bool {
        index == 0
    }

    fn gives_half(&self, _inputs: &[Element]) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_same(inputs[0], &self.conv.geometry(&self.input, inputs[1])?.output())?;
        Ok(self.input.clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let geometry = self.conv.geometry(output, &inputs[1].shape);
        vec![geometry.map_or(vec![], |g| reference::grad_input(&g, &inputs[0].data, &inputs[1].data, None))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let geometry = self.conv.geometry(&self.input, lower.input_shape(1)).map_err(LowerError::Shader)?;
        let (grad_output, weight, output) = (lower.input(0), lower.input(1), lower.output());
        lower_grad_input(lower, &geometry, grad_output, weight, None, output)
    }

    fn terms(&self, inputs: &[&Shape], output: &Shape) -> usize {
        self.conv.geometry(output, inputs[1]).map_or(1, |g| g.grad_input_terms())
    }

    fn flops(&self, inputs: &[&Shape], output: &Shape) -> u64 {
        self.conv.geometry(output, inputs[1]).map_or(0, |g| g.flops())
    }
}

/// Inputs: the convolution's input, gradient of its result.
#[derive(Debug)]
struct Conv2dGradWeight {
    conv: Conv2d,
    weight: Shape,
}

impl Op for Conv2dGradWeight {
    fn name(&self) -> &'static str {
        "conv2d_grad_weight"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_same(inputs[1], &self.conv.geometry(inputs[0], &self.weight)?.output())?;
        Ok(self.weight.clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let geometry = self.conv.geometry(&inputs[0].shape, output);
        vec![geometry.map_or(vec![], |g| reference::grad_weight(&g, &inputs[0].data, &inputs[1].data))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let geometry = self.conv.geometry(lower.input_shape(0), &self.weight).map_err(LowerError::Shader)?;
        let (input, grad_output, output) = (lower.input(0), lower.input(1), lower.output());
        lower_grad_weight(lower, &geometry, input, grad_output, output)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[1].pixels()
    }

    fn flops(&self, inputs: &[&Shape], output: &Shape) -> u64 {
        self.conv.geometry(inputs[0], output).map_or(0, |g| g.flops())
    }
}

fn cases() -> Vec<Case> {
    let case =
        |name: &str, why, input: [usize; 4], kernel: usize, out: usize, stride, padding, bias: bool| {
            let case = Case::new(name, why, Conv2d { stride, padding })
                .input(input)
                .input([kernel, kernel, input[3], out]);
            if bias { case.input([out]) } else { case }
        };
    vec![
        case("3x3 1 pixel", "one pixel, one channel", [1, 1, 1, 1], 3, 1, 1, 1, true),
        case("3x3 1→16", "the first layer of a grey U-Net", [2, 11, 13, 1], 3, 16, 1, 1, false),
        case("3x3 3→5", "colour, channels that are no multiple of 4", [2, 7, 9, 3], 3, 5, 1, 1, true),
        case("3x3 16→16", "the shape that most time goes to", [1, 17, 23, 16], 3, 16, 1, 1, false),
        case("3x3 8→12 41x47", "primes, channels no multiple of 8", [1, 41, 47, 8], 3, 12, 1, 1, true),
        case("3x3 20→24 batch 3", "uneven channels, batch", [3, 6, 10, 20], 3, 24, 1, 1, false),
        case("3x3 32→64", "more channels than a tile", [2, 8, 8, 32], 3, 64, 1, 1, false),
        case(
            "3x3 36→68 5x9",
            "tiles of 4×4 that do not fit, more channels than a tile",
            [3, 5, 9, 36],
            3,
            68,
            1,
            1,
            true,
        ),
        case(
            "3x3 32→64 no padding",
            "a result smaller than its input, in tiles",
            [1, 13, 7, 32],
            3,
            64,
            1,
            0,
            true,
        ),
        case(
            "3x3 64→32 padding 2",
            "a result larger than its input, in tiles",
            [2, 3, 6, 64],
            3,
            32,
            1,
            2,
            false,
        ),
        case(
            "3x3 64→64 71x67",
            "more tiles than are transformed at a time",
            [2, 71, 67, 64],
            3,
            64,
            1,
            1,
            false,
        ),
        case("3x3 stride 2", "strided, odd extent", [2, 9, 11, 8], 3, 8, 2, 1, true),
        case("3x3 no padding", "a result smaller than its input", [1, 8, 7, 4], 3, 8, 1, 0, true),
        case("3x3 padding 2", "a result larger than its input", [1, 5, 6, 8], 3, 8, 1, 2, false),
        case("1x1 padding 1", "a padding as large as the kernel", [1, 3, 4, 8], 1, 8, 1, 1, true),
        case("1x1 16→1", "the head of a U-Net", [2, 19, 21, 16], 1, 1, 1, 0, true),
        case("1x1 12→20", "pointwise", [1, 13, 7, 12], 1, 20, 1, 0, true),
        case("2x2 stride 2", "the reverse of an up-sampling", [2, 10, 12, 8], 2, 16, 2, 0, false),
        case(
            "3x3 4→4 folded",
            "the path of more than 65,535 workgroups",
            [1, 100, 100, 4],
            3,
            4,
            1,
            1,
            false,
        )
        .max_workgroups(64),
        case("5x5 61", "a prime extent, a kernel with no special form", [1, 61, 3, 2], 5, 3, 1, 2, true),
        case("3x3 of pixels", "images smaller than what is staged at once", [9, 1, 1, 8], 3, 8, 1, 1, false),
        case("3x3 of pairs", "the same, channels no multiple of 4", [9, 2, 1, 3], 3, 2, 1, 1, false),
        case(
            "3x3 37→41",
            "more channels than a narrow tile, no multiple of 4",
            [1, 7, 9, 37],
            3,
            41,
            1,
            1,
            true,
        ),
        case("9x9", "the largest kernel of the tiled convolutions", [1, 10, 6, 1], 9, 2, 1, 4, false),
        case(
            "9x9 8→8",
            "the same, channels four at a time: all bits of a tap's row and column",
            [1, 11, 7, 8],
            9,
            8,
            1,
            4,
            true,
        ),
        case("5x5 stride 2 8→16", "a larger kernel, strided", [2, 9, 12, 8], 5, 16, 2, 2, false),
        case("11x11", "a larger one", [1, 7, 6, 4], 11, 4, 1, 5, true),
    ]
}

//! The largest of each window of an image.
//!
//! NaN counts as the largest, so that it is not lost. The gradient goes to the first of the largest
//! inputs, row by row, as in PyTorch; it is found again in the backward, which costs less than to
//! keep its place.

mod reference;

use super::registry::Entry;
use super::{Case, Fill, GradContext, Op, expect_inputs, expect_same};
use crate::onnx::{Emit, OnnxError, ints};
use crate::program::{ByWidth, Element, Kernel, Lower, LowerError, Word};
use crate::reference::Tensor;
use crate::shader_by_width;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: ByWidth = shader_by_width!("max_pool2d/forward");
static FORWARD_2X2: ByWidth = shader_by_width!("max_pool2d/forward_2x2");
static GRAD: ByWidth = shader_by_width!("max_pool2d/grad");
static GRAD_2X2: ByWidth = shader_by_width!("max_pool2d/grad_2x2");

pub const ENTRY: Entry = Entry { name: "max_pool2d", parts: &["max_pool2d_grad"], no_backward: None, cases };

/// Window, stride and padding, the same on both axes. Padding is never the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Tape {
    /// `[batch, height, width, channels]` to `[batch, out_h, out_w, channels]` where
    /// `out = (size + 2 · padding − kernel) / stride + 1`, rounded down. `padding` is half of
    /// `kernel` at most.
    pub fn max_pool2d(
        &mut self,
        input: Value,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Value, TapeError> {
        self.push(MaxPool2d { kernel, stride, padding }, &[input])
    }
}

impl MaxPool2d {
    fn output(&self, input: &Shape) -> Result<Shape, String> {
        let [batch, height, width, channels] = input.nhwc()?;
        let MaxPool2d { kernel, stride, padding } = *self;
        if kernel == 0 || stride == 0 {
            return Err(format!("kernel {kernel} and stride {stride} must not be 0"));
        }
        if 2 * padding > kernel {
            return Err(format!("padding {padding} is more than half of the kernel {kernel}"));
        }
        let extent = |size: usize| match (size + 2 * padding).checked_sub(kernel) {
            Some(rest) => Ok(rest / stride + 1),
            None => Err(format!("a kernel of {kernel} does not fit into {size} + 2·{padding}")),
        };
        Ok([batch, extent(height)?, extent(width)?, channels].into())
    }

    /// The windows are 2×2 and lie side by side.
    fn is_2x2(&self) -> bool {
        *self == MaxPool2d { kernel: 2, stride: 2, padding: 0 }
    }

    /// The uniform block of all kernels; those for 2×2 windows take its first six members.
    fn params(&self, input: [usize; 4], output: [usize; 4], width: usize) -> Vec<Word> {
        let [batch, in_h, in_w, channels] = input;
        let mut extents = vec![batch, in_h, in_w, channels / width, output[1], output[2]];
        if !self.is_2x2() {
            extents.extend([self.kernel, self.stride, self.padding]);
        }
        extents.into_iter().map(Word::from).collect()
    }
}

impl Op for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn gives_half(&self, _inputs: &[Element]) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        self.output(inputs[0])
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let op = MaxPool2dGrad { pool: *self };
        Ok(vec![Some(tape.push(op, &[at.inputs[0], at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        vec![reference::forward(self, inputs[0], output).unwrap_or_default()]
    }

    fn onnx(&self, emit: &mut Emit) -> Result<(), OnnxError> {
        let attributes = vec![
            ints("kernel_shape", &[self.kernel; 2]),
            ints("strides", &[self.stride; 2]),
            ints("pads", &[self.padding; 4]),
        ];
        emit.result("MaxPool", &emit.inputs(), attributes);
        Ok(())
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let input = lower.input_shape(0).nhwc().map_err(LowerError::Shader)?;
        let output = lower.output_shape().nhwc().map_err(LowerError::Shader)?;
        let kernels = if self.is_2x2() { &FORWARD_2X2 } else { &FORWARD };
        let (shader, width) = kernels.of(input[3]);
        let params = self.params(input, output, width);
        let operands = [lower.input(0), lower.output()];
        let items = lower.output_shape().len() / width;
        lower.dispatch_items(Kernel::new(shader), &params, &operands, items)
    }

    fn flops(&self, _inputs: &[&Shape], output: &Shape) -> u64 {
        (self.kernel * self.kernel * output.len()) as u64
    }
}

/// Inputs: the pool's input, gradient of its result.
#[derive(Debug)]
struct MaxPool2dGrad {
    pool: MaxPool2d,
}

impl Op for MaxPool2dGrad {
    fn name(&self) -> &'static str {
        "max_pool2d_grad"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn gives_half(&self, _inputs: &[Element]) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        expect_same(&self.pool.output(inputs[0])?, inputs[1])?;
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        vec![reference::grad(&self.pool, inputs[0], inputs[1]).unwrap_or_default()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let input = lower.input_shape(0).nhwc().map_err(LowerError::Shader)?;
        let output = lower.input_shape(1).nhwc().map_err(LowerError::Shader)?;
        let tiled = self.pool.is_2x2();
        let (shader, width) = if tiled { &GRAD_2X2 } else { &GRAD }.of(input[3]);
        let params = self.pool.params(input, output, width);
        let operands = [lower.input(0), lower.input(1), lower.output()];
        let [batch, height, columns, channels] = input;
        let items = if tiled {
            batch * height.div_ceil(2) * columns.div_ceil(2) * channels / width
        } else {
            batch * height * columns * channels / width
        };
        lower.dispatch_items(Kernel::new(shader), &params, &operands, items)
    }

    fn terms(&self, _inputs: &[&Shape], _output: &Shape) -> usize {
        self.pool.kernel.div_ceil(self.pool.stride).pow(2)
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        (self.pool.kernel * self.pool.kernel * inputs[1].len()) as u64
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, shape: [usize; 4], kernel, stride, padding| {
        Case::new(name, why, MaxPool2d { kernel, stride, padding }).filled(shape, Fill::Distinct)
    };
    vec![
        case("2x2 one window", "a single result", [1, 2, 2, 1], 2, 2, 0),
        case("2x2 16 channels", "the shape of a U-Net", [2, 12, 14, 16], 2, 2, 0),
        case("2x2 of 5x7", "few pixels, a row and a column without a window", [1, 5, 7, 3], 2, 2, 0),
        case("2x2 odd extents", "a row and a column without a window", [2, 41, 47, 3], 2, 2, 0),
        case("2x2 odd extents x4", "a row and a column without a window, vec4", [1, 61, 7, 8], 2, 2, 0),
        case("2x2 1 pixel high", "windows over 2 rows only", [3, 2, 5, 5], 2, 2, 0),
        case("2x2 folded", "the path of more than 65,535 workgroups", [1, 40, 44, 8], 2, 2, 0)
            .max_workgroups(4),
        Case::new(
            "2x2 constant",
            "ties: the first of its window takes the gradient",
            MaxPool2d { kernel: 2, stride: 2, padding: 0 },
        )
        .fixed([1, 6, 4, 4], Fill::Constant(0.5)),
        case("3x3 stride 2 padding 1", "windows that overlap, as in a ResNet", [2, 13, 11, 12], 3, 2, 1),
        case("3x3 stride 1 padding 1", "each input in nine windows", [1, 9, 7, 5], 3, 1, 1),
        case("2x2 stride 3", "inputs between windows", [1, 11, 13, 4], 2, 3, 0),
        case("1x1", "a window of one input", [1, 5, 3, 1], 1, 1, 0),
        case("5x5 stride 3 padding 2", "padding of half the kernel", [1, 17, 20, 20], 5, 3, 2),
        case("3x3 folded", "the path of more than 65,535 workgroups", [1, 21, 22, 3], 3, 2, 1)
            .max_workgroups(5),
    ]
}

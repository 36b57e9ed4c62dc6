//! Some of the channels.

use super::concat::{Channels, lower_copy_channels};
use super::registry::Entry;
use super::{Case, GradContext, Op, expect_inputs};
use crate::program::{Element, Kernel, Lower, LowerError, Shader, Word};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static GRAD: Shader = shader!("slice/grad");
static GRAD_VEC4: Shader = shader!("slice/grad_vec4");

pub const ENTRY: Entry = Entry { name: "slice", parts: &["slice_grad"], no_backward: None, cases };

impl Tape {
    /// Channels `start..start + length` of `[…, channels]`, of shape `[…, length]`.
    pub fn slice(&mut self, input: Value, start: usize, length: usize) -> Result<Value, TapeError> {
        self.push(Slice { start, length }, &[input])
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Slice {
    pub start: usize,
    pub length: usize,
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn gives_half(&self, inputs: &[Element]) -> bool {
        inputs.contains(&Element::F16)
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        let Some((channels, outer)) = inputs[0].dims().split_last() else {
            return Err(format!("{} has no channels", inputs[0]));
        };
        if self.length == 0 || self.start.checked_add(self.length).is_none_or(|end| end > *channels) {
            return Err(format!("{} channels from {} on are not in {}", self.length, self.start, inputs[0]));
        }
        Ok(Shape::new([outer, &[self.length]].concat()))
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let op = SliceGrad { slice: *self, channels: tape.shape(at.inputs[0]).channels() };
        Ok(vec![Some(tape.push(op, &[at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let pixels = inputs[0].data.chunks_exact(inputs[0].shape.channels());
        vec![pixels.flat_map(|pixel| &pixel[self.start..][..self.length]).copied().collect()]
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (pixels, channels) = (lower.input_shape(0).pixels(), lower.input_shape(0).channels());
        let from = Channels { operand: lower.input(0), of: channels, start: self.start };
        let to = Channels { operand: lower.output(), of: self.length, start: 0 };
        lower_copy_channels(lower, pixels, self.length, from, to)
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        0
    }
}

/// Input: the gradient of the slice. Result: it among zeros, of the sliced tensor's shape.
#[derive(Debug)]
struct SliceGrad {
    slice: Slice,
    channels: usize,
}

impl Op for SliceGrad {
    fn name(&self) -> &'static str {
        "slice_grad"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn gives_half(&self, inputs: &[Element]) -> bool {
        inputs.contains(&Element::F16)
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        let dims = inputs[0].dims();
        Ok(Shape::new([&dims[..dims.len().saturating_sub(1)], &[self.channels]].concat()))
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let mut grad = vec![0.0; output.len()];
        let pixels = grad.chunks_exact_mut(self.channels).zip(inputs[0].data.chunks_exact(self.slice.length));
        for (to, from) in pixels {
            to[self.slice.start..][..self.slice.length].copy_from_slice(from);
        }
        vec![grad]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let Slice { start, length } = self.slice;
        let by_four = [start, length, self.channels].iter().all(|n| n.is_multiple_of(4));
        let (shader, step) = if by_four { (&GRAD_VEC4, 4) } else { (&GRAD, 1) };
        let items = lower.output_shape().len() / step;
        let params = [items, self.channels / step, start / step, length / step].map(Word::from);
        let operands = [lower.input(0), lower.output()];
        lower.dispatch_items(Kernel::new(shader), &params, &operands, items)
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        0
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, shape: [usize; 4], start, length| {
        Case::new(name, why, Slice { start, length }).input(shape)
    };
    vec![
        case("1x1x1x1", "a single element", [1, 1, 1, 1], 0, 1),
        case("3x5x7x5 1..3", "odd channels", [3, 5, 7, 5], 1, 2),
        case("1x41x47x12 4..12", "by four channels at once", [1, 41, 47, 12], 4, 8),
        case("1x41x47x12 2..10", "a vec4 of channels at an odd offset", [1, 41, 47, 12], 2, 8),
        case("1x41x47x12 folded", "the path of more than 65,535 workgroups", [1, 41, 47, 12], 4, 8)
            .max_workgroups(11),
    ]
}

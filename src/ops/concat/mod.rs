//! Concatenation over channels.

use super::registry::Entry;
use super::slice::Slice;
use super::{Case, GradContext, Op};
use crate::onnx::{Emit, OnnxError, int};
use crate::program::{Element, Kernel, Lower, LowerError, Operand, Shader, Word};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("concat/forward");
static FORWARD_VEC4: Shader = shader!("concat/forward_vec4");

pub const ENTRY: Entry = Entry { name: "concat", parts: &[], no_backward: None, cases };

impl Tape {
    /// `[…, c₀]`, `[…, c₁]`, … of otherwise equal extents, to `[…, c₀ + c₁ + …]`.
    pub fn concat(&mut self, inputs: &[Value]) -> Result<Value, TapeError> {
        self.push(Concat, inputs)
    }
}

#[derive(Debug)]
pub struct Concat;

/// The channels of a tensor that a copy reads or writes.
pub(super) struct Channels {
    pub operand: Operand,
    /// Channels of the tensor.
    pub of: usize,
    /// The first that is copied.
    pub start: usize,
}

/// Copies `count` channels of each pixel from one tensor to another, four at a time where all
/// extents allow it.
pub(super) fn lower_copy_channels(
    lower: &mut Lower,
    pixels: usize,
    count: usize,
    from: Channels,
    to: Channels,
) -> Result<(), LowerError> {
    if pixels * count == 0 {
        return Ok(());
    }
    let by_four = [count, from.of, from.start, to.of, to.start].iter().all(|n| n.is_multiple_of(4));
    let (shader, step) = if by_four { (&FORWARD_VEC4, 4) } else { (&FORWARD, 1) };
    let items = pixels * count / step;
    let params = [items, count / step, from.of / step, from.start / step, to.of / step, to.start / step]
        .map(Word::from);
    lower.dispatch_items(Kernel::new(shader), &params, &[from.operand, to.operand], items)
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn gives_half(&self, inputs: &[Element]) -> bool {
        inputs.contains(&Element::F16)
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let Some(first) = inputs.first() else { return Err("expected at least 1 input, found 0".to_owned()) };
        let Some((_, outer)) = first.dims().split_last() else {
            return Err(format!("{first} has no channels"));
        };
        if let Some(other) = inputs.iter().find(|s| s.dims().split_last().map(|(_, o)| o) != Some(outer)) {
            return Err(format!("all extents but the channels must be equal, found {first} and {other}"));
        }
        let channels = inputs.iter().map(|s| s.channels()).sum();
        Ok(Shape::new([outer, &[channels]].concat()))
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let mut start = 0;
        let mut gradients = vec![];
        for (input, needed) in at.inputs.iter().zip(at.needs) {
            let length = tape.shape(*input).channels();
            let slice = Slice { start, length };
            gradients.push(if *needed { Some(tape.push(slice, &[at.grad_output])?) } else { None });
            start += length;
        }
        Ok(gradients)
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let pixels = (0..output.pixels()).flat_map(|pixel| {
            inputs.iter().flat_map(move |input| {
                let channels = input.shape.channels();
                input.data[pixel * channels..][..channels].iter().copied()
            })
        });
        vec![pixels.collect()]
    }

    fn is_cheap(&self) -> bool {
        true
    }

    /// Channels are the second axis there.
    fn onnx(&self, emit: &mut Emit) -> Result<(), OnnxError> {
        emit.result("Concat", &emit.inputs(), vec![int("axis", 1)]);
        Ok(())
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (pixels, channels) = (lower.output_shape().pixels(), lower.output_shape().channels());
        let mut start = 0;
        for i in 0..lower.input_count() {
            let count = lower.input_shape(i).channels();
            let from = Channels { operand: lower.input(i), of: count, start: 0 };
            let to = Channels { operand: lower.output(), of: channels, start };
            lower_copy_channels(lower, pixels, count, from, to)?;
            start += count;
        }
        Ok(())
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        0
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, [batch, height, width]: [usize; 3], channels: &[usize]| {
        channels.iter().fold(Case::new(name, why, Concat), |case, c| case.input([batch, height, width, *c]))
    };
    vec![
        case("1x1x1x1+1", "single elements", [1, 1, 1], &[1, 1]),
        case("3x5x7x3+5", "odd channels", [3, 5, 7], &[3, 5]),
        case("2x5x7x4+3", "the first is a vec4, the second is not", [2, 5, 7], &[4, 3]),
        case("2x5x7x3+4+1", "three inputs, offsets within a vec4", [2, 5, 7], &[3, 4, 1]),
        case("1x41x47x8+4", "by four channels at once", [1, 41, 47], &[8, 4]),
        case("1x41x47x8+4 folded", "the path of more than 65,535 workgroups", [1, 41, 47], &[8, 4])
            .max_workgroups(9),
        case("3x61x5x3", "one input", [3, 61, 5], &[3]),
    ]
}

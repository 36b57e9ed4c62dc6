//! Sum over all axes but the channels: the gradient of a bias.

use super::registry::Entry;
use super::sum_rows::lower_sum_rows;
use super::{Case, Op, expect_inputs};
use crate::program::{Lower, LowerError};
use crate::reference::Tensor;
use crate::tape::{Shape, Tape, TapeError, Value};

pub const ENTRY: Entry = Entry {
    name: "channel_sum",
    parts: &[],
    no_backward: Some("it is itself the gradient of a bias"),
    cases,
};

impl Tape {
    /// `[…, channels]` → `[channels]`.
    pub fn channel_sum(&mut self, input: Value) -> Result<Value, TapeError> {
        self.push(ChannelSum, &[input])
    }
}

#[derive(Debug)]
pub struct ChannelSum;

impl Op for ChannelSum {
    fn name(&self) -> &'static str {
        "channel_sum"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        Ok([inputs[0].channels()].into())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let mut sums = vec![0.0; output.len()];
        for pixel in inputs[0].data.chunks_exact(output.len()) {
            for (sum, x) in sums.iter_mut().zip(pixel) {
                *sum += x;
            }
        }
        vec![sums]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (pixels, channels) = (lower.input_shape(0).pixels(), lower.output_shape().len());
        let (input, output) = (lower.input(0), lower.output());
        lower_sum_rows(lower, [1, pixels, channels], 1.0, input, output)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].pixels()
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::new("1x1x1x1", "a single element", ChannelSum).input([1, 1, 1, 1]),
        Case::new("1x1x1x5", "one pixel", ChannelSum).input([1, 1, 1, 5]),
        Case::new("2x41x47x3", "primes, two passes", ChannelSum).input([2, 41, 47, 3]),
        Case::new("1x61x5x20", "vec4s, two passes", ChannelSum).input([1, 61, 5, 20]),
        Case::new("1x61x70x3", "three passes", ChannelSum).input([1, 61, 70, 3]),
        Case::new("1x61x70x3 folded", "the path of more than 65,535 workgroups", ChannelSum)
            .input([1, 61, 70, 3])
            .max_workgroups(3),
    ]
}

//! Several tensors in one vector.

use super::registry::Entry;
use super::{Case, Op};
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static COPY: Shader = shader!("pack/copy");
static ZERO: Shader = shader!("pack/zero");

pub const ENTRY: Entry =
    Entry { name: "pack", parts: &[], no_backward: Some("it is taken of gradients, to compare them"), cases };

impl Tape {
    /// A vector `[length]` that holds the numbers of each input, of any shape, from its start on, and
    /// 0 elsewhere. The parts do not overlap and come in order.
    pub fn pack(&mut self, parts: &[(usize, Value)], length: usize) -> Result<Value, TapeError> {
        let (starts, inputs): (Vec<usize>, Vec<Value>) = parts.iter().copied().unzip();
        self.push(Pack { starts, length }, &inputs)
    }
}

#[derive(Debug)]
pub struct Pack {
    /// Where each input starts.
    pub starts: Vec<usize>,
    pub length: usize,
}

impl Op for Pack {
    fn name(&self) -> &'static str {
        "pack"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        if inputs.len() != self.starts.len() {
            return Err(format!("expected {} inputs, found {}", self.starts.len(), inputs.len()));
        }
        let mut end = 0;
        for (start, input) in self.starts.iter().zip(inputs) {
            if *start < end {
                return Err(format!("an input {input} starts at {start}, before the end {end} of the last"));
            }
            end = start + input.len();
        }
        if end > self.length {
            return Err(format!("the inputs end at {end}, but the vector has {} numbers", self.length));
        }
        Ok([self.length].into())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let mut packed = vec![0.0; output.len()];
        for (start, input) in self.starts.iter().zip(inputs) {
            packed[*start..start + input.data.len()].copy_from_slice(&input.data);
        }
        vec![packed]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let output = lower.output();
        let mut end = 0;
        let gap = |lower: &mut Lower, from: usize, to: usize| match to - from {
            0 => Ok(()),
            count => lower.dispatch_items(Kernel::new(&ZERO), &[count.into(), from.into()], &[output], count),
        };
        for (i, start) in self.starts.iter().enumerate() {
            gap(lower, end, *start)?;
            let (count, input) = (lower.input_shape(i).len(), lower.input(i));
            let params = [count.into(), (*start).into()];
            lower.dispatch_items(Kernel::new(&COPY), &params, &[input, output], count)?;
            end = start + count;
        }
        gap(lower, end, self.length)
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        0
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, parts: &[(usize, &[usize])], length| {
        let op = Pack { starts: parts.iter().map(|(start, _)| *start).collect(), length };
        parts.iter().fold(Case::new(name, why, op), |case, (_, s)| case.input(Shape::new(s.to_vec())))
    };
    vec![
        case("1", "a single number", &[(0, &[1])], 1),
        case("3 and 5", "no multiples of 4: no padding may enter", &[(0, &[3]), (3, &[5, 1])], 8),
        case("gaps", "zeros before, between and after", &[(2, &[3]), (7, &[3, 3, 1, 5])], 61),
        case("folded", "the path of more than 65,535 workgroups", &[(300, &[41, 47]), (2_500, &[7])], 2_900)
            .max_workgroups(6),
    ]
}

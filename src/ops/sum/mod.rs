//! Sum of all elements.

use super::registry::Entry;
use super::sum_rows::lower_sum_rows;
use super::{Case, GradContext, Op, expect_inputs};
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static GRAD: Shader = shader!("sum/grad");

pub const ENTRY: Entry = Entry { name: "sum", parts: &["sum_grad"], no_backward: None, cases };

impl Tape {
    /// Sum of all elements, of shape `[1]`.
    pub fn sum(&mut self, input: Value) -> Result<Value, TapeError> {
        self.push(Sum, &[input])
    }
}

#[derive(Debug)]
pub struct Sum;

impl Op for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        Ok(Shape::scalar())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let shape = tape.shape(at.inputs[0]).clone();
        Ok(vec![Some(tape.push(SumGrad { shape, factor: 1.0 }, &[at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        vec![vec![inputs[0].data.iter().sum()]]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (count, input, output) = (lower.input_shape(0).len(), lower.input(0), lower.output());
        lower_sum_rows(lower, [1, count, 1], 1.0, input, output)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].len()
    }
}

/// Input: the gradient of the sum. Result: `factor` times it, everywhere.
#[derive(Debug)]
pub(super) struct SumGrad {
    pub shape: Shape,
    pub factor: f32,
}

impl Op for SumGrad {
    fn name(&self) -> &'static str {
        "sum_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        Ok(self.shape.clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        vec![vec![f64::from(self.factor) * inputs[0].data[0]; output.len()]]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let vectors = lower.output_shape().len().div_ceil(4);
        let operands = [lower.input(0), lower.output()];
        lower.dispatch_items(Kernel::new(&GRAD), &[vectors.into(), self.factor.into()], &operands, vectors)
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::new("1", "a single element", Sum).input([1]),
        Case::new("7x3", "a single pass", Sum).input([7, 3]),
        Case::new("2x41x47x3", "primes, three passes", Sum).input([2, 41, 47, 3]),
        Case::new("2x41x47x3 folded", "a gradient of more than 65,535 workgroups", Sum)
            .input([2, 41, 47, 3])
            .max_workgroups(7),
    ]
}

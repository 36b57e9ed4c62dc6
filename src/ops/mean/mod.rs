//! Mean of all elements.

use super::registry::Entry;
use super::sum::SumGrad;
use super::sum_rows::lower_sum_rows;
use super::{Case, GradContext, Op, expect_inputs};
use crate::program::{Lower, LowerError};
use crate::reference::Tensor;
use crate::tape::{Shape, Tape, TapeError, Value};

pub const ENTRY: Entry = Entry { name: "mean", parts: &["sum_grad"], no_backward: None, cases };

impl Tape {
    /// Mean of all elements, of shape `[1]`.
    pub fn mean(&mut self, input: Value) -> Result<Value, TapeError> {
        self.push(Mean, &[input])
    }
}

/// The sum's kernels with a factor of one over the number of elements.
#[derive(Debug)]
pub struct Mean;

impl Op for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        if inputs[0].is_empty() {
            return Err("the mean of no elements".to_owned());
        }
        Ok(Shape::scalar())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let shape = tape.shape(at.inputs[0]).clone();
        let factor = (1.0 / shape.len() as f64) as f32;
        Ok(vec![Some(tape.push(SumGrad { shape, factor }, &[at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        vec![vec![inputs[0].data.iter().sum::<f64>() / inputs[0].data.len() as f64]]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (count, input, output) = (lower.input_shape(0).len(), lower.input(0), lower.output());
        lower_sum_rows(lower, [1, count, 1], (1.0 / count as f64) as f32, input, output)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].len()
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::new("1", "a single element", Mean).input([1]),
        Case::new("2x41x47x3", "primes, three passes", Mean).input([2, 41, 47, 3]),
    ]
}

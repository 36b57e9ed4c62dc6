//! Product, element by element, of two tensors of one shape.

use super::elementwise::{elementwise_cases, lower_elementwise};
use super::registry::Entry;
use super::{Case, GradContext, Op, expect_inputs, expect_same};
use crate::program::{Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("mul/forward");

pub const ENTRY: Entry = Entry { name: "mul", parts: &[], no_backward: None, cases };

impl Tape {
    /// `a · b`, element by element.
    pub fn mul(&mut self, a: Value, b: Value) -> Result<Value, TapeError> {
        self.push(Mul, &[a, b])
    }
}

#[derive(Debug)]
pub struct Mul;

impl Op for Mul {
    fn name(&self) -> &'static str {
        "mul"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        expect_same(inputs[0], inputs[1])?;
        Ok(inputs[0].clone())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let product = |tape: &mut Tape, needed: bool, other| {
            if needed { tape.mul(at.grad_output, other).map(Some) } else { Ok(None) }
        };
        Ok(vec![product(tape, at.needs[0], at.inputs[1])?, product(tape, at.needs[1], at.inputs[0])?])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        vec![inputs[0].data.iter().zip(&inputs[1].data).map(|(a, b)| a * b).collect()]
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_elementwise(lower, &FORWARD, &[])
    }
}

fn cases() -> Vec<Case> {
    elementwise_cases(2, |name, why| Case::new(name, why, Mul))
}

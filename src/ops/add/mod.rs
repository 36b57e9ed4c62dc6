//! Sum of two tensors of one shape.

use super::elementwise::{elementwise_cases, lower_elementwise};
use super::registry::Entry;
use super::{Case, GradContext, Op, expect_inputs, expect_same};
use crate::program::{Element, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("add/forward");

pub const ENTRY: Entry = Entry { name: "add", parts: &[], no_backward: None, cases };

impl Tape {
    /// `a + b`, element by element.
    pub fn add(&mut self, a: Value, b: Value) -> Result<Value, TapeError> {
        self.push(Add, &[a, b])
    }
}

#[derive(Debug)]
pub struct Add;

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn gives_half(&self, inputs: &[Element]) -> bool {
        inputs.contains(&Element::F16)
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        expect_same(inputs[0], inputs[1])?;
        Ok(inputs[0].clone())
    }

    fn backward(&self, _tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        Ok(vec![Some(at.grad_output), Some(at.grad_output)])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        vec![inputs[0].data.iter().zip(&inputs[1].data).map(|(a, b)| a + b).collect()]
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_elementwise(lower, &FORWARD, &[])
    }
}

fn cases() -> Vec<Case> {
    elementwise_cases(2, |name, why| Case::new(name, why, Add))
}

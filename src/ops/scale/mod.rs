//! Multiplication by a constant.

use super::elementwise::{elementwise_cases, lower_elementwise};
use super::registry::Entry;
use super::{Case, GradContext, Op, expect_inputs};
use crate::program::{Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("scale/forward");

pub const ENTRY: Entry = Entry { name: "scale", parts: &[], no_backward: None, cases };

impl Tape {
    /// `factor · input`, of the input's shape.
    pub fn scale(&mut self, input: Value, factor: f32) -> Result<Value, TapeError> {
        self.push(Scale { factor }, &[input])
    }
}

#[derive(Debug)]
pub struct Scale {
    pub factor: f32,
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        Ok(inputs[0].clone())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        Ok(vec![Some(tape.scale(at.grad_output, self.factor)?)])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        vec![inputs[0].data.iter().map(|x| f64::from(self.factor) * x).collect()]
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_elementwise(lower, &FORWARD, &[self.factor.into()])
    }
}

fn cases() -> Vec<Case> {
    elementwise_cases(1, |name, why| Case::new(name, why, Scale { factor: -0.37 }))
}

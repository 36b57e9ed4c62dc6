//! Logistic function: `1 / (1 + exp(−x))`.

use super::elementwise::{elementwise_cases, lower_elementwise};
use super::registry::Entry;
use super::{Case, Fill, GradContext, Op, expect_inputs, expect_same};
use crate::onnx::{Emit, OnnxError};
use crate::program::{Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("sigmoid/forward");
static GRAD: Shader = shader!("sigmoid/grad");

pub const ENTRY: Entry = Entry { name: "sigmoid", parts: &["sigmoid_grad"], no_backward: None, cases };

impl Tape {
    /// `1 / (1 + exp(−input))`, of the input's shape.
    pub fn sigmoid(&mut self, input: Value) -> Result<Value, TapeError> {
        self.push(Sigmoid, &[input])
    }
}

#[derive(Debug)]
pub struct Sigmoid;

/// `1 / (1 + exp(−x))`, for the reference.
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Op for Sigmoid {
    fn name(&self) -> &'static str {
        "sigmoid"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        Ok(inputs[0].clone())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        Ok(vec![Some(tape.push(SigmoidGrad, &[at.output, at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        vec![inputs[0].data.iter().map(|x| sigmoid(*x)).collect()]
    }

    fn onnx(&self, emit: &mut Emit) -> Result<(), OnnxError> {
        emit.result("Sigmoid", &emit.inputs(), vec![]);
        Ok(())
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_elementwise(lower, &FORWARD, &[])
    }
}

/// Inputs: the result of the sigmoid, the gradient of that result.
#[derive(Debug)]
struct SigmoidGrad;

impl Op for SigmoidGrad {
    fn name(&self) -> &'static str {
        "sigmoid_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        expect_same(inputs[0], inputs[1])?;
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let pairs = inputs[0].data.iter().zip(&inputs[1].data);
        vec![pairs.map(|(y, g)| g * y * (1.0 - y)).collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_elementwise(lower, &GRAD, &[])
    }
}

fn cases() -> Vec<Case> {
    let mut cases = elementwise_cases(1, |name, why| Case::new(name, why, Sigmoid));
    cases.push(
        Case::new("±100", "no overflow far from 0", Sigmoid).filled([1, 3, 5, 2], Fill::Extreme(100.0)),
    );
    cases
}

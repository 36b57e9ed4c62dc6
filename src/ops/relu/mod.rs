//! Rectified linear unit: `max(x, 0)`.

use super::elementwise::{elementwise_cases, lower_elementwise};
use super::registry::Entry;
use super::{Case, GradContext, Op, expect_inputs, expect_same};
use crate::onnx::{Emit, OnnxError};
use crate::program::{Element, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("relu/forward");
static GRAD: Shader = shader!("relu/grad");

pub const ENTRY: Entry = Entry { name: "relu", parts: &["relu_grad"], no_backward: None, cases };

impl Tape {
    /// `max(input, 0)`, of the input's shape.
    pub fn relu(&mut self, input: Value) -> Result<Value, TapeError> {
        self.push(Relu, &[input])
    }
}

#[derive(Debug)]
pub struct Relu;

impl Op for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn gives_half(&self, inputs: &[Element]) -> bool {
        inputs.contains(&Element::F16)
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        Ok(inputs[0].clone())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        Ok(vec![Some(tape.push(ReluGrad, &[at.output, at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        vec![inputs[0].data.iter().map(|x| if *x < 0.0 { 0.0 } else { *x }).collect()]
    }

    fn onnx(&self, emit: &mut Emit) -> Result<(), OnnxError> {
        emit.result("Relu", &emit.inputs(), vec![]);
        Ok(())
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_elementwise(lower, &FORWARD, &[])
    }
}

/// Inputs: the result of the relu, the gradient of that result.
#[derive(Debug)]
struct ReluGrad;

impl Op for ReluGrad {
    fn name(&self) -> &'static str {
        "relu_grad"
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

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let pairs = inputs[0].data.iter().zip(&inputs[1].data);
        vec![pairs.map(|(y, g)| if *y > 0.0 { *g } else { 0.0 }).collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_elementwise(lower, &GRAD, &[])
    }
}

fn cases() -> Vec<Case> {
    let mut cases = elementwise_cases(1, |name, why| Case::new(name, why, Relu));
    cases.push(
        Case::new("66x512x512x1", "more than 65,535 workgroups for real", Relu).input([66, 512, 512, 1]),
    );
    cases
}

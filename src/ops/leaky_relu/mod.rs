//! Leaky rectified linear unit: `x`, or `slope · x` below 0.

use super::elementwise::{elementwise_cases, lower_elementwise};
use super::registry::Entry;
use super::{Case, GradContext, Op, expect_inputs, expect_same};
use crate::program::{Element, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("leaky_relu/forward");
static GRAD: Shader = shader!("leaky_relu/grad");

pub const ENTRY: Entry = Entry { name: "leaky_relu", parts: &["leaky_relu_grad"], no_backward: None, cases };

impl Tape {
    /// `input` where it is not negative, else `slope · input`.
    pub fn leaky_relu(&mut self, input: Value, slope: f32) -> Result<Value, TapeError> {
        self.push(LeakyRelu { slope }, &[input])
    }
}

#[derive(Debug)]
pub struct LeakyRelu {
    pub slope: f32,
}

impl Op for LeakyRelu {
    fn name(&self) -> &'static str {
        "leaky_relu"
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
        Ok(vec![Some(tape.push(LeakyReluGrad { slope: self.slope }, &[at.inputs[0], at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let slope = f64::from(self.slope);
        vec![inputs[0].data.iter().map(|x| if *x < 0.0 { slope * x } else { *x }).collect()]
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_elementwise(lower, &FORWARD, &[self.slope.into()])
    }
}

/// Inputs: the op's input, the gradient of its result.
#[derive(Debug)]
struct LeakyReluGrad {
    slope: f32,
}

impl Op for LeakyReluGrad {
    fn name(&self) -> &'static str {
        "leaky_relu_grad"
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
        let slope = f64::from(self.slope);
        let pairs = inputs[0].data.iter().zip(&inputs[1].data);
        vec![pairs.map(|(x, g)| if *x < 0.0 { slope * g } else { *g }).collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_elementwise(lower, &GRAD, &[self.slope.into()])
    }
}

fn cases() -> Vec<Case> {
    elementwise_cases(1, |name, why| Case::new(name, why, LeakyRelu { slope: 0.01 }))
}

//! Mean squared error.

use super::pair_loss::{
    lower_pair_grad, lower_pair_mean, pair_grad_shape, pair_loss_cases, pair_loss_shape, reference_pair_grad,
    reference_pair_mean,
};
use super::registry::Entry;
use super::{Case, Fill, GradContext, Op};
use crate::program::{Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("mse/forward");
static GRAD: Shader = shader!("mse/grad");

pub const ENTRY: Entry = Entry { name: "mse", parts: &["mse_grad"], no_backward: None, cases };

impl Tape {
    /// Mean of `(prediction − target)²` over all elements, of shape `[1]`. Both inputs have one shape,
    /// any. The target takes no gradient.
    pub fn mse(&mut self, prediction: Value, target: Value) -> Result<Value, TapeError> {
        self.push(Mse, &[prediction, target])
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Mse;

impl Op for Mse {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        pair_loss_shape(inputs)
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let grad = tape.push(MseGrad, &[at.inputs[0], at.inputs[1], at.grad_output])?;
        Ok(vec![Some(grad), None])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        reference_pair_mean(inputs, |x, y| (x - y).powi(2))
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_pair_mean(lower, &FORWARD, &[], 1.0)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].len()
    }
}

/// Inputs: the loss's inputs, the gradient of the loss. Result: the gradient of the prediction.
#[derive(Debug)]
struct MseGrad;

impl Op for MseGrad {
    fn name(&self) -> &'static str {
        "mse_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        pair_grad_shape(inputs)
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        reference_pair_grad(inputs, |x, y| 2.0 * (x - y))
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_pair_grad(lower, &GRAD, &[], 2.0)
    }
}

fn cases() -> Vec<Case> {
    pair_loss_cases(|| Mse, Fill::Uniform(-1.0, 1.0))
}

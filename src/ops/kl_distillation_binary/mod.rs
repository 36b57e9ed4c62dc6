//! Distillation of a binary segmentation: the divergence of the student's foreground from the teacher's.

use super::kl_distillation::expect_temperature;
use super::pair_loss::{
    lower_pair_grad, lower_pair_mean, pair_grad_shape, pair_loss_cases, pair_loss_shape, reference_pair_grad,
    reference_pair_mean,
};
use super::registry::Entry;
use super::sigmoid::sigmoid;
use super::{Case, Fill, GradContext, Op};
use crate::program::{Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("kl_distillation_binary/forward");
static GRAD: Shader = shader!("kl_distillation_binary/grad");

pub const ENTRY: Entry = Entry {
    name: "kl_distillation_binary",
    parts: &["kl_distillation_binary_grad"],
    no_backward: None,
    cases,
};

impl Tape {
    /// `T²` times the mean over all elements of `KL(Bernoulli(q) ‖ Bernoulli(p))` with
    /// `q = sigmoid(teacher / T)` and `p = sigmoid(student / T)`, of shape `[1]`. Both inputs are logits
    /// of one shape, any. The teacher takes no gradient. The factor `T²` keeps the gradient's size where
    /// the temperature changes (Hinton et al., Distilling the Knowledge in a Neural Network, 2015).
    pub fn kl_distillation_binary(
        &mut self,
        student: Value,
        teacher: Value,
        temperature: f32,
    ) -> Result<Value, TapeError> {
        self.push(KlDistillationBinary { temperature }, &[student, teacher])
    }
}

#[derive(Clone, Copy, Debug)]
pub struct KlDistillationBinary {
    pub temperature: f32,
}

impl Op for KlDistillationBinary {
    fn name(&self) -> &'static str {
        "kl_distillation_binary"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_temperature(self.temperature)?;
        pair_loss_shape(inputs)
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let grad =
            tape.push(KlDistillationBinaryGrad(*self), &[at.inputs[0], at.inputs[1], at.grad_output])?;
        Ok(vec![Some(grad), None])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let t = f64::from(self.temperature);
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        reference_pair_mean(inputs, |student, teacher| {
            let (a, b) = (teacher / t, student / t);
            // log p = −softplus(−b) and log(1 − p) = −softplus(b), for the teacher with a.
            let foreground = sigmoid(a) * (softplus(-b) - softplus(-a));
            t * t * (foreground + sigmoid(-a) * (softplus(b) - softplus(a)))
        })
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_pair_mean(
            lower,
            &FORWARD,
            &[(1.0 / self.temperature).into()],
            f64::from(self.temperature).powi(2),
        )
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].len()
    }
}

/// Inputs: the loss's inputs, the gradient of the loss. Result: the gradient of the student.
#[derive(Debug)]
struct KlDistillationBinaryGrad(KlDistillationBinary);

impl Op for KlDistillationBinaryGrad {
    fn name(&self) -> &'static str {
        "kl_distillation_binary_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        pair_grad_shape(inputs)
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let t = f64::from(self.0.temperature);
        reference_pair_grad(inputs, |student, teacher| t * (sigmoid(student / t) - sigmoid(teacher / t)))
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_pair_grad(lower, &GRAD, &[(1.0 / self.0.temperature).into()], f64::from(self.0.temperature))
    }
}

fn cases() -> Vec<Case> {
    let shape = [2, 5, 7, 3];
    let mut cases = pair_loss_cases(|| KlDistillationBinary { temperature: 3.0 }, Fill::Uniform(-3.0, 3.0));
    let case = |name: &str, why| Case::new(name, why, KlDistillationBinary { temperature: 1.0 });
    cases.extend([
        case("±100", "no overflow far from 0")
            .filled(shape, Fill::Extreme(100.0))
            .fixed(shape, Fill::Extreme(100.0)),
        case("equal", "no divergence, no gradient")
            .filled(shape, Fill::Constant(7.0))
            .fixed(shape, Fill::Constant(7.0)),
    ]);
    cases
}

//! Binary cross-entropy of logits.

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

static FORWARD: Shader = shader!("bce_with_logits/forward");
static GRAD: Shader = shader!("bce_with_logits/grad");

pub const ENTRY: Entry =
    Entry { name: "bce_with_logits", parts: &["bce_with_logits_grad"], no_backward: None, cases };

impl Tape {
    /// Mean over all elements of `−(v · y · log p + (1 − y) · log(1 − p))` with `p = sigmoid(logits)`,
    /// `y = target` in 0..1 and `v = positive_weight`, of shape `[1]`. Both inputs have one shape, any.
    /// The target takes no gradient. As `torch.nn.BCEWithLogitsLoss` with `pos_weight`.
    pub fn bce_with_logits(
        &mut self,
        logits: Value,
        target: Value,
        positive_weight: f32,
    ) -> Result<Value, TapeError> {
        self.push(BceWithLogits { positive_weight }, &[logits, target])
    }
}

#[derive(Clone, Copy, Debug)]
pub struct BceWithLogits {
    pub positive_weight: f32,
}

impl Op for BceWithLogits {
    fn name(&self) -> &'static str {
        "bce_with_logits"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        pair_loss_shape(inputs)
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let grad = tape.push(BceWithLogitsGrad(*self), &[at.inputs[0], at.inputs[1], at.grad_output])?;
        Ok(vec![Some(grad), None])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let v = f64::from(self.positive_weight);
        reference_pair_mean(inputs, |x, y| {
            let softplus = (-x.abs()).exp().ln_1p();
            (1.0 - y) * (x.max(0.0) + softplus) + v * y * ((-x).max(0.0) + softplus)
        })
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_pair_mean(lower, &FORWARD, &[self.positive_weight.into()], 1.0)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].len()
    }
}

/// Inputs: the loss's inputs, the gradient of the loss. Result: the gradient of the logits.
#[derive(Debug)]
struct BceWithLogitsGrad(BceWithLogits);

impl Op for BceWithLogitsGrad {
    fn name(&self) -> &'static str {
        "bce_with_logits_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        pair_grad_shape(inputs)
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let v = f64::from(self.0.positive_weight);
        reference_pair_grad(inputs, |x, y| (1.0 - y) / (1.0 + (-x).exp()) - v * y / (1.0 + x.exp()))
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_pair_grad(lower, &GRAD, &[self.0.positive_weight.into()], 1.0)
    }
}

fn cases() -> Vec<Case> {
    let shape = [2, 5, 7, 3];
    let mut cases = pair_loss_cases(|| BceWithLogits { positive_weight: 2.5 }, Fill::Binary);
    let case = |name: &str, why| Case::new(name, why, BceWithLogits { positive_weight: 1.0 });
    cases.extend([
        case("±100", "no overflow far from 0").filled(shape, Fill::Extreme(100.0)).fixed(shape, Fill::Binary),
        case("right by 8", "a small loss keeps its digits")
            .filled(shape, Fill::Constant(8.0))
            .fixed(shape, Fill::Constant(1.0)),
        case("soft", "targets between 0 and 1").input(shape).fixed(shape, Fill::Uniform(0.0, 1.0)),
    ]);
    cases
}

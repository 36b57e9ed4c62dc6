//! AdamW: Adam with decoupled weight decay, with its kernel.

use super::adam::{FLOPS, IN_PLACE, Rule, SAME, adam_cases};
use super::optimizer::update_shape;
use super::registry::Entry;
use super::{Case, Op};
use crate::program::{Lower, LowerError};
use crate::reference::Tensor;
use crate::tape::{Shape, Tape, TapeError, Value};

pub const ENTRY: Entry = Entry { name: "adamw", parts: &[], no_backward: Some("it is an update"), cases };

/// Adam whose weight decay is taken off the parameter and stays out of the gradient and its moments:
///
/// ```text
/// parameter −= learning_rate · weight_decay · parameter
/// g = scale · gradient
/// m = beta1 · m + (1 − beta1) · g
/// v = beta2 · v + (1 − beta2) · g²
/// parameter −= learning_rate / (1 − beta1^t) · m / (√v / √(1 − beta2^t) + epsilon)
/// ```
///
/// Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019. As `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
}

impl Tape {
    /// Appends an update of `parameter` by `gradient`, and of the states `moments`, the first and the
    /// second; all four are of one shape, any. `hyper [4]` is [`Hyper::to_array`](super::Hyper::to_array);
    /// `gradient_scale [1]` multiplies the gradient, see [`Tape::clip_by_global_norm`].
    pub fn adamw(
        &mut self,
        adamw: AdamW,
        parameter: Value,
        gradient: Value,
        moments: [Value; 2],
        hyper: Value,
        gradient_scale: Option<Value>,
    ) -> Result<Value, TapeError> {
        let inputs: Vec<Value> =
            [parameter, gradient, moments[0], moments[1], hyper].into_iter().chain(gradient_scale).collect();
        self.push(adamw, &inputs)
    }
}

impl AdamW {
    fn rule(&self) -> Rule {
        Rule {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            coupled_decay: 0.0,
            decoupled_decay: self.weight_decay,
        }
    }
}

impl Op for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        update_shape(inputs, SAME)
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        self.rule().reference(inputs)
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        self.rule().lower(lower)
    }

    fn in_place(&self) -> &'static [usize] {
        IN_PLACE
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        FLOPS * inputs[0].len() as u64
    }
}

fn cases() -> Vec<Case> {
    adam_cases(|weight_decay| AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay })
}

//! Reverse-mode differentiation: walks the tape from the loss and appends gradient nodes.

use std::collections::HashMap;

use super::{Shape, Tape, TapeError, Value};
use crate::ops::GradContext;

/// The gradient of a loss with respect to each value that needs one.
#[derive(Clone, Debug, Default)]
pub struct Gradients(HashMap<Value, Value>);

impl Gradients {
    /// The node that holds the gradient of `value`, if the loss depends on it.
    pub fn of(&self, value: Value) -> Option<Value> {
        self.0.get(&value).copied()
    }
}

impl Tape {
    /// Appends the gradient of `loss` (one number) with respect to every trainable state and
    /// everything between. Contributions to a value that is used more than once are added.
    pub fn backward(&mut self, loss: Value) -> Result<Gradients, TapeError> {
        if self.shape(loss).len() != 1 {
            return Err(TapeError::LossNotScalar(self.shape(loss).clone()));
        }
        if !self.requires_grad(loss) {
            return Err(TapeError::LossWithoutParameters);
        }
        let mut gradients = Gradients::default();
        let one = self.fill(Shape::scalar(), 1.0)?;
        gradients.0.insert(loss, one);
        for index in (0..=loss.0).rev() {
            let value = Value(index);
            let Some(grad_output) = gradients.of(value) else { continue };
            let node = self.node(value).clone();
            let Some(op) = node.op() else { continue };
            let needs: Vec<bool> = node.inputs.iter().map(|v| self.requires_grad(*v)).collect();
            let context = GradContext { inputs: &node.inputs, output: value, grad_output, needs: &needs };
            let contributions = self.scoped(&node.name, |tape| op.backward(tape, &context))?;
            debug_assert_eq!(contributions.len(), node.inputs.len(), "{}", op.name());
            for ((input, contribution), needed) in node.inputs.iter().zip(contributions).zip(needs) {
                let (Some(contribution), true) = (contribution, needed) else { continue };
                let total = match gradients.of(*input) {
                    Some(earlier) => self.add(earlier, contribution)?,
                    None => contribution,
                };
                gradients.0.insert(*input, total);
            }
        }
        Ok(gradients)
    }
}

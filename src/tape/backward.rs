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

impl FromIterator<(Value, Value)> for Gradients {
    /// Pairs of a value and its gradient.
    fn from_iter<I: IntoIterator<Item = (Value, Value)>>(pairs: I) -> Gradients {
        Gradients(pairs.into_iter().collect())
    }
}

impl Tape {
    /// Appends the gradient of `loss` (one number) with respect to every trainable state and
    /// everything between. Contributions to a value that is used more than once are added.
    pub fn backward(&mut self, loss: Value) -> Result<Gradients, TapeError> {
        self.check_loss(loss)?;
        let one = self.fill(Shape::scalar(), 1.0)?;
        self.backward_from(loss, one)
    }

    /// The same for the loss times `scale`, of one number.
    pub fn backward_scaled(&mut self, loss: Value, scale: Value) -> Result<Gradients, TapeError> {
        self.check_loss(loss)?;
        self.backward_from(loss, scale)
    }

    fn check_loss(&self, loss: Value) -> Result<(), TapeError> {
        if self.shape(loss).len() != 1 {
            return Err(TapeError::LossNotScalar(self.shape(loss).clone()));
        }
        if !self.requires_grad(loss) {
            return Err(TapeError::LossWithoutParameters);
        }
        Ok(())
    }

    fn backward_from(&mut self, loss: Value, grad_loss: Value) -> Result<Gradients, TapeError> {
        let mut gradients = Gradients::default();
        gradients.0.insert(loss, grad_loss);
        for index in (0..=loss.0).rev() {
            let value = Value(index);
            let Some(grad_output) = gradients.of(value) else { continue };
            let node = self.node(value).clone();
            let Some(op) = node.op() else { continue };
            let needs: Vec<bool> = node.inputs.iter().map(|v| self.requires_grad(*v)).collect();
            let context = GradContext { inputs: &node.inputs, output: value, grad_output, needs: &needs };
            let contributions = self.scoped(&node.name, |tape| op.backward(tape, &context))?;
            if contributions.len() != node.inputs.len() {
                return Err(TapeError::Backward {
                    op: op.name(),
                    found: contributions.len(),
                    expected: node.inputs.len(),
                });
            }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::reference::{Tensor, run};

    /// A parameter `w = [2, −3]` and an input `x = [5, 7]`.
    fn tape() -> (Tape, Value, Value, HashMap<String, Tensor>) {
        let mut tape = Tape::new();
        let w = tape.parameter("w", [2]).unwrap();
        let x = tape.input("x", [2]).unwrap();
        let feeds = HashMap::from([
            ("w".to_owned(), Tensor::new([2], vec![2.0, -3.0])),
            ("x".to_owned(), Tensor::new([2], vec![5.0, 7.0])),
        ]);
        (tape, w, x, feeds)
    }

    #[test]
    fn contributions_to_a_value_used_twice_are_added() {
        let (mut tape, w, x, feeds) = tape();
        // loss = Σ (w·x + w·w): gradient x + 2w.
        let product = tape.mul(w, x).unwrap();
        let square = tape.mul(w, w).unwrap();
        let both = tape.add(product, square).unwrap();
        let loss = tape.sum(both).unwrap();
        let gradient = tape.backward(loss).unwrap().of(w).unwrap();
        assert_eq!(run(&tape, &feeds).unwrap().value(gradient).data, [9.0, 1.0]);
    }

    #[test]
    fn the_weight_of_a_loss_reaches_the_gradient() {
        for weight in [1.0, -0.25, 1e-3, 0.0] {
            let (mut tape, w, x, feeds) = tape();
            let product = tape.mul(w, x).unwrap();
            let total = tape.sum(product).unwrap();
            let loss = tape.scale(total, weight).unwrap();
            let gradient = tape.backward(loss).unwrap().of(w).unwrap();
            let weight = f64::from(weight);
            assert_eq!(run(&tape, &feeds).unwrap().value(gradient).data, [5.0 * weight, 7.0 * weight]);
        }
    }

    #[test]
    fn a_scaled_loss_has_scaled_gradients() {
        let (mut tape, w, x, mut feeds) = tape();
        let product = tape.mul(w, x).unwrap();
        let total = tape.sum(product).unwrap();
        let scale = tape.state("scale", [1]).unwrap();
        feeds.insert("scale".to_owned(), Tensor::new([1], vec![8.0]));
        let gradient = tape.backward_scaled(total, scale).unwrap().of(w).unwrap();
        assert_eq!(run(&tape, &feeds).unwrap().value(gradient).data, [40.0, 56.0]);
        assert_eq!(tape.backward_scaled(w, scale).unwrap_err(), TapeError::LossNotScalar([2].into()));
    }

    #[test]
    fn a_frozen_parameter_takes_no_gradient_and_the_others_do() {
        let (mut tape, w, x, _) = tape();
        let frozen = tape.parameter("frozen", [2]).unwrap();
        tape.freeze(frozen);
        let product = tape.mul(w, x).unwrap();
        let product = tape.mul(product, frozen).unwrap();
        let loss = tape.sum(product).unwrap();
        let gradients = tape.backward(loss).unwrap();
        assert!(gradients.of(w).is_some());
        assert!(gradients.of(frozen).is_none());
        assert_eq!(tape.parameters().iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["w"]);
    }

    #[test]
    fn a_loss_that_cannot_be_differentiated_says_why() {
        let (mut tape, w, x, _) = tape();
        assert_eq!(tape.backward(w).unwrap_err(), TapeError::LossNotScalar([2].into()));
        let constant = tape.sum(x).unwrap();
        assert_eq!(tape.backward(constant).unwrap_err(), TapeError::LossWithoutParameters);
    }

    #[test]
    fn shapes_that_do_not_fit_name_the_op_the_shapes_and_the_place() {
        let (mut tape, w, _, _) = tape();
        let other = tape.input("other", [3]).unwrap();
        let error = tape.scoped("head", |tape| tape.add(w, other)).unwrap_err().to_string();
        for word in ["add", "[2]", "[3]", "head"] {
            assert!(error.contains(word), "{word} is not in: {error}");
        }
    }
}

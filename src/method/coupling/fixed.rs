//! Weights that are given.

use super::{Coupling, Observed, Weights};

/// `L = L_target + Σ λ_k · L_k`. `lambdas` has one λ for each branch after the target.
pub fn new(lambdas: &[f64]) -> Box<dyn Coupling> {
    Box::new(Fixed { weights: [1.0].iter().chain(lambdas).copied().collect() })
}

#[derive(Debug)]
struct Fixed {
    /// Of each branch, the target first.
    weights: Vec<f64>,
}

impl Coupling for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn weights(&mut self, _observed: &Observed) -> Weights {
        Weights::of_losses(self.weights.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_counts_one_and_each_task_its_lambda() {
        let mut method = new(&[0.1, 0.0]);
        let weights = method.weights(&Observed { step: 7, losses: &[1.0, f64::NAN, 3.0], gram: &[] });
        assert_eq!(weights, Weights { shared: vec![1.0, 0.1, 0.0], own: vec![1.0, 0.1, 0.0] });
        assert!(method.save().is_null());
        assert!(method.restore(&1.into()).unwrap_err().contains("method fixed"));
    }
}

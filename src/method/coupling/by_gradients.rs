//! What the methods that combine gradients have in common.

use super::{Coupling, Observed, Setting, Weights};

/// A method whose weights follow from the gradients of the step alone.
#[derive(Debug)]
pub struct ByGradients {
    pub name: &'static str,
    pub setting: Setting,
    /// Weights in the shared gradient. The Gram matrix that it is given is finite.
    pub shared: fn(&Observed, Setting) -> Vec<f64>,
}

impl Coupling for ByGradients {
    fn name(&self) -> &'static str {
        self.name
    }

    fn weights(&mut self, observed: &Observed) -> Weights {
        let finite = observed.gram.iter().flatten().all(|product| product.is_finite());
        Weights::of_gradients(match finite {
            true => (self.shared)(observed, self.setting),
            false => vec![1.0; self.setting.branches],
        })
    }
}

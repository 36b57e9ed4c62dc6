//! Equal weights.

use super::{Coupling, Entry, Observed, Setting, Weights};

pub const ENTRY: Entry = Entry {
    name: "equal",
    about: "weight 1 for every loss; the baseline of Vandenhende et al. 2021, \"Multi-task learning for dense prediction tasks: a survey\"",
    make: |setting| Box::new(Equal { setting }),
};

/// `L = Σ L_k`: the baseline of every paper on the subject.
#[derive(Debug)]
struct Equal {
    setting: Setting,
}

impl Coupling for Equal {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn weights(&mut self, _observed: &Observed) -> Weights {
        Weights::of_losses(vec![1.0; self.setting.branches])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_branch_counts_one() {
        let mut method = (ENTRY.make)(Setting { branches: 3, steps_per_epoch: 1, seed: 0 });
        let weights = method.weights(&Observed { step: 0, losses: &[1.0, 2.0, 3.0], gram: &[] });
        assert_eq!(weights, Weights { shared: vec![1.0; 3], own: vec![1.0; 3] });
    }
}

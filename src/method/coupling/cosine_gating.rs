//! Gating by cosine similarity.

use super::by_gradients::ByGradients;
use super::{Entry, Observed, Setting};

pub const ENTRY: Entry = Entry {
    name: "cosine_gating",
    about: "an auxiliary gradient counts 1 while its cosine with the target's is positive, else 0; Du et al. 2018, \"Adapting auxiliary losses using gradient similarity\"",
    make: |setting| Box::new(ByGradients { name: ENTRY.name, setting, shared }),
};

/// Y. Du, W. M. Czarnecki, S. M. Jayakumar, M. Farajtabar, R. Pascanu, B. Lakshminarayanan, "Adapting
/// auxiliary losses using gradient similarity", 2018, the unweighted variant.
///
/// `g = g_0 + Σ [cos(g_0, g_k) > 0] · g_k` with g_0 the target's. A task's own parameters learn while its
/// gate is closed, as in the paper.
fn shared(observed: &Observed, _setting: Setting) -> Vec<f64> {
    let gate = |(k, row): (usize, &Vec<f64>)| if k == 0 || row[0] > 0.0 { 1.0 } else { 0.0 };
    observed.gram.iter().enumerate().map(gate).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::gram;
    use super::super::{Observed, Weights};
    use super::*;

    #[test]
    fn the_gate_opens_and_closes() {
        let mut method = (ENTRY.make)(Setting { branches: 4, steps_per_epoch: 1, seed: 0 });
        let mut weights = |target: [f64; 2]| {
            let all = [target.to_vec(), vec![1.0, 0.1], vec![-1.0, 5.0], vec![0.0, 1.0]];
            method.weights(&Observed { step: 0, losses: &[1.0; 4], gram: &gram(&all) })
        };
        let own = vec![1.0; 4];
        // The last is at a right angle: no help.
        assert_eq!(weights([1.0, 0.0]), Weights { shared: vec![1.0, 1.0, 0.0, 0.0], own: own.clone() });
        assert_eq!(weights([0.0, 1.0]), Weights { shared: vec![1.0; 4], own: own.clone() });
        assert_eq!(weights([0.0, -1.0]), Weights { shared: vec![1.0, 0.0, 0.0, 0.0], own: own.clone() });
        assert_eq!(weights([0.0, 0.0]), Weights { shared: vec![1.0, 0.0, 0.0, 0.0], own });
    }
}

//! Uncertainty weighting.

use serde_json::{Map, Value as Json};

use super::adam::{Adam, RATE};
use super::saved::Saved;
use super::{Coupling, Entry, Observed, Setting, Weights};

pub const ENTRY: Entry = Entry {
    name: "uncertainty",
    about: "Σ exp(−s_k) · L_k + s_k with learnt log variances s_k; Kendall, Gal & Cipolla 2018, \"Multi-task learning using uncertainty to weigh losses\"",
    make: |setting| Box::new(Uncertainty::new(setting)),
};

/// A. Kendall, Y. Gal, R. Cipolla, "Multi-task learning using uncertainty to weigh losses for scene
/// geometry and semantics", 2018.
///
/// `L = Σ exp(−s_k) · L_k + s_k` with `s_k = log σ_k²`: twice their `Σ L_k / 2σ_k² + log σ_k`, so that
/// training starts from equal weights, with s = 0. The weights are `exp(−s_k)`. `∂L/∂s_k = 1 −
/// exp(−s_k) · L_k` is 0 where `σ_k² = L_k`. One form serves all losses: the factor 2 by which the
/// paper's form for classification differs is one that σ learns.
///
/// s is learnt by [`Adam`] and kept within [`LIMIT`], as a loss of 0 would drive it without end.
#[derive(Debug)]
struct Uncertainty {
    log_variances: Vec<f64>,
    adam: Adam,
}

/// Weights stay within e^±10, which is 4.5e-5 to 22026.
const LIMIT: f64 = 10.0;

impl Uncertainty {
    fn new(setting: Setting) -> Uncertainty {
        Uncertainty { log_variances: vec![0.0; setting.branches], adam: Adam::new(RATE, setting.branches) }
    }
}

impl Coupling for Uncertainty {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn weights(&mut self, observed: &Observed) -> Weights {
        let weights: Vec<f64> = self.log_variances.iter().map(|s| (-s).exp()).collect();
        let gradient: Vec<f64> =
            weights.iter().zip(observed.losses).map(|(weight, loss)| 1.0 - weight * loss).collect();
        self.adam.update(&mut self.log_variances, &gradient);
        self.log_variances.iter_mut().for_each(|s| *s = s.clamp(-LIMIT, LIMIT));
        Weights::of_losses(weights)
    }

    fn save(&self) -> Json {
        let mut state = Map::new();
        state.insert("log_variances".into(), self.log_variances.clone().into());
        self.adam.save(&mut state);
        state.into()
    }

    fn restore(&mut self, saved: &Json) -> Result<(), String> {
        let saved = Saved::new(ENTRY.name, saved);
        let log_variances = saved.numbers("log_variances", self.log_variances.len(), -LIMIT..=LIMIT)?;
        *self = Uncertainty { log_variances, adam: self.adam.restored(&saved)? };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::assert_close;
    use super::*;

    fn run(losses: &[f64], steps: usize) -> Vec<f64> {
        let mut method = Uncertainty::new(Setting { branches: losses.len(), steps_per_epoch: 1, seed: 0 });
        for step in 0..steps {
            method.weights(&Observed { step, losses, gram: &[] });
        }
        method.weights(&Observed { step: steps, losses, gram: &[] }).shared
    }

    #[test]
    fn starts_from_equal_weights_and_moves_by_the_rate() {
        assert_eq!(run(&[5.0, 0.2], 0), [1.0, 1.0]);
        // Adam's first step is of the rate: s = ±0.025. A loss above 1 = σ² counts less.
        assert_close(&run(&[5.0, 0.2], 1), &[(-0.025f64).exp(), 0.025f64.exp()], 1e-8);
    }

    #[test]
    fn constant_losses_become_the_variances() {
        let losses = [4.0, 0.5, 0.03];
        let weights = run(&losses, 4000);
        for (weight, loss) in weights.iter().zip(losses) {
            assert!((weight * loss - 1.0).abs() < 1e-3, "{weights:?}");
        }
    }

    #[test]
    fn a_loss_of_zero_stays_within_the_limit() {
        assert_close(&run(&[0.0, 1.0], 3000), &[LIMIT.exp(), 1.0], 1e-6);
    }
}

//! GradNorm.

use serde_json::{Map, Value as Json};

use super::adam::{Adam, RATE};
use super::saved::{ANY, Saved};
use super::{Coupling, Entry, Observed, Setting, Weights};

pub const ENTRY: Entry = Entry {
    name: "gradnorm",
    about: "learnt weights that bring each w_k‖g_k‖ to its mean times (relative loss)^1.5; Chen, Badrinarayanan, Lee & Rabinovich 2018, \"GradNorm\"",
    make: |setting| Box::new(GradNorm::new(setting)),
};

/// Z. Chen, V. Badrinarayanan, C.-Y. Lee, A. Rabinovich, "GradNorm: gradient normalization for
/// adaptive loss balancing in deep multitask networks", 2018.
///
/// `min_w Σ |w_k‖g_k‖ − Ḡ · r_k^α|` with Ḡ the mean of all `w_k‖g_k‖`, which the minimisation holds
/// fixed, `r_k = L̃_k / mean(L̃)`, `L̃_k = L_k / L_k(0)` and α = 1.5: a loss that lags behind gets a
/// larger gradient. So `∂/∂w_k = sign(w_k‖g_k‖ − Ḡ · r_k^α) · ‖g_k‖`. One step of [`Adam`] for each of
/// training; then the weights are scaled to sum to K.
///
/// The norms are over all shared parameters, where the paper takes the last shared layer to save
/// time. Weights stay above [`LEAST`], as Adam may step below 0. A loss that was not positive at the
/// first step, or is not now, counts as unchanged.
#[derive(Debug)]
struct GradNorm {
    weights: Vec<f64>,
    /// Losses of the first step.
    first: Option<Vec<f64>>,
    adam: Adam,
}

const ALPHA: f64 = 1.5;
/// Before the scaling.
const LEAST: f64 = 1e-3;

impl GradNorm {
    fn new(setting: Setting) -> GradNorm {
        GradNorm {
            weights: vec![1.0; setting.branches],
            first: None,
            adam: Adam::new(RATE, setting.branches),
        }
    }

    fn learn(&mut self, losses: &[f64], norms: &[f64]) {
        let branches = self.weights.len() as f64;
        let first = self.first.get_or_insert_with(|| losses.to_vec());
        let relative: Vec<f64> = losses.iter().zip(first).map(|(now, first)| ratio(*now, *first)).collect();
        let mean_relative = relative.iter().sum::<f64>() / branches;
        let weighted: Vec<f64> = self.weights.iter().zip(norms).map(|(w, norm)| w * norm).collect();
        let mean = weighted.iter().sum::<f64>() / branches;
        let mut gradient = Vec::with_capacity(weighted.len());
        for ((weighted, relative), norm) in weighted.iter().zip(&relative).zip(norms) {
            let wanted = mean * (relative / mean_relative).powf(ALPHA);
            gradient.push(match weighted.partial_cmp(&wanted) {
                Some(std::cmp::Ordering::Greater) => *norm,
                Some(std::cmp::Ordering::Less) => -norm,
                _ => 0.0,
            });
        }
        self.adam.update(&mut self.weights, &gradient);
        self.weights.iter_mut().for_each(|weight| *weight = weight.max(LEAST));
        let scale = branches / self.weights.iter().sum::<f64>();
        self.weights.iter_mut().for_each(|weight| *weight *= scale);
    }
}

fn ratio(now: f64, first: f64) -> f64 {
    match now > 0.0 && first > 0.0 {
        true => (now / first).clamp(1e-6, 1e6),
        false => 1.0,
    }
}

impl Coupling for GradNorm {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn weights(&mut self, observed: &Observed) -> Weights {
        let weights = Weights::of_losses(self.weights.clone());
        let norms: Vec<f64> =
            observed.gram.iter().enumerate().map(|(k, row)| row[k].max(0.0).sqrt()).collect();
        if observed.losses.iter().chain(observed.gram.iter().flatten()).all(|value| value.is_finite()) {
            self.learn(observed.losses, &norms);
        }
        weights
    }

    fn save(&self) -> Json {
        let mut state = Map::new();
        state.insert("weights".into(), self.weights.clone().into());
        state.insert("first".into(), self.first.clone().into());
        self.adam.save(&mut state);
        state.into()
    }

    fn restore(&mut self, saved: &Json) -> Result<(), String> {
        let (saved, branches) = (Saved::new(ENTRY.name, saved), self.weights.len());
        *self = GradNorm {
            weights: saved.numbers("weights", branches, 0.0..=branches as f64)?,
            first: saved.numbers_or_none("first", branches, ANY)?,
            adam: self.adam.restored(&saved)?,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::assert_close;
    use super::*;

    fn diagonal(norms: &[f64]) -> Vec<Vec<f64>> {
        let entry = |i, j| if i == j { norms[i] * norms[i] } else { 0.0 };
        (0..norms.len()).map(|i| (0..norms.len()).map(|j| entry(i, j)).collect()).collect()
    }

    fn new(branches: usize) -> GradNorm {
        GradNorm::new(Setting { branches, steps_per_epoch: 1, seed: 0 })
    }

    #[test]
    fn one_step_by_hand() {
        let mut method = new(3);
        let gram = diagonal(&[4.0, 1.0, 1.0]);
        let observed = Observed { step: 0, losses: &[1.0, 2.0, 3.0], gram: &gram };
        assert_eq!(method.weights(&observed).shared, [1.0; 3]);
        // At the first step r = 1, Ḡ = 2: the first is too large, the others too small. Adam moves
        // each by its rate: 0.975, 1.025, 1.025, of sum 3.025.
        let expected = [0.975, 1.025, 1.025].map(|weight| weight * 3.0 / 3.025);
        assert_close(&method.weights(&observed).shared, &expected, 1e-8);
    }

    #[test]
    fn the_relative_loss_decides_between_equal_gradients() {
        let mut method = new(2);
        let gram = diagonal(&[1.0, 1.0]);
        method.weights(&Observed { step: 0, losses: &[2.0, 2.0], gram: &gram });
        // Equal norms and r = 1: nothing to do.
        assert_close(&method.weights, &[1.0, 1.0], 0.0);
        // L̃ = (1/2, 1), r = (2/3, 4/3): wanted norms below and above 1. Adam has had a zero gradient,
        // so m̂ / √v̂ = (0.1/0.19) / √(0.001/0.001999) = 0.744128, times 0.025 = 0.0186032.
        method.weights(&Observed { step: 1, losses: &[1.0, 2.0], gram: &gram });
        assert_close(&method.weights, &[1.0 - 0.0186032, 1.0 + 0.0186032], 1e-6);
    }

    #[test]
    fn the_exponent_decides_what_lags_behind() {
        // Norms 2 and 1, Ḡ = 1.5. For r = 1.3 the first is to have 1.5 · 1.3^1.5 = 2.22, more than it
        // has; for r = 1.2 1.5 · 1.2^1.5 = 1.97, less.
        for (relative, rises) in [(1.3, true), (1.2, false)] {
            let mut method = new(2);
            method.weights(&Observed { step: 0, losses: &[1.0, 1.0], gram: &diagonal(&[1.0, 1.0]) });
            let losses = [relative, 2.0 - relative];
            method.weights(&Observed { step: 1, losses: &losses, gram: &diagonal(&[2.0, 1.0]) });
            assert_eq!(method.weights[0] > 1.0, rises, "{:?}", method.weights);
        }
    }

    #[test]
    fn weights_stay_positive_beside_a_far_larger_gradient() {
        let mut method = new(2);
        let gram = diagonal(&[1e6, 1.0]);
        for step in 0..200 {
            let weights = method.weights(&Observed { step, losses: &[1.0, 1.0], gram: &gram }).shared;
            assert!(weights.iter().all(|weight| *weight > 0.0), "step {step}: {weights:?}");
        }
        // The first is to count 2e-6 of the second.
        assert!(method.weights[0] < 0.1, "{:?}", method.weights);
    }

    #[test]
    fn weighted_norms_become_equal_for_constant_losses() {
        let mut method = new(3);
        let gram = diagonal(&[2.0, 1.0, 0.5]);
        for step in 0..2000 {
            let weights = method.weights(&Observed { step, losses: &[1.0, 1.0, 1.0], gram: &gram }).shared;
            assert!((weights.iter().sum::<f64>() - 3.0).abs() < 1e-12);
        }
        // w ∝ (1/2, 1, 2), of sum 3; the L1 objective leaves steps of up to the rate.
        assert_close(&method.weights, &[3.0 / 7.0, 6.0 / 7.0, 12.0 / 7.0], 0.1);
    }
}

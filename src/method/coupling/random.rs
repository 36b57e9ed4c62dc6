//! Random loss weighting.

use rand_distr::{Distribution, StandardNormal};

use super::math::softmax_times_count;
use super::{Coupling, Entry, Observed, Setting, Weights};
use crate::rng::{Purpose, rng};

pub const ENTRY: Entry = Entry {
    name: "random",
    about: "K · softmax(z), z normal and new in each step; Lin, Ye, Zhang & Tsang 2022, \"Reasonable effectiveness of random weighting\"",
    make: |setting| Box::new(Random { setting }),
};

/// B. Lin, F. Ye, Y. Zhang, I. W. Tsang, "Reasonable effectiveness of random weighting: a litmus test
/// for multi-task learning", 2022.
///
/// `w = K · softmax(z)` with `z_k ~ N(0, 1)`, drawn anew in each step.
#[derive(Debug)]
struct Random {
    setting: Setting,
}

impl Coupling for Random {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn weights(&mut self, observed: &Observed) -> Weights {
        let mut rng = rng(self.setting.seed, Purpose::Coupling, observed.step as u64);
        let z: Vec<f64> = (0..self.setting.branches).map(|_| StandardNormal.sample(&mut rng)).collect();
        Weights::of_losses(softmax_times_count(&z))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(seed: u64, step: usize) -> Vec<f64> {
        let mut method = (ENTRY.make)(Setting { branches: 4, steps_per_epoch: 1, seed });
        method.weights(&Observed { step, losses: &[], gram: &[] }).shared
    }

    #[test]
    fn sum_and_mean_are_those_of_equal_weights() {
        let steps = 4000;
        let mut means = [0.0; 4];
        for step in 0..steps {
            let weights = draw(3, step);
            assert!((weights.iter().sum::<f64>() - 4.0).abs() < 1e-12);
            assert!(weights.iter().all(|weight| *weight > 0.0));
            means.iter_mut().zip(weights).for_each(|(mean, weight)| *mean += weight / steps as f64);
        }
        // By symmetry 1; a weight within 0 to 4 of mean 1 has a variance below 3, so the error of the
        // mean is below √(3/4000) = 0.027.
        assert!(means.iter().all(|mean| (mean - 1.0).abs() < 0.09), "{means:?}");
    }

    #[test]
    fn draws_are_normal_before_the_softmax() {
        // log w_0 − log w_1 = z_0 − z_1, of mean 0 and variance 2.
        let steps = 4000;
        let differences: Vec<f64> =
            (0..steps).map(|step| draw(3, step)).map(|w| w[0].ln() - w[1].ln()).collect();
        let mean = differences.iter().sum::<f64>() / steps as f64;
        let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / steps as f64;
        // Standard errors √(2/4000) and 2·√(2/4000).
        assert!(mean.abs() < 0.09 && (variance - 2.0).abs() < 0.18, "{mean} {variance}");
    }

    #[test]
    fn seed_and_step_decide() {
        assert_eq!(draw(1, 5), draw(1, 5));
        assert_ne!(draw(1, 5), draw(1, 6));
        assert_ne!(draw(1, 5), draw(2, 5));
    }
}

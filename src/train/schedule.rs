//! The learning rate at each step.

use crate::config::schema::{Schedule, TrainConfig};
use std::f64::consts::PI;

/// The learning rate of step `step` (from 0) in a run of `steps` steps.
///
/// While `step < warmup_steps = w` it rises linearly, `lr · (step + 1) / w`.
/// After that, with `k = step − w` and `n = steps − w`:
///
/// * constant: `lr`
/// * cosine: `lr · (1 + cos(πk/n)) / 2`; Loshchilov and Hutter, "SGDR", 2017, equation 5
///   without restarts and with a lowest rate of 0, as `CosineAnnealingLR` of PyTorch
/// * polynomial: `lr · (1 − k/n)^polynomial_power`; the "poly" policy of Chen et al., "DeepLab", 2017
///
/// Steps at or after the end have the rate of the end, which is 0 for the last two.
/// A warm-up longer than the run never finishes.
pub fn learning_rate(config: &TrainConfig, step: usize, steps: usize) -> f64 {
    let warmup = config.warmup_steps;
    if step < warmup {
        return config.learning_rate * (step + 1) as f64 / warmup as f64;
    }
    let total = steps.saturating_sub(warmup);
    // A run without steps after the warm-up is at its end.
    let done = if total == 0 { 1.0 } else { ((step - warmup) as f64 / total as f64).min(1.0) };
    let factor = match config.schedule {
        Schedule::Constant => 1.0,
        Schedule::Cosine => 0.5 * (1.0 + (PI * done).cos()),
        Schedule::Polynomial => (1.0 - done).powf(config.polynomial_power),
    };
    config.learning_rate * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(schedule: Schedule, warmup_steps: usize) -> TrainConfig {
        TrainConfig {
            schedule,
            warmup_steps,
            learning_rate: 0.2,
            polynomial_power: 2.0,
            ..TrainConfig::default()
        }
    }

    #[track_caller]
    fn check(config: &TrainConfig, steps: usize, expected: &[(usize, f64)]) {
        for &(step, rate) in expected {
            let got = learning_rate(config, step, steps);
            assert!((got - rate).abs() < 1e-12, "step {step}: {got}, expected {rate}");
        }
    }

    #[test]
    fn constant() {
        check(&config(Schedule::Constant, 0), 10, &[(0, 0.2), (5, 0.2), (9, 0.2), (100, 0.2)]);
    }

    #[test]
    fn cosine() {
        // cos 60° = 1/2, cos 90° = 0, cos 120° = -1/2.
        let expected = [(0, 0.2), (2, 0.15), (3, 0.1), (4, 0.05), (6, 0.0), (7, 0.0)];
        check(&config(Schedule::Cosine, 0), 6, &expected);
    }

    #[test]
    fn polynomial() {
        // (3/4)² = 0.5625, (1/2)² = 0.25, (1/4)² = 0.0625.
        let expected = [(0, 0.2), (1, 0.1125), (2, 0.05), (3, 0.0125), (4, 0.0), (9, 0.0)];
        check(&config(Schedule::Polynomial, 0), 4, &expected);
    }

    #[test]
    fn warmup_rises_and_then_the_schedule_starts() {
        let expected = [(0, 0.05), (1, 0.1), (2, 0.15), (3, 0.2), (4, 0.2), (6, 0.15), (7, 0.1), (8, 0.05)];
        check(&config(Schedule::Cosine, 4), 10, &expected);
    }

    #[test]
    fn warmup_longer_than_the_run() {
        check(&config(Schedule::Cosine, 8), 2, &[(0, 0.025), (1, 0.05), (7, 0.2), (8, 0.0)]);
    }

    #[test]
    fn run_without_steps() {
        check(&config(Schedule::Polynomial, 0), 0, &[(0, 0.0)]);
    }
}

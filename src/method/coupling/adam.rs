//! Adam for the few numbers that a method learns beside the network.

use serde_json::{Map, Value as Json};

use super::saved::{ANY, Saved};

/// Kingma & Ba, "Adam: a method for stochastic optimization", 2015, with β₁ = 0.9, β₂ = 0.999.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    rate: f64,
    first_moment: Vec<f64>,
    second_moment: Vec<f64>,
    updates: u64,
}

/// Learning rate of loss weights, as in Chen et al. 2018 (GradNorm) for their own method and for
/// uncertainty weighting, whatever the learning rate of the network.
pub const RATE: f64 = 0.025;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

impl Adam {
    pub fn new(rate: f64, count: usize) -> Adam {
        Adam { rate, first_moment: vec![0.0; count], second_moment: vec![0.0; count], updates: 0 }
    }

    /// Moves `values` against `gradient`. A gradient whose square is not finite is passed over.
    pub fn update(&mut self, values: &mut [f64], gradient: &[f64]) {
        if gradient.iter().any(|g| !(g * g).is_finite()) {
            return;
        }
        self.updates += 1;
        let power = self.updates as f64;
        let (correct_1, correct_2) = (1.0 - BETA_1.powf(power), 1.0 - BETA_2.powf(power));
        let moments = self.first_moment.iter_mut().zip(&mut self.second_moment);
        for ((value, g), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
            *first += (1.0 - BETA_1) * (g - *first);
            *second += (1.0 - BETA_2) * (g * g - *second);
            *value -= self.rate * (*first / correct_1) / ((*second / correct_2).sqrt() + EPSILON);
        }
    }

    /// Adds its state to that of a method.
    pub fn save(&self, state: &mut Map<String, Json>) {
        state.insert("first_moment".into(), self.first_moment.clone().into());
        state.insert("second_moment".into(), self.second_moment.clone().into());
        state.insert("updates".into(), self.updates.into());
    }

    pub fn restored(&self, saved: &Saved) -> Result<Adam, String> {
        let count = self.first_moment.len();
        Ok(Adam {
            rate: self.rate,
            first_moment: saved.numbers("first_moment", count, ANY)?,
            second_moment: saved.numbers("second_moment", count, 0.0..=f64::MAX)?,
            updates: saved.count("updates")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::assert_close;
    use super::*;

    #[test]
    fn two_steps_by_hand() {
        let mut adam = Adam::new(0.1, 2);
        let mut values = [1.0, 1.0];
        // m̂ = g and v̂ = g²: a step of the rate against the sign.
        adam.update(&mut values, &[2.0, -1e-3]);
        assert_close(&values, &[0.9, 1.1], 1e-5);
        // m = 0.9·0.2 + 0.1·(−2) = −0.02, m̂ = −0.02/0.19; v̂ = 4.
        adam.update(&mut values, &[-2.0, 0.0]);
        assert!((values[0] - (0.9 + 0.1 * (0.02 / 0.19) / 2.0)).abs() < 1e-8, "{values:?}");
    }

    #[test]
    fn a_spoilt_gradient_is_passed_over() {
        let mut adam = Adam::new(0.1, 2);
        let mut values = [1.0, 2.0];
        adam.update(&mut values, &[f64::NAN, 1.0]);
        adam.update(&mut values, &[1e200, 1.0]);
        assert_eq!((values, adam), ([1.0, 2.0], Adam::new(0.1, 2)));
    }
}

//! Dynamic weight average.

use serde_json::{Value as Json, json};

use super::math::softmax_times_count;
use super::saved::{ANY, Saved};
use super::{Coupling, Entry, Observed, Setting, Weights};

pub const ENTRY: Entry = Entry {
    name: "dwa",
    about: "K · softmax(r_k / 2), r_k the ratio of the mean losses of the last two epochs; Liu, Johns & Davison 2019, \"End-to-end multi-task learning with attention\"",
    make: |setting| Box::new(Dwa::new(setting)),
};

/// S. Liu, E. Johns, A. J. Davison, "End-to-end multi-task learning with attention", 2019.
///
/// `w_k = K · exp(r_k / T) / Σ exp(r_i / T)` with `r_k = L_k(t − 1) / L_k(t − 2)`, where L(t) is the mean
/// loss of epoch t, and T = 2: a loss that falls slowly counts more. r = 1 in the first two epochs,
/// and where a mean loss is not positive, of which no rate can be told.
#[derive(Debug)]
struct Dwa {
    steps_per_epoch: usize,
    /// Mean losses of this epoch so far, and the steps in them.
    current: Vec<f64>,
    counted: u64,
    /// Of the epoch before, and the one before that.
    last: Option<Vec<f64>>,
    before_last: Option<Vec<f64>>,
}

const TEMPERATURE: f64 = 2.0;

impl Dwa {
    fn new(setting: Setting) -> Dwa {
        Dwa {
            steps_per_epoch: setting.steps_per_epoch.max(1),
            current: vec![0.0; setting.branches],
            counted: 0,
            last: None,
            before_last: None,
        }
    }

    fn end_epoch(&mut self) {
        // An epoch of spoilt steps alone has no mean.
        if self.counted > 0 {
            let fresh = vec![0.0; self.current.len()];
            self.before_last = self.last.replace(std::mem::replace(&mut self.current, fresh));
            self.counted = 0;
        }
    }

    fn count(&mut self, losses: &[f64]) {
        if losses.iter().all(|loss| loss.is_finite()) {
            self.counted += 1;
            // A running mean, as a sum may overflow.
            for (mean, loss) in self.current.iter_mut().zip(losses) {
                *mean += loss / self.counted as f64 - *mean / self.counted as f64;
            }
        }
    }
}

/// `last / before`, kept where a softmax is finite.
fn ratio(last: f64, before: f64) -> f64 {
    match last > 0.0 && before > 0.0 {
        true => (last / before).min(1e6),
        false => 1.0,
    }
}

impl Coupling for Dwa {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn weights(&mut self, observed: &Observed) -> Weights {
        if observed.step.is_multiple_of(self.steps_per_epoch) {
            self.end_epoch();
        }
        self.count(observed.losses);
        Weights::of_losses(match (&self.last, &self.before_last) {
            (Some(last), Some(before)) => {
                let logit = |(last, before): (&f64, &f64)| ratio(*last, *before) / TEMPERATURE;
                softmax_times_count(&last.iter().zip(before).map(logit).collect::<Vec<_>>())
            }
            _ => vec![1.0; self.current.len()],
        })
    }

    fn save(&self) -> Json {
        json!({
            "current": self.current,
            "counted": self.counted,
            "last": self.last,
            "before_last": self.before_last,
        })
    }

    fn restore(&mut self, saved: &Json) -> Result<(), String> {
        let (saved, branches) = (Saved::new(ENTRY.name, saved), self.current.len());
        *self = Dwa {
            steps_per_epoch: self.steps_per_epoch,
            current: saved.numbers("current", branches, ANY)?,
            counted: saved.count("counted")?,
            last: saved.numbers_or_none("last", branches, ANY)?,
            before_last: saved.numbers_or_none("before_last", branches, ANY)?,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::assert_close;
    use super::*;

    /// Weights of the step after `steps`.
    fn after(steps: &[[f64; 2]]) -> Vec<f64> {
        let mut method = Dwa::new(Setting { branches: 2, steps_per_epoch: 2, seed: 0 });
        for (step, losses) in steps.iter().enumerate() {
            method.weights(&Observed { step, losses, gram: &[] });
        }
        method.weights(&Observed { step: steps.len(), losses: &[9.0, 9.0], gram: &[] }).shared
    }

    /// Means (4, 2), then (2, 2), then (1, 1).
    const STEPS: [[f64; 2]; 6] = [[5.0, 1.0], [3.0, 3.0], [1.0, 2.0], [3.0, 2.0], [1.0, 0.5], [1.0, 1.5]];

    #[test]
    fn two_epochs_have_equal_weights() {
        for steps in 0..4 {
            assert_eq!(after(&STEPS[..steps]), [1.0, 1.0]);
        }
    }

    #[test]
    fn third_and_fourth_epoch_by_hand() {
        // r = (2/4, 2/2): exponents 0.25 and 0.5; 2 / (1 + e^0.25) = 0.875647.
        assert_close(&after(&STEPS[..4]), &[0.875647, 1.124353], 1e-6);
        // The same within the epoch, whatever its losses.
        assert_close(&after(&STEPS[..5]), &[0.875647, 1.124353], 1e-6);
        // r = (1/2, 1/2).
        assert_close(&after(&STEPS), &[1.0, 1.0], 1e-15);
    }

    #[test]
    fn losses_of_zero_and_spoilt_steps_do_no_harm() {
        assert_eq!(after(&[[0.0, 0.0]; 4]), [1.0, 1.0]);
        let mut steps = STEPS[..4].to_vec();
        steps.splice(2..2, [[f64::NAN, 1.0], [1.0, f64::INFINITY]]);
        assert_close(&after(&steps), &[0.875647, 1.124353], 1e-6);
    }
}

//! A short training beside the f64 reference, loss by loss.
//!
//! A training amplifies roundings: once a ReLU turns the other way, two right devices part. So what a loss may differ by
//! is measured, not guessed: the reference trains again with the norms' inputs disturbed as roundings would, and a device
//! may be some times as far off as that.

use std::collections::HashMap;
use std::sync::Arc;

use super::VerifyError;
use super::step::StepCase;
use crate::config::Config;
use crate::gpu::{Gpu, Session, States};
use crate::ops::Hyper;
use crate::program::Program;
use crate::reference::{self, Tensor};
use crate::train::step::{HYPER, LOSS};

/// Steps of the training.
pub const STEPS: usize = 30;
const BATCH: usize = 2;
const SIZE: usize = 16;
const LEARNING_RATE: f64 = 1e-2;
/// Disturbed trainings of the reference.
const DISTURBED: u64 = 3;
/// How many times as far as the furthest of them a device may be.
const MARGIN: f64 = 10.0;
/// What a loss may differ by in any case, relative.
const LEAST: f64 = 1e-5;

/// The training of a small U-Net on one batch, and what the reference makes of it.
pub struct TrainingCase {
    pub step: StepCase,
    /// Of each step.
    pub losses: Vec<f64>,
    /// What each may differ by; it grows from step to step.
    pub bounds: Vec<f64>,
}

/// What a device made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    pub losses: Vec<f32>,
    /// All states at the end, in the tape's order.
    pub states: Vec<Vec<f32>>,
}

impl Trained {
    /// Whether two trainings are the same to the bit.
    pub fn same_bits(&self, other: &Trained) -> bool {
        let bits = |t: &Trained| -> Vec<u32> {
            t.losses.iter().chain(t.states.iter().flatten()).map(|x| x.to_bits()).collect()
        };
        bits(self) == bits(other)
    }
}

impl TrainingCase {
    /// A U-Net of two levels from 4 channels on, on two images of 16 × 16 pixels.
    pub fn new() -> Result<TrainingCase, VerifyError> {
        let mut config = Config::default();
        (config.model.base_channels, config.model.depth) = (4, 2);
        let step = StepCase::new(&config, BATCH, SIZE)?;
        let losses = reference_losses(&step, None)?;
        let mut bounds: Vec<f64> = losses.iter().map(|loss| LEAST * loss.abs()).collect();
        for seed in 0..DISTURBED {
            let disturbed = reference_losses(&step, Some(seed))?;
            let mut most: f64 = 0.0;
            for ((bound, loss), disturbed) in bounds.iter_mut().zip(&losses).zip(disturbed) {
                most = most.max((disturbed - loss).abs());
                *bound = bound.max(MARGIN * most);
            }
        }
        Ok(TrainingCase { step, losses, bounds })
    }

    /// Trains on the device by `program`, compiled of the step's tape, at most so many operations a submission.
    pub fn train(
        &self,
        gpu: &Arc<Gpu>,
        program: Program,
        flops_per_submission: Option<u64>,
    ) -> Result<Trained, VerifyError> {
        let mut states = States::new();
        let mut session = Session::new(gpu, program, &mut states)?;
        if let Some(flops) = flops_per_submission {
            session.submit_at_most(flops);
        }
        self.step.write(gpu, &mut session, &states)?;
        let mut losses = vec![];
        for step in 1..=STEPS {
            session.write(HYPER, &hyper(step))?;
            session.run()?;
            losses.extend(session.read(LOSS)?);
        }
        let names: Vec<&str> = self.step.step.tape.states().map(|(name, _)| name).collect();
        Ok(Trained { losses, states: states.read_all(gpu, &names)? })
    }

    /// The step whose loss is furthest off beside its bound, from 1, with both. A loss that is no number is infinitely far off.
    pub fn worst(&self, losses: &[f32]) -> (usize, f64, f64) {
        let mut worst = (1, 0.0, self.bounds[0]);
        for (index, (expected, bound)) in self.losses.iter().zip(&self.bounds).enumerate() {
            let error = losses.get(index).map_or(f64::INFINITY, |loss| (f64::from(*loss) - expected).abs());
            let error = if error.is_nan() { f64::INFINITY } else { error };
            if error * worst.2 > worst.1 * bound {
                worst = (index + 1, error, *bound);
            }
        }
        worst
    }
}

/// The optimiser's numbers at a step, counted from 1.
pub fn hyper(step: usize) -> Vec<f32> {
    Hyper::adam_defaults(LEARNING_RATE, step).to_array().to_vec()
}

/// The reference's losses; with a seed those of a disturbed training.
fn reference_losses(case: &StepCase, seed: Option<u64>) -> Result<Vec<f64>, VerifyError> {
    let tape = &case.step.tape;
    let mut feeds: HashMap<String, Tensor> = case.feeds.clone();
    let mut losses = vec![];
    for step in 1..=STEPS {
        let numbers = hyper(step);
        feeds.insert(HYPER.to_owned(), Tensor::from_f32([numbers.len()], &numbers));
        let run = match seed {
            None => reference::run(tape, &feeds)?,
            Some(seed) => case.run_disturbed(&feeds, seed * STEPS as u64 + step as u64)?,
        };
        losses.extend(&run.value(case.step.loss).data);
        feeds.extend(run.states);
    }
    Ok(losses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_learns_and_roundings_move_it_little() {
        let case = TrainingCase::new().unwrap();
        assert_eq!((case.losses.len(), case.bounds.len()), (STEPS, STEPS));
        assert!(case.losses[STEPS - 1] < 0.9 * case.losses[0], "{:?}", case.losses);
        assert!(case.bounds.windows(2).all(|b| b[0] <= b[1] * 1.5), "{:?}", case.bounds);
        assert!(case.bounds[STEPS - 1] < 0.02 * case.losses[STEPS - 1], "{:?}", case.bounds);
    }

    #[test]
    fn a_step_that_is_a_thousandth_off_is_seen() {
        let case = TrainingCase::new().unwrap();
        let mut feeds = case.step.feeds.clone();
        let mut losses = vec![];
        for step in 1..=STEPS {
            let numbers = hyper(step);
            feeds.insert(HYPER.to_owned(), Tensor::from_f32([numbers.len()], &numbers));
            let run = reference::run_altered(&case.step.step.tape, &feeds, &mut |_, tensor| {
                tensor.data.iter_mut().for_each(|x| *x *= 1.001);
            });
            let run = run.unwrap();
            losses.push(run.value(case.step.step.loss).data[0] as f32);
            feeds.extend(run.states);
        }
        let (_, error, bound) = case.worst(&losses);
        assert!(error > 2.0 * bound, "{error} of {bound}");
    }

    #[test]
    fn a_loss_that_is_off_or_no_number_is_seen() {
        let case = TrainingCase::new().unwrap();
        let right: Vec<f32> = case.losses.iter().map(|loss| *loss as f32).collect();
        let (_, error, bound) = case.worst(&right);
        assert!(error <= bound);
        for wrong in [f32::NAN, f32::INFINITY, right[20] * 1.1] {
            let mut losses = right.clone();
            losses[20] = wrong;
            let (step, error, bound) = case.worst(&losses);
            assert!(step == 21 && error > bound, "{wrong}: {error} of {bound}");
        }
        assert!(case.worst(&right[..10]).1.is_infinite(), "losses that are missing");
    }
}

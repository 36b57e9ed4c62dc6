//! A whole training of a small U-Net, step by step beside the f64 reference.

use std::collections::HashMap;

use rand::RngExt;

use super::check::{Check, Checks, Steps};
use crate::config::Config;
use crate::conformance::report::Group;
use crate::ops::Hyper;
use crate::program::{Caps, Family, compile};
use crate::reference::{self, Tensor};
use crate::rng::{Purpose, rng};
use crate::tape::Value;
use crate::train::step::{HYPER, IMAGES, LOSS, MASKS, TrainStep, train_step};
use crate::verify::VerifyError;
use crate::web::{Program, Shaders};

pub const STEPS: usize = 30;
/// Images in a batch, and their side.
const BATCH: usize = 2;
const SIZE: usize = 32;
/// Batches that are given in turn.
const BATCHES: usize = 4;
const LEARNING_RATE: f64 = 3e-3;

/// How far a loss may be off, relative to it. Roundings turn a ReLU here and there, and each step goes on from what the
/// last one left. A reference that rounds each value to f32 stays within a tenth of it, and one that is off by a
/// thousandth does not, see the tests.
const TOLERANCE: f64 = 1e-4;

/// A training with all that it is given.
struct Training {
    step: TrainStep,
    states: HashMap<String, Tensor>,
    /// Images and masks of each batch.
    batches: Vec<[Tensor; 2]>,
}

impl Training {
    fn new() -> Result<Training, VerifyError> {
        let mut config = Config::default();
        (config.model.base_channels, config.model.depth) = (4, 2);
        let step = train_step(&config, BATCH, SIZE)?;
        let zeros =
            step.tape.states().map(|(name, v)| (name.to_owned(), Tensor::zeros(step.tape.shape(v).clone())));
        let mut states: HashMap<String, Tensor> = zeros.collect();
        for (name, shape, init) in step.starts() {
            let numbers = init.numbers(shape.len(), 0, name);
            states.insert(name.to_owned(), Tensor::from_f32(shape, &numbers));
        }
        Ok(Training { step, states, batches: (0..BATCHES as u64).map(batch).collect() })
    }

    /// What is given before step `index`, by name.
    fn feeds(&self, index: usize) -> [(&'static str, Tensor); 3] {
        let [images, masks] = self.batches[index % BATCHES].clone();
        let hyper = Hyper::adam_defaults(LEARNING_RATE, index + 1).to_array();
        [(IMAGES, images), (MASKS, masks), (HYPER, Tensor::from_f32([hyper.len()], &hyper))]
    }

    /// The loss of each step by the reference, which hands each value to `alter`.
    fn losses(&self, alter: &mut dyn FnMut(Value, &mut Tensor)) -> Result<Vec<f64>, VerifyError> {
        let mut feeds = self.states.clone();
        let mut losses = vec![];
        for index in 0..STEPS {
            feeds.extend(self.feeds(index).map(|(name, tensor)| (name.to_owned(), tensor)));
            let run = reference::run_altered(&self.step.tape, &feeds, alter)?;
            losses.push(run.value(self.step.loss).data[0]);
            feeds.extend(run.states);
        }
        Ok(losses)
    }
}

/// Noisy images with a bright disc each, which the mask marks.
fn batch(index: u64) -> [Tensor; 2] {
    let mut rng = rng(0, Purpose::Case, 2_000 + index);
    let (mut images, mut masks) = (vec![], vec![]);
    for _ in 0..BATCH {
        let side = SIZE as f32;
        let radius = rng.random_range(0.15..0.3) * side;
        let centre = [0.0; 2].map(|_: f32| rng.random_range(radius..side - radius));
        for y in 0..SIZE {
            for x in 0..SIZE {
                let inside = (x as f32 - centre[0]).hypot(y as f32 - centre[1]) < radius;
                let inside = f32::from(u8::from(inside));
                masks.push(inside);
                images.push(inside - 0.3 + rng.random_range(-1.0..1.0));
            }
        }
    }
    [images, masks].map(|numbers| Tensor::from_f32([BATCH, SIZE, SIZE, 1], &numbers))
}

/// The training by each family of kernels.
pub fn checks(shaders: &mut Shaders) -> Result<Checks, VerifyError> {
    let training = Training::new()?;
    let losses = training.losses(&mut |_, _| {})?;
    let mut found = Checks::default();
    let tensors = &mut found.tensors;
    let mut states: Vec<(&String, &Tensor)> = training.states.iter().collect();
    states.sort_by_key(|(name, _)| *name);
    let states: Vec<_> = states.into_iter().map(|(n, t)| (n.clone(), tensors.f32(&t.to_f32()))).collect();
    let mut feeds = vec![];
    for index in 0..STEPS {
        feeds.push(training.feeds(index).map(|(n, t)| (n.to_owned(), tensors.f32(&t.to_f32()))).to_vec());
    }
    for family in [Family::Tiled, Family::Naive] {
        let program = compile(&training.step.tape, &Caps { family, ..Caps::default() })?;
        found.checks.push(Check {
            group: Group::Training,
            subject: "unet".to_owned(),
            case: format!("{STEPS} steps"),
            why: format!("a U-Net of 2 levels on {BATCH} images of {SIZE}×{SIZE}: forward, backward, AdamW"),
            family,
            form: String::new(),
            program: Program::new(&program, shaders),
            feeds: states.clone(),
            expect: vec![],
            steps: Some(Steps {
                feeds: feeds.clone(),
                losses: losses.clone(),
                tolerance: TOLERANCE,
                port: LOSS,
            }),
            flops: None,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The losses of the reference, and how far they move when `alter` is done to each number of each value.
    fn moved(alter: impl Fn(f64) -> f64) -> (Vec<f64>, f64) {
        let training = Training::new().unwrap();
        let exact = training.losses(&mut |_, _| {}).unwrap();
        let mut alter_all = |_, tensor: &mut Tensor| tensor.data.iter_mut().for_each(|x| *x = alter(*x));
        let altered = training.losses(&mut alter_all).unwrap();
        let off = exact.iter().zip(&altered).map(|(e, a)| (e - a).abs() / e).fold(0.0, f64::max);
        (exact, off)
    }

    #[test]
    fn the_loss_falls_and_roundings_stay_well_within_the_tolerance() {
        let (losses, off) = moved(|x| f64::from(x as f32));
        assert!(0.0 < off && off < TOLERANCE / 10.0, "{off:.1e}");
        assert!(losses[STEPS - 1] < 0.8 * losses[0], "{losses:?}");
    }

    #[test]
    fn a_thousandth_is_not_within_the_tolerance() {
        let (_, off) = moved(|x| x * 1.001);
        assert!(off > 2.0 * TOLERANCE, "{off:.1e}");
    }
}

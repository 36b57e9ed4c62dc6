//! Checks a whole training step of the U-Net against the f64 reference.
//!
//! A step has places where its gradient jumps: a ReLU at 0, two equal numbers in a pool's window. A million numbers
//! before ReLUs hold some that lie within f32's roundings of 0; there a right device and the reference may take
//! different sides, and gradients are then 1e-3 to 1e-1 apart. So the numbers of a check are chosen, by the reference
//! alone: norms have biases of 2 or −2, which leave few of their results near 0, and a draw is taken only where
//! disturbing the reference as roundings would moves no gradient by much. For a mixed step, whose roundings to f16 turn
//! some ReLUs of almost any draw, the reference that rounds alike must be near the exact one besides.

use std::collections::HashMap;
use std::sync::Arc;

use half::f16;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::VerifyError;
use crate::config::Config;
use crate::config::schema::Norm;
use crate::gpu::{Gpu, Session, States};
use crate::ops::Hyper;
use crate::program::{Caps, Precision, Program, compile_for, elements_of};
use crate::reference::{self, Run, Tensor};
use crate::rng::{Purpose, rng};
use crate::tape::{Tape, Value};
use crate::train::step::{HYPER, IMAGES, LOSS, MASKS, TrainStep, train_step};

/// Difference allowed, relative to the norm, after some thirty layers of f32 sums.
pub const TOLERANCE: f64 = 2e-4;
/// The same of all gradients of a mixed step together, and of its loss. A rounding to f16 is up to 2⁻¹¹ of a number, some
/// fifty follow each other, and a few of the ReLUs they turn are left.
pub const MIXED_TOLERANCE: f64 = 1e-2;

/// How far the rounded reference of a mixed step may be from the exact one.
const MIXED_STEADY: f64 = MIXED_TOLERANCE / 2.0;

/// What is added to each input of a norm, in parts of their root mean square: some roundings of a long f32 sum.
const DISTURBANCE: f64 = 4e-6;
/// Disturbed runs of the reference that a draw must stand.
const DISTURBED_RUNS: u64 = 3;
/// How far they may move a gradient, relative to its norm. A ReLU that turns moves it by more than 1e-3.
const STEADY: f64 = TOLERANCE / 2.0;
const DRAWS: u64 = 20;
/// Standard deviations from the mean of a norm's input to the point where its ReLU begins.
const BIAS: f32 = 2.0;

/// The batch of [`check_step`]. Its images are small as well: the reference is slow.
const CHECK_BATCH: usize = 2;

/// Difference allowed of a step in `precision`.
pub fn step_tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => TOLERANCE,
        Precision::Mixed | Precision::MixedMatrices => MIXED_TOLERANCE,
    }
}

/// How far a training step was from the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedStep {
    pub batch: usize,
    pub size: usize,
    /// Of the loss, relative.
    pub loss_error: f64,
    /// Of the gradient of a parameter, in norm relative to it, the largest; in mixed precision of all gradients as one.
    pub gradient_error: f64,
}

impl CheckedStep {
    /// Whether a step in `precision` may be so far off.
    pub fn pass(&self, precision: Precision) -> bool {
        let tolerance = step_tolerance(precision);
        self.loss_error <= tolerance && self.gradient_error <= tolerance
    }
}

/// A training step with all that it is given, and what the reference makes of it.
pub struct StepCase {
    pub step: TrainStep,
    /// Parameters with their gradients, which are outputs named `grad.` and the parameter.
    pub gradients: Vec<(String, Value)>,
    /// Inputs and states by name.
    pub feeds: HashMap<String, Tensor>,
    pub expected: Run,
    /// For a mixed step: the reference that rounds to f16 what the step keeps in f16.
    pub rounded: Option<Run>,
}

impl StepCase {
    /// The step of `config` for `batch` images of `size × size`, on the first numbers that roundings do not matter to.
    ///
    /// # Errors
    /// No draw of [`DRAWS`] was so, or the network cannot be built.
    pub fn new(config: &Config, batch: usize, size: usize) -> Result<StepCase, VerifyError> {
        let mut step = train_step(config, batch, size)?;
        let mut gradients = vec![];
        for (name, value) in step.tape.parameters() {
            let Some(gradient) = step.gradients.of(value) else { continue };
            step.tape.output(&format!("grad.{name}"), gradient);
            gradients.push((name, gradient));
        }
        let norms = Norms::of(&step.tape);
        let elements = elements_of(&step.tape, config.train.precision);
        for draw in 0..DRAWS {
            let feeds = numbers(config, &step, &norms, batch, size, draw);
            let expected = reference::run(&step.tape, &feeds)?;
            if !norms.hold_still(&step.tape, &feeds, &expected, &gradients, draw)? {
                continue;
            }
            let mut case = StepCase { step, gradients, feeds, expected, rounded: None };
            if config.train.precision == Precision::F32 {
                return Ok(case);
            }
            let rounded = reference::run_stored(&case.step.tape, &case.feeds, &elements)?;
            if case.gradient_error(&case.all_gradients(&rounded)) <= MIXED_STEADY {
                case.rounded = Some(rounded);
                return Ok(case);
            }
            (step, gradients) = (case.step, case.gradients);
        }
        Err(VerifyError::Unsteady { draws: DRAWS })
    }

    /// All gradients of a run of the reference, one after the other.
    pub fn all_gradients(&self, run: &Run) -> Vec<f64> {
        self.gradients.iter().flat_map(|(_, gradient)| run.value(*gradient).data.clone()).collect()
    }

    /// How far all gradients, one after the other, are from the reference's, relative to their norm.
    pub fn gradient_error(&self, found: &[f64]) -> f64 {
        relative_error(found, &self.all_gradients(&self.expected))
    }

    /// Runs `program`, compiled of the step's tape, once on these numbers.
    pub fn run(&self, gpu: &Arc<Gpu>, program: Program) -> Result<(Session, States), VerifyError> {
        let mut states = States::new();
        let mut session = Session::new(gpu, program, &mut states)?;
        self.write(gpu, &mut session, &states)?;
        session.run()?;
        Ok((session, states))
    }

    /// Gives a session of the step's tape these numbers.
    pub fn write(&self, gpu: &Gpu, session: &mut Session, states: &States) -> Result<(), VerifyError> {
        for (name, _) in self.step.tape.states() {
            states.write(gpu, name, &self.feeds[name].to_f32())?;
        }
        for (name, _) in self.step.tape.inputs() {
            session.write(name, &self.feeds[name].to_f32())?;
        }
        Ok(())
    }

    /// As [`reference::run`] with what a norm is given disturbed as roundings would; `feeds` are numbers of this step.
    pub fn run_disturbed(&self, feeds: &HashMap<String, Tensor>, seed: u64) -> Result<Run, VerifyError> {
        Norms::of(&self.step.tape).disturbed(&self.step.tape, feeds, seed)
    }
}

/// What stands before the ReLUs of a network, all of which follow a norm.
struct Norms {
    inputs: Vec<Value>,
    biases: Vec<Value>,
}

impl Norms {
    fn of(tape: &Tape) -> Norms {
        let norms = tape.nodes().iter().filter(|n| n.op().is_some_and(|op| op.name() == "norm"));
        let (inputs, biases) = norms.map(|n| (n.inputs[0], n.inputs[2])).unzip();
        Norms { inputs, biases }
    }

    /// Whether no gradient moves by much when the norms' inputs are disturbed.
    fn hold_still(
        &self,
        tape: &Tape,
        feeds: &HashMap<String, Tensor>,
        expected: &Run,
        gradients: &[(String, Value)],
        draw: u64,
    ) -> Result<bool, VerifyError> {
        for run in 0..DISTURBED_RUNS {
            let disturbed = self.disturbed(tape, feeds, draw * DISTURBED_RUNS + run)?;
            let error = |v: Value| relative_error(&disturbed.value(v).data, &expected.value(v).data);
            if !gradients.iter().all(|(_, v)| error(*v) <= STEADY) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A run of the reference whose norms are given slightly other numbers.
    fn disturbed(&self, tape: &Tape, feeds: &HashMap<String, Tensor>, seed: u64) -> Result<Run, VerifyError> {
        let mut rng = rng(seed, Purpose::Case, 1);
        Ok(reference::run_altered(tape, feeds, &mut |value, tensor| {
            if !self.inputs.contains(&value) {
                return;
            }
            let square: f64 = tensor.data.iter().map(|x| x * x).sum();
            let size = DISTURBANCE * (square / tensor.data.len() as f64).sqrt();
            tensor.data.iter_mut().for_each(|x| *x += size * rng.random_range(-1.0..1.0));
        })?)
    }
}

/// Random images and masks, parameters as a training starts with them but for the norms' biases; for a step by matrices
/// such as f16 has, to which its kernels round weights.
fn numbers(
    config: &Config,
    step: &TrainStep,
    norms: &Norms,
    batch: usize,
    size: usize,
    draw: u64,
) -> HashMap<String, Tensor> {
    let tape = &step.tape;
    let mut rng = rng(draw, Purpose::Case, 0);
    let mut feeds: HashMap<String, Tensor> = HashMap::new();
    for (name, value) in tape.states() {
        feeds.insert(name.to_owned(), Tensor::zeros(tape.shape(value).clone()));
    }
    for (name, shape, init) in step.starts() {
        let mut numbers = init.numbers(shape.len(), draw, name);
        let is_scale = step.scaling.iter().any(|(scale, _)| scale == name);
        if config.train.precision == Precision::MixedMatrices && !is_scale {
            numbers.iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32());
        }
        feeds.insert(name.to_owned(), Tensor::from_f32(shape, &numbers));
    }
    for bias in &norms.biases {
        let shape = tape.shape(*bias).clone();
        let numbers: Vec<f32> =
            (0..shape.len()).map(|_| if rng.random_bool(0.5) { BIAS } else { -BIAS }).collect();
        feeds.insert(tape.node(*bias).name.clone(), Tensor::from_f32(shape, &numbers));
    }
    let pixels = batch * size * size;
    let images: Vec<f32> =
        (0..pixels * config.model.in_channels).map(|_| rng.random_range(-1.0..1.0)).collect();
    let masks: Vec<f32> = (0..pixels).map(|_| f32::from(u8::from(rng.random_bool(0.1)))).collect();
    let hyper = Hyper::adam_defaults(1e-3, 1).to_array();
    feeds.insert(IMAGES.to_owned(), Tensor::from_f32([batch, size, size, config.model.in_channels], &images));
    feeds.insert(MASKS.to_owned(), Tensor::from_f32([batch, size, size, 1], &masks));
    feeds.insert(HYPER.to_owned(), Tensor::from_f32([hyper.len()], &hyper));
    feeds
}

/// Runs a small step of the network of `config` on the device, compiled by `caps`, and in the reference.
pub fn check_step(gpu: &Arc<Gpu>, caps: &Caps, config: &Config) -> Result<CheckedStep, VerifyError> {
    // Of 4 numbers none is further than √3 deviations from their mean: no ReLU would turn.
    let side = if config.model.norm == Norm::Instance { 4 } else { 2 };
    let size = side << config.model.depth;
    let case = StepCase::new(config, CHECK_BATCH, size)?;
    let program = compile_for(&case.step.tape, caps, config.train.precision)?;
    let (session, _) = case.run(gpu, program)?;
    let read = |name: &str| -> Result<Vec<f64>, VerifyError> {
        Ok(session.read(name)?.into_iter().map(f64::from).collect())
    };
    let loss_error = relative_error(&read(LOSS)?, &case.expected.value(case.step.loss).data);
    let mut found = vec![];
    for (name, _) in &case.gradients {
        found.push(read(&format!("grad.{name}"))?);
    }
    let errors = match config.train.precision {
        Precision::Mixed | Precision::MixedMatrices => vec![case.gradient_error(&found.concat())],
        Precision::F32 => {
            let expected = case.gradients.iter().map(|(_, v)| &case.expected.value(*v).data);
            found.iter().zip(expected).map(|(found, expected)| relative_error(found, expected)).collect()
        }
    };
    // A number that is none must not pass as none.
    let worst = |worst: f64, error: f64| if error.is_nan() { f64::INFINITY } else { worst.max(error) };
    let gradient_error = errors.into_iter().fold(0.0, worst);
    Ok(CheckedStep { batch: CHECK_BATCH, size, loss_error, gradient_error })
}

/// `‖found − expected‖ / ‖expected‖`.
pub fn relative_error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "two tensors of one shape");
    let difference: f64 = found.iter().zip(expected).map(|(f, e)| (f - e).powi(2)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    (difference / norm.max(1e-20)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 32;

    fn config() -> Config {
        let mut config = Config::default();
        (config.model.base_channels, config.model.depth) = (8, 4);
        config
    }

    fn most_moved(case: &StepCase, norms: &Norms, feeds: &HashMap<String, Tensor>, seed: u64) -> f64 {
        let exact = reference::run(&case.step.tape, feeds).expect("a run");
        let disturbed = norms.disturbed(&case.step.tape, feeds, seed).expect("a run");
        let of = |(_, v): &(String, Value)| relative_error(&disturbed.value(*v).data, &exact.value(*v).data);
        case.gradients.iter().map(of).fold(0.0, f64::max)
    }

    #[test]
    fn other_roundings_move_no_gradient_of_the_chosen_numbers() {
        let case = StepCase::new(&config(), CHECK_BATCH, SIZE).expect("a steady draw");
        let norms = Norms::of(&case.step.tape);
        assert_eq!(norms.inputs.len(), 18, "two convolutions in each of 4 + 1 + 4 blocks");
        for seed in 1000..1004 {
            let moved = most_moved(&case, &norms, &case.feeds, seed);
            assert!(0.0 < moved && moved <= TOLERANCE, "{moved:.1e}");
        }
    }

    #[test]
    fn a_relu_that_turns_is_seen() {
        let case = StepCase::new(&config(), CHECK_BATCH, SIZE).expect("a steady draw");
        let norms = Norms::of(&case.step.tape);
        // Norms around 0 as a training starts with them: among a quarter of a million results some lie near it.
        let plain = Norms { inputs: norms.inputs.clone(), biases: vec![] };
        let draws = 0..6;
        let moved = draws.map(|draw| {
            let feeds = numbers(&config(), &case.step, &plain, CHECK_BATCH, SIZE, draw);
            most_moved(&case, &plain, &feeds, draw)
        });
        let most = moved.fold(0.0, f64::max);
        assert!(most > 10.0 * STEADY, "{most:.1e}");
    }

    #[test]
    fn a_draw_that_does_not_hold_still_is_not_taken() {
        let case = StepCase::new(&config(), CHECK_BATCH, SIZE).expect("a steady draw");
        let norms = Norms::of(&case.step.tape);
        let plain = Norms { inputs: norms.inputs.clone(), biases: vec![] };
        let mut held = (0..6).map(|draw| {
            let feeds = numbers(&config(), &case.step, &plain, CHECK_BATCH, SIZE, draw);
            let exact = reference::run(&case.step.tape, &feeds).expect("a run");
            plain.hold_still(&case.step.tape, &feeds, &exact, &case.gradients, draw).expect("runs")
        });
        assert!(held.any(|held| !held), "none of six draws around 0 was refused");
    }
}

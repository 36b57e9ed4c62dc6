//! One whole training step of the U-Net: the device against the reference, every gradient and
//! every state after it.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use wgseg::config::Config;
use wgseg::config::schema::{ModelConfig, Norm, OptimizerKind, Upsample};
use wgseg::gpu::{Extra, Gpu, Session, States};
use wgseg::ops::Hyper;
use wgseg::program::{Caps, Choices, Family, Precision, Program, compile_for, elements_of};
use wgseg::reference::{self, Run, Tensor};
use wgseg::tape::Value;
use wgseg::train::step::{HYPER, IMAGES, LOSS, MASKS, TrainStep, train_step};

const BATCH: usize = 3;
const SIZE: usize = 24;

/// Difference allowed, relative to the norm: thirty layers of f32 sums.
const TOLERANCE: f64 = 2e-4;

/// The same of all gradients together in mixed precision. A rounding to f16 is 2⁻¹² of a number: so near to 0 lie
/// some four in ten thousand inputs of a ReLU, which then pass the whole of a gradient or nothing of it. That is
/// √(4·10⁻⁴) = 2 % of a gradient's norm for each ReLU, as much for ties of a pool, and 7 % over a dozen; a batch norm
/// over the 27 pixels of the smallest images makes twice that of it. So this finds gross faults alone. What is strict
/// is the comparison with the f64 reference that rounds in the same places, which is as far off for the same reason.
const MIXED_TOLERANCE: f64 = 0.25;
/// Of the loss, which knows no such steps.
const MIXED_LOSS_TOLERANCE: f64 = 2e-4;
/// Of running statistics, which are means over values rounded once for each layer.
const MIXED_STATISTICS_TOLERANCE: f64 = 2e-3;
const LEARNING_RATE: f64 = 1e-3;

fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference: f64 = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).powi(2)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    (difference / norm.max(1e-20)).sqrt()
}

/// A step with all that it is given.
struct Case {
    config: Config,
    step: TrainStep,
    /// Parameters with their names and gradients.
    gradients: Vec<(String, Value)>,
    feeds: HashMap<String, Tensor>,
}

impl Case {
    fn new(model: ModelConfig, optimizer: OptimizerKind, clip_norm: f64, precision: Precision) -> Case {
        let mut config = Config { model, ..Config::default() };
        config.train.optimizer = optimizer;
        config.train.clip_norm = clip_norm;
        config.train.precision = precision;
        let mut step = train_step(&config, BATCH, SIZE).expect("a tape");
        let mut gradients = vec![];
        for (name, value) in step.tape.parameters() {
            let gradient = step.gradients.of(value).expect("every parameter has a gradient");
            step.tape.output(&format!("grad.{name}"), gradient);
            gradients.push((name, gradient));
        }
        let mut feeds: HashMap<String, Tensor> = HashMap::new();
        for (name, shape, init) in step.starts() {
            let numbers = init.numbers(shape.len(), 5, name);
            feeds.insert(name.to_owned(), Tensor::from_f32(shape, &numbers));
        }
        for (name, _) in &step.moments {
            let value = step.tape.named(name).expect("a moment");
            feeds.insert(name.clone(), Tensor::zeros(step.tape.shape(value).clone()));
        }
        let pixel = |i: usize| ((i * 7919 % 1013) as f32 / 506.5 - 1.0) * 1.7;
        let count = BATCH * SIZE * SIZE;
        let channels = config.model.in_channels;
        let images: Vec<f32> = (0..count * channels).map(pixel).collect();
        let masks: Vec<f32> = (0..count).map(|i| f32::from(u8::from((i / SIZE) % 5 < 2))).collect();
        let hyper = Hyper::adam_defaults(LEARNING_RATE, 1).to_array();
        feeds.insert(IMAGES.to_owned(), Tensor::from_f32([BATCH, SIZE, SIZE, channels], &images));
        feeds.insert(MASKS.to_owned(), Tensor::from_f32([BATCH, SIZE, SIZE, 1], &masks));
        feeds.insert(HYPER.to_owned(), Tensor::from_f32([hyper.len()], &hyper));
        Case { config, step, gradients, feeds }
    }

    /// The step as the rule has it, and with the last form of each convolution.
    fn programs(&self, gpu: &Gpu, family: Family) -> [Program; 2] {
        let compile =
            |caps: &Caps| compile_for(&self.step.tape, caps, self.config.train.precision).expect("a program");
        let caps = Caps { family, ..gpu.caps().clone() };
        let by_rule = compile(&caps);
        let last = by_rule.choices.iter().filter_map(|c| Some((c.point.clone(), c.forms.last()?.clone())));
        let tuned = compile(&Caps { choices: Choices::new(last), ..caps });
        assert!(tuned.choices.iter().all(|choice| choice.taken == choice.forms.len() - 1));
        [by_rule, tuned]
    }

    /// Runs the step on a device.
    fn run(&self, gpu: &Arc<Gpu>, program: Program) -> (Session, States) {
        let mut states = States::new();
        let mut session = Session::new(gpu, program, &mut states).expect("a session");
        for (name, _) in self.step.tape.states() {
            states.write(gpu, name, &self.feeds[name].to_f32()).expect("a state");
        }
        for name in [IMAGES, MASKS, HYPER] {
            session.write(name, &self.feeds[name].to_f32()).expect("an input");
        }
        session.run().expect("a step");
        (session, states)
    }

    /// All gradients of a run of the reference, one after the other.
    fn all_gradients(&self, run: &Run) -> Vec<f64> {
        self.gradients.iter().flat_map(|(_, gradient)| run.value(*gradient).data.clone()).collect()
    }
}

fn check(model: ModelConfig, optimizer: OptimizerKind, clip_norm: f64) {
    let gpu = common::gpu();
    let case = Case::new(model, optimizer, clip_norm, Precision::F32);
    let expected = reference::run(&case.step.tape, &case.feeds).expect("the reference");
    let families = [Family::Naive, Family::Tiled, Family::Cpu];
    let programs = families.iter().flat_map(|f| case.programs(&gpu, *f).map(|program| (f, program)));
    for (family, program) in programs {
        let (session, states) = case.run(&gpu, program);
        let loss = session.read(LOSS).expect("the loss");
        let error = relative_error(&loss, &expected.value(case.step.loss).data);
        assert!(error <= 1e-5, "{family}: loss {} is {error:.1e} off", loss[0]);
        for (name, gradient) in &case.gradients {
            let found = session.read(&format!("grad.{name}")).expect("a gradient");
            let error = relative_error(&found, &expected.value(*gradient).data);
            assert!(error <= TOLERANCE, "{family}: gradient of {name}: {error:.1e} off");
        }
        for (name, _) in case.step.tape.states() {
            let found = states.read(&gpu, name).expect("a state");
            let error = relative_error(&found, &expected.states[name].data);
            assert!(error <= TOLERANCE, "{family}: {name} after the step: {error:.1e} off");
        }
    }
}

/// The same in mixed precision, beside the exact step and beside one whose values are rounded to f16 in the same
/// places: the device may be no further from the exact one than that.
fn check_mixed(model: ModelConfig, optimizer: OptimizerKind, clip_norm: f64) {
    let gpu = common::gpu_with_half();
    if !gpu.has(Extra::Half) {
        return;
    }
    let case = Case::new(model, optimizer, clip_norm, Precision::Mixed);
    let tape = &case.step.tape;
    let exact = reference::run(tape, &case.feeds).expect("the reference");
    let elements = elements_of(tape, Precision::Mixed);
    let rounded = reference::run_stored(tape, &case.feeds, &elements).expect("the reference");
    let expected = case.all_gradients(&exact);
    let of_rounding: Vec<f32> = case.all_gradients(&rounded).iter().map(|x| *x as f32).collect();
    let of_rounding = relative_error(&of_rounding, &expected);
    let families = [Family::Naive, Family::Tiled];
    let programs = families.iter().flat_map(|f| case.programs(&gpu, *f).map(|program| (f, program)));
    for (family, program) in programs {
        let (session, states) = case.run(&gpu, program);
        let loss = relative_error(&session.read(LOSS).expect("the loss"), &exact.value(case.step.loss).data);
        let read = |(name, _): &(String, Value)| session.read(&format!("grad.{name}")).expect("a gradient");
        let gradient = relative_error(&case.gradients.iter().flat_map(read).collect::<Vec<_>>(), &expected);
        println!(
            "{family}: from the exact step: loss {loss:.1e}, gradient {gradient:.1e}; the rounded reference's {of_rounding:.1e}"
        );
        assert!(loss <= MIXED_LOSS_TOLERANCE, "{family}: the loss is {loss:.1e} off");
        assert!(gradient <= MIXED_TOLERANCE, "{family}: the gradient is {gradient:.1e} off");
        assert!(
            gradient <= 1.5 * of_rounding,
            "{family}: {gradient:.1e} off, by rounding alone {of_rounding:.1e}"
        );
        for (name, _) in tape.states() {
            let (found, expected) = (states.read(&gpu, name).expect("a state"), &exact.states[name].data);
            if name.contains("running_mean") {
                // It may be nearly 0 beside the values that it is of, which are about 1.
                let far = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).abs());
                let far = far.fold(0.0, f64::max);
                assert!(far <= MIXED_STATISTICS_TOLERANCE, "{family}: {name}: {far:.1e} off");
            } else if name.contains("running_var") || name.starts_with("loss_scale") {
                let error = relative_error(&found, expected);
                assert!(error <= MIXED_STATISTICS_TOLERANCE, "{family}: {name}: {error:.1e} off");
            } else if case.step.inits.iter().any(|(parameter, ..)| parameter == name) {
                // A first step of AdamW is as long as the learning rate, whatever the gradient; only its sign counts.
                let far =
                    found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).abs()).fold(0.0, f64::max);
                assert!(far <= 2.1 * LEARNING_RATE, "{family}: {name}: {far:.1e} off");
            }
        }
    }
}

fn small() -> ModelConfig {
    ModelConfig { base_channels: 4, depth: 3, ..ModelConfig::default() }
}

#[test]
fn the_default_unet_with_adamw() {
    check(small(), OptimizerKind::AdamW, 0.0);
}

#[test]
fn instance_norm_bilinear_colour_sgd_and_clipping() {
    let model = ModelConfig {
        norm: Norm::Instance,
        upsample: Upsample::Bilinear,
        in_channels: 3,
        base_channels: 5,
        depth: 2,
        ..small()
    };
    check(model, OptimizerKind::Sgd, 0.5);
}

#[test]
fn group_norm_eight_channels() {
    let model = ModelConfig { norm: Norm::Group, groups: 4, base_channels: 8, depth: 2, ..small() };
    check(model, OptimizerKind::AdamW, 0.0);
}

#[test]
fn the_default_unet_in_mixed_precision() {
    check_mixed(small(), OptimizerKind::AdamW, 0.0);
}

#[test]
fn instance_norm_bilinear_colour_sgd_and_clipping_in_mixed_precision() {
    let model = ModelConfig {
        norm: Norm::Instance,
        upsample: Upsample::Bilinear,
        in_channels: 3,
        base_channels: 5,
        depth: 2,
        ..small()
    };
    check_mixed(model, OptimizerKind::Sgd, 0.5);
}

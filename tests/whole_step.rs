//! One whole training step of the U-Net: the device against the reference, every gradient and
//! every state after it.

mod common;

use std::sync::Arc;

use wgseg::config::Config;
use wgseg::config::schema::{ModelConfig, Norm, OptimizerKind, Upsample};
use wgseg::gpu::{Extra, Gpu};
use wgseg::program::{Caps, Choices, Family, Precision, Program, compile_for};
use wgseg::tape::{Tape, Value};
use wgseg::train::step::LOSS;
use wgseg::verify::step::{MIXED_TOLERANCE, StepCase, relative_error};

const BATCH: usize = 3;
const SIZE: usize = 24;

/// Difference allowed, relative to the norm: thirty layers of f32 sums.
const TOLERANCE: f64 = 2e-4;
/// Of the loss in mixed precision. All its gradients together are held to [`MIXED_TOLERANCE`], and to the f64 reference
/// that rounds in the same places.
const MIXED_LOSS_TOLERANCE: f64 = 5e-5;
/// Of running statistics, which are means over values rounded once for each layer.
const MIXED_STATISTICS_TOLERANCE: f64 = 2e-3;
/// Of [`StepCase`].
const LEARNING_RATE: f64 = 1e-3;

fn f64s(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|x| f64::from(*x)).collect()
}

fn case(model: ModelConfig, optimizer: OptimizerKind, clip_norm: f64, precision: Precision) -> StepCase {
    let mut config = Config { model, ..Config::default() };
    config.train.optimizer = optimizer;
    config.train.clip_norm = clip_norm;
    config.train.precision = precision;
    let case = StepCase::new(&config, BATCH, SIZE).expect("a case");
    assert_eq!(case.gradients.len(), case.step.tape.parameters().len(), "every parameter has a gradient");
    case
}

/// The step as the rule has it, and with the last form of each convolution.
fn programs(tape: &Tape, gpu: &Gpu, family: Family, precision: Precision) -> [Program; 2] {
    let compile = |caps: &Caps| compile_for(tape, caps, precision).expect("a program");
    let caps = Caps { family, ..gpu.caps().clone() };
    let by_rule = compile(&caps);
    let last = by_rule.choices.iter().filter_map(|c| Some((c.point.clone(), c.forms.last()?.clone())));
    let tuned = compile(&Caps { choices: Choices::new(last), ..caps });
    assert!(tuned.choices.iter().all(|choice| choice.taken == choice.forms.len() - 1));
    [by_rule, tuned]
}

fn check(model: ModelConfig, optimizer: OptimizerKind, clip_norm: f64) {
    let gpu = common::gpu();
    let case = case(model, optimizer, clip_norm, Precision::F32);
    let expected = &case.expected;
    let families = [Family::Naive, Family::Tiled, Family::Cpu];
    let of = |f: &Family| programs(&case.step.tape, &gpu, *f, Precision::F32);
    for (family, program) in families.iter().flat_map(|f| of(f).map(|program| (f, program))) {
        let (session, states) = case.run(&gpu, program).expect("a step");
        let loss = f64s(&session.read(LOSS).expect("the loss"));
        let error = relative_error(&loss, &expected.value(case.step.loss).data);
        assert!(error <= 1e-5, "{family}: loss {} is {error:.1e} off", loss[0]);
        for (name, gradient) in &case.gradients {
            let found = f64s(&session.read(&format!("grad.{name}")).expect("a gradient"));
            let error = relative_error(&found, &expected.value(*gradient).data);
            assert!(error <= TOLERANCE, "{family}: gradient of {name}: {error:.1e} off");
        }
        for (name, _) in case.step.tape.states() {
            let found = f64s(&states.read(&gpu, name).expect("a state"));
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
    check_mixed_in(&gpu, case(model.clone(), optimizer, clip_norm, Precision::Mixed), Precision::Mixed);
    match gpu.caps().matrices {
        Some(_) => {
            let precision = Precision::MixedMatrices;
            check_mixed_in(&gpu, case(model, optimizer, clip_norm, precision), precision);
        }
        None => eprintln!("skipped: {} has no matrices that kernels take", gpu.description()),
    }
}

fn check_mixed_in(gpu: &Arc<Gpu>, case: StepCase, precision: Precision) {
    let (tape, exact) = (&case.step.tape, &case.expected);
    let rounded = case.rounded.as_ref().expect("a rounded reference");
    let of_rounding = case.gradient_error(&case.all_gradients(rounded));
    let families = [Family::Naive, Family::Tiled];
    let of = |f: &Family| programs(tape, gpu, *f, precision);
    for (family, program) in families.iter().flat_map(|f| of(f).map(|program| (f, program))) {
        let (session, states) = case.run(gpu, program).expect("a step");
        let loss = f64s(&session.read(LOSS).expect("the loss"));
        let loss = relative_error(&loss, &exact.value(case.step.loss).data);
        let read =
            |(name, _): &(String, Value)| f64s(&session.read(&format!("grad.{name}")).expect("a gradient"));
        let gradient = case.gradient_error(&case.gradients.iter().flat_map(read).collect::<Vec<_>>());
        println!(
            "{precision}, {family}: from the exact step: loss {loss:.1e}, gradient {gradient:.1e}; the rounded \
             reference's {of_rounding:.1e}"
        );
        assert!(loss <= MIXED_LOSS_TOLERANCE, "{family}: the loss is {loss:.1e} off");
        assert!(gradient <= MIXED_TOLERANCE, "{family}: the gradient is {gradient:.1e} off");
        assert!(
            gradient <= 1.2 * of_rounding,
            "{family}: {gradient:.1e} off, by rounding alone {of_rounding:.1e}"
        );
        for (name, _) in tape.states() {
            let (found, expected) =
                (f64s(&states.read(gpu, name).expect("a state")), &exact.states[name].data);
            if name.contains("running_mean") {
                // It may be nearly 0 beside the values that it is of, which are about 1.
                let far = found.iter().zip(expected).map(|(f, e)| (f - e).abs());
                let far = far.fold(0.0, f64::max);
                assert!(far <= MIXED_STATISTICS_TOLERANCE, "{family}: {name}: {far:.1e} off");
            } else if name.contains("running_var") || name.starts_with("loss_scale") {
                let error = relative_error(&found, expected);
                assert!(error <= MIXED_STATISTICS_TOLERANCE, "{family}: {name}: {error:.1e} off");
            } else if case.step.inits.iter().any(|(parameter, ..)| parameter == name) {
                // A first step of AdamW is as long as the learning rate, whatever the gradient; only its sign counts.
                let far = found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max);
                assert!(far <= 2.1 * LEARNING_RATE, "{family}: {name}: {far:.1e} off");
            }
        }
    }
}

fn small() -> ModelConfig {
    ModelConfig { base_channels: 4, depth: 3, ..ModelConfig::default() }
}

fn colour() -> ModelConfig {
    ModelConfig {
        norm: Norm::Instance,
        upsample: Upsample::Bilinear,
        in_channels: 3,
        base_channels: 5,
        depth: 2,
        ..small()
    }
}

#[test]
fn the_default_unet_with_adamw() {
    check(small(), OptimizerKind::AdamW, 0.0);
}

#[test]
fn instance_norm_bilinear_colour_sgd_and_clipping() {
    check(colour(), OptimizerKind::Sgd, 0.5);
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
    check_mixed(colour(), OptimizerKind::Sgd, 0.5);
}

//! One whole training step of the U-Net: the device against the reference, every gradient and
//! every state after it.

mod common;

use std::collections::HashMap;

use wgseg::config::Config;
use wgseg::config::schema::{ModelConfig, Norm, OptimizerKind, Upsample};
use wgseg::gpu::{Session, States};
use wgseg::ops::Hyper;
use wgseg::program::{Caps, Choices, Family, compile};
use wgseg::reference::{self, Tensor};
use wgseg::train::step::{HYPER, IMAGES, LOSS, MASKS, train_step};

const BATCH: usize = 3;
const SIZE: usize = 24;

/// Difference allowed, relative to the norm: thirty layers of f32 sums.
const TOLERANCE: f64 = 2e-4;

fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference: f64 = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).powi(2)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    (difference / norm.max(1e-20)).sqrt()
}

fn check(model: ModelConfig, optimizer: OptimizerKind, clip_norm: f64) {
    let gpu = common::gpu();
    let mut config = Config { model, ..Config::default() };
    config.train.optimizer = optimizer;
    config.train.clip_norm = clip_norm;
    let mut step = train_step(&config, BATCH, SIZE).expect("a tape");
    let parameters = step.tape.parameters();
    for (name, value) in &parameters {
        let gradient = step.gradients.of(*value).expect("every parameter has a gradient");
        step.tape.output(&format!("grad.{name}"), gradient);
    }

    let mut feeds: HashMap<String, Tensor> = HashMap::new();
    for (name, shape, init) in &step.inits {
        feeds.insert(name.clone(), Tensor::from_f32(shape.clone(), &init.numbers(shape.len(), 5, name)));
    }
    for (name, _) in &step.moments {
        let value = step.tape.named(name).expect("a moment");
        feeds.insert(name.clone(), Tensor::zeros(step.tape.shape(value).clone()));
    }
    let pixel = |i: usize| ((i * 7919 % 1013) as f32 / 506.5 - 1.0) * 1.7;
    let count = BATCH * SIZE * SIZE;
    let images: Vec<f32> = (0..count * config.model.in_channels).map(pixel).collect();
    let masks: Vec<f32> = (0..count).map(|i| f32::from(u8::from((i / SIZE) % 5 < 2))).collect();
    let hyper = Hyper::adam_defaults(1e-3, 1).to_array();
    feeds.insert(IMAGES.to_owned(), Tensor::from_f32([BATCH, SIZE, SIZE, config.model.in_channels], &images));
    feeds.insert(MASKS.to_owned(), Tensor::from_f32([BATCH, SIZE, SIZE, 1], &masks));
    feeds.insert(HYPER.to_owned(), Tensor::from_f32([hyper.len()], &hyper));
    let expected = reference::run(&step.tape, &feeds).expect("the reference");

    for family in [Family::Naive, Family::Tiled, Family::Cpu] {
        let caps = Caps { family, ..gpu.caps().clone() };
        let by_rule = compile(&step.tape, &caps).expect("a program");
        let last = by_rule.choices.iter().filter_map(|c| Some((c.point.clone(), c.forms.last()?.clone())));
        let tuned = compile(&step.tape, &Caps { choices: Choices::new(last), ..caps }).expect("a program");
        assert!(tuned.choices.iter().all(|choice| choice.taken == choice.forms.len() - 1));
        for program in [by_rule, tuned] {
            let mut states = States::new();
            let mut session = Session::new(&gpu, program, &mut states).expect("a session");
            for (name, _) in step.tape.states() {
                states.write(&gpu, name, &feeds[name].to_f32()).expect("a state");
            }
            session.write(IMAGES, &images).expect("images");
            session.write(MASKS, &masks).expect("masks");
            session.write(HYPER, &hyper).expect("hyper");
            session.run().expect("a step");

            let loss = session.read(LOSS).expect("the loss");
            let error = relative_error(&loss, &expected.value(step.loss).data);
            assert!(error <= 1e-5, "{family}: loss {} is {error:.1e} off", loss[0]);
            for (name, value) in &parameters {
                let gradient = step.gradients.of(*value).expect("a gradient");
                let found = session.read(&format!("grad.{name}")).expect("a gradient");
                let error = relative_error(&found, &expected.value(gradient).data);
                assert!(error <= TOLERANCE, "{family}: gradient of {name}: {error:.1e} off");
            }
            for (name, _) in step.tape.states() {
                let found = states.read(&gpu, name).expect("a state");
                let error = relative_error(&found, &expected.states[name].data);
                assert!(error <= TOLERANCE, "{family}: {name} after the step: {error:.1e} off");
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

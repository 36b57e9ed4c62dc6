//! The memory of a training step: less where values are made again, the same bits, and as forecast.

mod common;

use wgseg::config::Config;
use wgseg::config::schema::{ModelConfig, Norm, OptimizerKind, Upsample};
use wgseg::gpu::{Session, States};
use wgseg::ops::Hyper;
use wgseg::program::{Caps, Family, Program, compile, compile_keeping_all};
use wgseg::train::step::{HYPER, IMAGES, LOSS, MASKS, TrainStep, train_step};

const STEPS: usize = 20;
const BATCH: usize = 2;
const SIZE: usize = 32;

/// The losses of some steps and all states after them, as bits.
fn train(config: &Config, step: &TrainStep, program: Program) -> (Vec<u32>, Vec<(String, Vec<u32>)>) {
    let gpu = common::gpu();
    let mut states = States::new();
    let mut session = Session::new(&gpu, program, &mut states).expect("a session");
    assert_eq!(session.allocated_bytes(), session.program().peak_bytes());
    for (name, shape, init) in &step.inits {
        states.write(&gpu, name, &init.numbers(shape.len(), 3, name)).expect("a state");
    }
    let count = BATCH * SIZE * SIZE;
    let mut losses = vec![];
    for k in 1..=STEPS {
        let pixel = |i: usize| ((i * 7919 * k % 1013) as f32 / 506.5 - 1.0) * 1.7;
        let images: Vec<f32> = (0..count * config.model.in_channels).map(pixel).collect();
        let masks: Vec<f32> = (0..count).map(|i| f32::from(u8::from((i / SIZE + k) % 5 < 2))).collect();
        session.write(IMAGES, &images).expect("images");
        session.write(MASKS, &masks).expect("masks");
        session.write(HYPER, &Hyper::adam_defaults(1e-3, k).to_array()).expect("hyper");
        session.run().expect("a step");
        losses.push(session.read(LOSS).expect("the loss")[0].to_bits());
    }
    let bits = |name: &str| states.read(&gpu, name).expect("a state").into_iter().map(f32::to_bits).collect();
    (losses, step.tape.states().map(|(name, _)| (name.to_owned(), bits(name))).collect())
}

fn same_bits(model: ModelConfig, optimizer: OptimizerKind, clip_norm: f64) {
    let mut config = Config { model, ..Config::default() };
    config.train.optimizer = optimizer;
    config.train.clip_norm = clip_norm;
    let step = train_step(&config, BATCH, SIZE).expect("a tape");
    let caps = common::gpu().caps().clone();
    let again = compile(&step.tape, &caps).expect("a program");
    let kept = compile_keeping_all(&step.tape, &caps).expect("a program");
    assert!(again.dispatches.len() > kept.dispatches.len(), "nothing is made again");
    assert!(again.peak_bytes() < kept.peak_bytes());
    assert_eq!(again.flops(), kept.flops());
    let (again, kept) = (train(&config, &step, again), train(&config, &step, kept));
    assert!(again.0.iter().all(|loss| f32::from_bits(*loss).is_finite()));
    assert_ne!(again.0.first(), again.0.last(), "nothing is learned");
    assert_eq!(again.0, kept.0, "losses");
    for (again, kept) in again.1.iter().zip(&kept.1) {
        assert!(again == kept, "{} differs", kept.0);
    }
}

#[test]
fn twenty_steps_of_the_default_unet_have_the_same_bits() {
    let model = ModelConfig { base_channels: 8, depth: 3, ..ModelConfig::default() };
    same_bits(model, OptimizerKind::AdamW, 0.0);
}

#[test]
fn twenty_steps_with_instance_norm_bilinear_and_clipping_have_the_same_bits() {
    let model = ModelConfig {
        norm: Norm::Instance,
        upsample: Upsample::Bilinear,
        in_channels: 3,
        base_channels: 5,
        depth: 2,
        ..ModelConfig::default()
    };
    same_bits(model, OptimizerKind::Sgd, 0.5);
}

#[test]
fn a_step_takes_seven_tenths_of_pytorch() {
    // What PyTorch needs: scripts/measure/memory_ratio.py.
    for (batch, size, base, pytorch_mib) in [(8, 128, 16, 202.5), (16, 256, 64, 6099.3)] {
        let mut config = Config::default();
        config.model.base_channels = base;
        let step = train_step(&config, batch, size).expect("a tape");
        for (family, subgroups) in [(Family::Tiled, false), (Family::Cpu, true)] {
            let caps = Caps { family, subgroups, max_binding_bytes: 1 << 30, ..Caps::default() };
            let mib = compile(&step.tape, &caps).expect("a program").peak_bytes() as f64 / f64::from(1 << 20);
            assert!(mib <= 0.7 * pytorch_mib, "{family}: {mib:.1} MiB against {pytorch_mib}");
        }
    }
}

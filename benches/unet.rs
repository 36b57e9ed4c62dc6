//! A training step and an inference of a small U-Net on the best adapter: `cargo bench`.

use criterion::{Criterion, criterion_group, criterion_main};
use wgseg::config::Config;
use wgseg::gpu::{Gpu, GpuOptions, Session, States};
use wgseg::ops::Hyper;
use wgseg::program::compile;
use wgseg::train::step::{HYPER, IMAGES, MASKS, inference, train_step};

const BATCH: usize = 4;
const SIZE: usize = 64;

fn unet(criterion: &mut Criterion) {
    let gpu =
        Gpu::open(&GpuOptions::default()).expect("an adapter; scripts/setup.sh installs a software one");
    let mut config = Config::default();
    config.model.base_channels = 8;
    let step = train_step(&config, BATCH, SIZE).expect("a tape");
    let mut states = States::new();
    let program = compile(&step.tape, gpu.caps()).expect("a program");
    let mut train = Session::new(&gpu, program, &mut states).expect("a session");
    for (name, shape, init) in &step.inits {
        states.write(&gpu, name, &init.numbers(shape.len(), 0, name)).expect("a weight");
    }
    let (tape, _) = inference(&config, BATCH, SIZE).expect("a tape");
    let program = compile(&tape, gpu.caps()).expect("a program");
    let mut infer = Session::new(&gpu, program, &mut states).expect("a session");

    let pixels = BATCH * SIZE * SIZE;
    let images: Vec<f32> = (0..pixels).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let masks: Vec<f32> = (0..pixels).map(|i| f32::from(u8::from(i % 10 == 0))).collect();
    train.write(IMAGES, &images).expect("images");
    train.write(MASKS, &masks).expect("masks");
    train.write(HYPER, &Hyper::adam_defaults(1e-4, 1).to_array()).expect("hyper");
    infer.write(IMAGES, &images).expect("images");

    let mut group = criterion.benchmark_group("unet");
    group.sample_size(10);
    for (name, session) in [("train_step", &mut train), ("infer", &mut infer)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                session.run().expect("a run");
                session.wait().expect("the device");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, unet);
criterion_main!(benches);

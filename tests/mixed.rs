//! Training in mixed precision: the scaling of the loss, a whole training, a resume, and what is said where
//! there is no f16. Its kernels are checked in `verify.rs`, a whole step in `whole_step.rs`.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::wgseg;
use image::{GrayImage, Luma};
use tempfile::TempDir;
use wgseg::config::Config;
use wgseg::config::schema::OptimizerKind;
use wgseg::gpu::{Extra, Gpu, GpuOptions, Session, States, list};
use wgseg::nn::Layers;
use wgseg::ops::Hyper;
use wgseg::program::{Precision, compile_for};
use wgseg::tape::Tape;
use wgseg::tasks::{Dims, by_name};
use wgseg::train::branch::{TARGET, segment};
use wgseg::train::coupled::{OBSERVED, read_observed};
use wgseg::train::loss_scale::LOSS_SCALE;
use wgseg::train::step::{
    Build, GRAD_NORM, HYPER, IMAGES, LOSS, MASKS, Mix, segmentation_loss, step_of_branches, train_step,
};
use wgseg::train::task_branch::put_on_tape;

const BATCH: usize = 2;
const SIZE: usize = 16;
const GOOD_STEPS: &str = "loss_scale.good_steps";

/// The adapter, if it has f16; else that is told.
fn gpu() -> Option<Arc<Gpu>> {
    Some(common::gpu_with_half()).filter(|gpu| gpu.has(Extra::Half))
}

/// A small U-Net's step on a device.
struct Step {
    gpu: Arc<Gpu>,
    session: Session,
    states: States,
    /// Parameters and moments.
    updated: Vec<String>,
}

impl Step {
    fn new(gpu: &Arc<Gpu>, optimizer: OptimizerKind, clip_norm: f64, precision: Precision) -> Step {
        let set = ["model.base_channels=4", "model.depth=2"].map(str::to_owned);
        let mut config = Config::parse("", "test", &set).expect("a config");
        config.train.optimizer = optimizer;
        config.train.clip_norm = clip_norm;
        config.train.precision = precision;
        let step = train_step(&config, BATCH, SIZE).expect("a tape");
        let program = compile_for(&step.tape, gpu.caps(), precision).expect("a program");
        let mut states = States::new();
        let mut session = Session::new(gpu, program, &mut states).expect("a session");
        for (name, shape, init) in step.starts() {
            states.write(gpu, name, &init.numbers(shape.len(), 3, name)).expect("a state");
        }
        let count = BATCH * SIZE * SIZE;
        let images: Vec<f32> = (0..count).map(|i| (i * 7919 % 1013) as f32 / 506.5 - 1.0).collect();
        let masks: Vec<f32> = (0..count).map(|i| f32::from(u8::from((i / SIZE) % 5 < 2))).collect();
        session.write(IMAGES, &images).expect("images");
        session.write(MASKS, &masks).expect("masks");
        session.write(HYPER, &Hyper::adam_defaults(1e-3, 1).to_array()).expect("hyper");
        let mut updated: Vec<String> = step.tape.parameters().into_iter().map(|(name, _)| name).collect();
        updated.extend(step.moments.into_iter().map(|(name, _)| name));
        Step { gpu: Arc::clone(gpu), session, states, updated }
    }

    fn run(&mut self) {
        self.session.run().expect("a step");
    }

    fn set(&self, name: &str, value: f32) {
        self.states.write(&self.gpu, name, &[value]).expect("a state");
    }

    fn get(&self, name: &str) -> f32 {
        self.states.read(&self.gpu, name).expect("a state")[0]
    }

    fn bits(&self) -> Vec<Vec<u32>> {
        let names: Vec<&str> = self.updated.iter().map(String::as_str).collect();
        let all = self.states.read_all(&self.gpu, &names).expect("states");
        all.into_iter().map(|data| data.into_iter().map(f32::to_bits).collect()).collect()
    }
}

#[test]
fn a_step_that_overflows_changes_nothing_and_the_scale_recovers() {
    let Some(gpu) = gpu() else { return };
    for (optimizer, clip_norm) in
        [(OptimizerKind::AdamW, 0.0), (OptimizerKind::Sgd, 0.0), (OptimizerKind::AdamW, 0.5)]
    {
        let mut step = Step::new(&gpu, optimizer, clip_norm, Precision::Mixed);
        let before = step.bits();
        // Beyond what any gradient in f16 can be multiplied by.
        let far = 2.0f32.powi(40);
        step.set(LOSS_SCALE, far);
        step.set(GOOD_STEPS, 7.0);
        step.run();
        assert_eq!(step.get(LOSS_SCALE), far / 2.0);
        assert_eq!(step.get(GOOD_STEPS), 0.0);
        assert!(step.bits() == before, "a step that overflowed changed a parameter or a moment");
        assert!(step.session.read(LOSS).expect("the loss")[0].is_finite());

        let mut halvings = 1;
        while step.get(GOOD_STEPS) == 0.0 {
            assert!(halvings < 40, "no scale fits");
            step.run();
            halvings += 1;
        }
        let changed = step.bits().iter().zip(&before).filter(|(now, then)| now != then).count();
        assert_eq!(changed, before.len(), "the first good step changes all");
        assert_eq!(step.get(LOSS_SCALE), far / 2.0f32.powi(halvings - 1));
    }
}

#[test]
fn the_scale_doubles_after_two_thousand_good_steps() {
    let Some(gpu) = gpu() else { return };
    let mut step = Step::new(&gpu, OptimizerKind::Sgd, 0.0, Precision::Mixed);
    step.set(LOSS_SCALE, 256.0);
    step.set(GOOD_STEPS, 1_998.0);
    step.run();
    assert_eq!((step.get(LOSS_SCALE), step.get(GOOD_STEPS)), (256.0, 1_999.0));
    step.run();
    assert_eq!((step.get(LOSS_SCALE), step.get(GOOD_STEPS)), (512.0, 0.0));
}

/// The scale is taken out again: it changes no more than the roundings.
#[test]
fn clipping_and_updates_see_the_gradient_without_its_scale() {
    let Some(gpu) = gpu() else { return };
    let norm_and_weights = |precision, scale| {
        let mut step = Step::new(&gpu, OptimizerKind::Sgd, 0.5, precision);
        if precision == Precision::Mixed {
            step.set(LOSS_SCALE, scale);
        }
        step.run();
        let names: Vec<&str> = step.updated.iter().map(String::as_str).collect();
        let all = step.states.read_all(&gpu, &names).expect("states").concat();
        (step.session.read(GRAD_NORM).expect("a norm")[0], all)
    };
    let (norm, weights) = norm_and_weights(Precision::F32, 1.0);
    assert!(norm > 0.5, "{norm}: there is something to clip");
    for scale in [256.0, 4096.0] {
        let (mixed_norm, mixed) = norm_and_weights(Precision::Mixed, scale);
        assert!((mixed_norm / norm - 1.0).abs() < 0.02, "{mixed_norm} and {norm} at a scale of {scale}");
        let length = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>().sqrt();
        let difference = length(&mut mixed.iter().zip(&weights).map(|(a, b)| a - b));
        // Velocities are the clipped gradient, of length 0.5; see `whole_step.rs` for the share that may differ.
        assert!(difference < 0.15 * 0.5, "{difference} at a scale of {scale}");
    }
}

/// What a coupling weighs losses by is without the scale: a Gram matrix with it would be its square too large.
#[test]
fn a_coupling_sees_losses_and_gradients_without_the_scale() {
    let Some(gpu) = gpu() else { return };
    let edges = by_name("edges").expect("the task");
    let dims = Dims { batch: BATCH, size: SIZE, channels: 1 };
    let observed = |precision| {
        let set = ["model.base_channels=4", "model.depth=2"].map(str::to_owned);
        let mut config = Config::parse("", "test", &set).expect("a config");
        config.train.precision = precision;
        let target = |layers: &mut Layers, tape: &mut Tape| {
            let (logits, masks) = segment(layers, tape, BATCH, SIZE)?;
            segmentation_loss(tape, logits, masks, &config.loss)
        };
        let task = |layers: &mut Layers, tape: &mut Tape| Ok(put_on_tape(edges, dims, layers, tape)?.loss);
        let branches: [(&str, Build); 2] = [(TARGET, &target), (edges.name(), &task)];
        let step = step_of_branches(&config, &branches, Mix::Coupled, &|_| false).expect("a tape");
        let program = compile_for(&step.tape, gpu.caps(), precision).expect("a program");
        let inputs: Vec<(String, usize)> =
            program.inputs.iter().map(|port| (port.name.clone(), port.shape.len())).collect();
        let mut states = States::new();
        let mut session = Session::new(&gpu, program, &mut states).expect("a session");
        for (name, shape, init) in step.starts() {
            states.write(&gpu, name, &init.numbers(shape.len(), 3, name)).expect("a state");
        }
        for (name, len) in inputs {
            let wave = |i: usize| (i * 7919 % 1013) as f32 / 506.5 - 1.0;
            let data: Vec<f32> =
                (0..len).map(|i| if name == MASKS { f32::from(wave(i) > 0.0) } else { wave(i) }).collect();
            session.write(&name, &data).expect("an input");
        }
        session.run_part(0).expect("the first part");
        read_observed(&session.read(OBSERVED).expect("what it saw"), 2)
    };
    let (losses, gram, scale) = observed(Precision::F32);
    let (mixed_losses, mixed_gram, mixed_scale) = observed(Precision::Mixed);
    assert!(scale == 1.0 && mixed_scale > 1.0, "{scale} {mixed_scale}");
    let close = |a: f64, b: f64, size: f64| assert!((a - b).abs() < 0.03 * size, "{a} and {b}");
    for i in 0..2 {
        close(losses[i], mixed_losses[i], losses[i]);
        for j in 0..2 {
            close(gram[i][j], mixed_gram[i][j], (gram[i][i] * gram[j][j]).sqrt());
        }
    }
}

/// A config small enough for a test.
const TINY: [&str; 7] = [
    "data.size=32",
    "model.base_channels=4",
    "model.depth=2",
    "train.batch_size=4",
    "train.epochs=4",
    "train.steps_per_epoch=25",
    "train.learning_rate=0.01",
];

/// Bright discs on a dark, grained ground, and where they are: something that a hundred steps learn.
fn discs(folder: &TempDir) -> PathBuf {
    let data = folder.path().join("data");
    for part in ["images", "masks"] {
        std::fs::create_dir_all(data.join(part)).expect("a folder");
    }
    for i in 0..40u32 {
        let (x0, y0, radius) = (8 + i * 7 % 17, 8 + i * 5 % 17, 4 + i % 4);
        let inside = |x: u32, y: u32| x.abs_diff(x0).pow(2) + y.abs_diff(y0).pow(2) <= radius * radius;
        let grain = |x: u32, y: u32| ((x * 7_919 + y * 104_729 + i * 31) % 61) as u8;
        let image = GrayImage::from_fn(32, 32, |x, y| Luma([40 + 90 * u8::from(inside(x, y)) + grain(x, y)]));
        let mask = GrayImage::from_fn(32, 32, |x, y| Luma([255 * u8::from(inside(x, y))]));
        for (part, picture) in [("images", image), ("masks", mask)] {
            picture.save(data.join(part).join(format!("disc_{i:02}.png"))).expect("a file");
        }
    }
    data
}

fn train(data: &Path, out: &Path, more: &[&str]) -> assert_cmd::Command {
    let mut command = wgseg();
    command.args(["train", "phantom"]);
    TINY.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    command.args(more).arg("--data").arg(data).arg("--out").arg(out);
    command
}

const MIXED: [&str; 2] = ["--set", "train.precision=\"mixed\""];

/// The best mean Dice of a run on its validation images.
fn best_dice(run: &Path) -> f64 {
    let bytes = std::fs::read(run.join("best.safetensors")).expect("a checkpoint");
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("safetensors");
    let ours = header.metadata().as_ref().and_then(|metadata| metadata.get("wgseg")).expect("our part");
    let info: serde_json::Value = serde_json::from_str(ours).expect("JSON");
    info["val_dice"].as_f64().expect("a Dice")
}

#[test]
fn a_mixed_training_is_as_good_and_resumes_to_the_same_bits() {
    if gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let data = discs(&folder);
    let [full, mixed, cut] = ["full", "mixed", "cut"].map(|name| folder.path().join(name));
    train(&data, &full, &[]).assert().success();
    train(&data, &mixed, &MIXED).assert().success();
    let (full, dice) = (best_dice(&full), best_dice(&mixed));
    println!("best validation Dice: {full:.4} in f32, {dice:.4} in mixed precision");
    assert!(full > 0.8, "{full}: something is learnt");
    // As far as two seeds are apart here; a pixel at the edge of a disc is half a hundredth of its Dice.
    assert!((dice - full).abs() < 0.05, "{dice:.4} in mixed precision, {full:.4} in f32");

    let mut child = common::process()
        .args(train(&data, &cut, &MIXED).get_args())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("wgseg starts");
    let rows = |run: &Path| std::fs::read_to_string(run.join("metrics.csv")).map_or(0, |t| t.lines().count());
    // A header and an epoch: its state is saved.
    while rows(&cut) < 2 && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().expect("kill");
    child.wait().expect("wait");
    assert!((2..5).contains(&rows(&cut)), "killed midway");
    train(&data, &cut, &[&MIXED[..], &["--resume"]].concat()).assert().success();
    for name in ["best.safetensors", "last.safetensors", "training_state.safetensors"] {
        let tensors = |run: &Path| {
            let bytes = std::fs::read(run.join(name)).expect(name);
            let (header, _) = safetensors::SafeTensors::read_metadata(&bytes).expect("safetensors");
            // Behind the header, which tells how long things took.
            bytes[8 + header..].to_vec()
        };
        assert!(tensors(&mixed) == tensors(&cut), "{name} differs after a resume");
    }
}

#[test]
fn an_adapter_without_f16_says_so_before_the_training() {
    let mut seen = false;
    for adapter in list() {
        let adapter = Some(adapter.index.to_string());
        let options = GpuOptions { adapter: adapter.clone(), extra: Extra::Half, ..Default::default() };
        let Ok(gpu) = Gpu::open(&options) else { continue };
        let mixed = GpuOptions { adapter, precision: Precision::Mixed, ..Default::default() };
        if gpu.has(Extra::Half) {
            assert!(Gpu::open(&mixed).is_ok());
            continue;
        }
        seen = true;
        let Err(error) = Gpu::open(&mixed) else { panic!("{} has no f16", gpu.description()) };
        for word in [gpu.description().name.as_str(), "f16", "train.precision", "f32"] {
            assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
        }
    }
    if !seen {
        eprintln!("skipped: every adapter here has f16");
    }
}

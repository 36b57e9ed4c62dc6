//! What the tests of the tasks share.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rand::RngExt;

use super::{Dims, Shares, Task};
use crate::config::schema::ModelConfig;
use crate::data::standardise::standardise;
use crate::gpu::{Gpu, GpuOptions, Session, States};
use crate::nn::layers::{Layers, Mode};
use crate::nn::unet::{decode, encode};
use crate::ops::Hyper;
use crate::ops::sgd::Sgd;
use crate::program::compile;
use crate::reference::{Tensor, run};
use crate::rng::{Purpose, rng};
use crate::tape::{Shape, Tape, Value};

/// Steps of gradient descent in [`check_learns`].
const STEPS: usize = 25;

/// Standardised images of a bright disc and a dark one on a slope, no two alike, none symmetric.
pub fn images(count: usize, size: usize, channels: usize) -> Vec<Vec<f32>> {
    let mut rng = rng(1, Purpose::Case, 77);
    let draw = |_| {
        let mut place = || rng.random_range(0.2..0.5f32);
        let discs = [(place(), place(), 0.25, 1.5), (place() + 0.3, place() + 0.2, 0.15, -1.0)];
        let mut pixels = vec![];
        for i in 0..size * size {
            let (x, y) = ((i % size) as f32 / size as f32, (i / size) as f32 / size as f32);
            let inside = |(cx, cy, r, _): &&(f32, f32, f32, f32)| (x - cx).hypot(y - cy) < *r;
            let discs: f32 = discs.iter().filter(inside).map(|(.., value)| value).sum();
            pixels.extend((0..channels).map(|c| discs + 0.5 * x + y * (1.0 + c as f32)));
        }
        standardise(&mut pixels);
        pixels
    };
    (0..count).map(draw).collect()
}

/// Clean images and the batch that the task makes of them at `step`.
pub fn batch_of(task: &dyn Task, dims: Dims, step: u64) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let clean = images(dims.batch, dims.size, dims.channels);
    let views: Vec<&[f32]> = clean.iter().map(Vec::as_slice).collect();
    let batch = task.batch(&views, dims, &mut rng(3, Purpose::Task, step));
    (clean, batch)
}

/// Logits that choose the label.
pub fn one_hot(labels: &[f32], classes: usize) -> Vec<f32> {
    labels.iter().flat_map(|label| (0..classes).map(|c| f32::from(u8::from(c as f32 == *label)))).collect()
}

/// Batches are of the shapes that the task tells, finite, and depend on the random numbers alone.
pub fn check_batches(task: &dyn Task) {
    for (batch, size, channels) in [(1, 4, 1), (3, 16, 1), (2, 16, 3), (2, 24, 1), (2, 32, 3), (2, 70, 1)] {
        let dims = Dims { batch, size, channels };
        let expected: Vec<usize> = task.tensors(dims).iter().map(|(_, shape)| shape.len()).collect();
        let (_, tensors) = batch_of(task, dims, 5);
        let found: Vec<usize> = tensors.iter().map(Vec::len).collect();
        assert_eq!(found, expected, "{}: {dims:?}", task.name());
        assert!(tensors.iter().flatten().all(|x| x.is_finite()), "{}: {dims:?}", task.name());
        assert_eq!(tensors, batch_of(task, dims, 5).1, "{}: {dims:?}", task.name());
        let first = &task.tensors(dims)[0].1;
        assert_eq!(first.dims()[1..], [size, size, channels], "{}: {dims:?}", task.name());
    }
    // An image of one value divides by nothing.
    let dims = Dims { batch: 1, size: 16, channels: 1 };
    let flat = task.batch(&[&[0.0; 256]], dims, &mut rng(3, Purpose::Task, 0));
    assert!(flat.iter().flatten().all(|x| x.is_finite()), "{}", task.name());
}

/// A task with its part of a small U-Net on a tape.
struct TaskTape {
    tape: Tape,
    loss: Value,
    prediction: Value,
    inits: Vec<(String, Shape, crate::nn::init::Init)>,
    names: Vec<&'static str>,
}

fn task_tape(task: &dyn Task, dims: Dims) -> TaskTape {
    let config =
        ModelConfig { base_channels: 4, depth: 2, in_channels: dims.channels, ..ModelConfig::default() };
    let mut layers = Layers::new(&config, Mode::Train);
    let mut tape = Tape::new();
    let tensors = task.tensors(dims);
    let names = tensors.iter().map(|(name, _)| *name).collect();
    let values: Vec<Value> =
        tensors.into_iter().map(|(name, shape)| tape.input(name, shape).unwrap()).collect();
    let encoded = encode(&mut layers, &mut tape, values[0]).unwrap();
    let features = match task.shares() {
        Shares::Encoder => encoded.bottleneck,
        Shares::EncoderAndDecoder => decode(&mut layers, &mut tape, encoded).unwrap(),
    };
    let head = task.head(&mut layers, &mut tape, features, &values).unwrap();
    TaskTape { tape, loss: head.loss, prediction: head.prediction, inits: layers.into_inits(), names }
}

fn gpu() -> &'static Arc<Gpu> {
    static GPU: OnceLock<Arc<Gpu>> = OnceLock::new();
    GPU.get_or_init(|| Gpu::open(&GpuOptions::default()).unwrap())
}

/// Gradient descent at `learning_rate` on one batch brings the loss on the device below `share` of
/// what it was; the first loss is the reference's, and every parameter has a gradient. The score of
/// what is learnt is better than it was.
pub fn check_learns(task: &dyn Task, learning_rate: f64, share: f32) {
    for (size, channels) in [(8, 1), (64, 3)] {
        let mut built = task_tape(task, Dims { batch: 2, size, channels });
        built.tape.backward(built.loss).unwrap();
    }
    let dims = Dims { batch: 4, size: 16, channels: 1 };
    let TaskTape { mut tape, loss, prediction, inits, names } = task_tape(task, dims);
    for (name, _, _) in &inits {
        let own = name.starts_with(&format!("{}.", task.name()));
        let shared = ["down.", "up.", "dec."].iter().any(|part| name.starts_with(part));
        assert!(own || shared, "{}: a parameter named {name}", task.name());
    }
    let parameters = tape.parameters();
    let gradients = tape.backward(loss).unwrap();
    let first_layer = gradients.of(tape.named("down.0.0.weight").unwrap()).unwrap();
    let (_, tensors) = batch_of(task, dims, 9);

    let mut feeds: HashMap<String, Tensor> = HashMap::new();
    for (name, shape, init) in &inits {
        feeds.insert(name.clone(), Tensor::from_f32(shape.clone(), &init.numbers(shape.len(), 5, name)));
    }
    for ((name, shape), data) in task.tensors(dims).into_iter().zip(&tensors) {
        feeds.insert(name.to_owned(), Tensor::from_f32(shape, data));
    }
    let reference = run(&tape, &feeds).unwrap();
    let expected = reference.value(loss).data[0];
    assert!(expected.is_finite(), "{}: loss {expected}", task.name());
    let reached = reference.value(first_layer).data.iter().any(|x| *x != 0.0);
    assert!(reached, "{}: the first convolution has no gradient", task.name());

    let hyper = tape.input("hyper", [Hyper::LEN]).unwrap();
    for (name, parameter) in parameters {
        let gradient = gradients.of(parameter).unwrap_or_else(|| panic!("{name} has no gradient"));
        let shape = tape.shape(parameter).clone();
        let velocity = tape.state(&format!("{name}.velocity"), shape).unwrap();
        let sgd = Sgd { momentum: 0.0, weight_decay: 0.0 };
        tape.sgd(sgd, parameter, gradient, velocity, hyper, None).unwrap();
    }
    tape.output("loss", loss);
    tape.output("prediction", prediction);
    let mut states = States::new();
    let mut session = Session::new(gpu(), compile(&tape, gpu().caps()).unwrap(), &mut states).unwrap();
    for (name, _, _) in &inits {
        states.write(gpu(), name, &feeds[name].to_f32()).unwrap();
    }
    for (name, data) in names.iter().zip(&tensors) {
        // A tensor that only the score looks at is not in the program.
        if session.program().inputs.iter().any(|port| port.name == *name) {
            session.write(name, data).unwrap();
        }
    }
    session.write("hyper", &Hyper::adam_defaults(learning_rate, 1).to_array()).unwrap();
    let (mut losses, mut scores) = (vec![], vec![]);
    for _ in 0..STEPS {
        session.run().unwrap();
        losses.push(session.read("loss").unwrap()[0]);
        scores.push(task.score(&tensors, &session.read("prediction").unwrap(), dims));
    }
    let (first, last) = (losses[0], losses[STEPS - 1]);
    assert!((f64::from(first) / expected - 1.0).abs() < 1e-4, "{}: {first}, not {expected}", task.name());
    assert!(last < share * first, "{}: {losses:?}", task.name());
    let sign = if task.metric().higher_is_better { 1.0 } else { -1.0 };
    let gain = sign * (scores[STEPS - 1].value - scores[0].value);
    assert!(gain > 0.0 || scores[0].value == 1.0, "{}: {scores:?}", task.name());
}

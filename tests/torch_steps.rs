//! Ten training steps from the same weights and batches as PyTorch, whose numbers are in
//! `tests/fixtures/torch_steps.safetensors` (made by `make_torch_steps.py` beside it).

mod common;

use safetensors::SafeTensors;
use wgseg::config::Config;
use wgseg::config::schema::{OptimizerKind, Schedule};
use wgseg::gpu::{Session, States};
use wgseg::nn::layout;
use wgseg::ops::Hyper;
use wgseg::program::compile;
use wgseg::tape::Shape;
use wgseg::train::step::{HYPER, IMAGES, LOSS, MASKS, train_step};

const STEPS: usize = 10;
const BATCH: usize = 2;
const SIZE: usize = 32;

struct Fixture(Vec<u8>);

impl Fixture {
    fn open() -> Fixture {
        Fixture(std::fs::read(common::fixture("torch_steps.safetensors")).expect("the fixture"))
    }

    fn get(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.0).expect("a safetensors file");
        let view = tensors.tensor(name).unwrap_or_else(|_| panic!("no {name:?} in the fixture"));
        bytemuck::pod_collect_to_vec(view.data())
    }

    /// A parameter or its gradient, in this crate's layout.
    fn weights(&self, name: &str, shape: &Shape) -> Vec<f32> {
        layout::from_torch(shape, &self.get(name))
    }
}

fn config(optimizer: OptimizerKind) -> Config {
    let mut config = Config::default();
    config.model.base_channels = 4;
    config.model.depth = 3;
    config.data.size = SIZE;
    config.train.batch_size = BATCH;
    config.train.optimizer = optimizer;
    config.train.schedule = Schedule::Constant;
    (config.train.learning_rate, config.train.weight_decay) = match optimizer {
        OptimizerKind::Sgd => (0.05, 0.0),
        OptimizerKind::AdamW => (1e-3, 1e-2),
    };
    config.train.momentum = 0.9;
    config
}

/// ‖a − b‖ / ‖b‖ in f64. NaN when anything is.
fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    difference / norm(&mut b.iter().map(|b| f64::from(*b))).max(1e-12)
}

/// Trains ten steps and compares the losses and the final weights.
fn ten_steps(optimizer: OptimizerKind, prefix: &str, loss_tolerance: f64, weight_tolerance: f64) {
    let fixture = Fixture::open();
    let gpu = common::gpu();
    let config = config(optimizer);
    let mut step = train_step(&config, BATCH, SIZE).expect("a tape");
    let parameters = step.tape.parameters();
    for (name, value) in &parameters {
        let gradient = step.gradients.of(*value).expect("every parameter has a gradient");
        step.tape.output(&format!("grad.{name}"), gradient);
    }
    let program = compile(&step.tape, gpu.caps()).expect("a program");
    let mut states = States::new();
    let mut session = Session::new(&gpu, program, &mut states).expect("a session");
    for (name, shape, _) in &step.inits {
        states.write(&gpu, name, &fixture.weights(&format!("init.{name}"), shape)).expect("a weight");
    }
    let (images, masks) = (fixture.get("images"), fixture.get("masks"));
    let expected = fixture.get(&format!("{prefix}_losses"));
    let batch = BATCH * SIZE * SIZE;
    let (mut worst_loss, mut worst_gradient, mut worst_statistic, mut worst_weight) =
        (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for k in 0..STEPS {
        session.write(IMAGES, &images[k * batch..][..batch]).expect("images");
        session.write(MASKS, &masks[k * batch..][..batch]).expect("masks");
        let hyper = Hyper::adam_defaults(config.train.learning_rate, k + 1).to_array();
        session.write(HYPER, &hyper).expect("hyper");
        session.run().expect("a step");
        let loss = session.read(LOSS).expect("the loss")[0];
        let error = f64::from((loss - expected[k]).abs() / expected[k].abs());
        worst_loss = worst_loss.max(error);
        assert!(error <= loss_tolerance, "step {}: loss {loss}, PyTorch {}", k + 1, expected[k]);
        if k == 0 {
            for (name, value) in &parameters {
                let found = session.read(&format!("grad.{name}")).expect("a gradient");
                let wanted = fixture.weights(&format!("grad.{name}"), step.tape.shape(*value));
                let error = relative_error(&found, &wanted);
                worst_gradient = worst_gradient.max(error);
                assert!(error <= 1e-3, "gradient of {name}: {error:.2e} off in norm");
            }
            for (name, shape, _) in step.inits.iter().filter(|(n, _, _)| n.contains("running_")) {
                let found = states.read(&gpu, name).expect("a statistic");
                let error = relative_error(&found, &fixture.weights(&format!("bn.{name}"), shape));
                worst_statistic = worst_statistic.max(error);
                assert!(error <= 1e-4, "{name}: {error:.2e} off in norm");
            }
        }
    }
    for (name, value) in &parameters {
        let found = states.read(&gpu, name).expect("a weight");
        let wanted = fixture.weights(&format!("{prefix}_final.{name}"), step.tape.shape(*value));
        let error = relative_error(&found, &wanted);
        worst_weight = worst_weight.max(error);
        assert!(error <= weight_tolerance, "{name} after ten steps: {error:.2e} off in norm");
    }
    println!(
        "{prefix}, largest relative differences from PyTorch: losses {worst_loss:.1e}, gradients of step one \
         {worst_gradient:.1e}, running statistics {worst_statistic:.1e}, weights after ten steps {worst_weight:.1e}"
    );
}

#[test]
fn ten_steps_of_sgd_follow_pytorch() {
    ten_steps(OptimizerKind::Sgd, "sgd", 1e-4, 1e-3);
}

#[test]
fn ten_steps_of_adamw_follow_pytorch() {
    ten_steps(OptimizerKind::AdamW, "adamw", 1e-2, 1e-2);
}

//! An auxiliary task as a branch of a training step, and how well it is solved.

use std::sync::Arc;

use super::TrainError;
use super::branch::{Branch, Feed};
use crate::config::Config;
use crate::config::schema::AugmentConfig;
use crate::data::augment::{Key, augment};
use crate::data::{DataError, Sampler, Unlabelled};
use crate::gpu::{Gpu, Session, States};
use crate::method::error::MethodError;
use crate::nn::{Layers, Mode, unet};
use crate::program::compile;
use crate::report::TaskRow;
use crate::rng::{Purpose, rng, seed_of};
use crate::tape::{Tape, TapeError, Value};
use crate::tasks::{Dims, Head, Shares, Task};

/// Batches of held-out images that a task is measured on, at most.
const MEASURED_BATCHES: usize = 16;

/// How many of `held_out` images a task is measured on, in batches of `batch`: whole ones, 16 at most.
pub fn measured(held_out: usize, batch: usize) -> usize {
    (held_out / batch.max(1)).min(MEASURED_BATCHES) * batch
}

const PREDICTION: &str = "prediction";

/// A task on unlabelled images. Its inputs are named `TASK.TENSOR`.
pub struct TaskBranch {
    task: &'static dyn Task,
    images: Arc<Unlabelled>,
    sampler: Sampler,
    dims: Dims,
    augment: AugmentConfig,
    seed: u64,
}

impl TaskBranch {
    /// Batches of `batch` of `images`, in an order of the task's own.
    pub fn new(
        task: &'static dyn Task,
        images: &Arc<Unlabelled>,
        batch: usize,
        config: &Config,
    ) -> Result<TaskBranch, DataError> {
        let seed = seed_of(config.train.seed, task.name());
        Ok(TaskBranch {
            task,
            images: Arc::clone(images),
            sampler: Sampler::new(&vec![false; images.len()], batch, None, seed)?,
            dims: Dims { batch, size: images.size(), channels: images.channels() },
            // A task's images are clean ones: what it is to restore must not hold noise of ours.
            augment: config.augment.geometric(),
            seed,
        })
    }
}

impl Branch for TaskBranch {
    fn name(&self) -> &str {
        self.task.name()
    }

    fn images(&self) -> usize {
        self.dims.batch
    }

    fn build(&self, layers: &mut Layers, tape: &mut Tape) -> Result<Value, TapeError> {
        Ok(put_on_tape(self.task, self.dims, layers, tape)?.loss)
    }

    fn feed(&self, step: u64) -> Result<Feed, DataError> {
        let Dims { size, channels, .. } = self.dims;
        let mut images = vec![];
        for (place, index) in self.sampler.batch(step).into_iter().enumerate() {
            let mut image = self.images.image(index).to_vec();
            augment(&mut image, &mut [], size, channels, &self.augment, Key { seed: self.seed, step, place });
            images.push(image);
        }
        let images: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
        let tensors = self.task.batch(&images, self.dims, &mut rng(self.seed, Purpose::Task, step));
        Ok(input_names(self.task, self.dims).into_iter().zip(tensors).collect())
    }
}

fn input_names(task: &dyn Task, dims: Dims) -> Vec<String> {
    task.tensors(dims).iter().map(|(tensor, _)| format!("{}.{tensor}", task.name())).collect()
}

/// Appends the task's inputs, the shared part of the network and the task's head.
pub fn put_on_tape(
    task: &dyn Task,
    dims: Dims,
    layers: &mut Layers,
    tape: &mut Tape,
) -> Result<Head, TapeError> {
    layers.set_branch(task.name());
    let mut inputs = vec![];
    for (name, (_, shape)) in input_names(task, dims).iter().zip(task.tensors(dims)) {
        inputs.push(tape.input(name, shape)?);
    }
    let encoded = unet::encode(layers, tape, inputs[0])?;
    let features = match task.shares() {
        Shares::Encoder => encoded.bottleneck,
        Shares::EncoderAndDecoder => unet::decode(layers, tape, encoded)?,
    };
    tape.scoped(task.name(), |tape| task.head(layers, tape, features, &inputs))
}

/// Measures how well a task is solved on held-out images: always the same images, changed in the
/// same way.
pub struct Probe {
    task: &'static dyn Task,
    dims: Dims,
    session: Session,
    batches: Vec<Vec<Vec<f32>>>,
}

impl Probe {
    /// Takes [`measured`] images, evenly out of all, which may be of several sources one after the other.
    ///
    /// # Errors
    /// The network cannot be built, or there is not one batch.
    pub fn new(
        gpu: &Arc<Gpu>,
        config: &Config,
        task: &'static dyn Task,
        held_out: &Unlabelled,
        batch: usize,
        states: &mut States,
    ) -> Result<Probe, TrainError> {
        let dims = Dims { batch, size: held_out.size(), channels: held_out.channels() };
        let count = measured(held_out.len(), batch);
        if count == 0 {
            let (found, copies) = (held_out.len(), 0);
            return Err(MethodError::FewHeldOut { found, batch, copies }.into());
        }
        let place = |i: usize| i * held_out.len() / count;
        let batches = (0..count / batch)
            .map(|b| {
                let images: Vec<&[f32]> = (0..batch).map(|i| held_out.image(place(b * batch + i))).collect();
                task.batch(&images, dims, &mut rng(config.data.seed, Purpose::HeldOut, 1 + b as u64))
            })
            .collect();
        let mut tape = Tape::new();
        let mut layers = Layers::new(&config.model, Mode::Inference);
        let head = put_on_tape(task, dims, &mut layers, &mut tape)?;
        tape.output(PREDICTION, head.prediction);
        let session = Session::new(gpu, compile(&tape, gpu.caps())?, states)?;
        Ok(Probe { task, dims, session, batches })
    }

    /// The mean score over the batches, as a row of the metrics.
    pub fn measure(&mut self, epoch: usize, step: usize) -> Result<TaskRow, TrainError> {
        let names = input_names(self.task, self.dims);
        let known: Vec<String> = self.session.program().inputs.iter().map(|p| p.name.clone()).collect();
        let (mut value, mut trivial) = (0.0, 0.0);
        for tensors in &self.batches {
            // What only the loss reads is not in the program.
            for (name, data) in names.iter().zip(tensors).filter(|(name, _)| known.contains(name)) {
                self.session.write(name, data)?;
            }
            self.session.run()?;
            let score = self.task.score(tensors, &self.session.read(PREDICTION)?, self.dims);
            value += score.value / self.batches.len() as f64;
            trivial += score.trivial / self.batches.len() as f64;
        }
        let metric = self.task.metric();
        Ok(TaskRow {
            epoch,
            step,
            task: self.task.name().to_owned(),
            metric: metric.name.to_owned(),
            higher_is_better: metric.higher_is_better,
            value,
            trivial,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::list_images;
    use crate::data::testing::folder;
    use crate::tasks::by_name;

    #[test]
    fn a_task_gets_images_without_noise() {
        let dir = folder(2);
        let files = list_images(&[dir.path().join("images")]).unwrap();
        let mut config = Config::default();
        config.data.size = 8;
        config.augment = AugmentConfig {
            flip: 0.0,
            shift: 0.0,
            scale: 0.0,
            rotate: 0.0,
            brightness: 0.9,
            contrast: 0.9,
            gamma: 0.9,
            noise: 0.9,
        };
        let images = Arc::new(Unlabelled::of_files(&files, 1, &config.data).unwrap());
        let branch = TaskBranch::new(by_name("edges").unwrap(), &images, 2, &config).unwrap();
        let feed = branch.feed(0).unwrap();
        let order = branch.sampler.batch(0);
        assert_eq!(feed[0].1, order.iter().flat_map(|i| images.image(*i)).copied().collect::<Vec<_>>());
    }
}

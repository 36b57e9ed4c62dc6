//! A branch of a training step: a loss on a batch of its own.

use std::sync::Arc;

use super::step::segmentation_loss;
use crate::config::Config;
use crate::config::schema::{AugmentConfig, LossConfig};
use crate::data::loader::labelled_batch;
use crate::data::{Cache, DataError, Sampler};
use crate::nn::{Layers, unet};
use crate::tape::{Tape, TapeError, Value};

/// The inputs of a step by name.
pub type Feed = Vec<(String, Vec<f32>)>;

/// Name of the branch that segments; its parameters and statistics carry no prefix.
pub const TARGET: &str = "target";

/// One loss of a training step. Branches of one step share the parameters that they name alike.
pub trait Branch: Send + Sync {
    fn name(&self) -> &str;

    /// Images in a batch.
    fn images(&self) -> usize;

    /// Appends forward and loss `[1]`. Its inputs are those of [`Branch::feed`].
    fn build(&self, layers: &mut Layers, tape: &mut Tape) -> Result<Value, TapeError>;

    /// The inputs of a step. They depend on `step` alone.
    fn feed(&self, step: u64) -> Result<Feed, DataError>;
}

/// Segmentation of labelled images: inputs `images [batch, size, size, in_channels]` and
/// `masks [batch, size, size, out_channels]`.
pub struct Target {
    pub images: Arc<Cache>,
    pub sampler: Sampler,
    pub batch: usize,
    pub loss: LossConfig,
    pub augment: AugmentConfig,
    pub seed: u64,
}

/// Names of the target's inputs.
pub const IMAGES: &str = "images";
pub const MASKS: &str = "masks";

impl Target {
    /// Batches of `config` over all of `images`.
    pub fn new(config: &Config, images: &Arc<Cache>) -> Result<Target, DataError> {
        let train = &config.train;
        let sampler =
            Sampler::new(&images.positives(), train.batch_size, train.positive_fraction, train.seed)?;
        Ok(Target {
            images: Arc::clone(images),
            sampler,
            batch: train.batch_size,
            loss: config.loss.clone(),
            augment: config.augment.clone(),
            seed: train.seed,
        })
    }
}

impl Branch for Target {
    fn name(&self) -> &str {
        TARGET
    }

    fn images(&self) -> usize {
        self.batch
    }

    fn build(&self, layers: &mut Layers, tape: &mut Tape) -> Result<Value, TapeError> {
        let (logits, masks) = segment(layers, tape, self.batch, self.images.size())?;
        segmentation_loss(tape, logits, masks, &self.loss)
    }

    fn feed(&self, step: u64) -> Result<Feed, DataError> {
        let batch = labelled_batch(&self.images, &self.sampler, &self.augment, self.seed, step);
        Ok(vec![(IMAGES.to_owned(), batch.images), (MASKS.to_owned(), batch.masks)])
    }
}

/// Appends the target's inputs and network; gives its logits and masks.
pub fn segment(
    layers: &mut Layers,
    tape: &mut Tape,
    batch: usize,
    size: usize,
) -> Result<(Value, Value), TapeError> {
    layers.set_branch("");
    let (in_channels, out_channels) = (layers.config().in_channels, layers.config().out_channels);
    let images = tape.input(IMAGES, [batch, size, size, in_channels])?;
    let masks = tape.input(MASKS, [batch, size, size, out_channels])?;
    let encoded = unet::encode(layers, tape, images)?;
    let features = unet::decode(layers, tape, encoded)?;
    Ok((unet::head(layers, tape, features)?, masks))
}

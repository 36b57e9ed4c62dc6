//! A checkpoint ready for use: opened, checked, and loaded onto a device.

use std::path::Path;
use std::sync::Arc;

use super::TrainError;
use super::checkpoint::{Checkpoint, CheckpointError, CheckpointInfo};
use super::predictor::{Predictor, load_weights, read_weights};
use super::threshold::Threshold;
use super::validation::{Network, Predicted, evaluate};
use crate::config::Config;
use crate::data::Cache;
use crate::gpu::{Gpu, States};
use crate::tape::Shape;

/// A checkpoint and what it says of itself; nothing is on a device yet.
pub struct ModelFile {
    checkpoint: Checkpoint,
    pub info: CheckpointInfo,
    /// The config of the run that the file lies in, or the defaults, with the checkpoint's model
    /// and size.
    pub config: Config,
}

impl ModelFile {
    /// Errors when the file cannot be read, is damaged, or is no checkpoint of this program.
    pub fn open(path: &Path) -> Result<ModelFile, TrainError> {
        let checkpoint = Checkpoint::open(path)?;
        let info: CheckpointInfo = checkpoint.info()?;
        let beside = path.with_file_name("config.toml");
        let mut config = if beside.is_file() { Config::load(&beside, &[])? } else { Config::default() };
        config.model = info.model.clone();
        config.data.size = info.size;
        config.validate().map_err(|problem| CheckpointError::BadInfo {
            path: path.to_owned(),
            message: problem.to_string(),
        })?;
        Ok(ModelFile { checkpoint, info, config })
    }

    /// The weights by name, in this crate's layout.
    ///
    /// Errors when a tensor is missing or of another shape.
    pub fn weights(&self) -> Result<Vec<(String, Vec<f32>)>, TrainError> {
        read_weights(&self.config, &self.checkpoint)
    }

    /// The tensor `name` of this crate's `shape`, in this crate's layout.
    ///
    /// Errors when it is missing, of another shape or type, or not finite.
    pub fn tensor(&self, name: &str, shape: &Shape) -> Result<Vec<f32>, TrainError> {
        Ok(self.checkpoint.tensor(name, shape)?)
    }

    /// Loads the weights, ready for `batch` images at once.
    ///
    /// Errors when a tensor is missing or of another shape, or the program does not fit.
    pub fn load(self, gpu: &Arc<Gpu>, batch: usize) -> Result<Model, TrainError> {
        let mut states = States::new();
        let mut predictor = Predictor::new(gpu, &self.config, self.config.data.size);
        predictor.prepare(batch, &mut states)?;
        load_weights(gpu, &states, &self.config, &self.checkpoint)?;
        let image_len = self.config.data.size.pow(2) * self.config.model.in_channels;
        Ok(Model { predictor, states, batch, image_len })
    }
}

/// A model on a device.
pub struct Model {
    predictor: Predictor,
    states: States,
    batch: usize,
    image_len: usize,
}

impl Model {
    /// Numbers of an image `[size, size, in_channels]`.
    pub fn image_len(&self) -> usize {
        self.image_len
    }

    /// Probabilities `[size, size, out_channels]` of each of `images [size, size, in_channels]`, in
    /// batches of the size that the model was loaded for.
    pub fn predict_all(&mut self, images: &[&[f32]]) -> Result<Vec<Vec<f32>>, TrainError> {
        let mut all = Vec::with_capacity(images.len());
        for chunk in images.chunks(self.batch) {
            // The last batch is filled up with its first image, so that one program serves all.
            let filled = (0..self.batch).flat_map(|i| *chunk.get(i).unwrap_or(&chunk[0]));
            let batch: Vec<f32> = filled.copied().collect();
            let probabilities = self.predictor.predict(&mut self.states, self.batch, &batch)?;
            let each = probabilities.len() / self.batch;
            all.extend(probabilities.chunks_exact(each).take(chunk.len()).map(<[f32]>::to_vec));
        }
        Ok(all)
    }

    /// Probabilities `[size, size, out_channels]` of one image `[size, size, in_channels]`.
    pub fn predict(&mut self, image: &[f32]) -> Result<Vec<f32>, TrainError> {
        self.predictor.predict(&mut self.states, 1, image)
    }

    /// Predicts the images of `cache` and scores them at a threshold.
    pub fn evaluate(&mut self, cache: &Cache, threshold: Threshold) -> Result<Predicted, TrainError> {
        let Model { predictor, states, batch, .. } = self;
        evaluate(&mut Network { predictor, states, batch: *batch }, cache, threshold)
    }
}

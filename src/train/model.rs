//! A checkpoint ready for use: opened, checked, and loaded onto a device.

use std::path::Path;
use std::sync::Arc;

use super::TrainError;
use super::checkpoint::{Checkpoint, CheckpointError, CheckpointInfo};
use super::mask_rule::MaskRule;
use super::mirror::{mean_with_mirrored, mirror};
use super::predictor::{Predictor, load_weights, read_weights};
use super::validation::{Predicted, Segmenter, Visit, evaluate};
use super::window::Windows;
use crate::config::Config;
use crate::data::Cache;
use crate::data::decode::Image;
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
        let (size, model) = (self.config.data.size, &self.config.model);
        let (in_channels, out_channels) = (model.in_channels, model.out_channels);
        Ok(Model { predictor, states, batch, size, in_channels, out_channels, mirrored: false })
    }
}

/// Windows at once, at most; each number has a program of its own. On a CPU eight are a quarter faster than one (225 windows
/// of 128×128).
const WINDOWS: [usize; 4] = [8, 4, 2, 1];

/// How many of `windows` are predicted at once: as many as fill up the last batch with a quarter more at most.
fn batch_of(windows: usize) -> usize {
    let fits = |batch: &usize| 4 * (windows.next_multiple_of(*batch) - windows) <= windows;
    WINDOWS.into_iter().find(fits).unwrap_or(1)
}

/// A model on a device.
pub struct Model {
    predictor: Predictor,
    states: States,
    batch: usize,
    size: usize,
    in_channels: usize,
    out_channels: usize,
    mirrored: bool,
}

impl Model {
    /// Whether it also answers for the mirror image of each image, and the mean counts; see [`super::mirror`].
    pub fn mirrored(self, mirrored: bool) -> Model {
        Model { mirrored, ..self }
    }

    /// Numbers of an image `[size, size, in_channels]`.
    pub fn image_len(&self) -> usize {
        self.size * self.size * self.in_channels
    }

    /// Probabilities `[size, size, out_channels]` of each of `images [size, size, in_channels]`, in
    /// batches of the size that the model was loaded for.
    pub fn predict_all(&mut self, images: &[&[f32]]) -> Result<Vec<Vec<f32>>, TrainError> {
        self.predict_by(self.batch, images)
    }

    /// The same in batches of `batch`.
    fn predict_by(&mut self, batch: usize, images: &[&[f32]]) -> Result<Vec<Vec<f32>>, TrainError> {
        let maps = self.predict_batches(batch, images)?;
        if !self.mirrored {
            return Ok(maps);
        }
        let (size, channels) = (self.size, self.out_channels);
        let turned: Vec<Vec<f32>> =
            images.iter().map(|image| mirror(image, size, self.in_channels)).collect();
        let turned: Vec<&[f32]> = turned.iter().map(Vec::as_slice).collect();
        let of_turned = self.predict_batches(batch, &turned)?;
        Ok(maps.iter().zip(&of_turned).map(|(a, b)| mean_with_mirrored(a, b, size, channels)).collect())
    }

    fn predict_batches(&mut self, batch: usize, images: &[&[f32]]) -> Result<Vec<Vec<f32>>, TrainError> {
        let mut all = Vec::with_capacity(images.len());
        for chunk in images.chunks(batch) {
            // The last batch is filled up with its first image, so that one program serves all.
            let filled = (0..batch).flat_map(|i| *chunk.get(i).unwrap_or(&chunk[0]));
            let filled: Vec<f32> = filled.copied().collect();
            let probabilities = self.predictor.predict(&mut self.states, batch, &filled)?;
            let each = probabilities.len() / batch;
            all.extend(probabilities.chunks_exact(each).take(chunk.len()).map(<[f32]>::to_vec));
        }
        Ok(all)
    }

    /// Probabilities `[height, width]` of an image of any size in windows of the training size, at its own resolution;
    /// see [`super::window`].
    pub fn predict_windows(&mut self, image: &Image) -> Result<Vec<f32>, TrainError> {
        let windows = Windows::new(image, self.size);
        let mut batch = batch_of(windows.count());
        // As where so many do not fit the device.
        while batch > 1 && self.predictor.prepare(batch, &mut self.states).is_err() {
            batch /= 2;
        }
        windows.predict(batch, |windows| self.predict_by(batch, windows))
    }

    /// Predicts the images of `cache` and scores the masks that `rule` makes; a threshold alone empties none.
    pub fn evaluate(&mut self, cache: &Cache, rule: impl Into<MaskRule>) -> Result<Predicted, TrainError> {
        evaluate(self, cache, rule)
    }
}

impl Segmenter for Model {
    fn segment(&mut self, cache: &Cache, visit: &mut Visit) -> Result<(), TrainError> {
        let positions: Vec<usize> = (0..cache.len()).collect();
        for chunk in positions.chunks(self.batch) {
            let images: Vec<&[f32]> = chunk.iter().map(|i| cache.image(*i)).collect();
            for (position, map) in chunk.iter().zip(self.predict_all(&images)?) {
                let mask: Vec<f32> = cache.mask(*position).iter().map(|y| f32::from(*y)).collect();
                visit(*position, &map, &mask)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_windows_are_not_filled_up_to_many() {
        let found = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 25, 225].map(batch_of);
        assert_eq!(found, [1, 2, 1, 4, 2, 2, 8, 8, 2, 4, 8, 4, 8]);
    }
}

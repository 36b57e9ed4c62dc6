//! A model on a device, ready to predict batches of any size.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::TrainError;
use super::checkpoint::{Checkpoint, CheckpointError, CheckpointInfo};
use super::step::{IMAGES, PROBABILITIES, inference};
use crate::config::Config;
use crate::config::schema::{ModelConfig, Norm};
use crate::gpu::{Gpu, Session, States};
use crate::program::compile;

/// Inference programs of one model, one for each batch size that was asked for.
pub struct Predictor {
    gpu: Arc<Gpu>,
    config: Config,
    size: usize,
    sessions: HashMap<usize, Session>,
}

impl Predictor {
    /// For images of `size × size`; the weights are those in the states given to each call.
    pub fn new(gpu: &Arc<Gpu>, config: &Config, size: usize) -> Predictor {
        Predictor { gpu: Arc::clone(gpu), config: config.clone(), size, sessions: HashMap::new() }
    }

    /// Makes the program for `batch` images, unless it is there.
    pub fn prepare(&mut self, batch: usize, states: &mut States) -> Result<&mut Session, TrainError> {
        match self.sessions.entry(batch) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let (tape, _) = inference(&self.config, batch, self.size)?;
                let program = compile(&tape, self.gpu.caps())?;
                Ok(entry.insert(Session::new(&self.gpu, program, states)?))
            }
        }
    }

    /// Probabilities `[batch, size, size, out_channels]` of `images [batch, size, size, in_channels]`.
    pub fn predict(
        &mut self,
        states: &mut States,
        batch: usize,
        images: &[f32],
    ) -> Result<Vec<f32>, TrainError> {
        let session = self.prepare(batch, states)?;
        session.write(IMAGES, images)?;
        session.run()?;
        Ok(session.read(PROBABILITIES)?)
    }
}

/// The network's weights by name, in this crate's layout, read from a checkpoint and checked.
pub fn read_weights(config: &Config, checkpoint: &Checkpoint) -> Result<Vec<(String, Vec<f32>)>, TrainError> {
    let smallest = 1 << config.model.depth;
    let (_, network) = inference(config, 1, smallest)?;
    let tensors = network.inits.into_iter();
    tensors
        .map(|(name, shape, _)| {
            let data = checkpoint.tensor(&name, &shape)?;
            Ok((name, data))
        })
        .collect()
}

/// The first key in which two networks differ, and both values. Groups count where there are any.
fn first_difference(found: &ModelConfig, wanted: &ModelConfig) -> Option<(String, String, String)> {
    let keys = |model: &ModelConfig| match serde_json::to_value(model) {
        Ok(serde_json::Value::Object(keys)) => keys,
        _ => serde_json::Map::new(),
    };
    let (found, mut wanted_keys) = (keys(found), keys(wanted));
    if wanted.norm != Norm::Group {
        wanted_keys.remove("groups");
    }
    let other = wanted_keys.iter().find(|(key, value)| found.get(*key) != Some(*value));
    other.map(|(key, value)| {
        let found = found.get(key).map_or("unknown".to_owned(), ToString::to_string);
        (format!("model.{key}"), found, value.to_string())
    })
}

/// What PyTorch's batch norm counts beside its statistics, and nothing here needs.
const UNUSED: &str = ".num_batches_tracked";

/// Checks that a file holds the network's weights, all of them and nothing else.
///
/// Errors when the file says that it is of another network, or a tensor is missing, of another shape or type, not finite, or
/// none of the network's.
pub fn check_weights(config: &Config, checkpoint: &Checkpoint) -> Result<(), TrainError> {
    // Norms of a kind differ in no name and no shape.
    if let Ok(info) = checkpoint.info::<CheckpointInfo>()
        && let Some((key, found, wanted)) = first_difference(&info.model, &config.model)
    {
        return Err(
            CheckpointError::OtherModel { path: checkpoint.path().to_owned(), key, found, wanted }.into()
        );
    }
    let weights = read_weights(config, checkpoint)?;
    let known: HashSet<&str> = weights.iter().map(|(name, _)| name.as_str()).collect();
    let names = checkpoint.names()?;
    match names.into_iter().find(|name| !known.contains(name.as_str()) && !name.ends_with(UNUSED)) {
        None => Ok(()),
        Some(name) => Err(CheckpointError::ExtraTensor { path: checkpoint.path().to_owned(), name }.into()),
    }
}

/// Sets the network's states from a checkpoint. The states must have been made by a session.
pub fn load_weights(
    gpu: &Gpu,
    states: &States,
    config: &Config,
    checkpoint: &Checkpoint,
) -> Result<(), TrainError> {
    // Everything is read and checked before the first weight is replaced.
    for (name, data) in read_weights(config, checkpoint)? {
        states.write(gpu, &name, &data)?;
    }
    Ok(())
}

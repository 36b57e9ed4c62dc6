//! A model on a device, ready to predict batches of any size.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::TrainError;
use super::checkpoint::Checkpoint;
use super::step::{IMAGES, PROBABILITIES, inference};
use crate::config::Config;
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

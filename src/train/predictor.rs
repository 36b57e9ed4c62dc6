//! A model on a device, ready to predict batches of any size.

use std::collections::HashMap;
use std::sync::Arc;

use super::TrainError;
use super::checkpoint::Checkpoint;
use super::step::{IMAGES, PROBABILITIES, inference};
use crate::config::Config;
use crate::gpu::{Gpu, GpuError, Session, States};
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
        // The entry API would borrow `self` across the compilation.
        if !self.sessions.contains_key(&batch) {
            let (tape, _) = inference(&self.config, batch, self.size)?;
            let program = compile(&tape, self.gpu.caps())?;
            self.sessions.insert(batch, Session::new(&self.gpu, program, states)?);
        }
        self.sessions
            .get_mut(&batch)
            .ok_or_else(|| GpuError::Shader("the inference program was not kept".to_owned()).into())
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

/// Sets the network's states from a checkpoint. The states must have been made by a session.
pub fn load_weights(
    gpu: &Gpu,
    states: &States,
    config: &Config,
    checkpoint: &Checkpoint,
) -> Result<(), TrainError> {
    // Everything is read and checked before the first weight is replaced.
    let smallest = 1 << config.model.depth;
    let (_, network) = inference(config, 1, smallest)?;
    let tensors = network
        .inits
        .iter()
        .map(|(name, shape, _)| Ok((name, checkpoint.tensor(name, shape)?)))
        .collect::<Result<Vec<_>, TrainError>>()?;
    for (name, data) in tensors {
        states.write(gpu, name, &data)?;
    }
    Ok(())
}

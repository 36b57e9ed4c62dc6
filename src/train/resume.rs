//! The training state that a run leaves, to go on from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::checkpoint::Checkpoint;
use super::min_area::MinArea;
use super::threshold::Threshold;
use crate::config::Config;

/// File of a run folder: weights, moments and progress.
pub const STATE: &str = "training_state.safetensors";

/// How far a run is; saved with the training state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progressed {
    /// Steps done.
    pub step: usize,
    /// Epochs done.
    pub epoch: usize,
    /// Sum of the losses of the current epoch's steps.
    pub epoch_loss: f64,
    /// Seconds of the current epoch in processes that have ended.
    #[serde(default)]
    pub epoch_seconds: f64,
    pub best_epoch: usize,
    pub best_dice: f64,
    pub threshold: Threshold,
    #[serde(default)]
    pub min_area: MinArea,
    /// Stopped early: nothing is left to do.
    pub finished: bool,
    /// What a coupling remembers.
    #[serde(default)]
    pub coupling: serde_json::Value,
}

/// The training state of the run in `out`, if its config is `config`.
pub(super) fn open_saved(out: &Path, config: &Config) -> Result<(Checkpoint, Progressed), TrainError> {
    let checkpoint = Checkpoint::open(&check_resumable(out, config)?)?;
    let progressed = checkpoint.info()?;
    Ok((checkpoint, progressed))
}

/// Checks that there is a run in `out` that `config` can go on with; gives its training state.
pub fn check_resumable(out: &Path, config: &Config) -> Result<PathBuf, TrainError> {
    let path = out.join(STATE);
    if !path.exists() {
        return Err(TrainError::NothingToResume { path });
    }
    check_config(out, config)?;
    Ok(path)
}

/// Checks that the run in `out` is of `config`.
pub(super) fn check_config(out: &Path, config: &Config) -> Result<(), TrainError> {
    let config_path = out.join("config.toml");
    let mut found = Config::load(&config_path, &[])?;
    // Threads change how long it takes and nothing else.
    found.data.workers = config.data.workers;
    if found != *config {
        let (key, found, wanted) = found.first_difference(config);
        return Err(TrainError::ResumeConfig { path: config_path, key, found, wanted });
    }
    Ok(())
}

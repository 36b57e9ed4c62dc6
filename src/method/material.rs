//! The images that all runs of an experiment share.

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::data::Cache;
use crate::train::TrainError;

/// Everything in memory, at training size.
pub struct Material {
    /// Labelled images to train on.
    pub train: Arc<Cache>,
    pub val: Arc<Cache>,
    pub test: Arc<Cache>,
    /// Hash of all pixels, masks and ids and of who is in which part.
    pub fingerprint: String,
}

impl Material {
    /// Reads `data` (`images/`, `masks/`, maybe `split.csv`) and the image folders `unlabelled`. The
    /// labelled training images count as unlabelled ones too; validation and test images never do.
    pub fn open(_config: &Config, _data: &Path, _unlabelled: &[&Path]) -> Result<Material, TrainError> {
        unimplemented!()
    }
}

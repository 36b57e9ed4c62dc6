//! Does one run: trains or evaluates, scores on the test images, writes its result.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::material::Material;
use super::run::{RunResult, RunSpec};
use crate::gpu::Gpu;
use crate::train::TrainError;
use crate::train::watch::Watch;

/// Where a run is done.
pub struct Place<'a> {
    pub gpu: &'a Arc<Gpu>,
    pub material: &'a Material,
    /// Folder of the whole; each run has [`RunSpec::folder`] in it.
    pub root: &'a Path,
    /// Set from outside to stop after the current step.
    pub stop: &'a AtomicBool,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    Complete(Box<RunResult>),
    /// It was stopped from outside; doing it again goes on from there.
    Interrupted,
}

/// Does `spec`, or goes on with it where it was interrupted; the runs that it needs are complete.
/// `inputs` is the hash of all that it is made of; it is written into the result, which is the last
/// file of the run's folder to be made.
pub fn perform(
    _place: &Place,
    _spec: &RunSpec,
    _inputs: &str,
    _watch: &mut dyn Watch,
) -> Result<Ended, TrainError> {
    unimplemented!()
}

//! What a training is made of, and what its states start as.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::TrainError;
use super::branch::{Branch, Feed, TARGET};
use super::checkpoint::Checkpoint;
use super::coupled::Coupling;
use super::step::{Build, Mix, TrainStep, step_of_branches};
use super::task_branch::Probe;
use super::watch::Watch;
use crate::config::Config;
use crate::data::Cache;
use crate::gpu::{Gpu, States};
use crate::nn::Layers;
use crate::nn::init::Init;
use crate::tape::{Shape, Tape};

/// What a training is made of.
pub struct Setup<'a> {
    pub config: &'a Config,
    /// Key of the user's config that the learning rate is from, to advise.
    pub rate_key: &'static str,
    pub branches: Vec<Arc<dyn Branch>>,
    pub mixing: Mixing,
    /// Images to validate the segmentation on; none where tasks are trained alone.
    pub val: Option<Arc<Cache>>,
    /// Validation images whose overlays TensorBoard shows, of each epoch that is the best so far.
    pub shown: Option<Cache>,
    /// Makes what measures the tasks, of states that the training shares with it.
    pub probes: MakeProbes<'a>,
    pub start: Start,
    /// Fills in what a model must answer, before each step.
    pub teach: Option<Teach>,
    pub steps_per_epoch: usize,
    pub out: &'a Path,
    /// Go on with the run in `out`.
    pub resume: bool,
    /// Set from outside to stop after the current step.
    pub stop: &'a AtomicBool,
    pub watch: &'a mut dyn Watch,
}

/// Makes the probes of a training.
pub type MakeProbes<'a> = &'a dyn Fn(&Arc<Gpu>, &mut States) -> Result<Vec<Probe>, TrainError>;

/// Fills in inputs of a step that models answer.
pub type Teach = Box<dyn FnMut(u64, &mut Feed) -> Result<(), TrainError>>;

/// How the branches' losses are put together.
pub enum Mixing {
    /// `Σ weight · loss`.
    Sum(Vec<f64>),
    /// By the gradients or losses of each step.
    Coupled(Box<dyn Coupling>),
}

/// What the weights start as.
pub enum Start {
    Scratch,
    /// All that a checkpoint has of the network's parameters; the rest from scratch. The parameters
    /// taken from it stay as they are for the first `frozen_steps`.
    From {
        checkpoint: PathBuf,
        frozen_steps: usize,
    },
}

/// The step of all branches.
pub(super) fn build_step(setup: &Setup, held: &dyn Fn(&str) -> bool) -> Result<TrainStep, TrainError> {
    let builds: Vec<_> = setup
        .branches
        .iter()
        .map(|branch| move |layers: &mut Layers, tape: &mut Tape| branch.build(layers, tape))
        .collect();
    let branches: Vec<(&str, Build)> =
        setup.branches.iter().zip(&builds).map(|(branch, build)| (branch.name(), build as Build)).collect();
    let mix = match &setup.mixing {
        Mixing::Sum(weights) => Mix::Sum(weights),
        Mixing::Coupled(_) => Mix::Coupled,
    };
    Ok(step_of_branches(setup.config, &branches, mix, held)?)
}

/// Whether a state belongs to the segmentation network: those of other branches carry their names.
pub(super) fn is_networks(name: &str, setup: &Setup) -> bool {
    let prefix = name.split('.').next().unwrap_or(name);
    !setup.branches.iter().any(|branch| branch.name() != TARGET && branch.name() == prefix)
}

/// Writes what the states start with: what `given` has, else initial values.
pub(super) fn initialise(
    gpu: &Gpu,
    states: &States,
    inits: &[(String, Shape, Init)],
    seed: u64,
    given: Option<&Checkpoint>,
) -> Result<(), TrainError> {
    for (name, shape, init) in inits {
        let numbers = match given {
            Some(checkpoint) if checkpoint.contains(name)? => checkpoint.tensor(name, shape)?,
            _ => init.numbers(shape.len(), seed, name),
        };
        states.write(gpu, name, &numbers)?;
    }
    Ok(())
}

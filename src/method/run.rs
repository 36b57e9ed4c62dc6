//! A run: one training or evaluation of the method or of a rival, what it needs and what it leaves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::weights::Weights;
use crate::config::Config;
use crate::train::metrics::Evaluation;
use crate::train::threshold::Threshold;

/// File in a run's folder that says that it is complete and what came out: a [`RunResult`].
pub const RESULT: &str = "result.json";

/// One run of one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// As `--only` takes it, such as `stage1:rotation:joint`; unique within a seed.
    pub id: String,
    /// That of the whole it belongs to. Its own random numbers are by `config.train.seed`.
    pub seed: u64,
    /// Ids of the runs of the same seed that must be complete before it starts.
    pub needs: Vec<String>,
    pub work: Work,
    /// What it is trained by: `train.seed` is that of the run, and sections that it does not read are
    /// as by default, so that changing them leaves the run as it is.
    pub config: Config,
}

/// What a run does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// Trains the target alone.
    Target { start: TargetStart },
    /// Trains the target with tasks at once.
    Joint { tasks: Vec<String>, coupling: CouplingChoice },
    /// Trains tasks alone, with equal weights.
    Pretrain { tasks: Vec<String> },
    /// Trains a student by teachers.
    Distil { teachers: Vec<Candidates> },
    /// Scores the mean of the teachers' probabilities; trains nothing.
    Ensemble { teachers: Vec<Candidates> },
}

/// What a training of the target alone starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetStart {
    Scratch,
    /// From what this run has learnt of tasks; `[pretrain]` says how.
    Pretrained(String),
    /// From the best weights of this run, which is of the target alone too.
    Continued(String),
}

impl TargetStart {
    /// The run that it starts from.
    pub fn run(&self) -> Option<&String> {
        match self {
            TargetStart::Scratch => None,
            TargetStart::Pretrained(run) | TargetStart::Continued(run) => Some(run),
        }
    }
}

impl Work {
    /// Whether it learns from unlabelled images itself, and not by way of a run that it needs.
    pub fn reads_unlabelled(&self) -> bool {
        match self {
            Work::Target { .. } | Work::Ensemble { .. } => false,
            Work::Joint { .. } | Work::Pretrain { .. } | Work::Distil { .. } => true,
        }
    }
}

/// How joint losses are put together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CouplingChoice {
    /// The target counts 1, each task its λ, in the order of the tasks.
    Fixed(Vec<f64>),
    /// A method of [`super::coupling::all`].
    Named(String),
}

/// A teacher: the run of the best validation Dice among these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidates {
    /// What it is called, such as its task.
    pub name: String,
    pub runs: Vec<String>,
}

/// What came out of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    pub id: String,
    pub seed: u64,
    /// Hash of all that the run was made of.
    pub inputs: String,
    /// None for a run that trains tasks alone.
    pub segmentation: Option<Segmentation>,
    /// Scores on held-out images of each task that was trained.
    pub tasks: BTreeMap<String, TaskScore>,
    /// The runs that taught it.
    pub teachers: Vec<Teacher>,
    /// Steps trained, and wall time of the training.
    pub steps: usize,
    pub train_seconds: f64,
    /// Numbers that are trained.
    pub parameters: usize,
    /// What others start from or are taught by; none where nothing was trained.
    pub weights: Option<Weights>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segmentation {
    pub val_dice: f64,
    /// Chosen on the validation images, used on the test images.
    pub threshold: Threshold,
    pub test: Evaluation,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskScore {
    pub metric: String,
    pub higher_is_better: bool,
    pub value: f64,
    /// Of an answer that takes no skill.
    pub trivial: f64,
}

/// That of the best validation Dice, the first of equals: the one rule by which models are chosen.
pub fn best_of<T>(models: impl IntoIterator<Item = T>, val_dice: impl Fn(&T) -> f64) -> Option<T> {
    models.into_iter().reduce(|best, next| if val_dice(&next) > val_dice(&best) { next } else { best })
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Teacher {
    /// That of its [`Candidates`].
    pub name: String,
    pub run: String,
    pub val_dice: f64,
    /// Its share in the mean.
    pub weight: f64,
}

impl Teacher {
    /// Where a student starts from the best elite model, it is this one.
    pub fn best(teachers: &[Teacher]) -> Option<&Teacher> {
        best_of(teachers, |teacher| teacher.val_dice)
    }
}

impl RunSpec {
    /// The config of its training, with what `[pretrain]` and `[distillation]` say in the place of the target's own.
    /// Pre-training is in whole epochs of `steps_per_epoch`.
    pub fn training_config(&self, steps_per_epoch: usize) -> Config {
        let mut config = self.config.clone();
        match &self.work {
            Work::Target { start: TargetStart::Pretrained(_) } => {
                config.train.learning_rate =
                    config.pretrain.finetune_learning_rate.unwrap_or(config.train.learning_rate);
            }
            Work::Pretrain { .. } => {
                config.train.learning_rate = config.pretrain.learning_rate;
                config.train.early_stop = 0;
                if let Some(steps) = config.pretrain.steps {
                    config.train.epochs = steps.div_ceil(steps_per_epoch);
                }
            }
            Work::Distil { .. } => {
                config.model.base_channels =
                    config.distillation.base_channels.unwrap_or(config.model.base_channels);
            }
            Work::Target { .. } | Work::Joint { .. } | Work::Ensemble { .. } => {}
        }
        config
    }

    /// Folder of the run under the folder of the whole: `seed_0/stage1/rotation/joint`.
    pub fn folder(&self) -> String {
        format!("seed_{}/{}", self.seed, self.id.replace(':', "/"))
    }
}

//! `plan.json`: what `two-stage` or `compare` does, for whoever reads its folder.
//!
//! ```json
//! {
//!   "version": "0.1.0",
//!   "command": "compare",
//!   "arguments": ["compare", "configs/compare_lungs.toml", "--data", "lungs", "…"],
//!   "config": {"data": {"size": 64}, "…": {}},
//!   "data": "lungs",
//!   "unlabelled": ["cxr-unlabelled"],
//!   "data_fingerprint": "9f3c…",
//!   "code": "41d0…",
//!   "seeds": [0, 1, 2],
//!   "methods": [{"name": "two_stage", "role": "method", "about": "…", "runs": ["two_stage"]}],
//!   "stage1": [{"task": "rotation", "mode": "joint", "runs": ["stage1:rotation:joint"]}],
//!   "images": {"train": 20, "val": 141, "test": 141, "unlabelled": 1034, "held_out": 113},
//!   "patients": {},
//!   "runs": [{"folder": "seed_0/two_stage", "inputs": "77ab…", "spec": {"id": "two_stage", "…": {}}}]
//! }
//! ```
//!
//! The folder of a run holds `result.json` (a [`RunResult`](super::run::RunResult)) once it is
//! complete, and `metrics.jsonl` from its first step on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::run::RunSpec;
use crate::config::Config;
use crate::report::ReportError;
use crate::report::run_folder::write_json;

/// Name of the file in the folder of the whole.
pub const PLAN: &str = "plan.json";

/// Which runs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The method, its baseline, its ceiling and the target trained as long.
    TwoStage,
    /// These and the rivals of `method.rivals`.
    Compare,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of wgseg.
    pub version: String,
    pub command: Which,
    /// The command line without the program.
    pub arguments: Vec<String>,
    pub config: Config,
    /// Folder of the labelled images.
    pub data: PathBuf,
    /// Folders of the unlabelled images.
    pub unlabelled: Vec<PathBuf>,
    /// Of all images: [`Fingerprint::all`](super::material::Fingerprint::all).
    pub data_fingerprint: String,
    /// How many images there are for what.
    pub images: ImageCounts,
    /// The patient of each test image that the `patient` column of `split.csv` names. Images of one
    /// patient are alike, so tests count patients where there are any.
    pub patients: BTreeMap<String, String>,
    /// Hash of the sources that the results depend on.
    pub code: String,
    /// Each run is done once for each of these.
    pub seeds: Vec<u64>,
    /// What is compared, the two-stage method first.
    pub methods: Vec<Method>,
    /// The elite models to choose from: two modes of each task.
    pub stage1: Vec<Mode>,
    /// All runs of all seeds, each after those that it needs.
    pub runs: Vec<PlannedRun>,
}

/// Images of an experiment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCounts {
    /// Labelled, to train on.
    pub train: usize,
    /// Labelled, by which epochs, thresholds and elite models are chosen.
    pub val: usize,
    pub test: usize,
    /// Without masks, to train on; those of `train` are among them.
    pub unlabelled: usize,
    /// Without masks, to measure the tasks on.
    pub held_out: usize,
}

/// A row of the table of results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// As in `results.json`.
    pub name: String,
    pub role: Role,
    /// What it does, in one line.
    pub about: String,
    /// Ids of runs; the method's result of a seed is that of the one with the best validation Dice.
    /// More than one only where λ is searched for.
    pub runs: Vec<String>,
}

/// What a method is to the two-stage method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It is it.
    Method,
    /// The target alone.
    Baseline,
    /// Its teachers together: several times the cost of one model.
    Ceiling,
    Rival,
}

/// One of the two ways to an elite model of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mode {
    pub task: String,
    /// `joint` or `pretraining`.
    pub mode: String,
    /// As [`Method::runs`].
    pub runs: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// Below the folder of the whole, as [`RunSpec::folder`] gives it.
    pub folder: String,
    /// Hash of what it is made of; a result with another is of another experiment.
    pub inputs: String,
    pub spec: RunSpec,
}

impl Plan {
    /// Writes `plan.json` into `root`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, root: &Path) -> Result<(), ReportError> {
        write_json(&root.join(PLAN), self)
    }

    /// Reads `plan.json` of `root`.
    ///
    /// # Errors
    /// There is none, or it is not one of this version.
    pub fn read(root: &Path) -> Result<Plan, ReportError> {
        let path = root.join(PLAN);
        let unreadable = |source| ReportError::Read { path: path.clone(), source };
        let text = std::fs::read(&path).map_err(unreadable)?;
        serde_json::from_slice(&text).map_err(|error| unreadable(error.into()))
    }
}

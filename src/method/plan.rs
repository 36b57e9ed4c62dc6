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

use std::collections::{BTreeMap, HashSet};
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
    /// Those of earlier commands, of which runs are kept that this one does not do.
    #[serde(default)]
    pub earlier: Vec<Vec<String>>,
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

impl ImageCounts {
    /// How these numbers differ from those of `now`, in brackets; nothing where they do not.
    pub fn compared_with(&self, now: &ImageCounts) -> String {
        let all = |counts: &ImageCounts| {
            [
                ("training", counts.train),
                ("validation", counts.val),
                ("test", counts.test),
                ("unlabelled", counts.unlabelled + counts.held_out),
            ]
        };
        let pairs = all(self).into_iter().zip(all(now)).filter(|(was, now)| was != now);
        let changed: Vec<String> =
            pairs.map(|((what, was), (_, now))| format!("{was} {what} images there, {now} now")).collect();
        match changed.is_empty() {
            true => String::new(),
            false => format!(" ({})", changed.join("; ")),
        }
    }
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

/// What a method is to the two-stage method, in the order of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// The config without what only says which runs there are: runs of equal ones belong in one table.
    fn setting(config: &Config) -> Config {
        let mut config = config.clone();
        let default = Config::default();
        config.train.seed = default.train.seed;
        config.method.seeds = default.method.seeds;
        config.method.rivals = default.method.rivals;
        config.data.workers = default.data.workers;
        config
    }

    /// The first key, with its values here and in `config`, by which the two make different experiments;
    /// none where they are the same but for seeds and rivals.
    pub fn other_setting(&self, config: &Config) -> Option<(String, String, String)> {
        let (key, was, now) = Plan::setting(&self.config).first_difference(&Plan::setting(config));
        (!key.is_empty()).then_some((key, was, now))
    }

    /// The runs here that are not among `runs`.
    pub fn besides(&self, runs: &[RunSpec]) -> Vec<RunSpec> {
        let asked: HashSet<String> = runs.iter().map(RunSpec::folder).collect();
        let others = self.runs.iter().filter(|run| !asked.contains(&run.folder));
        others.map(|run| run.spec.clone()).collect()
    }

    /// Takes over the commands of `before`, by which runs were made that this command does not do.
    pub fn remember(&mut self, before: &Plan) {
        for command in before.earlier.iter().chain([&before.arguments]) {
            if *command != self.arguments && !self.earlier.contains(command) {
                self.earlier.push(command.clone());
            }
        }
    }

    /// Takes over from `before` the runs `kept`, which this plan lacks, and the methods, modes and seeds
    /// that they belong to, so that a smaller command takes nothing out of the report of a larger one.
    pub fn keep(&mut self, before: &Plan, kept: Vec<PlannedRun>) {
        if kept.is_empty() {
            return;
        }
        self.remember(before);
        if before.command == Which::Compare {
            self.command = Which::Compare;
        }
        let is_kept = |ids: &[String]| kept.iter().any(|run| ids.contains(&run.spec.id));
        for method in before.methods.iter().filter(|method| is_kept(&method.runs)) {
            if !self.methods.iter().any(|one| one.name == method.name) {
                self.methods.push(method.clone());
            }
        }
        for mode in before.stage1.iter().filter(|mode| is_kept(&mode.runs)) {
            if !self.stage1.iter().any(|one| (&one.task, &one.mode) == (&mode.task, &mode.mode)) {
                self.stage1.push(mode.clone());
            }
        }
        self.seeds.extend(kept.iter().map(|run| run.spec.seed));
        self.seeds.sort_unstable();
        self.seeds.dedup();
        self.runs.extend(kept);
    }

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
        serde_json::from_slice(&text).map_err(|error| {
            let what = serde_json::from_slice::<serde_json::Value>(&text).unwrap_or_default();
            match what["version"].as_str() {
                Some(version) => ReportError::OtherBuild {
                    path: path.clone(),
                    version: version.to_owned(),
                    message: error.to_string(),
                },
                None => unreadable(error.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::experiment::testing;

    /// `plan` with the runs and methods of `id` alone, of one seed.
    fn narrow(plan: &Plan, id: &str) -> Plan {
        let mut narrow = plan.clone();
        narrow.arguments = vec!["two-stage".into()];
        narrow.seeds = vec![1];
        narrow.runs.retain(|run| run.spec.id == id && run.spec.seed == 1);
        narrow.methods.retain(|method| method.runs == [id]);
        narrow.stage1.clear();
        narrow
    }

    #[test]
    fn what_a_smaller_command_does_not_do_is_kept() {
        let before = testing::plan();
        let mut plan = narrow(&before, "two_stage");
        let specs: Vec<RunSpec> = plan.runs.iter().map(|run| run.spec.clone()).collect();
        let others = before.besides(&specs);
        assert_eq!(others.len(), before.runs.len() - 1);
        let is_other = |run: &&PlannedRun| others.contains(&run.spec);
        let kept: Vec<PlannedRun> = before.runs.iter().filter(is_other).cloned().collect();
        plan.keep(&before, kept);
        assert_eq!((plan.runs.len(), &plan.seeds), (before.runs.len(), &before.seeds));
        assert_eq!((plan.methods.len(), &plan.stage1), (before.methods.len(), &before.stage1));
        assert_eq!((plan.earlier.len(), &plan.earlier[0]), (1, &before.arguments));
        // Once more, the first command is not told twice.
        let mut again = narrow(&before, "two_stage");
        again.keep(&plan, vec![before.runs[0].clone()]);
        assert_eq!((again.earlier.len(), again.runs.len()), (1, 2));
        assert_eq!((again.methods.len(), &again.seeds), (2, &vec![0, 1]));
        // Without a run to keep there is nothing of it.
        let mut alone = narrow(&before, "two_stage");
        alone.keep(&before, vec![]);
        assert_eq!(alone, narrow(&before, "two_stage"));
        // But for its command, where runs of this one are complete by it.
        alone.remember(&before);
        assert_eq!(alone.earlier, [before.arguments]);
    }

    #[test]
    fn other_images_are_told_by_their_numbers() {
        let was = ImageCounts { train: 20, val: 5, test: 6, unlabelled: 50, held_out: 10 };
        assert_eq!(was.compared_with(&was), "");
        let now = ImageCounts { test: 7, held_out: 9, ..was };
        assert_eq!(
            was.compared_with(&now),
            " (6 test images there, 7 now; 60 unlabelled images there, 59 now)"
        );
    }

    #[test]
    fn seeds_and_rivals_make_no_other_experiment() {
        let plan = testing::plan();
        let mut config = plan.config.clone();
        config.method.seeds += 1;
        config.train.seed += 1;
        config.method.rivals.push("pretrain_all".into());
        assert_eq!(plan.other_setting(&config), None);
        config.train.epochs += 1;
        let (key, was, now) = plan.other_setting(&config).unwrap();
        assert_eq!((key.as_str(), was, now), ("train.epochs", "20".into(), "21".into()));
    }
}

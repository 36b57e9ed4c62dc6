//! Does one run: trains or evaluates, scores on the test images, writes its result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::coupling::{self, Coupling, Setting, fixed};
use super::distil::{Lesson, answered_at_once, lesson};
use super::error::{MethodError, nearest};
use super::faculty::{Faculty, shares};
use super::material::Material;
use super::run::{
    Candidates, CouplingChoice, RESULT, RunResult, RunSpec, Segmentation, TargetStart, TaskScore, Teacher,
    Work, best_of,
};
use super::weights::Weights;
use crate::config::Config;
use crate::config::schema::StudentStart;
use crate::gpu::{Gpu, States};
use crate::report::run_folder::write_json;
use crate::report::{self, History, JSONL};
use crate::tasks::{self, Task};
use crate::train::TrainError;
use crate::train::branch::{Branch, Target};
use crate::train::checkpoint::BEST;
use crate::train::model::ModelFile;
use crate::train::resume::STATE;
use crate::train::setup::{Mixing, Setup, Start, Teach};
use crate::train::single::steps_per_epoch;
use crate::train::task_branch::{Probe, TaskBranch};
use crate::train::trainer::{Trainer, run_info};
use crate::train::validation::{Network, evaluate, validate};
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
///
/// # Errors
/// As [`Trainer`]; a run that is needed has left no result or no model.
pub fn perform(
    place: &Place,
    spec: &RunSpec,
    inputs: &str,
    watch: &mut dyn Watch,
) -> Result<Ended, TrainError> {
    let folder = place.root.join(spec.folder());
    let result = RunResult {
        id: spec.id.clone(),
        seed: spec.seed,
        inputs: inputs.to_owned(),
        segmentation: None,
        tasks: BTreeMap::new(),
        teachers: vec![],
        steps: 0,
        train_seconds: 0.0,
        parameters: 0,
        weights: None,
    };
    let began = Instant::now();
    let result = match doing(place, spec, watch)? {
        Doing::Score(mut faculty, teachers) => {
            report::make_folder(&folder)?;
            run_info(place.gpu).write(&folder)?;
            let material = place.material;
            let best = validate(&mut faculty, &material.val, &spec.config.loss)?.best;
            let test = evaluate(&mut faculty, &material.test, best.threshold)?.evaluation;
            let segmentation = Some(Segmentation { val_dice: best.dice, threshold: best.threshold, test });
            RunResult { segmentation, teachers, ..result }
        }
        Doing::Train(parts) => {
            // What the teachers are asked before is part of what a student costs.
            let prepared = began.elapsed().as_secs_f64();
            match train(place, *parts, prepared, &folder, result, watch)? {
                Some(result) => result,
                None => return Ok(Ended::Interrupted),
            }
        }
    };
    write_json(&folder.join(RESULT), &result)?;
    Ok(Ended::Complete(Box::new(result)))
}

/// What a run does, with all that it needs.
enum Doing {
    Train(Box<Parts>),
    /// Scores the mean of these models.
    Score(Faculty, Vec<Teacher>),
}

/// What a training is made of, besides what is common to all.
struct Parts {
    config: Config,
    rate_key: &'static str,
    branches: Vec<Arc<dyn Branch>>,
    mixing: Mixing,
    segments: bool,
    tasks: Vec<&'static dyn Task>,
    start: Start,
    teach: Option<Teach>,
    teachers: Vec<Teacher>,
}

/// Trains, and scores what came out; `prepared` seconds were spent on it before. None when it was interrupted.
fn train(
    place: &Place,
    parts: Parts,
    prepared: f64,
    folder: &Path,
    result: RunResult,
    watch: &mut dyn Watch,
) -> Result<Option<RunResult>, TrainError> {
    let Parts { config, rate_key, branches, mixing, segments, tasks, start, teach, teachers } = parts;
    let resume = folder.join(STATE).is_file();
    if !resume {
        report::make_folder(folder)?;
        place.material.write_split(&folder.join("split.csv"))?;
    }
    let batch = config.task_batch();
    let probes = |gpu: &Arc<Gpu>, states: &mut States| {
        let held_out = &place.material.held_out;
        tasks.iter().map(|task| Probe::new(gpu, &config, *task, held_out, batch, states)).collect()
    };
    let setup = Setup {
        config: &config,
        rate_key,
        branches,
        mixing,
        val: segments.then(|| Arc::clone(&place.material.val)),
        // Pictures of all epochs of all runs would be most of what the experiment leaves.
        shown: None,
        probes: &probes,
        start,
        teach,
        steps_per_epoch: steps_per_epoch(&config, place.material.train.len()),
        out: folder,
        resume,
        stop: place.stop,
        watch,
    };
    let mut trainer = Trainer::new(place.gpu, setup)?;
    let summary = trainer.run()?;
    if summary.interrupted {
        return Ok(None);
    }
    let segmentation = match segments {
        false => None,
        true => {
            let test = &place.material.test;
            let (predictor, states) = trainer.load(&folder.join(BEST))?;
            let batch = config.train.batch_size.min(test.len());
            let mut network = Network { predictor, states, batch };
            let predicted = evaluate(&mut network, test, summary.threshold)?;
            Some(Segmentation {
                val_dice: summary.best_dice,
                threshold: summary.threshold,
                test: predicted.evaluation,
            })
        }
    };
    let history = History::read(&folder.join(JSONL))?;
    let last = history.epochs.last().map_or(0, |row| row.epoch);
    let of_tasks = history.tasks.into_iter().filter(|row| row.epoch == last).map(|row| {
        let score = TaskScore {
            metric: row.metric,
            higher_is_better: row.higher_is_better,
            value: row.value,
            trivial: row.trivial,
        };
        (row.task, score)
    });
    Ok(Some(RunResult {
        segmentation,
        tasks: of_tasks.collect(),
        teachers,
        steps: summary.steps,
        train_seconds: prepared + history.epochs.iter().map(|row| row.seconds).sum::<f64>(),
        parameters: summary.parameters,
        weights: Some(Weights::of(folder, if segments { BEST } else { STATE })?),
        ..result
    }))
}

/// What `spec` asks for: of a training the branches and how they are put together.
fn doing(place: &Place, spec: &RunSpec, watch: &mut dyn Watch) -> Result<Doing, TrainError> {
    let material = place.material;
    let config = spec.training_config(steps_per_epoch(&spec.config, material.train.len()));
    let target = || -> Result<Arc<dyn Branch>, TrainError> {
        Ok(Arc::new(Target::new(&spec.config, &material.train)?))
    };
    let of_task = |task: &'static dyn Task| -> Result<Arc<dyn Branch>, TrainError> {
        Ok(Arc::new(TaskBranch::new(task, &material.unlabelled, spec.config.task_batch(), &spec.config)?))
    };
    let parts = |config: Config, branches: Vec<Arc<dyn Branch>>, mixing| Parts {
        config,
        rate_key: "train.learning_rate",
        branches,
        mixing,
        segments: true,
        tasks: vec![],
        start: Start::Scratch,
        teach: None,
        teachers: vec![],
    };
    let parts = match &spec.work {
        Work::Target { start } => {
            let mut rate_key = "train.learning_rate";
            let start = match start {
                TargetStart::Scratch => Start::Scratch,
                TargetStart::Continued(id) => {
                    Start::From { checkpoint: place.weights_of(spec, id)?, frozen_steps: 0 }
                }
                TargetStart::Pretrained(id) => {
                    if config.pretrain.finetune_learning_rate.is_some() {
                        rate_key = "pretrain.finetune_learning_rate";
                    }
                    let frozen_steps = config.pretrain.freeze_steps;
                    Start::From { checkpoint: place.weights_of(spec, id)?, frozen_steps }
                }
            };
            Parts { start, rate_key, ..parts(config, vec![target()?], Mixing::Sum(vec![1.0])) }
        }
        Work::Joint { tasks, coupling } => {
            let tasks = find_tasks(tasks)?;
            let mut branches = vec![target()?];
            for task in &tasks {
                branches.push(of_task(*task)?);
            }
            let coupling = make_coupling(coupling, spec, material, branches.len())?;
            Parts { tasks, ..parts(config, branches, Mixing::Coupled(coupling)) }
        }
        Work::Pretrain { tasks } => {
            let tasks = find_tasks(tasks)?;
            let branches = tasks.iter().map(|task| of_task(*task)).collect::<Result<Vec<_>, _>>()?;
            let weights = Mixing::Sum(vec![1.0; branches.len()]);
            let rate_key = "pretrain.learning_rate";
            Parts { segments: false, tasks, rate_key, ..parts(config, branches, weights) }
        }
        Work::Distil { teachers } => {
            let (faculty, teachers) = place.faculty(spec, teachers)?;
            let start = match (config.distillation.student, Teacher::best(&teachers)) {
                (StudentStart::BestElite, Some(best)) => {
                    let checkpoint = place.weights_of(spec, &best.run)?;
                    Start::From { checkpoint, frozen_steps: 0 }
                }
                _ => Start::Scratch,
            };
            let Lesson { branches, weights, teach, note } =
                lesson(&config, faculty, &material.train, &material.unlabelled)?;
            watch.note(&note);
            Parts { start, teach, teachers, ..parts(config, branches, Mixing::Sum(weights)) }
        }
        Work::Ensemble { teachers } => {
            let (faculty, teachers) = place.faculty(spec, teachers)?;
            return Ok(Doing::Score(faculty, teachers));
        }
    };
    Ok(Doing::Train(Box::new(parts)))
}

fn find_tasks(names: &[String]) -> Result<Vec<&'static dyn Task>, TrainError> {
    let find = |name: &String| {
        tasks::by_name(name).ok_or_else(|| {
            let nearest = nearest(name, tasks::all().into_iter().map(|task| task.name()));
            MethodError::UnknownTask { task: name.clone(), nearest }.into()
        })
    };
    names.iter().map(find).collect()
}

fn make_coupling(
    choice: &CouplingChoice,
    spec: &RunSpec,
    material: &Material,
    branches: usize,
) -> Result<Box<dyn Coupling>, TrainError> {
    let setting = Setting {
        branches,
        steps_per_epoch: steps_per_epoch(&spec.config, material.train.len()),
        seed: spec.config.train.seed,
    };
    match choice {
        CouplingChoice::Fixed(lambdas) => Ok(fixed::new(lambdas)),
        CouplingChoice::Named(name) => match coupling::by_name(name) {
            Some(entry) => Ok((entry.make)(setting)),
            None => {
                let nearest = nearest(name, coupling::all().iter().map(|entry| entry.name));
                Err(MethodError::UnknownRival { rival: name.clone(), nearest }.into())
            }
        },
    }
}

impl Place<'_> {
    /// Folder of the run `id` of the seed of `spec`.
    fn folder_of(&self, spec: &RunSpec, id: &str) -> PathBuf {
        self.root.join(RunSpec { id: id.to_owned(), ..spec.clone() }.folder())
    }

    /// The result of the run `id` of the seed of `spec`.
    fn result_of(&self, spec: &RunSpec, id: &str) -> Result<RunResult, TrainError> {
        let path = self.folder_of(spec, id).join(RESULT);
        let unusable = |message: String| MethodError::NoResult { path: path.clone(), message };
        let bytes = std::fs::read(&path).map_err(|error| unusable(error.to_string()))?;
        Ok(serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?)
    }

    /// The weights that the run `id` of the seed of `spec` has left, seen to be those.
    fn weights_of(&self, spec: &RunSpec, id: &str) -> Result<PathBuf, TrainError> {
        let folder = self.folder_of(spec, id);
        let none = || MethodError::NoResult {
            path: folder.join(RESULT),
            message: "it tells of no weights".to_owned(),
        };
        Ok(self.result_of(spec, id)?.weights.ok_or_else(none)?.check(&folder)?)
    }

    /// The best of each teacher's candidates, loaded.
    fn faculty(
        &self,
        spec: &RunSpec,
        candidates: &[Candidates],
    ) -> Result<(Faculty, Vec<Teacher>), TrainError> {
        let mut teachers = vec![];
        for Candidates { name, runs } in candidates {
            let mut found = vec![];
            for run in runs {
                let none = || MethodError::NoResult {
                    path: self.folder_of(spec, run).join(RESULT),
                    message: "it tells of no segmentation".to_owned(),
                };
                let segmentation = self.result_of(spec, run)?.segmentation.ok_or_else(none)?;
                let (name, run, val_dice) = (name.clone(), run.clone(), segmentation.val_dice);
                found.push(Teacher { name, run, val_dice, weight: 0.0 });
            }
            teachers.extend(best_of(found, |teacher| teacher.val_dice));
        }
        let val_dices: Vec<f64> = teachers.iter().map(|teacher| teacher.val_dice).collect();
        let weights = shares(&spec.config.distillation, &val_dices);
        let batch = answered_at_once(&spec.config);
        let mut models = vec![];
        for (teacher, weight) in teachers.iter_mut().zip(&weights) {
            teacher.weight = *weight;
            let file = ModelFile::open(&self.weights_of(spec, &teacher.run)?)?;
            models.push(file.load(self.gpu, batch)?);
        }
        Ok((Faculty { models, weights }, teachers))
    }
}

//! Stage one in the report: the two modes of each task, and which became its elite model.

use serde::Serialize;

use super::source::Experiment;
use crate::method::plan::{Mode, Role};
use crate::method::run::{CouplingChoice, RunSpec, Work};

/// A mode of a task in one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageOneRow {
    pub seed: u64,
    pub task: String,
    pub mode: String,
    /// None until its runs are complete; of several λ, the best by validation.
    pub run: Option<String>,
    /// Of a joint training.
    pub lambda: Option<f64>,
    pub val_dice: Option<f64>,
    pub test_dice: Option<f64>,
    /// Whether it is the task's elite model; none until that is known.
    pub chosen: Option<bool>,
    pub train_seconds: Option<f64>,
}

/// Every mode of every task, seed by seed.
pub fn rows(experiment: &Experiment) -> Vec<StageOneRow> {
    let plan = &experiment.plan;
    let seeds = plan.seeds.iter();
    seeds.flat_map(|seed| plan.stage1.iter().map(|mode| row(experiment, *seed, mode))).collect()
}

fn row(experiment: &Experiment, seed: u64, mode: &Mode) -> StageOneRow {
    let best = experiment.chosen(seed, &mode.runs);
    StageOneRow {
        seed,
        task: mode.task.clone(),
        mode: mode.mode.clone(),
        run: best.map(|best| best.result.id.clone()),
        lambda: best.and_then(|best| lambda(&best.run.spec)),
        val_dice: best.map(|best| best.segmentation.val_dice),
        test_dice: best.map(|best| best.segmentation.test.dice.mean),
        chosen: elite(experiment, seed, &mode.task).map(|elite| mode.runs.iter().any(|run| run == elite)),
        train_seconds: experiment.whole_seconds(seed, &mode.runs),
    }
}

/// The run that is the elite model of a task: the one that taught the student, or the better one by
/// validation Dice as long as there is no student.
pub fn elite<'a>(experiment: &'a Experiment, seed: u64, task: &str) -> Option<&'a str> {
    let modes = || experiment.plan.stage1.iter().filter(|mode| mode.task == task);
    let student = experiment.of_role(Role::Method)?;
    if let Some(student) = experiment.chosen(seed, &student.runs) {
        let teachers = &student.result.teachers;
        let of_task = teachers.iter().find(|teacher| modes().any(|mode| mode.runs.contains(&teacher.run)));
        return of_task.map(|teacher| teacher.run.as_str());
    }
    let runs: Vec<String> = modes().flat_map(|mode| mode.runs.clone()).collect();
    experiment.chosen(seed, &runs).map(|best| best.result.id.as_str())
}

/// λ of the task of a joint training of one task.
fn lambda(spec: &RunSpec) -> Option<f64> {
    match &spec.work {
        Work::Joint { coupling: CouplingChoice::Fixed(lambda), .. } if lambda.len() == 1 => Some(lambda[0]),
        _ => None,
    }
}

//! What the charts show, gathered from the metrics of the runs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::charts::{Line, Look};
use super::source::{Experiment, Run};
use super::stage1;
use super::statistics::mean;
use crate::method::plan::Role;
use crate::method::run::{TaskScore, Work};
use crate::report::TaskRow;
use crate::train::task_branch::measured;

/// Points of a smoothed curve.
const BINS: usize = 20;

/// Validation Dice of the baseline, the student, its elite models and `rival` in one seed, over the steps
/// in line.
pub fn learning(experiment: &Experiment, rival: Option<&str>, seed: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, task) in tasks(experiment).iter().enumerate() {
        let elite = stage1::elite(experiment, seed, task).and_then(|id| experiment.run(seed, id));
        if let Some(run) = elite {
            lines.push(dice_line(experiment, format!("elite: {task}"), Look::Plain(index + 2), run));
        }
    }
    let rival = experiment.plan.methods.iter().find(|method| Some(method.name.as_str()) == rival);
    for (method, look) in [
        (rival, Look::Reference),
        (experiment.of_role(Role::Baseline), Look::Strong(0)),
        (experiment.of_role(Role::Method), Look::Strong(1)),
    ] {
        let run = method.and_then(|method| match experiment.chosen(seed, &method.runs) {
            Some(chosen) => Some(chosen.run),
            None => experiment.run(seed, method.runs.first()?),
        });
        if let (Some(method), Some(run)) = (method, run) {
            lines.push(dice_line(experiment, method.name.clone(), look, run));
        }
    }
    lines.retain(|line| !line.points.is_empty());
    lines
}

fn dice_line(experiment: &Experiment, name: String, look: Look, run: &Run) -> Line {
    // A run that is still trained may not say yet what it started from.
    let before = experiment.steps_before(run).map(|steps| steps as f64);
    let points = run.history.epochs.iter();
    let points = points.filter_map(|row| Some((before? + row.step as f64, row.val_dice?)));
    Line { name, look, points: points.collect() }
}

/// The tasks of stage one, in the plan's order.
pub fn tasks(experiment: &Experiment) -> Vec<String> {
    let tasks = distinct(experiment.plan.stage1.iter().map(|mode| mode.task.as_str()));
    tasks.into_iter().map(str::to_owned).collect()
}

/// Each once, in the order of their first.
pub fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

/// How well a task was solved on held-out images.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskCurves {
    pub task: String,
    pub metric: String,
    pub higher_is_better: bool,
    /// The runs, then the trivial answer.
    pub lines: Vec<Line>,
    /// Of each way of training that has a complete run.
    pub ends: Vec<TaskEnd>,
}

/// Where the complete runs of one way of training a task ended, on held-out images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskEnd {
    pub task: String,
    /// Alone, or beside the target.
    pub way: &'static str,
    pub seeds: usize,
    pub metric: String,
    pub higher_is_better: bool,
    /// Means over seeds; of several λ in a seed, over these first.
    pub value: f64,
    pub trivial: f64,
    /// Whether the value is better than the trivial one by more than chance: [`is_learnt`].
    pub learnt: bool,
}

/// Of every task and way of training that has a complete run.
pub fn task_ends(experiment: &Experiment) -> Vec<TaskEnd> {
    let images = images_measured(experiment);
    tasks(experiment)
        .iter()
        .flat_map(|task| ends_of(&stage_one_runs(experiment, task), task, images))
        .collect()
}

fn ends_of(runs: &[&Run], task: &str, images: usize) -> Vec<TaskEnd> {
    [ALONE, JOINT].into_iter().filter_map(|way| end(runs, way, task, images)).collect()
}

/// Of each task, by the runs that train it alone or alone beside the target.
pub fn task_curves(experiment: &Experiment) -> Vec<TaskCurves> {
    tasks(experiment).iter().filter_map(|task| curves_of(experiment, task)).collect()
}

fn curves_of(experiment: &Experiment, task: &str) -> Option<TaskCurves> {
    let runs = stage_one_runs(experiment, task);
    let rows = |run: &&Run| -> Vec<TaskRow> {
        run.history.tasks.iter().filter(|row| row.task == task).cloned().collect()
    };
    let (mut lines, mut trivial, mut first) = (Vec::new(), BTreeMap::new(), None);
    for run in &runs {
        let rows = rows(run);
        let points = rows.iter().map(|row| (row.step as f64, row.value)).collect();
        let colour = usize::from(way(run) == JOINT);
        trivial.extend(rows.iter().map(|row| (row.step, row.trivial)));
        if let Some(row) = rows.into_iter().next() {
            lines.push(Line { name: way(run).into(), look: Look::Plain(colour), points });
            first.get_or_insert(row);
        }
    }
    let TaskRow { metric, higher_is_better, .. } = first?;
    let points = trivial.iter().map(|(step, value)| (*step as f64, *value)).collect();
    lines.push(Line { name: "trivial answer".into(), look: Look::Reference, points });
    let ends = ends_of(&runs, task, images_measured(experiment));
    Some(TaskCurves { task: task.to_owned(), metric, higher_is_better, lines, ends })
}

const ALONE: &str = "alone (pre-training)";
const JOINT: &str = "joint with the target";

/// How a run of stage one trains its task.
fn way(run: &Run) -> &'static str {
    match run.spec.work {
        Work::Pretrain { .. } => ALONE,
        _ => JOINT,
    }
}

fn end(runs: &[&Run], wanted: &'static str, task: &str, images: usize) -> Option<TaskEnd> {
    let mut by_seed: BTreeMap<u64, Vec<&TaskScore>> = BTreeMap::new();
    for run in runs.iter().filter(|run| way(run) == wanted) {
        if let Some(score) = run.result().and_then(|result| result.tasks.get(task)) {
            by_seed.entry(run.spec.seed).or_default().push(score);
        }
    }
    let mean_of = |value: fn(&TaskScore) -> f64| {
        let of_seed =
            |scores: &Vec<&TaskScore>| mean(&scores.iter().map(|score| value(score)).collect::<Vec<_>>());
        mean(&by_seed.values().filter_map(of_seed).collect::<Vec<_>>())
    };
    let (value, trivial) = (mean_of(|score| score.value)?, mean_of(|score| score.trivial)?);
    let TaskScore { metric, higher_is_better, .. } = (*by_seed.values().flatten().next()?).clone();
    let (task, seeds) = (task.to_owned(), by_seed.len());
    let learnt = is_learnt(value, trivial, higher_is_better, images * seeds);
    Some(TaskEnd { task, way: wanted, seeds, metric, higher_is_better, value, trivial, learnt })
}

/// Whether a task's `value` on so many images is better than that of the trivial answer by more than chance makes of
/// it: a share of right answers by two standard deviations of a guesser's, an error by a twentieth.
fn is_learnt(value: f64, trivial: f64, higher_is_better: bool, images: usize) -> bool {
    match higher_is_better {
        true => value > trivial + 2.0 * (trivial * (1.0 - trivial) / images.max(1) as f64).sqrt(),
        false => value < 0.95 * trivial,
    }
}

/// Held-out images that a task is measured on.
fn images_measured(experiment: &Experiment) -> usize {
    measured(experiment.plan.images.held_out, experiment.plan.config.task_batch())
}

/// The runs of stage one that train this task and no other.
fn stage_one_runs<'a>(experiment: &'a Experiment, task: &str) -> Vec<&'a Run> {
    let modes = experiment.plan.stage1.iter().filter(|mode| mode.task == task);
    let ids: Vec<String> = modes.flat_map(|mode| mode.runs.clone()).collect();
    let of_seed = |seed: &u64| experiment.with_needs(*seed, &ids).into_iter().flatten();
    let runs = experiment.plan.seeds.iter().flat_map(of_seed);
    let trains_it = |run: &&Run| match &run.spec.work {
        Work::Pretrain { tasks } | Work::Joint { tasks, .. } => *tasks == [task],
        _ => false,
    };
    runs.filter(trains_it).collect()
}

/// Cosine between the gradients of the target and of each task in joint training: the mean over seeds
/// and over the steps of each of 20 parts of the training.
pub fn cosines(experiment: &Experiment) -> Vec<Line> {
    let tasks = tasks(experiment);
    let line = |(index, task): (usize, &String)| {
        let runs = stage_one_runs(experiment, task);
        let rows = runs.iter().flat_map(|run| &run.history.branches).filter(|row| row.branch == *task);
        let points: Vec<(f64, f64)> = rows.filter_map(|row| Some((row.step as f64, row.cosine?))).collect();
        Line { name: task.clone(), look: Look::Plain(index + 2), points: smoothed(&points) }
    };
    tasks.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect()
}

/// The mean of the points in each of at most [`BINS`] equal parts of the x axis, at the mean x.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite = || points.iter().filter(|point| point.1.is_finite());
    let last = finite().map(|point| point.0).fold(0.0, f64::max);
    let mut bins = vec![(0.0, 0.0, 0.0); BINS];
    for (x, y) in finite() {
        let bin = &mut bins[((x / last * BINS as f64).ceil() as usize).clamp(1, BINS) - 1];
        *bin = (bin.0 + 1.0, bin.1 + x, bin.2 + y);
    }
    bins.into_iter().filter(|bin| bin.0 > 0.0).map(|(n, x, y)| (x / n, y / n)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{RIVAL, experiment};
    use super::*;

    #[test]
    fn the_best_rival_is_drawn_beside_the_student() {
        let root = tempfile::tempdir().unwrap();
        experiment(root.path());
        let found = Experiment::read(root.path()).unwrap();
        let names = |rival| learning(&found, rival, 0).into_iter().map(|line| line.name).collect::<Vec<_>>();
        assert_eq!(names(None), ["elite: rotation", "target_only", "two_stage"]);
        assert_eq!(names(Some(RIVAL)), ["elite: rotation", RIVAL, "target_only", "two_stage"]);
    }

    #[test]
    fn what_chance_may_do_is_not_learnt() {
        // A guesser among 4 is right in 0.09 to 0.41 of 28 images, and nearer to a quarter of three times as many.
        assert!(!is_learnt(0.32, 0.25, true, 28) && !is_learnt(0.41, 0.25, true, 28));
        assert!(is_learnt(0.42, 0.25, true, 28) && is_learnt(0.36, 0.25, true, 84));
        assert!(!is_learnt(1.0, 1.0, true, 28) && !is_learnt(0.3, 0.25, true, 0));
        assert!(!is_learnt(0.72, 0.74, false, 28) && is_learnt(0.197, 0.211, false, 28));
    }

    #[test]
    fn smoothing_takes_means_of_equal_parts() {
        // 40 steps: two a part. y is the step, so the mean is between the two.
        let points: Vec<(f64, f64)> = (1..=40).map(|step| (f64::from(step), f64::from(step))).collect();
        let expected: Vec<(f64, f64)> = (0..20).map(|bin| f64::from(2 * bin) + 1.5).map(|x| (x, x)).collect();
        assert_eq!(smoothed(&points), expected);
        assert_eq!(smoothed(&[]), []);
        assert_eq!(smoothed(&[(3.0, 0.5), (3.0, f64::NAN)]), [(3.0, 0.5)]);
    }
}

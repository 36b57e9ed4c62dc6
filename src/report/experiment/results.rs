//! `results.json`: every number of an experiment.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::compare::{Comparison, Scores, compare};
use super::explained::Explained;
use super::format::shell;
use super::series::{self, TaskEnd};
use super::source::{Chosen, Experiment};
use super::stage1::{self, StageOneRow};
use super::statistics::{holm, mean, sd};
use super::units::{self, Patients};
use super::{bootstrap, setting};
use crate::method::plan::{Method, Role};
use crate::method::run::best_of;
use crate::train::metrics::ImageScore;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Results {
    /// Whether every run is complete.
    pub complete: bool,
    pub runs: usize,
    pub runs_complete: usize,
    pub seeds: Vec<u64>,
    /// What it was done with, in a sentence.
    pub setting: String,
    /// What the complete runs were made on: one unless a folder went on somewhere else.
    pub adapters: BTreeSet<String>,
    /// Images in the test set.
    pub test_images: usize,
    /// The method of one model, other than the student, with the highest mean test Dice over the student's seeds.
    pub best_rival: Option<String>,
    pub statistics: Explained,
    pub methods: Vec<MethodRow>,
    pub stage1: Vec<StageOneRow>,
    /// How well the tasks of stage one were learnt.
    pub tasks: Vec<TaskEnd>,
    pub missing: Vec<Missing>,
    /// Complete runs that a method's numbers are of, but whose model cannot be used any more.
    pub without_model: Vec<WithoutModel>,
    /// The student of the best validation Dice.
    pub student_model: Option<StudentModel>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WithoutModel {
    pub run: String,
    /// What is wrong with its weights.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudentModel {
    pub seed: u64,
    pub val_dice: f64,
    /// Below the folder of the whole.
    pub file: String,
}

impl StudentModel {
    /// The command that uses it; `root` is the folder of the whole.
    pub fn command(&self, root: &Path) -> String {
        let model = root.join(&self.file).display().to_string();
        format!("wgseg predict --model {} --out predicted IMAGE...", shell(&[model]))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodRow {
    pub name: String,
    pub role: Role,
    pub about: String,
    /// Whether every seed is there.
    pub complete: bool,
    pub seeds: Vec<SeedRow>,
    pub dice_mean: Option<f64>,
    pub dice_sd: Option<f64>,
    pub dice_interval: Option<[f64; 2]>,
    pub dice_positives_only_mean: Option<f64>,
    pub iou_mean: Option<f64>,
    pub p_vs_target_only: Option<f64>,
    pub p_vs_target_only_adjusted: Option<f64>,
    /// Of the student; none for the others.
    pub p_vs_best_rival: Option<f64>,
    pub p_vs_best_rival_adjusted: Option<f64>,
    /// It less `target_only`.
    pub against_target_only: Option<Comparison>,
    /// The student less it.
    pub student_against_it: Option<Comparison>,
    pub train_seconds: Option<f64>,
    pub own_train_seconds: Option<f64>,
    /// Numbers that are trained.
    pub parameters: Option<usize>,
    /// Steps of the last training, and of all that its weights come from; means over seeds.
    pub steps: Option<f64>,
    pub steps_in_line: Option<f64>,
    #[serde(skip)]
    pub scores: Scores,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeedRow {
    pub seed: u64,
    /// The run that it is the result of.
    pub run: String,
    pub test: TestScores,
    /// Every test image is foreground all over, or none has any although some should.
    pub collapsed: bool,
    pub val_dice: f64,
    pub train_seconds: Option<f64>,
    pub own_train_seconds: f64,
    pub steps: usize,
    pub steps_in_line: Option<usize>,
    pub parameters: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TestScores {
    pub dice: f64,
    pub dice_positives_only: Option<f64>,
    pub iou: f64,
}

/// A run that is not complete.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missing {
    pub run: String,
    /// `not begun`, `not finished`, `stale` or `damaged`.
    pub state: &'static str,
    /// What is wrong, of a stale or a damaged one.
    pub message: Option<String>,
}

impl Results {
    pub fn of(experiment: &Experiment) -> Results {
        let mut methods: Vec<MethodRow> =
            experiment.plan.methods.iter().map(|method| method_row(experiment, method)).collect();
        let best_rival = compare_all(&mut methods, &experiment.plan.patients);
        let best_rival = best_rival.map(|index| methods[index].name.clone());
        let dice = |method: &MethodRow| method.dice_mean.unwrap_or(f64::NEG_INFINITY);
        methods.sort_by(|a, b| a.role.cmp(&b.role).then(dice(b).total_cmp(&dice(a))));
        let missing: Vec<Missing> = missing(experiment);
        Results {
            complete: missing.is_empty(),
            runs: experiment.runs.len(),
            runs_complete: experiment.runs.len() - missing.len(),
            seeds: experiment.plan.seeds.clone(),
            setting: setting::sentence(&experiment.plan),
            adapters: experiment.adapters(),
            test_images: experiment.plan.images.test,
            best_rival,
            statistics: Explained::of(&experiment.plan),
            stage1: stage1::rows(experiment),
            tasks: series::task_ends(experiment),
            without_model: without_model(experiment, &methods),
            student_model: student_model(experiment, &methods),
            methods,
            missing,
        }
    }

    /// The row of the first method of this role.
    pub fn of_role(&self, role: Role) -> Option<&MethodRow> {
        self.methods.iter().find(|method| method.role == role)
    }

    /// The row of the best rival.
    pub fn rival(&self) -> Option<&MethodRow> {
        self.methods.iter().find(|method| self.is_best_rival(method))
    }

    pub fn is_best_rival(&self, method: &MethodRow) -> bool {
        Some(&method.name) == self.best_rival.as_ref()
    }
}

impl MethodRow {
    /// Mean test Dice over these seeds; none when one is missing or there are none.
    pub fn dice_over(&self, seeds: &[u64]) -> Option<f64> {
        let dice = |seed: &u64| Some(self.seeds.iter().find(|row| row.seed == *seed)?.test.dice);
        mean(&seeds.iter().map(dice).collect::<Option<Vec<f64>>>()?)
    }
}

fn method_row(experiment: &Experiment, method: &Method) -> MethodRow {
    let mut scores = Scores::default();
    let mut seeds = Vec::new();
    for &seed in &experiment.plan.seeds {
        if let Some(chosen) = experiment.chosen(seed, &method.runs) {
            scores.add(seed, &chosen.segmentation.test.images);
            seeds.push(seed_row(experiment, chosen, experiment.whole_seconds(seed, &method.runs)));
        }
    }
    let mean_of = |value: fn(&SeedRow) -> Option<f64>| -> Option<f64> {
        mean(&seeds.iter().map(value).collect::<Option<Vec<f64>>>()?)
    };
    let by_image: Vec<(&str, f64)> = scores.by_image().into_iter().collect();
    let by_unit = units::groups(&by_image, &experiment.plan.patients);
    let dice: Vec<f64> = seeds.iter().map(|seed| seed.test.dice).collect();
    MethodRow {
        name: method.name.clone(),
        role: method.role,
        about: method.about.clone(),
        complete: seeds.len() == experiment.plan.seeds.len(),
        dice_mean: mean(&dice),
        dice_sd: sd(&dice),
        dice_interval: bootstrap::interval(&by_unit),
        dice_positives_only_mean: mean_of(|seed| seed.test.dice_positives_only),
        iou_mean: mean_of(|seed| Some(seed.test.iou)),
        p_vs_target_only: None,
        p_vs_target_only_adjusted: None,
        p_vs_best_rival: None,
        p_vs_best_rival_adjusted: None,
        against_target_only: None,
        student_against_it: None,
        train_seconds: mean_of(|seed| seed.train_seconds),
        own_train_seconds: mean_of(|seed| Some(seed.own_train_seconds)),
        // An ensemble has none of its own.
        parameters: seeds.first().map(|seed| seed.parameters).filter(|count| *count > 0),
        steps: mean_of(|seed| Some(seed.steps as f64)),
        steps_in_line: mean_of(|seed| Some(seed.steps_in_line? as f64)),
        seeds,
        scores,
    }
}

fn seed_row(experiment: &Experiment, chosen: Chosen, train_seconds: Option<f64>) -> SeedRow {
    let Chosen { run, result, segmentation } = chosen;
    let test = &segmentation.test;
    SeedRow {
        seed: result.seed,
        run: result.id.clone(),
        test: TestScores {
            dice: test.dice.mean,
            dice_positives_only: test.dice.positives_only,
            iou: test.iou.mean,
        },
        collapsed: marks_all_alike(&test.images, experiment.plan.config.data.size),
        val_dice: segmentation.val_dice,
        train_seconds,
        own_train_seconds: result.train_seconds,
        steps: result.steps,
        steps_in_line: experiment.steps_in_line(run),
        parameters: result.parameters,
    }
}

/// Whether every image is foreground all over, or none has any although some should.
fn marks_all_alike(images: &[ImageScore], size: usize) -> bool {
    let all = (size * size) as u64;
    let none = images.iter().all(|image| image.predicted_pixels == 0);
    let some_should = images.iter().any(|image| image.truth_pixels > 0);
    none && some_should || !images.is_empty() && images.iter().all(|image| image.predicted_pixels == all)
}

/// Fills in the comparisons; returns the place of the best rival.
fn compare_all(methods: &mut [MethodRow], patients: &Patients) -> Option<usize> {
    let place = |role: Role| methods.iter().position(|method| method.role == role);
    let (student, baseline) = (place(Role::Method), place(Role::Baseline));
    let scores: Vec<Scores> = methods.iter().map(|method| method.scores.clone()).collect();
    let is_rival = |method: &MethodRow| matches!(method.role, Role::Rival | Role::Baseline);
    for (index, method) in methods.iter_mut().enumerate() {
        if let Some(baseline) = baseline.filter(|baseline| *baseline != index) {
            method.against_target_only = compare(&scores[index], &scores[baseline], patients);
        }
        if let Some(student) = student.filter(|student| *student != index) {
            method.student_against_it = compare(&scores[student], &scores[index], patients);
        }
    }
    adjust(methods, |method| method.student_against_it.as_mut(), &is_rival);
    adjust(methods, |method| method.against_target_only.as_mut(), &|method| {
        !matches!(method.role, Role::Method | Role::Baseline)
    });
    // That comparison belongs to the student's family.
    if let (Some(student), Some(baseline)) = (student, baseline)
        && let Some(p) = methods[baseline].student_against_it.as_ref().map(|comparison| comparison.p_adjusted)
        && let Some(comparison) = &mut methods[student].against_target_only
    {
        comparison.p_adjusted = p;
    }
    for method in methods.iter_mut() {
        method.p_vs_target_only = method.against_target_only.as_ref().map(|comparison| comparison.p);
        method.p_vs_target_only_adjusted =
            method.against_target_only.as_ref().and_then(|comparison| comparison.p_adjusted);
    }
    let best = best_rival(methods, student.map(|student| &scores[student]), is_rival)?;
    let comparison = methods[best].student_against_it.clone();
    if let (Some(student), Some(comparison)) = (student, comparison) {
        methods[student].p_vs_best_rival = Some(comparison.p);
        methods[student].p_vs_best_rival_adjusted = comparison.p_adjusted;
    }
    Some(best)
}

/// Corrects the comparisons of a family.
fn adjust(
    methods: &mut [MethodRow],
    comparison: fn(&mut MethodRow) -> Option<&mut Comparison>,
    in_family: &dyn Fn(&MethodRow) -> bool,
) {
    let mut family: Vec<&mut Comparison> =
        methods.iter_mut().filter(|method| in_family(method)).filter_map(comparison).collect();
    let p: Vec<f64> = family.iter().map(|comparison| comparison.p).collect();
    for (comparison, p) in family.iter_mut().zip(holm(&p)) {
        comparison.p_adjusted = Some(p);
    }
}

/// Among the rivals that have every seed that the student has, and by these, so that no lucky seed wins.
fn best_rival(
    methods: &[MethodRow],
    student: Option<&Scores>,
    is_rival: impl Fn(&MethodRow) -> bool,
) -> Option<usize> {
    let dice = |method: &MethodRow| match student {
        Some(student) => method.dice_over(&student.seeds().collect::<Vec<_>>()),
        None => method.dice_mean,
    };
    let mut best: Option<(usize, f64)> = None;
    for (index, method) in methods.iter().enumerate() {
        if let Some(dice) = dice(method).filter(|_| is_rival(method))
            && best.is_none_or(|(_, best)| dice > best)
        {
            best = Some((index, dice));
        }
    }
    best.map(|(index, _)| index)
}

fn missing(experiment: &Experiment) -> Vec<Missing> {
    let incomplete = experiment.runs.iter().filter(|run| run.result().is_none());
    incomplete
        .map(|run| Missing {
            run: run.folder.clone(),
            state: run.state(),
            message: run.trouble().map(str::to_owned),
        })
        .collect()
}

fn without_model(experiment: &Experiment, methods: &[MethodRow]) -> Vec<WithoutModel> {
    let rows = methods.iter().flat_map(|method| &method.seeds);
    let mut found: Vec<WithoutModel> = vec![];
    for run in rows.filter_map(|row| experiment.run(row.seed, &row.run)) {
        if let Some(message) = &run.flaw
            && !found.iter().any(|one| one.run == run.folder)
        {
            found.push(WithoutModel { run: run.folder.clone(), message: message.clone() });
        }
    }
    found
}

fn student_model(experiment: &Experiment, methods: &[MethodRow]) -> Option<StudentModel> {
    let student = methods.iter().find(|method| method.role == Role::Method)?;
    let models = student.seeds.iter().filter_map(|row| {
        let run = experiment.run(row.seed, &row.run).filter(|run| run.flaw.is_none())?;
        let file = format!("{}/{}", run.folder, run.result()?.weights.as_ref()?.file);
        Some(StudentModel { seed: row.seed, val_dice: row.val_dice, file })
    });
    best_of(models, |model| model.val_dice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_tells_no_image_from_another_marks_all_alike() {
        let images = |pixels: &[(u64, u64)]| -> Vec<ImageScore> {
            let image = |&(truth_pixels, predicted_pixels): &(u64, u64)| ImageScore {
                id: String::new(),
                dice: 0.0,
                iou: 0.0,
                precision: None,
                recall: None,
                truth_pixels,
                predicted_pixels,
            };
            pixels.iter().map(image).collect()
        };
        assert!(marks_all_alike(&images(&[(3, 16), (0, 16)]), 4));
        assert!(marks_all_alike(&images(&[(3, 0), (0, 0)]), 4));
        assert!(!marks_all_alike(&images(&[(0, 0), (0, 0)]), 4), "there is nothing to find");
        assert!(!marks_all_alike(&images(&[(3, 16), (0, 15)]), 4));
        assert!(!marks_all_alike(&images(&[(3, 1), (0, 0)]), 4));
        assert!(!marks_all_alike(&[], 4));
    }
}

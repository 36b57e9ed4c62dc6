//! What lies in the folder of an experiment.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::schema::StudentStart;
use crate::method::assess::why;
use crate::method::inputs::SPEC;
use crate::method::plan::{Method, PLAN, Plan, PlannedRun, Role};
use crate::method::run::{RESULT, RunResult, RunSpec, Segmentation, Teacher, Work, best_of};
use crate::report::{History, JSONL, ReportError, RunInfo};

/// The plan and what there is of each of its runs.
#[derive(Debug)]
pub struct Experiment {
    pub root: PathBuf,
    pub plan: Plan,
    pub runs: Vec<Run>,
}

#[derive(Debug)]
pub struct Run {
    pub spec: RunSpec,
    /// Below the root.
    pub folder: String,
    pub state: State,
    /// What is wrong with the weights of a complete run.
    pub flaw: Option<String>,
    /// Empty when the run has not begun, or is of something else than the plan.
    pub history: History,
    pub info: Option<RunInfo>,
}

#[derive(Debug)]
pub enum State {
    Complete(Box<RunResult>),
    /// It has said what it is made of, but has no result.
    Begun,
    Waiting,
    /// It has a result, but not of what the plan says that the run is made of.
    Stale,
    /// Something is there that cannot be used, and why.
    Damaged(String),
}

/// The run that a method stands for in one seed.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    pub run: &'a Run,
    pub result: &'a RunResult,
    pub segmentation: &'a Segmentation,
}

impl Experiment {
    /// Reads `plan.json` of `root` and what its runs have left so far. A damaged run does not keep the
    /// others from being read.
    ///
    /// # Errors
    /// There is no `plan.json`, or it cannot be read.
    pub fn read(root: &Path) -> Result<Experiment, ReportError> {
        if !root.join(PLAN).is_file() {
            return Err(ReportError::NoExperiment { path: root.into() });
        }
        let plan = Plan::read(root)?;
        let runs = plan.runs.iter().map(|run| Run::read(root, run)).collect();
        Ok(Experiment { root: root.into(), plan, runs })
    }

    pub fn run(&self, seed: u64, id: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.spec.seed == seed && run.spec.id == id)
    }

    /// The best run among `ids` by [`best_of`]; none until all of them are complete.
    pub fn chosen(&self, seed: u64, ids: &[String]) -> Option<Chosen<'_>> {
        let found: Option<Vec<Chosen>> = ids.iter().map(|id| self.run(seed, id)?.chosen()).collect();
        best_of(found?, |chosen| chosen.segmentation.val_dice)
    }

    /// Wall time of the training of these runs and of all that they need, each once; none when a
    /// run among them is not complete.
    pub fn whole_seconds(&self, seed: u64, ids: &[String]) -> Option<f64> {
        self.with_needs(seed, ids).into_iter().map(|run| Some(run?.result()?.train_seconds)).sum()
    }

    /// Steps that the weights of `run` have behind them: its own, and those of the runs that it starts
    /// from. None for an ensemble, whose models have a line each, and when a run of the line is not
    /// complete.
    pub fn steps_in_line(&self, run: &Run) -> Option<usize> {
        Some(self.steps_before(run)? + run.result()?.steps)
    }

    /// The steps in line of what `run` starts from; 0 where it starts from scratch.
    pub fn steps_before(&self, run: &Run) -> Option<usize> {
        let start = match &run.spec.work {
            Work::Ensemble { .. } => return None,
            Work::Target { start } => start.run(),
            Work::Distil { .. } if run.spec.config.distillation.student == StudentStart::BestElite => {
                // Only its result says who its teachers were.
                Teacher::best(&run.result()?.teachers).map(|best| &best.run)
            }
            Work::Distil { .. } | Work::Joint { .. } | Work::Pretrain { .. } => None,
        };
        start.map_or(Some(0), |id| self.steps_in_line(self.run(run.spec.seed, id)?))
    }

    /// These runs and all that they need; none for one that the plan lacks.
    pub fn with_needs(&self, seed: u64, ids: &[String]) -> Vec<Option<&Run>> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&String> = ids.iter().collect();
        let mut found = Vec::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                let run = self.run(seed, id);
                open.extend(run.iter().flat_map(|run| &run.spec.needs));
                found.push(run);
            }
        }
        found
    }

    /// The adapters, with their drivers, that the complete runs were made on.
    pub fn adapters(&self) -> BTreeSet<String> {
        let complete = self.runs.iter().filter(|run| run.result().is_some());
        let infos = complete.filter_map(|run| run.info.as_ref());
        infos.map(RunInfo::to_string).collect()
    }

    /// The first method of this role.
    pub fn of_role(&self, role: Role) -> Option<&Method> {
        self.plan.methods.iter().find(|method| method.role == role)
    }
}

impl Run {
    fn read(root: &Path, planned: &PlannedRun) -> Run {
        let PlannedRun { folder, spec, inputs } = planned;
        let path = root.join(folder);
        let metrics = path.join(JSONL);
        let (mut history, damage) = match metrics.is_file().then(|| History::read(&metrics)) {
            Some(Ok(history)) => (history, None),
            Some(Err(error)) => (History::default(), Some(error.to_string())),
            None => (History::default(), None),
        };
        let state = match (read_result(&path.join(RESULT), spec), damage) {
            (Ok(Some(result)), _) if result.inputs != *inputs => State::Stale,
            (Ok(Some(result)), _) => State::Complete(Box::new(result)),
            (Err(message), _) | (_, Some(message)) => State::Damaged(message),
            (Ok(None), None) if metrics.is_file() || path.join(SPEC).is_file() => State::Begun,
            (Ok(None), None) => State::Waiting,
        };
        let mut info = RunInfo::read(&path);
        if matches!(state, State::Stale) {
            (history, info) = (History::default(), None);
        }
        let flaw = match &state {
            State::Complete(result) => flaw(&path, result),
            _ => None,
        };
        Run { spec: spec.clone(), folder: folder.clone(), state, flaw, history, info }
    }

    pub fn result(&self) -> Option<&RunResult> {
        match &self.state {
            State::Complete(result) => Some(result),
            _ => None,
        }
    }

    fn chosen(&self) -> Option<Chosen<'_>> {
        let result = self.result()?;
        Some(Chosen { run: self, result, segmentation: result.segmentation.as_ref()? })
    }

    /// In one or two words.
    pub fn state(&self) -> &'static str {
        match self.state {
            State::Complete(_) if self.flaw.is_some() => "complete, without its weights",
            State::Complete(_) => "complete",
            State::Begun => "not finished",
            State::Waiting => "not begun",
            State::Stale => "stale",
            State::Damaged(_) => "damaged",
        }
    }

    /// What is wrong with it.
    pub fn trouble(&self) -> Option<&str> {
        match &self.state {
            State::Stale => Some("it is of another config, other images or another version"),
            State::Damaged(message) => Some(message),
            State::Complete(_) | State::Begun | State::Waiting => None,
        }
    }
}

/// Whether the weights in `folder` are those that the run left, by their size.
fn flaw(folder: &Path, result: &RunResult) -> Option<String> {
    match result.weights.as_ref()?.flaw(folder) {
        Ok(change) => change.as_ref().map(why),
        Err(error) => Some(error.to_string()),
    }
}

/// None when there is none; errors with what is wrong with it.
fn read_result(path: &Path, spec: &RunSpec) -> Result<Option<RunResult>, String> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let result: RunResult =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    if (result.seed, result.id.as_str()) != (spec.seed, spec.id.as_str()) {
        return Err(format!(
            "{} is the result of {} of seed {}, expected {} of seed {}",
            path.display(),
            result.id,
            result.seed,
            spec.id,
            spec.seed
        ));
    }
    Ok(Some(result))
}

#[cfg(test)]
mod tests {
    use super::super::testing::experiment;
    use super::*;

    /// Every run of the experiment has 20 steps.
    #[test]
    fn a_line_is_what_the_weights_come_from() {
        let root = tempfile::tempdir().unwrap();
        experiment(root.path());
        let mut found = Experiment::read(root.path()).unwrap();
        let steps = |found: &Experiment, id: &str| found.run(0, id).and_then(|run| found.steps_in_line(run));
        let finetuned = "stage1:rotation:pretraining";
        assert_eq!(steps(&found, "target_only"), Some(20));
        assert_eq!(steps(&found, finetuned), Some(40));
        assert_eq!(steps(&found, "two_stage"), Some(20), "from scratch");
        assert_eq!(steps(&found, "teacher_ensemble"), None);

        let student = found.runs.iter_mut().find(|run| run.spec.id == "two_stage").unwrap();
        student.spec.config.distillation.student = StudentStart::BestElite;
        let State::Complete(result) = &mut student.state else { panic!("{:?}", student.state) };
        let best = Teacher { run: finetuned.into(), val_dice: 0.85, ..result.teachers[0].clone() };
        result.teachers.insert(0, best);
        assert_eq!(steps(&found, "two_stage"), Some(60));

        let pretrained = found.runs.iter_mut().find(|run| run.spec.id == "pretrain:rotation").unwrap();
        pretrained.state = State::Begun;
        assert_eq!([steps(&found, finetuned), steps(&found, "two_stage")], [None, None]);
    }
}

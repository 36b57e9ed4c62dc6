//! Does the runs of a graph, several at a time.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;

use super::assess::{Job, State};
use super::inputs::SPEC;
use super::perform::Ended;
use super::run::{RunResult, RunSpec};
use super::view::View;
use crate::report::ReportError;
use crate::report::run_folder::{make_folder, write_json};
use crate::report::words::duration;
use crate::train::TrainError;
use crate::train::watch::Watch;

/// How a graph is done.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Folder of the whole.
    pub root: &'a Path,
    /// Runs at a time, each in a thread of its own.
    pub threads: usize,
    /// Set from outside: no run starts any more.
    pub stop: &'a AtomicBool,
    pub view: &'a View,
    /// Of each run, in any unit; for the time left.
    pub costs: &'a [f64],
}

/// How a graph ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs that were complete before, and that are since.
    pub skipped: usize,
    pub complete: usize,
    /// Runs that failed, with what was wrong.
    pub failed: Vec<(String, Failure)>,
    /// Runs that were not started, with a run that they need and that is not complete.
    pub not_started: Vec<(String, String)>,
    /// It was stopped from outside; doing it again goes on from there.
    pub interrupted: bool,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub message: String,
    /// The same bits come out again, so doing it again ends alike.
    pub lasting: bool,
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure { message, lasting: false }
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Failure {
        let lasting = matches!(
            error,
            TrainError::LossNotFinite { .. }
                | TrainError::LossScale { .. }
                | TrainError::StateNotFinite { .. }
                | TrainError::AnswersNotFinite { .. }
        );
        Failure { message: error.to_string(), lasting }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// Not asked for, and not complete.
    Unwanted,
    Waiting,
    Running,
    Complete,
    Failed,
    Stopped,
}

/// Does the runs that are wanted and not complete, each when those that it needs are, in their order.
///
/// `open` is called in each thread, by its number, for a worker, which does one run after the other: it is given the
/// run, the hash of its inputs and who to tell. A worker whose run failed is dropped, and another opened.
pub fn execute<W, E>(jobs: &[Job], options: &Options, open: impl Fn(usize) -> Result<W, E> + Sync) -> Summary
where
    W: FnMut(&RunSpec, &str, &mut dyn Watch) -> Result<Ended, E>,
    E: Into<Failure>,
{
    let board = Board::new(jobs, options);
    let waiting = board.lock().statuses.iter().filter(|status| **status == Status::Waiting).count();
    thread::scope(|scope| {
        for number in 0..options.threads.clamp(1, waiting.max(1)) {
            let (board, open) = (&board, &open);
            scope.spawn(move || work(board, &|| open(number)));
        }
    });
    board.summary()
}

/// What all threads know.
struct Board<'a> {
    jobs: &'a [Job],
    options: &'a Options<'a>,
    state: Mutex<BoardState>,
    changed: Condvar,
}

struct BoardState {
    statuses: Vec<Status>,
    failed: Vec<(String, Failure)>,
}

impl<'a> Board<'a> {
    fn new(jobs: &'a [Job], options: &'a Options<'a>) -> Board<'a> {
        let status = |job: &Job| match (job.is_complete(), job.wanted) {
            (true, _) => Status::Complete,
            (false, true) => Status::Waiting,
            (false, false) => Status::Unwanted,
        };
        let state = BoardState { statuses: jobs.iter().map(status).collect(), failed: vec![] };
        Board { jobs, options, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, BoardState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes the first run that can start, waits while none can and one may come; none when none will.
    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if self.options.stop.load(Ordering::Relaxed) {
                return None;
            }
            let complete = |i: &usize| state.statuses[*i] == Status::Complete;
            let ready =
                |i: &usize| state.statuses[*i] == Status::Waiting && self.jobs[*i].needs.iter().all(complete);
            if let Some(i) = (0..self.jobs.len()).find(ready) {
                state.statuses[i] = Status::Running;
                return Some(i);
            }
            if !state.statuses.contains(&Status::Running) {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn end(&self, i: usize, ended: Result<Ended, Failure>) {
        let (label, view) = (self.jobs[i].label(), self.options.view);
        let mut state = self.lock();
        state.statuses[i] = match ended {
            Ok(Ended::Complete(result)) => {
                view.complete();
                view.line(&format!("{label}: {} ({})", describe(&result), view.count()));
                Status::Complete
            }
            Ok(Ended::Interrupted) => {
                view.line(&format!("{label}: interrupted"));
                Status::Stopped
            }
            Err(failure) => {
                view.line(&format!("{label}: FAILED: {}", failure.message));
                state.failed.push((label, failure));
                Status::Failed
            }
        };
        drop(state);
        self.changed.notify_all();
    }

    fn summary(self) -> Summary {
        let state = self.state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let count = |status: Status| state.statuses.iter().filter(|s| **s == status).count();
        let skipped = self.jobs.iter().filter(|job| job.is_complete()).count();
        let stopped = self.options.stop.load(Ordering::Relaxed) && count(Status::Waiting) > 0;
        let mut summary = Summary {
            skipped,
            complete: count(Status::Complete) - skipped,
            failed: state.failed,
            not_started: vec![],
            interrupted: stopped || count(Status::Stopped) > 0,
        };
        for (job, status) in self.jobs.iter().zip(&state.statuses) {
            let missing = job.needs.iter().find(|i| state.statuses[**i] != Status::Complete);
            if *status == Status::Waiting
                && let Some(missing) = missing
            {
                summary.not_started.push((job.label(), self.jobs[*missing].label()));
            }
        }
        summary
    }
}

/// Does runs until there are no more to do.
fn work<W, E>(board: &Board, open: &(impl Fn() -> Result<W, E> + Sync))
where
    W: FnMut(&RunSpec, &str, &mut dyn Watch) -> Result<Ended, E>,
    E: Into<Failure>,
{
    let mut worker: Option<W> = None;
    while let Some(i) = board.take() {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let mut hand = match worker.take() {
                Some(worker) => worker,
                None => open().map_err(Into::into)?,
            };
            let ended = one(board, i, &mut hand)?;
            // After a failure the device may be lost, so only one that did its work is kept.
            worker = Some(hand);
            Ok(ended)
        }));
        board.end(i, ended.unwrap_or_else(|panic| Err(panic_message(&*panic).into())));
    }
}

fn one<E: Into<Failure>>(
    board: &Board,
    i: usize,
    worker: &mut impl FnMut(&RunSpec, &str, &mut dyn Watch) -> Result<Ended, E>,
) -> Result<Ended, Failure> {
    let (job, options) = (&board.jobs[i], board.options);
    let goes_on = job.state == State::Begun;
    options.view.line(&format!("{}: {}", job.label(), if goes_on { "goes on" } else { "starts" }));
    if !goes_on {
        begin(options.root, job).map_err(|error| Failure::from(error.to_string()))?;
    }
    let mut watch = options.view.run(&job.label(), options.costs.get(i).copied().unwrap_or_default());
    worker(&job.spec, &job.hash, &mut watch).map_err(Into::into)
}

/// Writes down what the run is made of, before there is anything that was made of it.
fn begin(root: &Path, job: &Job) -> Result<(), ReportError> {
    let folder = root.join(job.spec.folder());
    make_folder(&folder)?;
    write_json(&folder.join(SPEC), &job.inputs)
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    format!("it stopped by a mistake in wgseg; please report this: {text}")
}

pub(super) fn describe(result: &RunResult) -> String {
    let mut parts = vec![];
    if let Some(scores) = &result.segmentation {
        // Not that of the test, which nobody should choose settings by; the report has it.
        parts.push(format!("validation Dice {:.4}", scores.val_dice));
    }
    for (task, score) in &result.tasks {
        parts.push(format!("{task} {} {:.4} (trivial {:.4})", score.metric, score.value, score.trivial));
    }
    parts.push(format!("trained in {}", duration(result.train_seconds)));
    format!("done, {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::super::assess::assess;
    use super::super::assess::tests::{complete, result};
    use super::super::error::MethodError;
    use super::super::inputs::tests::{images, spec};
    use super::*;

    /// Two pairs of teachers, a student of each pair, a champion of the students, and one alone.
    fn specs() -> Vec<RunSpec> {
        let needs = [
            ("a", vec![]),
            ("b", vec![]),
            ("c", vec![]),
            ("d", vec![]),
            ("ab", vec!["a", "b"]),
            ("cd", vec!["c", "d"]),
            ("abcd", vec!["ab", "cd"]),
            ("alone", vec![]),
        ];
        needs.iter().map(|(id, needs)| spec(id, needs)).collect()
    }

    fn jobs(root: &Path, only: &[&str]) -> Vec<Job> {
        let only: Vec<String> = only.iter().map(|id| (*id).to_owned()).collect();
        assess(root, &specs(), specs().len(), &images("images"), "1", &only, &[]).unwrap()
    }

    /// What was told of runs, in order.
    #[derive(Default)]
    struct Log {
        started: Mutex<Vec<String>>,
        running: Mutex<HashSet<String>>,
        most: AtomicUsize,
        opened: AtomicUsize,
    }

    /// Does the jobs by `act`, which gets the id; a run that ends well is left complete.
    fn run(
        root: &Path,
        jobs: &[Job],
        threads: usize,
        log: &Log,
        stop: &AtomicBool,
        act: impl Fn(&str) -> Result<bool, String> + Sync,
    ) -> Summary {
        let view = View::new(jobs.len(), 1.0);
        let options = Options { root, threads, stop, view: &view, costs: &[] };
        execute(jobs, &options, |_| {
            log.opened.fetch_add(1, Ordering::Relaxed);
            Ok(|spec: &RunSpec, hash: &str, _: &mut dyn Watch| {
                log.started.lock().unwrap().push(spec.id.clone());
                assert!(log.running.lock().unwrap().insert(spec.id.clone()), "{} runs already", spec.id);
                let count = log.running.lock().unwrap().len();
                log.most.fetch_max(count, Ordering::Relaxed);
                assert!(root.join(spec.folder()).join(SPEC).exists());
                for need in &spec.needs {
                    assert!(root.join(format!("seed_0/{need}/result.json")).exists(), "{need} is missing");
                }
                let went_on = act(&spec.id);
                log.running.lock().unwrap().remove(&spec.id);
                if !went_on? {
                    return Ok::<_, String>(Ended::Interrupted);
                }
                let job = jobs.iter().find(|job| job.spec.id == spec.id).unwrap();
                assert_eq!(hash, job.hash);
                complete(root, job);
                Ok(Ended::Complete(Box::new(result(job))))
            })
        })
    }

    fn simple(root: &Path, act: impl Fn(&str) -> Result<bool, String> + Sync) -> (Summary, Vec<String>) {
        let log = Log::default();
        let summary = run(root, &jobs(root, &[]), 1, &log, &AtomicBool::new(false), act);
        (summary, log.started.into_inner().unwrap())
    }

    #[test]
    fn one_thread_does_all_in_order_and_then_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (summary, started) = simple(root.path(), |_| Ok(true));
        assert_eq!(started, ["a", "b", "c", "d", "ab", "cd", "abcd", "alone"]);
        assert_eq!(summary, Summary { complete: 8, ..Summary::default() });
        let (summary, started) = simple(root.path(), |_| Ok(true));
        assert!(started.is_empty());
        assert_eq!(summary, Summary { skipped: 8, ..Summary::default() });
    }

    #[test]
    fn threads_share_the_runs_and_never_do_one_twice() {
        let root = tempfile::tempdir().unwrap();
        let log = Log::default();
        let act = |_: &str| {
            thread::sleep(Duration::from_millis(20));
            Ok(true)
        };
        let summary = run(root.path(), &jobs(root.path(), &[]), 3, &log, &AtomicBool::new(false), act);
        assert_eq!(summary.complete, 8);
        let started = log.started.into_inner().unwrap();
        assert_eq!(started.iter().collect::<HashSet<_>>().len(), 8);
        assert_eq!(started.len(), 8);
        assert_eq!((log.most.into_inner(), log.opened.into_inner()), (3, 3));
    }

    #[test]
    fn a_failed_run_is_told_and_only_those_that_need_it_wait() {
        for panics in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let (summary, started) = simple(root.path(), |id| match id {
                "b" if panics => panic!("the loss is purple"),
                "b" => Err("the loss is purple".into()),
                _ => Ok(true),
            });
            assert_eq!(started, ["a", "b", "c", "d", "cd", "alone"]);
            assert_eq!(summary.complete, 5);
            let [(label, failure)] = &summary.failed[..] else { panic!("{summary:?}") };
            assert!(label == "seed_0/b" && failure.message.contains("the loss is purple"), "{failure:?}");
            assert!(!failure.lasting);
            let not_started = [("seed_0/ab", "seed_0/b"), ("seed_0/abcd", "seed_0/ab")];
            assert_eq!(summary.not_started, not_started.map(|(a, b)| (a.to_owned(), b.to_owned())));
            assert!(!summary.interrupted);

            // The next time it goes on with what is missing.
            let (summary, started) = simple(root.path(), |_| Ok(true));
            assert_eq!(started, ["b", "ab", "abcd"]);
            assert_eq!((summary.skipped, summary.complete), (5, 3));
        }
    }

    #[test]
    fn after_a_failure_the_worker_is_opened_anew() {
        let root = tempfile::tempdir().unwrap();
        let log = Log::default();
        let act = |id: &str| if id == "a" { Err("device lost".to_owned()) } else { Ok(true) };
        run(root.path(), &jobs(root.path(), &[]), 1, &log, &AtomicBool::new(false), act);
        assert_eq!(log.opened.into_inner(), 2);
    }

    #[test]
    fn a_worker_that_cannot_be_opened_fails_its_run() {
        let root = tempfile::tempdir().unwrap();
        let jobs = jobs(root.path(), &["a"]);
        let view = View::new(1, 1.0);
        let stop = AtomicBool::new(false);
        let options = Options { root: root.path(), threads: 1, stop: &stop, view: &view, costs: &[] };
        type Never = fn(&RunSpec, &str, &mut dyn Watch) -> Result<Ended, String>;
        let summary = execute(&jobs, &options, |_| Err::<Never, _>("no adapter".to_owned()));
        assert_eq!(summary.failed, [("seed_0/a".to_owned(), "no adapter".to_owned().into())]);
    }

    #[test]
    fn a_loss_that_is_not_finite_stays_so() {
        let error = TrainError::LossNotFinite {
            step: 3,
            epoch: 1,
            value: f64::NAN,
            kept: "nothing".into(),
            key: "train.learning_rate",
            also: "",
        };
        assert!(Failure::from(error).lasting);
        let error =
            TrainError::AnswersNotFinite { step: 3, kept: "nothing".into(), key: "train.learning_rate" };
        assert!(Failure::from(error).lasting);
        let error = TrainError::Method(MethodError::NoTasks);
        assert!(!Failure::from(error).lasting);
    }

    #[test]
    fn a_stop_lets_no_run_start_and_the_next_time_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let (log, stop) = (Log::default(), AtomicBool::new(false));
        let act = |id: &str| {
            if id == "b" {
                stop.store(true, Ordering::Relaxed);
            }
            Ok(id != "b")
        };
        let summary = run(root.path(), &jobs(root.path(), &[]), 1, &log, &stop, act);
        assert_eq!(log.started.into_inner().unwrap(), ["a", "b"]);
        assert!(summary.interrupted && summary.failed.is_empty());
        let again = jobs(root.path(), &[]);
        assert!(again[0].is_complete() && again[1].state == State::Begun);
        let (summary, started) = simple(root.path(), |_| Ok(true));
        assert_eq!(started[0], "b");
        assert_eq!((summary.complete, summary.interrupted), (7, false));
    }

    #[test]
    fn only_the_runs_wanted_are_done() {
        let root = tempfile::tempdir().unwrap();
        let log = Log::default();
        let jobs = jobs(root.path(), &["c", "alone"]);
        let summary = run(root.path(), &jobs, 2, &log, &AtomicBool::new(false), |_| Ok(true));
        let mut started = log.started.into_inner().unwrap();
        started.sort();
        assert_eq!(started, ["alone", "c"]);
        assert_eq!(summary, Summary { complete: 2, ..Summary::default() });
    }
}

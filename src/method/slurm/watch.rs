//! Submits the levels of a graph and watches until no job is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::super::assess::Job;
use super::super::execute::{Failure, Summary, describe};
use super::super::run::{RESULT, RunResult};
use super::super::view::View;
use super::batch::{SlurmOptions, levels, log_name};
use super::error::SlurmError;
use super::{Live, Submissions, listed, queue};
use crate::report::words::count;

/// The queue is asked so often at first, and ever more rarely while nothing changes.
const SOON: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(30);
/// Longer by so much for each run in the queue, so that a thousand of them, of which one ends at any time, do not make
/// Slurm's controller answer every second.
const EACH: Duration = Duration::from_millis(10);
/// A signal is heeded in this time.
const TICK: Duration = Duration::from_millis(100);
/// A shared file system may show the last file of a run so long after its job has left the queue.
const LATE: Duration = Duration::from_secs(60);
/// Slurm's controller may be away so long, as while it is started anew.
const AWAY: Duration = Duration::from_secs(30 * 60);
/// Of a log's end that is read for what went wrong.
const LOG_BYTES: usize = 4096;
/// What `wgseg run-one` tells of a run whose failure comes again.
pub const LASTING: &str = "the same run would end alike";

/// What was watched.
pub struct Watched {
    pub summary: Summary,
    /// Jobs that go on although nobody watches any more, as `scancel` takes them.
    pub left: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Unwanted,
    ToSubmit,
    Queued,
    Running,
    Complete,
    Failed,
    NotStarted,
}

struct Board<'a> {
    jobs: &'a [Job],
    statuses: Vec<Status>,
    levels: Vec<Option<usize>>,
    submissions: Submissions,
    view: &'a View,
    failed: Vec<(String, Failure)>,
    /// When a run was first not in the queue any more and had no result.
    gone: BTreeMap<usize, Instant>,
}

/// Submits what of `jobs` is wanted, not complete and not in the queue, and watches all until none is left,
/// or until `stop` is set: then the jobs go on.
///
/// # Errors
/// Slurm refuses the first of the arrays that are still to come while no job is left to wait for, or does
/// not answer for long.
pub fn execute(
    jobs: &[Job],
    submissions: Submissions,
    options: &SlurmOptions,
    view: &View,
    stop: &AtomicBool,
) -> Result<Watched, SlurmError> {
    let status = |job: &Job| match (job.is_complete(), job.wanted) {
        (true, _) => Status::Complete,
        (false, true) => Status::ToSubmit,
        (false, false) => Status::Unwanted,
    };
    let mut board = Board {
        jobs,
        statuses: jobs.iter().map(status).collect(),
        levels: levels(jobs),
        submissions,
        view,
        failed: vec![],
        gone: BTreeMap::new(),
    };
    let mut largest = queue::largest_array();
    let (mut pause, mut answered) = (SOON, Instant::now());
    let (mut left, mut refused) = (None, None);
    loop {
        let mut live = match board.submissions.live() {
            Ok(live) => live,
            Err(error) if answered.elapsed() < AWAY => {
                view.line(&format!("slurm: {error}; asking again"));
                if wait(SELDOM, stop) {
                    return Ok(board.end(true, left));
                }
                continue;
            }
            Err(error) => {
                return Err(SlurmError::Silent { minutes: AWAY.as_secs() / 60, message: error.to_string() });
            }
        };
        answered = Instant::now();
        let mut changed = board.update(&live);
        // What was refused is not tried again before something has ended.
        if changed || refused.is_none() {
            match board.submit(&mut live, options, largest) {
                Ok(submitted) => {
                    changed |= submitted;
                    refused = None;
                }
                // A user may have so many jobs in the queue and no more, so fewer at once.
                Err(SlurmError::Refused { .. }) if live.is_empty() && largest > 1 => {
                    largest = (largest.min(board.to_submit().len()) / 2).max(1);
                    if !stop.load(Ordering::Relaxed) {
                        continue;
                    }
                }
                Err(error) if live.is_empty() => return Err(error),
                Err(error) => {
                    let message = error.to_string();
                    if refused.as_ref() != Some(&message) {
                        view.line(&format!("{message}; asking again when jobs have ended"));
                    }
                    refused = Some(message);
                }
            }
        }
        left = (!live.is_empty()).then(|| listed(&live));
        let to_come = [Status::ToSubmit, Status::Queued, Status::Running];
        if !board.statuses.iter().any(|status| to_come.contains(status)) {
            return Ok(board.end(false, None));
        }
        pause = pause_after(pause, changed, live.len());
        if wait(pause, stop) {
            return Ok(board.end(true, left));
        }
    }
}

/// How long the queue, with so many runs in it, is left alone after a pause.
fn pause_after(pause: Duration, changed: bool, live: usize) -> Duration {
    let soon = SOON + EACH * u32::try_from(live).unwrap_or(u32::MAX / EACH.subsec_millis());
    if changed { soon } else { soon.max(pause * 3 / 2) }.min(SELDOM)
}

/// Sleeps, and tells whether it was stopped.
fn wait(pause: Duration, stop: &AtomicBool) -> bool {
    let end = Instant::now() + pause;
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        sleep(TICK);
    }
    stop.load(Ordering::Relaxed)
}

impl Board<'_> {
    /// Takes over what the queue and the folders say; whether anything changed.
    fn update(&mut self, live: &BTreeMap<String, Live>) -> bool {
        let mut changed = false;
        for i in 0..self.jobs.len() {
            let before = self.statuses[i];
            if !matches!(before, Status::ToSubmit | Status::Queued | Status::Running) {
                continue;
            }
            let label = self.jobs[i].label();
            if live.contains_key(&label) {
                self.gone.remove(&i);
            }
            let now = match live.get(&label) {
                Some(Live { job, index, running: true, .. }) => {
                    if before != Status::Running {
                        self.view.line(&format!("{label}: runs as job {job}_{index}"));
                    }
                    Status::Running
                }
                Some(_) => {
                    if before == Status::Running {
                        self.view.line(&format!("{label}: is back in the queue"));
                    }
                    Status::Queued
                }
                None if before == Status::ToSubmit => before,
                None => self.ended(i, &label).unwrap_or(before),
            };
            self.statuses[i] = now;
            changed |= now != before;
        }
        changed
    }

    /// What became of a run whose job has left the queue; none while that is not known.
    fn ended(&mut self, i: usize, label: &str) -> Option<Status> {
        if let Some(result) = self.result(i) {
            self.view.complete();
            self.view.line(&format!("{label}: {} ({})", describe(&result), self.view.count()));
            return Some(Status::Complete);
        }
        let end = self.log_end(label);
        let code = end.lines().last().and_then(|line| line.strip_prefix("ended with exit code "));
        let since = *self.gone.entry(i).or_insert_with(Instant::now);
        let told = code.is_some_and(|code| code != "0" && !code.contains(' '));
        if !told && since.elapsed() < LATE {
            return None;
        }
        let needs: Vec<Status> = self.jobs[i].needs.iter().map(|need| self.statuses[*need]).collect();
        if needs.iter().any(|need| matches!(need, Status::Failed | Status::NotStarted | Status::Unwanted)) {
            return Some(Status::NotStarted);
        }
        if told && needs.iter().any(|need| *need != Status::Complete) {
            // It started before what it needs was there, which will be.
            self.gone.remove(&i);
            return Some(Status::ToSubmit);
        }
        let error = end.lines().rev().find_map(|line| line.strip_prefix("error: "));
        let message = match (error, code) {
            (Some(error), _) => error.to_owned(),
            (None, Some(code)) => format!("its job ended with exit code {code}"),
            (None, None) => "its job was cancelled or killed".to_owned(),
        };
        let log = self.submissions.logs().join(log_name(label));
        self.view.line(&format!("{label}: FAILED: {message}; see {}", log.display()));
        self.failed.push((label.to_owned(), Failure { message, lasting: end.contains(LASTING) }));
        Some(Status::Failed)
    }

    /// The result of a run, if it is of the inputs that it should be of.
    fn result(&self, i: usize) -> Option<RunResult> {
        let path = self.submissions.root.join(self.jobs[i].label()).join(RESULT);
        let result: RunResult = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (result.inputs == self.jobs[i].hash).then_some(result)
    }

    /// The end of what a run told in its last try.
    fn log_end(&self, label: &str) -> String {
        let bytes = fs::read(self.submissions.logs().join(log_name(label))).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_BYTES)..]).into_owned();
        let last = text.rfind("\njob ").map_or(0, |start| start + 1);
        text[last..].trim_end().to_owned()
    }

    /// Submits the runs that are not in the queue, level by level; whether there were any.
    fn submit(
        &mut self,
        live: &mut BTreeMap<String, Live>,
        options: &SlurmOptions,
        largest: usize,
    ) -> Result<bool, SlurmError> {
        // What cannot start any more is not submitted at all. Runs stand after those that they need.
        let lost = [Status::Failed, Status::NotStarted];
        for i in 0..self.jobs.len() {
            let missing = self.jobs[i].needs.iter().any(|need| lost.contains(&self.statuses[*need]));
            if self.statuses[i] == Status::ToSubmit && missing {
                self.statuses[i] = Status::NotStarted;
            }
        }
        let to_do = self.to_submit();
        let all: BTreeSet<usize> = to_do.iter().filter_map(|i| self.levels[*i]).collect();
        for level in all {
            let of_level: Vec<usize> =
                to_do.iter().copied().filter(|i| self.levels[*i] == Some(level)).collect();
            for part in of_level.chunks(largest) {
                let after = self.before(level, live);
                let jobs: Vec<&Job> = part.iter().map(|i| &self.jobs[*i]).collect();
                let job = self.submissions.submit(&jobs, &after, options)?;
                self.view.line(&format!("job {job}: {} of level {level}", count(part.len(), "run")));
                for (index, i) in part.iter().enumerate() {
                    let (run, inputs) = (self.jobs[*i].label(), self.jobs[*i].hash.clone());
                    live.insert(run, Live { job, index, running: false, inputs });
                    self.statuses[*i] = Status::Queued;
                }
            }
        }
        Ok(!to_do.is_empty())
    }

    fn to_submit(&self) -> Vec<usize> {
        (0..self.jobs.len()).filter(|i| self.statuses[*i] == Status::ToSubmit).collect()
    }

    /// Jobs with runs below `level`.
    fn before(&self, level: usize, live: &BTreeMap<String, Live>) -> Vec<u64> {
        let below = self.jobs.iter().zip(&self.levels).filter(|(_, of)| of.is_some_and(|of| of < level));
        let jobs: BTreeSet<u64> = below.filter_map(|(job, _)| Some(live.get(&job.label())?.job)).collect();
        jobs.into_iter().collect()
    }

    fn end(self, interrupted: bool, left: Option<String>) -> Watched {
        let skipped = self.jobs.iter().filter(|job| job.is_complete()).count();
        let complete = self.statuses.iter().filter(|status| **status == Status::Complete).count() - skipped;
        let mut summary =
            Summary { skipped, complete, failed: self.failed, not_started: vec![], interrupted };
        for (job, status) in self.jobs.iter().zip(&self.statuses) {
            let missing = job.needs.iter().find(|need| self.statuses[**need] != Status::Complete);
            if *status == Status::NotStarted
                && let Some(missing) = missing
            {
                summary.not_started.push((job.label(), self.jobs[*missing].label()));
            }
        }
        Watched { summary, left }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::assess::assess;
    use super::super::super::inputs::tests::{images, spec};
    use super::*;

    /// A run `b` that needs `a`, whose job is gone from the queue while `a` is in that status.
    #[test]
    fn what_becomes_of_a_run_without_a_job_is_a_matter_of_its_needs() {
        let specs = [spec("a", &[]), spec("b", &["a"])];
        let of = |status: Status, log: Option<&str>| {
            let root = tempfile::tempdir().unwrap();
            let jobs = assess(root.path(), &specs, 2, &images("images"), "1", &[], &[]).unwrap();
            let submissions = Submissions::open(root.path()).unwrap();
            let label = jobs[1].label();
            if let Some(log) = log {
                fs::write(submissions.logs().join(log_name(&label)), log).unwrap();
            }
            let view = View::new(2, 0.0);
            let gone = BTreeMap::from([(1, Instant::now().checked_sub(2 * LATE).unwrap())]);
            let statuses = vec![status, Status::Queued];
            let levels = levels(&jobs);
            let mut board =
                Board { jobs: &jobs, statuses, levels, submissions, view: &view, failed: vec![], gone };
            board.ended(1, &label)
        };
        let early = Some("job 3_0 on x\nerror: it needs a\nended with exit code 1\n");
        for lost in [Status::Failed, Status::NotStarted, Status::Unwanted] {
            assert_eq!(of(lost, early), Some(Status::NotStarted));
            assert_eq!(of(lost, None), Some(Status::NotStarted));
        }
        for coming in [Status::ToSubmit, Status::Queued, Status::Running] {
            // It started too early, or it was cancelled.
            assert_eq!(of(coming, early), Some(Status::ToSubmit));
            assert_eq!(of(coming, None), Some(Status::Failed));
        }
        assert_eq!(of(Status::Complete, early), Some(Status::Failed));
    }

    #[test]
    fn the_queue_is_asked_more_rarely_the_more_is_in_it_and_the_less_happens() {
        let seconds =
            |pause, changed, live| pause_after(Duration::from_secs(pause), changed, live).as_secs_f64();
        assert_eq!(seconds(30, true, 0), 1.0);
        assert_eq!(seconds(1, true, 1000), 11.0);
        assert_eq!(seconds(2, false, 0), 3.0);
        assert_eq!(seconds(2, false, 1000), 11.0);
        assert_eq!(seconds(30, false, 5), 30.0);
        assert_eq!(seconds(1, true, usize::MAX), 30.0);
    }
}

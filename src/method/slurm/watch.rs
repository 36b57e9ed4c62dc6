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
/// What Slurm refused is asked for again after so long at the latest, as limits count jobs of others too; sooner where there
/// is nothing else to wait for.
const REFUSED: Duration = Duration::from_secs(5 * 60);
/// What `wgseg run-one` tells of a run whose failure comes again.
pub const LASTING: &str = "the same run would end alike";
/// What it tells where a run that this one needs is not complete.
pub const EARLY: &str = "what it needs is not there";

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

/// A job of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Try {
    job: u64,
    index: usize,
    /// It was seen back in the queue, so its log may tell of an earlier start.
    again: bool,
}

/// What Slurm refused.
struct Refusal {
    message: String,
    /// Runs that were in the queue then.
    live: usize,
    at: Instant,
    /// Since when nothing was taken.
    since: Instant,
}

impl Refusal {
    /// Whether there may be room now.
    fn is_over(&self, changed: bool, live: usize) -> bool {
        changed || live < self.live || self.at.elapsed() > if live == 0 { SELDOM } else { REFUSED }
    }
}

/// What a run told in its last try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    /// Its exit code, unless it is to be put back in the queue.
    code: Option<String>,
    error: Option<String>,
    /// The job had not been started before.
    is_first: bool,
    is_lasting: bool,
    is_early: bool,
}

impl Told {
    /// By the log of a run; nothing where the last try in it is another than `job`.
    fn of(log: &str, job: Option<Try>) -> Told {
        let start = log.rfind("\njob ").map_or(0, |start| start + 1);
        let log = log[start..].trim_end();
        let is_other = |Try { job, index, .. }| !log.starts_with(&format!("job {job}_{index} on "));
        if job.is_some_and(is_other) {
            return Told::default();
        }
        let code = log.lines().last().and_then(|line| line.strip_prefix("ended with exit code "));
        let error = log.lines().rev().find_map(|line| line.strip_prefix("error: "));
        Told {
            code: code.filter(|code| !code.contains(' ')).map(str::to_owned),
            error: error.map(str::to_owned),
            is_first: log.lines().next().is_some_and(|line| line.contains(", restart 0, ")),
            is_lasting: log.contains(LASTING),
            is_early: log.contains(EARLY),
        }
    }

    fn failed(&self) -> bool {
        self.code.as_ref().is_some_and(|code| code != "0")
    }

    /// Why the run has failed.
    fn why(self) -> String {
        match (self.error, self.code) {
            (Some(error), _) => error,
            (None, Some(code)) => format!("its job ended with exit code {code}"),
            (None, None) => "its job was cancelled or killed".to_owned(),
        }
    }
}

struct Board<'a> {
    jobs: &'a [Job],
    statuses: Vec<Status>,
    levels: Vec<Option<usize>>,
    submissions: Submissions,
    view: &'a View,
    failed: Vec<(String, Failure)>,
    /// The last job of a run, of those that are or were in the queue.
    tries: BTreeMap<usize, Try>,
    /// When a run was first not in the queue any more and had no result.
    gone: BTreeMap<usize, Instant>,
    /// Runs that started too early although what they need is there now, as a file system may show that late.
    early: BTreeSet<usize>,
    /// Of which job it was told that it waits for ever, and why.
    held: BTreeSet<(u64, String)>,
}

/// Submits what of `jobs` is wanted, not complete and not in the queue, and watches all until none is left,
/// or until `stop` is set: then the jobs go on.
///
/// # Errors
/// Slurm refuses an array while none of `jobs` was ever in the queue, or for long while none is; it is not there, its answer
/// is not understood, or it does not answer for long; a file cannot be read or written. Jobs go on then.
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
        tries: BTreeMap::new(),
        gone: BTreeMap::new(),
        early: BTreeSet::new(),
        held: BTreeSet::new(),
    };
    let most = queue::largest_array();
    let mut largest = most;
    let (mut pause, mut answered) = (SOON, Instant::now());
    let (mut left, mut refused) = (None, None::<Refusal>);
    loop {
        let mut live = match board.submissions.live() {
            Ok(live) => live,
            Err(error) if answered.elapsed() < AWAY => {
                view.line(&format!("slurm: {error}; asking again"));
                if wait(SELDOM, stop, &board.submissions) {
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
        let cancelled = board.submissions.is_cancelled();
        if cancelled && live.is_empty() {
            view.line("slurm: cancelled by another command");
            return Ok(board.end(true, None));
        }
        if cancelled {
            changed = true;
        } else if refused.as_ref().is_none_or(|refusal| refusal.is_over(changed, live.len())) {
            match board.submit(&mut live, options, largest, largest < most) {
                Ok(submitted) => {
                    changed |= submitted;
                    refused = None;
                    if submitted {
                        largest = (2 * largest).min(most);
                    }
                }
                // A user may have so many jobs in the queue and no more, so fewer at once.
                Err(SlurmError::Refused { .. }) if largest > 1 && !stop.load(Ordering::Relaxed) => {
                    largest = (largest.min(board.to_submit().len()) / 2).max(1);
                    continue;
                }
                Err(error @ SlurmError::Refused { .. }) if !board.tries.is_empty() => {
                    let (message, at) = (error.to_string(), Instant::now());
                    let since = refused.as_ref().map_or(at, |before| before.since);
                    if live.is_empty() && since.elapsed() > AWAY {
                        return Err(error);
                    }
                    if refused.is_none_or(|before| before.message != message) {
                        let when = if live.is_empty() { "every 30 s" } else { "when jobs have ended" };
                        view.line(&format!("{message}; asking again {when}"));
                    }
                    refused = Some(Refusal { message, live: live.len(), at, since });
                }
                Err(error) => return Err(error),
            }
        }
        left = (!live.is_empty()).then(|| listed(&live));
        let to_come = [Status::ToSubmit, Status::Queued, Status::Running];
        if !board.statuses.iter().any(|status| to_come.contains(status)) {
            return Ok(board.end(false, None));
        }
        pause = pause_after(pause, changed, live.len());
        if wait(pause, stop, &board.submissions) {
            return Ok(board.end(true, left));
        }
    }
}

/// How long the queue, with so many runs in it, is left alone after a pause.
fn pause_after(pause: Duration, changed: bool, live: usize) -> Duration {
    let soon = SOON + EACH * u32::try_from(live).unwrap_or(u32::MAX / EACH.subsec_millis());
    if changed { soon } else { soon.max(pause * 3 / 2) }.min(SELDOM)
}

/// Sleeps, less long where another command cancels meanwhile; tells whether it was stopped.
fn wait(pause: Duration, stop: &AtomicBool, submissions: &Submissions) -> bool {
    let start = Instant::now();
    let (mut look, was_cancelled) = (SOON, submissions.is_cancelled());
    while start.elapsed() < pause && !stop.load(Ordering::Relaxed) {
        sleep(TICK);
        if start.elapsed() >= look {
            look += SOON;
            if !was_cancelled && submissions.is_cancelled() {
                break;
            }
        }
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
            if let Some(Live { job, index, running, .. }) = live.get(&label) {
                self.gone.remove(&i);
                let before_this = self.tries.get(&i).filter(|one| (one.job, one.index) == (*job, *index));
                let again = before_this.is_some_and(|one| one.again) || before == Status::Running && !running;
                self.tries.insert(i, Try { job: *job, index: *index, again });
            }
            let now = match live.get(&label) {
                Some(Live { job, index, running: true, .. }) => {
                    if before != Status::Running {
                        self.view.line(&format!("{label}: runs as job {job}_{index}"));
                    }
                    Status::Running
                }
                Some(Live { job, reason, .. }) => {
                    if before == Status::Running {
                        self.view.line(&format!("{label}: is back in the queue"));
                    }
                    if queue::waits_for_ever(reason) && self.held.insert((*job, reason.clone())) {
                        self.view.line(&format!(
                            "{label}: job {job} waits, in Slurm's word {reason}, which does not pass by itself: \
                             `scontrol release {job}` where it is held, else `scancel {job}` and the same command again"
                        ));
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
            self.gone.remove(&i);
            self.view.complete();
            self.view.line(&format!("{label}: {} ({})", describe(&result), self.view.count()));
            return Some(Status::Complete);
        }
        if self.submissions.is_cancelled() {
            return None;
        }
        let since = *self.gone.entry(i).or_insert_with(Instant::now);
        let last = self.tries.get(&i).copied();
        let log = self.submissions.logs().join(log_name(label));
        let told = Told::of(&String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()), last);
        // Of a job that started more than once the log may still be that of an earlier start, and of one that was ended from
        // outside it may be that another command cancels, which is seen late.
        let is_certain = told.failed()
            && told.is_first
            && !last.is_some_and(|last| last.again)
            && told.code.as_deref() != Some("130");
        if !is_certain && since.elapsed() < LATE {
            return None;
        }
        let needs = &self.jobs[i].needs;
        let is_lost =
            |need| matches!(self.statuses[need], Status::Failed | Status::NotStarted | Status::Unwanted);
        if needs.iter().any(|need| is_lost(*need)) {
            return Some(Status::NotStarted);
        }
        if told.is_early {
            if self.waits_to_know(i) {
                return None;
            }
            if needs.iter().any(|need| self.statuses[*need] != Status::Complete) || self.early.insert(i) {
                self.gone.remove(&i);
                return Some(Status::ToSubmit);
            }
        }
        let lasting = told.is_lasting;
        let message = told.why();
        self.view.line(&format!("{label}: FAILED: {message}; see {}", log.display()));
        self.failed.push((label.to_owned(), Failure { message, lasting }));
        Some(Status::Failed)
    }

    /// Whether it is not known yet what became of a run that this one needs.
    fn waits_to_know(&self, i: usize) -> bool {
        let is_unknown =
            |need: &usize| self.gone.contains_key(need) && self.statuses[*need] != Status::Complete;
        self.jobs[i].needs.iter().any(is_unknown)
    }

    /// The result of a run, if it is of the inputs that it should be of.
    fn result(&self, i: usize) -> Option<RunResult> {
        let path = self.submissions.root.join(self.jobs[i].label()).join(RESULT);
        let result: RunResult = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (result.inputs == self.jobs[i].hash).then_some(result)
    }

    /// Submits the runs that are not in the queue, level by level, or of these `one` array alone; whether there were any.
    fn submit(
        &mut self,
        live: &mut BTreeMap<String, Live>,
        options: &SlurmOptions,
        largest: usize,
        one: bool,
    ) -> Result<bool, SlurmError> {
        // What cannot start any more is not submitted at all. Runs stand after those that they need.
        let lost = [Status::Failed, Status::NotStarted];
        for i in self.to_submit() {
            if self.jobs[i].needs.iter().any(|need| lost.contains(&self.statuses[*need])) {
                self.statuses[i] = Status::NotStarted;
            } else if self.result(i).is_some() {
                // Its job ended after the folders were looked at.
                self.view.complete();
                self.statuses[i] = Status::Complete;
            }
        }
        let to_do: Vec<usize> = self.to_submit().into_iter().filter(|i| !self.waits_to_know(*i)).collect();
        let all: BTreeSet<usize> = to_do.iter().filter_map(|i| self.levels[*i]).collect();
        for level in all {
            let of_level: Vec<usize> =
                to_do.iter().copied().filter(|i| self.levels[*i] == Some(level)).collect();
            for part in of_level.chunks(largest) {
                if self.submissions.is_cancelled() {
                    return Ok(true);
                }
                let after = self.before(level, live);
                let jobs: Vec<&Job> = part.iter().map(|i| &self.jobs[*i]).collect();
                let job = self.submissions.submit(&jobs, &after, options)?;
                self.view.line(&format!("job {job}: {} of level {level}", count(part.len(), "run")));
                for (index, i) in part.iter().enumerate() {
                    let (run, inputs) = (self.jobs[*i].label(), self.jobs[*i].hash.clone());
                    live.insert(run, Live { job, index, running: false, reason: String::new(), inputs });
                    self.tries.insert(*i, Try { job, index, again: false });
                    self.statuses[*i] = Status::Queued;
                }
                if one {
                    return Ok(true);
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

    /// What becomes of a run `b` that needs `a`, whose job 3_0 is gone from the queue for so long while `a` is in that
    /// status and the log says this; and what is told of it.
    fn ended(a: Status, log: Option<&str>, again: bool, gone: Duration) -> (Option<Status>, String) {
        ended_with([(1, gone)], a, log, again)
    }

    /// The same where these runs are gone from the queue, for so long each.
    fn ended_with<const N: usize>(
        gone: [(usize, Duration); N],
        a: Status,
        log: Option<&str>,
        again: bool,
    ) -> (Option<Status>, String) {
        let specs = [spec("a", &[]), spec("b", &["a"])];
        let root = tempfile::tempdir().unwrap();
        let jobs = assess(root.path(), &specs, 2, &images("images"), "1", &[], &[]).unwrap();
        let submissions = Submissions::open(root.path()).unwrap();
        let label = jobs[1].label();
        if let Some(log) = log {
            fs::write(submissions.logs().join(log_name(&label)), log).unwrap();
        }
        let mut board = Board {
            jobs: &jobs,
            statuses: vec![a, Status::Queued],
            levels: levels(&jobs),
            submissions,
            view: &View::new(2, 0.0),
            failed: vec![],
            tries: BTreeMap::from([(1, Try { job: 3, index: 0, again })]),
            gone: gone.map(|(i, ago)| (i, Instant::now().checked_sub(ago).unwrap())).into(),
            early: BTreeSet::new(),
            held: BTreeSet::new(),
        };
        let status = board.ended(1, &label);
        (status, board.failed.pop().map(|(_, failure)| failure.message).unwrap_or_default())
    }

    const FAILED: &str = "job 3_0 on x, restart 0, now\nerror: no memory\nended with exit code 1\n";

    #[test]
    fn a_log_counts_only_where_it_is_of_the_job_that_ended() {
        let of = |log, again, gone| ended(Status::Complete, log, again, gone);
        let failed = (Some(Status::Failed), "no memory".to_owned());
        let unknown = (Some(Status::Failed), "its job was cancelled or killed".to_owned());
        let soon = Duration::ZERO;
        assert_eq!(of(Some(FAILED), false, soon), failed);
        // Of an earlier command's job, whose words are not this one's.
        let other = FAILED.replace("job 3_0", "job 2_0");
        assert_eq!(of(Some(&other), false, soon).0, None);
        assert_eq!(of(Some(&other), false, 2 * LATE), unknown);
        let both = format!("{other}{FAILED}");
        assert_eq!(of(Some(&both), false, soon), failed);
        // It started twice, and the log may be that of the first time.
        assert_eq!(of(Some(FAILED), true, soon).0, None);
        assert_eq!(of(Some(FAILED), true, 2 * LATE), failed);
        let second = FAILED.replace("restart 0", "restart 1");
        assert_eq!(of(Some(&second), false, soon).0, None);
        assert_eq!(of(Some(&second), false, 2 * LATE), failed);
        // Ended from outside, as by another command that cancels.
        let cancelled = FAILED.replace("code 1", "code 130");
        assert_eq!(of(Some(&cancelled), false, soon).0, None);
        // However much it told.
        let long = FAILED.replace("error", &format!("{}error", "step 1 of 9\n".repeat(1000)));
        assert_eq!(of(Some(&long), false, soon), failed);
        assert_eq!(of(None, false, soon).0, None);
        assert_eq!(of(None, false, 2 * LATE), unknown);
    }

    #[test]
    fn what_slurm_refused_is_tried_again_when_there_may_be_room() {
        let refusal = |at| Refusal { message: String::new(), live: 3, at, since: at };
        let now = refusal(Instant::now());
        assert!(!now.is_over(false, 3) && !now.is_over(false, 4));
        assert!(now.is_over(true, 3) && now.is_over(false, 2));
        assert!(refusal(Instant::now().checked_sub(2 * REFUSED).unwrap()).is_over(false, 3));
        // With nothing else to wait for.
        let none = Refusal { live: 0, ..refusal(Instant::now().checked_sub(2 * SELDOM).unwrap()) };
        assert!(none.is_over(false, 0) && !none.is_over(false, 1));
    }

    #[test]
    fn what_becomes_of_a_run_without_a_job_is_a_matter_of_its_needs() {
        let of = |status: Status, log: Option<&str>| ended(status, log, false, 2 * LATE).0;
        let early = FAILED.replace("error", &format!("{EARLY}\nerror"));
        let early = Some(early.as_str());
        for lost in [Status::Failed, Status::NotStarted, Status::Unwanted] {
            assert_eq!(of(lost, early), Some(Status::NotStarted));
            assert_eq!(of(lost, None), Some(Status::NotStarted));
        }
        for coming in [Status::ToSubmit, Status::Queued, Status::Running] {
            // It started too early, or it failed or was cancelled.
            assert_eq!(of(coming, early), Some(Status::ToSubmit));
            assert_eq!(of(coming, Some(FAILED)), Some(Status::Failed));
            assert_eq!(of(coming, None), Some(Status::Failed));
        }
        // It is not known yet what became of the one that it needs, and then it is.
        let both = [(0, Duration::ZERO), (1, 2 * LATE)];
        assert_eq!(ended_with(both, Status::Queued, early, false).0, None);
        assert_eq!(ended_with(both, Status::Complete, early, false).0, Some(Status::ToSubmit));
        // What it needs was seen late by its machine.
        assert_eq!(of(Status::Complete, early), Some(Status::ToSubmit));
        assert_eq!(of(Status::Complete, Some(FAILED)), Some(Status::Failed));
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

//! How far a whole graph is: bars on a terminal, plain lines elsewhere. Both go to stderr.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::EpochRow;
use crate::report::words::duration;
use crate::train::watch::Watch;

/// Without a terminal at most one line of steps is written in this time.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// Resolution of the bar of the whole.
const TICKS: u64 = 1000;

/// Shows all runs of a graph.
pub struct View {
    started: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    output: Output,
    /// Runs to do, and how many of them are complete.
    runs: usize,
    complete: usize,
    /// In the unit of a run's cost: all of it, what is still to be done, and what was done here.
    cost: f64,
    left: f64,
    done: f64,
    /// When the first step was done, the start of the clock for the time left: before it pipelines
    /// are made.
    first_step: Option<Duration>,
    last_line: Option<Duration>,
}

enum Output {
    Bars { all: MultiProgress, whole: ProgressBar },
    Lines(Box<dyn Write + Send>),
}

impl View {
    /// `runs` runs are to be done, `cost` together, in any unit.
    pub fn new(runs: usize, cost: f64) -> View {
        let output = if std::io::stderr().is_terminal() {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            let whole = all.add(bar(TICKS));
            Output::Bars { all, whole }
        } else {
            Output::Lines(Box::new(std::io::stderr()))
        };
        View::with(output, runs, cost)
    }

    fn with(output: Output, runs: usize, cost: f64) -> View {
        let inner = Inner {
            output,
            runs,
            complete: 0,
            cost,
            left: cost,
            done: 0.0,
            first_step: None,
            last_line: None,
        };
        let view = View { started: Instant::now(), inner: Mutex::new(inner) };
        view.lock().draw(Duration::ZERO);
        view
    }

    /// Writes a line that stays.
    pub fn line(&self, text: &str) {
        self.lock().line(text);
    }

    /// A run called `label` starts, which costs `cost`.
    pub fn run(&self, label: &str, cost: f64) -> RunView<'_> {
        let bar = match &self.lock().output {
            Output::Bars { all, .. } => Some(all.add(bar(1))),
            Output::Lines(_) => None,
        };
        if let Some(bar) = &bar {
            bar.set_message(format!("{label}: starts"));
        }
        RunView { view: self, label: label.to_owned(), bar, cost, steps: 1, step: 0, left: cost }
    }

    /// One more run is complete.
    pub fn complete(&self) {
        let mut inner = self.lock();
        inner.complete += 1;
        inner.draw(self.started.elapsed());
    }

    /// How many runs are complete, as in `3 of 17 runs done`.
    pub fn count(&self) -> String {
        self.lock().count()
    }

    /// Takes the bars away; later output starts on a clean line.
    pub fn finish(&self) {
        if let Output::Bars { whole, .. } = &self.lock().output {
            whole.finish_and_clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn step_at(&self, elapsed: Duration, cost: f64, status: &str) {
        let mut inner = self.lock();
        inner.left -= cost;
        match inner.first_step {
            Some(_) => inner.done += cost,
            None => inner.first_step = Some(elapsed),
        }
        inner.draw(elapsed);
        let due = inner.last_line.is_none_or(|last| elapsed.saturating_sub(last) >= BETWEEN_LINES);
        if due && matches!(inner.output, Output::Lines(_)) {
            inner.last_line = Some(elapsed);
            let line = format!("{status}; {}", inner.status(elapsed));
            inner.line(&line);
        }
    }
}

impl Inner {
    fn count(&self) -> String {
        format!("{} of {} runs done", self.complete, self.runs)
    }

    fn status(&self, elapsed: Duration) -> String {
        let mut status = self.count();
        if let Some(first) = self.first_step
            && self.done > 0.0
        {
            let left = elapsed.saturating_sub(first).as_secs_f64() / self.done * self.left.max(0.0);
            status += &format!(", {} left", duration(left));
        }
        status
    }

    fn draw(&self, elapsed: Duration) {
        if let Output::Bars { whole, .. } = &self.output {
            let share = if self.cost > 0.0 { 1.0 - self.left / self.cost } else { 0.0 };
            // The cast takes what is out of range to a bound.
            whole.set_position((share * TICKS as f64) as u64);
            whole.set_message(self.status(elapsed));
        }
    }

    fn line(&mut self, text: &str) {
        // Training must not end because nobody reads its progress.
        match &mut self.output {
            Output::Bars { all, .. } => drop(all.println(text)),
            Output::Lines(out) => drop(writeln!(out, "{text}").and_then(|()| out.flush())),
        }
    }
}

fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    // A template that does not parse leaves the default look.
    if let Ok(style) = ProgressStyle::with_template("{bar:20.cyan/dim} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

/// Shows one run of a [`View`], until it is dropped.
pub struct RunView<'a> {
    view: &'a View,
    label: String,
    bar: Option<ProgressBar>,
    cost: f64,
    steps: usize,
    step: usize,
    /// Of `cost`.
    left: f64,
}

impl RunView<'_> {
    fn step_at(&mut self, elapsed: Duration, epoch: usize, step: usize, loss: f64) {
        let cost = self.cost * step.saturating_sub(self.step) as f64 / self.steps as f64;
        self.step = step;
        self.left -= cost;
        let status = format!("{}: epoch {epoch}, step {step}/{}, loss {loss:.4}", self.label, self.steps);
        if let Some(bar) = &self.bar {
            bar.set_position(step as u64);
            bar.set_message(status.clone());
        }
        self.view.step_at(elapsed, cost, &status);
    }
}

impl Watch for RunView<'_> {
    fn start(&mut self, _epochs: usize, steps: usize, done: usize) {
        (self.steps, self.step) = (steps.max(1), done);
        // These steps took no time of this process.
        let before = self.cost * done as f64 / self.steps as f64;
        self.left -= before;
        self.view.lock().left -= before;
        if let Some(bar) = &self.bar {
            bar.set_length(self.steps as u64);
            bar.set_position(done as u64);
        }
    }

    fn step(&mut self, epoch: usize, step: usize, loss: f64, _images: usize) {
        self.step_at(self.view.started.elapsed(), epoch, step, loss);
    }

    /// The lines of epochs are in the run's own files; here they would be too many.
    fn epoch(&mut self, _row: &EpochRow) {}

    fn note(&mut self, line: &str) {
        self.view.line(&format!("{}: {line}", self.label));
    }

    fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for RunView<'_> {
    /// What the run did not need, or will not do, is not to come either.
    fn drop(&mut self) {
        self.view.lock().left -= self.left;
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn view(runs: usize, cost: f64) -> (View, Shared) {
        let shared = Shared::default();
        (View::with(Output::Lines(Box::new(shared.clone())), runs, cost), shared)
    }

    fn text(shared: &Shared) -> String {
        String::from_utf8(shared.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn lines_of_steps_are_rare_over_all_runs_and_tell_the_time_left() {
        let (view, shared) = view(2, 400.0);
        let (mut a, mut b) = (view.run("a", 300.0), view.run("b", 100.0));
        a.start(1, 100, 0);
        b.start(1, 100, 0);
        for second in 1..=12u64 {
            a.step_at(Duration::from_secs(second), 1, second as usize, 0.5);
            b.step_at(Duration::from_secs(second), 1, second as usize, 0.25);
        }
        // After 1 s nothing is known; after 11 s, in 10 s, 30 were done by a and 10 by b of 397.
        let expected = "\
a: epoch 1, step 1/100, loss 0.5000; 0 of 2 runs done
a: epoch 1, step 11/100, loss 0.5000; 0 of 2 runs done, 1 min 29 s left
";
        assert_eq!(text(&shared), expected);
    }

    #[test]
    fn steps_of_an_earlier_process_take_no_time() {
        let (view, shared) = view(1, 100.0);
        let mut run = view.run("a", 100.0);
        run.start(1, 100, 80);
        run.step_at(Duration::from_secs(4), 1, 85, 0.5);
        run.step_at(Duration::from_secs(14), 1, 90, 0.5);
        assert!(text(&shared).ends_with("0 of 1 runs done, 20 s left\n"), "{}", text(&shared));
    }

    #[test]
    fn a_run_that_ends_early_leaves_nothing_to_wait_for() {
        let (view, shared) = view(2, 200.0);
        let mut run = view.run("a", 100.0);
        run.start(1, 100, 0);
        run.step_at(Duration::from_secs(1), 1, 1, 0.5);
        run.step_at(Duration::from_secs(10), 1, 10, 0.5);
        run.note("stops early");
        drop(run);
        view.complete();
        let mut run = view.run("b", 100.0);
        run.start(1, 100, 0);
        run.step_at(Duration::from_secs(20), 1, 10, 0.5);
        let lines = text(&shared);
        assert!(lines.contains("a: stops early\n"), "{lines}");
        // 19 were done in 19 s, and 90 are left of b.
        assert!(lines.ends_with("1 of 2 runs done, 1 min 30 s left\n"), "{lines}");
    }
}

//! How many of many pieces of work are done: a bar on a terminal, a line now and then elsewhere. Both go to stderr.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::tell;

/// Without a terminal at most one line is written in this time, so that logs stay short.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Counts work as it is done, by any number of threads.
pub struct Tally {
    what: &'static str,
    total: usize,
    done: AtomicUsize,
    started: Instant,
    /// When the next line is due, in milliseconds from the start.
    due: AtomicU64,
    bar: Option<ProgressBar>,
}

impl Tally {
    /// Of `total` pieces, named in the plural: "images".
    pub fn new(total: usize, what: &'static str) -> Tally {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
            // A template that does not parse leaves the default look.
            if let Ok(style) =
                ProgressStyle::with_template("{bar:30.cyan/dim} {pos}/{len} {msg}, {per_sec}, {eta} left")
            {
                bar.set_style(style);
            }
            bar.with_message(what)
        });
        let due = AtomicU64::new(BETWEEN_LINES.as_millis() as u64);
        Tally { what, total, done: AtomicUsize::new(0), started: Instant::now(), due, bar }
    }

    /// Notes that one more is done.
    pub fn add(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None => {
                if let Some(line) = self.line(done, self.started.elapsed()) {
                    tell(&line);
                }
            }
        }
    }

    /// The line that is due, if one is.
    fn line(&self, done: usize, elapsed: Duration) -> Option<String> {
        let now = elapsed.as_millis() as u64;
        let due = self.due.load(Ordering::Relaxed);
        let next = now + BETWEEN_LINES.as_millis() as u64;
        // Of several threads that find it due, one writes it.
        let mine =
            now >= due && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        let rate = done as f64 / elapsed.as_secs_f64();
        mine.then(|| format!("{done} of {} {}, {rate:.0} a second", self.total, self.what))
    }

    /// Takes the bar away; later output starts on a clean line.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_rare() {
        let tally = Tally::new(90, "images");
        let at = |done, seconds| tally.line(done, Duration::from_secs(seconds));
        assert_eq!(at(10, 4), None);
        assert_eq!(at(30, 6).as_deref(), Some("30 of 90 images, 5 a second"));
        assert_eq!(at(40, 10), None);
        assert_eq!(at(60, 12).as_deref(), Some("60 of 90 images, 5 a second"));
    }
}

//! How far a run is: a bar on a terminal, plain lines elsewhere. Both go to stderr.

use super::EpochRow;
use super::words::duration;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Without a terminal at most one line of steps is written in this time, so that logs stay short.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Shows steps and epochs of a run as they are done.
pub struct Progress {
    output: Output,
    started: Instant,
    status: Status,
}

enum Output {
    Bar(ProgressBar),
    Lines { out: Box<dyn Write + Send>, last: Option<Duration> },
}

impl Progress {
    /// Starts the clock of a run of `epochs` epochs and `steps` steps in all, of
    /// which `done` were done in an earlier run.
    pub fn new(epochs: usize, steps: usize, done: usize) -> Progress {
        let output = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
            // A template that does not parse leaves the default look.
            if let Ok(style) = ProgressStyle::with_template("{bar:30.cyan/dim} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_position(done as u64);
            Output::Bar(bar)
        } else {
            Output::Lines { out: Box::new(std::io::stderr()), last: None }
        };
        Progress { output, started: Instant::now(), status: Status::new(epochs, steps, done) }
    }

    /// Notes that step `step` (from 1) of epoch `epoch` (from 1) is done, with the
    /// loss of the batch and its number of images.
    pub fn step(&mut self, epoch: usize, step: usize, loss: f64, images: usize) {
        self.step_at(self.started.elapsed(), epoch, step, loss, images);
    }

    fn step_at(&mut self, elapsed: Duration, epoch: usize, step: usize, loss: f64, images: usize) {
        self.status.step(elapsed, epoch, step, loss, images);
        match &mut self.output {
            Output::Bar(bar) => {
                bar.set_position(step as u64);
                bar.set_message(self.status.line(elapsed));
            }
            Output::Lines { out, last } => {
                if last.is_none_or(|last| elapsed.saturating_sub(last) >= BETWEEN_LINES) {
                    *last = Some(elapsed);
                    write_line(out, &self.status.line(elapsed));
                }
            }
        }
    }

    /// Shows the end of an epoch, always on a line that stays.
    pub fn epoch(&mut self, row: &EpochRow) {
        self.status.dice = row.val_dice;
        let line = epoch_line(row, self.status.epochs);
        self.note(&line);
    }

    /// Writes a line that stays, above the bar if there is one.
    pub fn note(&mut self, line: &str) {
        match &mut self.output {
            Output::Bar(bar) => bar.println(line),
            Output::Lines { out, .. } => write_line(out, line),
        }
    }

    /// Takes the bar away; later output starts on a clean line.
    pub fn finish(self) {
        if let Output::Bar(bar) = self.output {
            bar.finish_and_clear();
        }
    }
}

/// What is known about the run.
struct Status {
    epochs: usize,
    steps: usize,
    epoch: usize,
    step: usize,
    loss: f64,
    dice: Option<f64>,
    images: usize,
    /// When the first step of this run was done, which step that was, and its images: kernels are compiled before it, so
    /// it says nothing of how long others take.
    first: Option<(Duration, usize, usize)>,
}

impl Status {
    fn new(epochs: usize, steps: usize, before: usize) -> Status {
        Status { epochs, steps, epoch: 0, step: before, loss: f64::NAN, dice: None, images: 0, first: None }
    }

    fn step(&mut self, elapsed: Duration, epoch: usize, step: usize, loss: f64, images: usize) {
        (self.epoch, self.step, self.loss) = (epoch, step, loss);
        self.images += images;
        self.first.get_or_insert((elapsed, step, self.images));
    }

    fn line(&self, elapsed: Duration) -> String {
        let mut line = format!(
            "epoch {}/{}, step {}/{}, loss {:.4}",
            self.epoch, self.epochs, self.step, self.steps, self.loss
        );
        if let Some(dice) = self.dice {
            line += &format!(", Dice {dice:.4}");
        }
        if let Some((at, step, images)) = self.first {
            let seconds = elapsed.saturating_sub(at).as_secs_f64();
            let done = self.step.saturating_sub(step);
            if done > 0 && seconds > 0.0 {
                let left = seconds / done as f64 * self.steps.saturating_sub(self.step) as f64;
                let rate = rate((self.images - images) as f64 / seconds);
                line += &format!(", {rate}, {} left", duration(left));
            }
        }
        line
    }
}

fn epoch_line(row: &EpochRow, epochs: usize) -> String {
    let mut line = format!("epoch {}/{epochs}: training loss {:.4}", row.epoch, row.train_loss);
    if let Some(loss) = row.val_loss {
        line += &format!(", validation loss {loss:.4}");
    }
    if let Some(dice) = row.val_dice {
        line += &format!(", Dice {dice:.4}");
    }
    if let Some(dice) = row.val_dice_positives_only {
        line += &format!(" ({dice:.4} of images with a mask)");
    }
    if let Some(threshold) = row.threshold {
        line += &format!(" at threshold {threshold:.2}");
    }
    line + &format!(", {}, {}", rate(row.images_per_s), duration(row.seconds))
}

fn write_line(out: &mut impl Write, line: &str) {
    // A run must not end because nobody reads its progress.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Images a second, with a digit more where there are few.
fn rate(images_per_s: f64) -> String {
    match images_per_s < 3.0 {
        true => format!("{images_per_s:.1} images/s"),
        false => format!("{images_per_s:.0} images/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics_log::tests::epoch;
    use super::*;
    use std::sync::{Arc, Mutex};

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

    fn lines(done: usize) -> (Progress, Shared) {
        let shared = Shared::default();
        let output = Output::Lines { out: Box::new(shared.clone()), last: None };
        (Progress { output, started: Instant::now(), status: Status::new(9, 900, done) }, shared)
    }

    fn text(shared: &Shared) -> String {
        String::from_utf8(shared.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn few_images_a_second_have_a_digit_more() {
        assert_eq!((rate(0.34), rate(80.4)), ("0.3 images/s".into(), "80 images/s".into()));
    }

    #[test]
    fn plain_lines_are_rare_but_every_epoch_has_one() {
        let (mut progress, shared) = lines(0);
        // After a minute in which kernels were compiled.
        for number in 1..=100u64 {
            progress.step_at(Duration::from_millis(60_000 + number * 100), 1, number as usize, 0.5, 8);
        }
        progress.epoch(&epoch(1, 100));
        progress.step_at(Duration::from_millis(80_100), 2, 101, 0.25, 8);
        let expected = "\
epoch 1/9, step 1/900, loss 0.5000
epoch 1/9, step 51/900, loss 0.5000, 80 images/s, 1 min 25 s left
epoch 1/9: training loss 0.5000, validation loss 0.2500, Dice 0.7500 at threshold 0.45, 100 images/s, 2 s
epoch 2/9, step 101/900, loss 0.2500, Dice 0.7500, 40 images/s, 2 min 40 s left
";
        assert_eq!(text(&shared), expected);
    }

    #[test]
    fn a_resumed_run_counts_only_its_own_steps() {
        let (mut progress, shared) = lines(800);
        progress.step_at(Duration::from_secs(3), 9, 801, 0.1, 8);
        progress.step_at(Duration::from_secs(13), 9, 811, 0.1, 80);
        assert!(text(&shared).contains("8 images/s, 1 min 29 s left"), "{}", text(&shared));
    }

    #[test]
    fn steps_may_take_no_time() {
        let (mut progress, shared) = lines(0);
        progress.step_at(Duration::ZERO, 1, 1, f64::NAN, 8);
        assert_eq!(text(&shared), "epoch 1/9, step 1/900, loss NaN\n");
        progress.status.step(Duration::ZERO, 1, 2, f64::NAN, 8);
        assert_eq!(progress.status.line(Duration::ZERO), "epoch 1/9, step 2/900, loss NaN");
        progress.finish();
    }
}

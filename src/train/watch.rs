//! Who is told how a training goes.

use crate::report::console::tell;
use crate::report::{EpochRow, Progress};

/// Is told of a training as it goes.
pub trait Watch {
    /// It has `steps` steps in `epochs` epochs, of which `done` were done in an earlier run.
    fn start(&mut self, epochs: usize, steps: usize, done: usize);

    /// Step `step` (from 1) of epoch `epoch` (from 1) is done; `images` were in its batch.
    fn step(&mut self, epoch: usize, step: usize, loss: f64, images: usize);

    fn epoch(&mut self, row: &EpochRow);

    /// A line for the user.
    fn note(&mut self, line: &str);

    /// No more will be told.
    fn finish(&mut self);
}

/// Tells the user on stderr.
#[derive(Default)]
pub struct Console(Option<Progress>);

impl Watch for Console {
    fn start(&mut self, epochs: usize, steps: usize, done: usize) {
        self.0 = Some(Progress::new(epochs, steps, done));
    }

    fn step(&mut self, epoch: usize, step: usize, loss: f64, images: usize) {
        if let Some(progress) = &mut self.0 {
            progress.step(epoch, step, loss, images);
        }
    }

    fn epoch(&mut self, row: &EpochRow) {
        if let Some(progress) = &mut self.0 {
            progress.epoch(row);
        }
    }

    fn note(&mut self, line: &str) {
        match &mut self.0 {
            Some(progress) => progress.note(line),
            None => tell(line),
        }
    }

    fn finish(&mut self) {
        if let Some(progress) = self.0.take() {
            progress.finish();
        }
    }
}

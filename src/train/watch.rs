//! Who is told how a training goes.

use crate::report::EpochRow;

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

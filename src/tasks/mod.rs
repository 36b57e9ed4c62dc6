//! The auxiliary tasks: what a network can learn from images without masks. One file each.
//!
//! A [`Task`] makes batches of unlabelled images, puts its head and its loss on the tape after
//! the part of the U-Net that it shares with the target, and says how well it is solved. To add one:
//! write its file and name it in [`all`].

mod contrastive;
mod edges;
mod inpainting;
mod jigsaw;
mod judge;
mod pixels;
mod restoration;
mod rotation;
mod super_resolution;

#[cfg(test)]
mod testing;

use std::fmt::Debug;

use rand_chacha::ChaCha8Rng;

use crate::nn::Layers;
use crate::tape::{Shape, Tape, TapeError, Value};

/// Size of a batch of clean images that a task makes its batch of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    pub batch: usize,
    /// Side of the images in pixels.
    pub size: usize,
    pub channels: usize,
}

/// The part of the U-Net that a task shares with the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shares {
    Encoder,
    EncoderAndDecoder,
}

/// What a task's head adds to the tape.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// `[1]`.
    pub loss: Value,
    /// What [`Task::score`] judges.
    pub prediction: Value,
}

/// How well a batch was solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// In the unit of [`Task::metric`].
    pub value: f64,
    /// The same for an answer that takes no skill: guessing, or giving the input back.
    pub trivial: f64,
}

/// What a [`Score`] is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// As in "accuracy" or "mean absolute error".
    pub name: &'static str,
    pub higher_is_better: bool,
}

pub trait Task: Debug + Send + Sync {
    /// As in the config; the prefix of its parameters' names.
    fn name(&self) -> &'static str;

    /// What the network must do, in one line.
    fn about(&self) -> &'static str;

    fn shares(&self) -> Shares;

    /// Fewest images that a batch can be made of.
    fn least_batch(&self) -> usize {
        1
    }

    /// Name and shape of each tensor of a batch. The first is what the network sees,
    /// `[n, size, size, channels]`; `n` may differ from `dims.batch`.
    fn tensors(&self, dims: Dims) -> Vec<(&'static str, Shape)>;

    /// The tensors of a batch, in the order of [`Task::tensors`], made of `dims.batch` clean
    /// standardised images `[size, size, channels]`.
    fn batch(&self, images: &[&[f32]], dims: Dims, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>>;

    /// Appends head and loss. `features` is what the shared part makes of the first tensor: the
    /// bottleneck `[n, size / 2^depth, size / 2^depth, c]`, or the decoder's
    /// `[n, size, size, base_channels]`. `tensors` are the batch's, in order.
    fn head(
        &self,
        layers: &mut Layers,
        tape: &mut Tape,
        features: Value,
        tensors: &[Value],
    ) -> Result<Head, TapeError>;

    fn metric(&self) -> Metric;

    /// Judges `prediction`, as [`Task::head`] made it, of a batch.
    fn score(&self, tensors: &[Vec<f32>], prediction: &[f32], dims: Dims) -> Score;
}

/// Every task, the five of the default config first.
pub fn all() -> Vec<&'static dyn Task> {
    vec![
        &rotation::Rotation,
        &jigsaw::Jigsaw,
        &inpainting::Inpainting,
        &restoration::Restoration,
        &contrastive::Contrastive,
        &super_resolution::SuperResolution,
        &edges::Edges,
    ]
}

pub fn by_name(name: &str) -> Option<&'static dyn Task> {
    all().into_iter().find(|task| task.name() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::schema::MethodConfig;

    #[test]
    fn names_are_unique_and_found() {
        let names: BTreeSet<&str> = all().iter().map(|task| task.name()).collect();
        assert_eq!(names.len(), all().len());
        for name in names {
            assert_eq!(by_name(name).map(|task| task.name()), Some(name));
        }
        assert!(by_name("rotations").is_none());
    }

    #[test]
    fn the_default_tasks_come_first() {
        let names: Vec<&str> = all().iter().map(|task| task.name()).collect();
        let default = MethodConfig::default().tasks;
        assert_eq!(names[..default.len()], default);
    }

    #[test]
    fn the_names_of_a_batchs_tensors_differ() {
        for task in all() {
            let tensors = task.tensors(Dims { batch: 2, size: 16, channels: 1 });
            let names: BTreeSet<&str> = tensors.iter().map(|(name, _)| *name).collect();
            assert_eq!(names.len(), tensors.len(), "{}", task.name());
        }
    }
}

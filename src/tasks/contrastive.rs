//! Finding the other view of the same image among those of a batch: SimCLR with the NT-Xent loss
//! (Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020).
//!
//! For N images there are 2N views, `z_i` the projections of their features, made of length 1. With
//! the other view of the same image `j(i)`, the loss is the mean over i of
//! `−log( exp(⟨z_i, z_j(i)⟩ / τ) / Σ_{k ≠ i} exp(⟨z_i, z_k⟩ / τ) )`.
//!
//! A view is a random crop, flipped or not, of changed contrast, brightness and gamma, with noise.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::judge::{ACCURACY, accuracy};
use super::pixels::resample;
use super::{Dims, Head, Metric, Score, Shares, Task};
use crate::config::schema::AugmentConfig;
use crate::data::augment::{Key, augment};
use crate::nn::Layers;
use crate::tape::{Shape, Tape, TapeError, Value};

/// τ. SimCLR's best is 0.1 for large batches and 0.5 for long trainings with small ones.
const TEMPERATURE: f32 = 0.2;

/// Channels of the projection; its hidden layer has those of the bottleneck.
const PROJECTION: usize = 64;

/// Added to squared lengths.
const EPSILON: f32 = 1e-6;

/// Share of the image's area that a crop has at least.
const LEAST_AREA: f32 = 0.3;

/// Changes after the crop, stronger than when masks are learnt: views of one image must not be found
/// by their brightness alone.
const CHANGES: AugmentConfig = AugmentConfig {
    flip: 0.5,
    shift: 0.0,
    scale: 0.0,
    rotate: 0.0,
    brightness: 0.4,
    contrast: 0.4,
    gamma: 0.4,
    noise: 0.1,
};

#[derive(Debug)]
pub(super) struct Contrastive;

/// A random view of an image.
fn view(image: &[f32], dims: Dims, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let Dims { size, channels, .. } = dims;
    let side = size as f32 * rng.random_range(LEAST_AREA..1.0).sqrt();
    let corner = [(); 2].map(|()| rng.random::<f32>() * (size as f32 - side));
    let mut view = resample(image, [size, size, channels], corner, side);
    let key = Key { seed: rng.random(), step: 0, place: 0 };
    augment(&mut view, &mut [], size, channels, &CHANGES, key);
    view
}

/// Where each of `2 · images` views has the other one of its image among the views other than itself.
fn partners(images: usize) -> impl Iterator<Item = usize> {
    // View i < images goes with view i + images, before which view i itself is left out.
    (0..2 * images).map(move |i| if i < images { i + images - 1 } else { i - images })
}

impl Task for Contrastive {
    fn name(&self) -> &'static str {
        "contrastive"
    }

    fn about(&self) -> &'static str {
        "find the other view of the same image among those of the batch"
    }

    fn shares(&self) -> Shares {
        Shares::Encoder
    }

    /// It tells the images of a batch apart.
    fn least_batch(&self) -> usize {
        2
    }

    /// Views `i` and `batch + i` are of one image.
    fn tensors(&self, dims: Dims) -> Vec<(&'static str, Shape)> {
        let views = 2 * dims.batch;
        vec![
            ("views", [views, dims.size, dims.size, dims.channels].into()),
            ("partners", [views, 1, 1, 1].into()),
        ]
    }

    fn batch(&self, images: &[&[f32]], dims: Dims, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        let mut views = vec![];
        for image in images.iter().chain(images) {
            views.extend(view(image, dims, rng));
        }
        vec![views, partners(images.len()).map(|place| place as f32).collect()]
    }

    fn head(
        &self,
        layers: &mut Layers,
        tape: &mut Tape,
        features: Value,
        tensors: &[Value],
    ) -> Result<Head, TapeError> {
        let channels = tape.shape(features).channels();
        let pooled = tape.global_average_pool(features)?;
        let hidden = layers.conv(tape, pooled, "contrastive.hidden", channels, 1, true)?;
        let hidden = tape.relu(hidden)?;
        let projection = layers.conv(tape, hidden, "contrastive.projection", PROJECTION, 1, true)?;
        let unit = tape.l2_normalize(projection, EPSILON)?;
        let logits = tape.pair_similarity(unit, 1.0 / TEMPERATURE)?;
        Ok(Head { loss: tape.cross_entropy(logits, tensors[1])?, prediction: logits })
    }

    fn metric(&self) -> Metric {
        ACCURACY
    }

    /// Share of views to which the other view of the image is the most similar.
    fn score(&self, tensors: &[Vec<f32>], prediction: &[f32], dims: Dims) -> Score {
        accuracy(prediction, &tensors[1], 2 * dims.batch - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::testing::{batch_of, check_batches, check_learns, images, one_hot};
    use super::*;
    use crate::reference::{Tensor, run};
    use crate::rng::{Purpose, rng};

    #[test]
    fn batches_keep_to_the_rules() {
        check_batches(&Contrastive);
    }

    #[test]
    fn it_is_learnt() {
        check_learns(&Contrastive, 0.1, 0.95);
    }

    #[test]
    fn partners_are_views_of_one_image() {
        for images in 1..6 {
            for (i, place) in partners(images).enumerate() {
                let others: Vec<usize> = (0..2 * images).filter(|j| *j != i).collect();
                assert_eq!(others[place] % images, i % images);
            }
        }
    }

    /// Against the formula, with loops over all pairs.
    #[test]
    fn the_loss_is_nt_xent() {
        let (n, d) = (3, 4);
        let rows: Vec<f32> = (0..2 * n * d).map(|i| ((i * 7919 % 101) as f32 - 50.0) / 30.0).collect();
        let mut tape = Tape::new();
        let z = tape.input("z", [2 * n, 1, 1, d]).unwrap();
        let labels = tape.input("labels", [2 * n, 1, 1, 1]).unwrap();
        let unit = tape.l2_normalize(z, 1e-12).unwrap();
        let logits = tape.pair_similarity(unit, 1.0 / TEMPERATURE).unwrap();
        let loss = tape.cross_entropy(logits, labels).unwrap();
        let labels: Vec<f32> = partners(n).map(|place| place as f32).collect();
        let feeds = HashMap::from([
            ("z".to_owned(), Tensor::from_f32([2 * n, 1, 1, d], &rows)),
            ("labels".to_owned(), Tensor::from_f32([2 * n, 1, 1, 1], &labels)),
        ]);
        let found = run(&tape, &feeds).unwrap().value(loss).data[0];

        let rows: Vec<Vec<f64>> =
            rows.chunks_exact(d).map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        let term = |i: usize, k: usize| (cosine(&rows[i], &rows[k]) / f64::from(TEMPERATURE)).exp();
        let each = (0..2 * n).map(|i| {
            let others: f64 = (0..2 * n).filter(|k| *k != i).map(|k| term(i, k)).sum();
            -(term(i, (i + n) % (2 * n)) / others).ln()
        });
        let expected = each.sum::<f64>() / (2 * n) as f64;
        assert!((found / expected - 1.0).abs() < 1e-6, "{found}, not {expected}");
    }

    #[test]
    fn views_of_one_image_differ_and_are_like_it() {
        let image = &images(1, 32, 1)[0];
        let dims = Dims { batch: 1, size: 32, channels: 1 };
        let mut rng = rng(1, Purpose::Task, 0);
        let (a, b) = (view(image, dims, &mut rng), view(image, dims, &mut rng));
        assert_ne!(a, b);
        // Contrast, brightness and noise widen the range a little, a crop never does.
        let reach = image.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        assert!(a.iter().chain(&b).all(|x| x.abs() < 1.4 * reach + 1.0));
    }

    #[test]
    fn a_perfect_answer_scores_1_and_a_guess_one_over_the_other_views() {
        let dims = Dims { batch: 4, size: 8, channels: 1 };
        let (_, tensors) = batch_of(&Contrastive, dims, 2);
        let score = Contrastive.score(&tensors, &one_hot(&tensors[1], 7), dims);
        assert_eq!(score, Score { value: 1.0, trivial: 1.0 / 7.0 });
        assert_eq!(Contrastive.score(&tensors, &[0.0; 8 * 7], dims).value, 0.0);
    }
}

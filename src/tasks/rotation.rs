//! Which of four right-angle turns an image was given (Gidaris et al., "Unsupervised Representation
//! Learning by Predicting Image Rotations", 2018).
//!
//! Pixels are moved and not resampled, so that no blur tells the turn. It is well-posed for what is
//! taken upright, such as chest X-rays; from a tile of a retina it cannot be learnt.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::judge::{ACCURACY, accuracy};
use super::{Dims, Head, Metric, Score, Shares, Task};
use crate::nn::Layers;
use crate::tape::{Shape, Tape, TapeError, Value};

const TURNS: usize = 4;

#[derive(Debug)]
pub(super) struct Rotation;

/// The image turned counter-clockwise by `turns` right angles.
fn turned(image: &[f32], size: usize, channels: usize, turns: usize) -> Vec<f32> {
    let last = size.saturating_sub(1);
    let mut result = Vec::with_capacity(image.len());
    for y in 0..size {
        for x in 0..size {
            let (row, column) = match turns {
                0 => (y, x),
                1 => (x, last - y),
                2 => (last - y, last - x),
                _ => (last - x, y),
            };
            let at = (row * size + column) * channels;
            result.extend_from_slice(&image[at..at + channels]);
        }
    }
    result
}

impl Task for Rotation {
    fn name(&self) -> &'static str {
        "rotation"
    }

    fn about(&self) -> &'static str {
        "tell by which of four right angles the image was turned"
    }

    fn shares(&self) -> Shares {
        Shares::Encoder
    }

    fn tensors(&self, dims: Dims) -> Vec<(&'static str, Shape)> {
        vec![
            ("images", [dims.batch, dims.size, dims.size, dims.channels].into()),
            ("turns", [dims.batch, 1, 1, 1].into()),
        ]
    }

    fn batch(&self, images: &[&[f32]], dims: Dims, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        let (mut inputs, mut labels) = (vec![], vec![]);
        for image in images {
            let turns = rng.random_range(0..TURNS);
            inputs.extend(turned(image, dims.size, dims.channels, turns));
            labels.push(turns as f32);
        }
        vec![inputs, labels]
    }

    fn head(
        &self,
        layers: &mut Layers,
        tape: &mut Tape,
        features: Value,
        tensors: &[Value],
    ) -> Result<Head, TapeError> {
        let pooled = tape.global_average_pool(features)?;
        let logits = layers.conv(tape, pooled, "rotation.head", TURNS, 1, true)?;
        Ok(Head { loss: tape.cross_entropy(logits, tensors[1])?, prediction: logits })
    }

    fn metric(&self) -> Metric {
        ACCURACY
    }

    fn score(&self, tensors: &[Vec<f32>], prediction: &[f32], _dims: Dims) -> Score {
        accuracy(prediction, &tensors[1], TURNS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{batch_of, check_batches, check_learns, images, one_hot};
    use super::*;

    #[test]
    fn batches_keep_to_the_rules() {
        check_batches(&Rotation);
    }

    #[test]
    fn it_is_learnt() {
        check_learns(&Rotation, 0.1, 0.8);
    }

    #[test]
    fn one_turn_is_counter_clockwise_and_four_are_none() {
        let image = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(turned(&image, 2, 1, 1), [2.0, 4.0, 1.0, 3.0]);
        let image = &images(1, 8, 3)[0];
        for turns in 0..TURNS {
            let there = turned(image, 8, 3, turns);
            assert_eq!(turned(&there, 8, 3, (TURNS - turns) % TURNS), *image);
            let single = (0..turns).fold(image.clone(), |image, _| turned(&image, 8, 3, 1));
            assert_eq!(there, single);
        }
    }

    #[test]
    fn turning_back_by_the_label_gives_the_image() {
        let dims = Dims { batch: 16, size: 16, channels: 3 };
        let (clean, tensors) = batch_of(&Rotation, dims, 1);
        let mut seen = [false; TURNS];
        for (i, (input, label)) in tensors[0].chunks_exact(16 * 16 * 3).zip(&tensors[1]).enumerate() {
            let turns = *label as usize;
            seen[turns] = true;
            assert_eq!(turned(input, 16, 3, (TURNS - turns) % TURNS), clean[i]);
        }
        assert_eq!(seen, [true; TURNS]);
    }

    #[test]
    fn a_perfect_answer_scores_1_and_a_guess_a_quarter() {
        let dims = Dims { batch: 4, size: 8, channels: 1 };
        let (_, tensors) = batch_of(&Rotation, dims, 2);
        let perfect = one_hot(&tensors[1], TURNS);
        assert_eq!(Rotation.score(&tensors, &perfect, dims), Score { value: 1.0, trivial: 0.25 });
        let wrong: Vec<f32> = perfect.iter().map(|x| -x).collect();
        assert_eq!(Rotation.score(&tensors, &wrong, dims).value, 0.0);
    }
}

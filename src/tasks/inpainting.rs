//! Restoring blocks that were cut out of an image (Pathak et al., "Context Encoders: Feature Learning
//! by Inpainting", 2016), without the adversarial loss.
//!
//! Blocks of random place and shape cover about a fifth of the image. They are filled with 0, the
//! image's mean. The loss is the mean absolute error in them, each image counting alike.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::judge::{MEAN_ABSOLUTE_ERROR, mean_absolute_error, mean_of_pairs};
use super::{Dims, Head, Metric, Score, Shares, Task};
use crate::nn::Layers;
use crate::tape::{Shape, Tape, TapeError, Value};

/// One part in so many of the image is cut out, at least.
const COVERED: usize = 5;

#[derive(Debug)]
pub(super) struct Inpainting;

/// Which pixels of an image of `size` are cut out.
fn blocks(size: usize, rng: &mut ChaCha8Rng) -> Vec<bool> {
    let mut cut = vec![false; size * size];
    let mut covered = 0;
    let (least, most) = ((size / 8).max(1), (size / 4).max(1));
    while covered * COVERED < size * size {
        let [height, width] = [(); 2].map(|()| rng.random_range(least..=most));
        let (top, left) = (rng.random_range(0..=size - height), rng.random_range(0..=size - width));
        for y in top..top + height {
            for pixel in &mut cut[y * size + left..y * size + left + width] {
                covered += usize::from(!*pixel);
                *pixel = true;
            }
        }
    }
    cut
}

impl Task for Inpainting {
    fn name(&self) -> &'static str {
        "inpainting"
    }

    fn about(&self) -> &'static str {
        "restore blocks that were cut out of the image"
    }

    fn shares(&self) -> Shares {
        Shares::EncoderAndDecoder
    }

    /// `weights` are 0 outside of the blocks, and one over the blocks' share of the image in them;
    /// `targets` are the clean images times the weights.
    fn tensors(&self, dims: Dims) -> Vec<(&'static str, Shape)> {
        let shape = [dims.batch, dims.size, dims.size, dims.channels];
        ["images", "targets", "weights"].map(|name| (name, shape.into())).to_vec()
    }

    fn batch(&self, images: &[&[f32]], dims: Dims, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        let (mut inputs, mut targets, mut weights) = (vec![], vec![], vec![]);
        for image in images {
            let cut = blocks(dims.size, rng);
            let covered = cut.iter().filter(|cut| **cut).count();
            let weight = cut.len() as f32 / covered as f32;
            for (pixel, cut) in image.chunks_exact(dims.channels).zip(cut) {
                let (kept, weight) = if cut { (0.0, weight) } else { (1.0, 0.0) };
                inputs.extend(pixel.iter().map(|x| kept * x));
                targets.extend(pixel.iter().map(|x| weight * x));
                weights.extend(std::iter::repeat_n(weight, dims.channels));
            }
        }
        vec![inputs, targets, weights]
    }

    fn head(
        &self,
        layers: &mut Layers,
        tape: &mut Tape,
        features: Value,
        tensors: &[Value],
    ) -> Result<Head, TapeError> {
        let channels = tape.shape(tensors[0]).channels();
        let restored = layers.conv(tape, features, "inpainting.head", channels, 1, true)?;
        let weighted = tape.mul(restored, tensors[2])?;
        Ok(Head { loss: tape.l1(weighted, tensors[1])?, prediction: restored })
    }

    fn metric(&self) -> Metric {
        MEAN_ABSOLUTE_ERROR
    }

    /// In the blocks; trivial is to fill each channel with the mean of what is seen of it.
    fn score(&self, tensors: &[Vec<f32>], prediction: &[f32], dims: Dims) -> Score {
        let [inputs, targets, weights] = tensors else { return Score { value: f64::NAN, trivial: f64::NAN } };
        let weighted = prediction.iter().zip(weights).map(|(x, w)| x * w);
        let mut filled = Vec::with_capacity(targets.len());
        let image = dims.size * dims.size * dims.channels;
        for (input, weights) in inputs.chunks_exact(image).zip(weights.chunks_exact(image)) {
            let mean = |channel: usize| {
                let pairs = || input.iter().zip(weights).skip(channel).step_by(dims.channels);
                let seen = pairs().filter(|(_, w)| **w == 0.0).count();
                (pairs().map(|(x, _)| f64::from(*x)).sum::<f64>() / seen.max(1) as f64) as f32
            };
            let means: Vec<f32> = (0..dims.channels).map(mean).collect();
            filled.extend(weights.iter().zip(means.iter().cycle()).map(|(w, mean)| w * mean));
        }
        Score {
            value: mean_of_pairs(weighted, targets, |x, y| (x - y).abs()),
            trivial: mean_absolute_error(&filled, targets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{batch_of, check_batches, check_learns};
    use super::*;
    use crate::rng::{Purpose, rng};

    #[test]
    fn batches_keep_to_the_rules() {
        check_batches(&Inpainting);
    }

    #[test]
    fn it_is_learnt() {
        check_learns(&Inpainting, 0.1, 0.9);
    }

    #[test]
    fn a_fifth_is_cut_out_and_little_more() {
        for size in [16, 32, 64, 256] {
            for step in 0..20 {
                let cut = blocks(size, &mut rng(1, Purpose::Task, step));
                let covered = cut.iter().filter(|cut| **cut).count() as f64 / (size * size) as f64;
                assert!((0.2..0.2 + 1.0 / 16.0).contains(&covered), "size {size}: {covered}");
            }
        }
    }

    #[test]
    fn the_input_is_the_image_outside_and_0_in_the_blocks() {
        let dims = Dims { batch: 3, size: 16, channels: 3 };
        let (clean, tensors) = batch_of(&Inpainting, dims, 1);
        let clean = clean.concat();
        for (i, x) in clean.iter().enumerate() {
            let weight = tensors[2][i];
            assert_eq!(tensors[0][i], if weight == 0.0 { *x } else { 0.0 });
            assert_eq!(tensors[1][i], weight * x);
        }
        for weights in tensors[2].chunks_exact(16 * 16 * 3) {
            let mean = weights.iter().sum::<f32>() / weights.len() as f32;
            assert!((mean - 1.0).abs() < 1e-4, "{mean}");
        }
    }

    #[test]
    fn only_the_blocks_are_judged() {
        let dims = Dims { batch: 2, size: 16, channels: 1 };
        let (clean, tensors) = batch_of(&Inpainting, dims, 2);
        let clean = clean.concat();
        let outside_wrong: Vec<f32> =
            clean.iter().zip(&tensors[2]).map(|(x, w)| if *w == 0.0 { x + 5.0 } else { *x }).collect();
        let score = Inpainting.score(&tensors, &outside_wrong, dims);
        assert_eq!(score.value, 0.0);
        assert!(score.trivial > 0.2, "{score:?}");
        let off: Vec<f32> = clean.iter().map(|x| x + 0.5).collect();
        assert!((Inpainting.score(&tensors, &off, dims).value - 0.5).abs() < 1e-5);
    }

    #[test]
    fn the_trivial_answer_is_the_mean_of_what_is_seen() {
        // Four pixels, one cut out: it is 9, the others are 1, 2 and 3.
        let dims = Dims { batch: 1, size: 2, channels: 1 };
        let tensors = vec![vec![1.0, 2.0, 3.0, 0.0], vec![0.0, 0.0, 0.0, 36.0], vec![0.0, 0.0, 0.0, 4.0]];
        let score = Inpainting.score(&tensors, &[0.0, 0.0, 0.0, 8.0], dims);
        assert_eq!(score, Score { value: 1.0, trivial: 7.0 });
    }
}

//! Restoring an image from a quarter of its resolution.
//!
//! The image is averaged over blocks of 4×4 pixels and enlarged again by bilinear interpolation; the
//! network adds what is missing (Kim et al., "Accurate Image Super-Resolution Using Very Deep
//! Convolutional Networks", 2016). The loss is the mean absolute error.

use rand_chacha::ChaCha8Rng;

use super::judge::{MEAN_ABSOLUTE_ERROR, mean_absolute_error};
use super::pixels::resample;
use super::{Dims, Head, Metric, Score, Shares, Task};
use crate::nn::Layers;
use crate::tape::{Shape, Tape, TapeError, Value};

/// How many times the resolution is reduced.
const FACTOR: usize = 4;

#[derive(Debug)]
pub(super) struct SuperResolution;

/// The image at a quarter of its resolution, at its own size.
fn coarse(image: &[f32], dims: Dims) -> Vec<f32> {
    let Dims { size, channels, .. } = dims;
    let small = size.div_ceil(FACTOR);
    let mut means = vec![0.0; small * small * channels];
    // A block at the edge may be narrower.
    let extent = |block: usize| FACTOR.min(size - block * FACTOR);
    for (i, row) in image.chunks_exact(size * channels).enumerate() {
        for (j, pixel) in row.chunks_exact(channels).enumerate() {
            let (y, x) = (i / FACTOR, j / FACTOR);
            let share = 1.0 / (extent(y) * extent(x)) as f32;
            for (c, value) in pixel.iter().enumerate() {
                means[(y * small + x) * channels + c] += share * value;
            }
        }
    }
    resample(&means, [small, size, channels], [0.0, 0.0], size as f32 / FACTOR as f32)
}

impl Task for SuperResolution {
    fn name(&self) -> &'static str {
        "super_resolution"
    }

    fn about(&self) -> &'static str {
        "restore the image from a quarter of its resolution"
    }

    fn shares(&self) -> Shares {
        Shares::EncoderAndDecoder
    }

    fn tensors(&self, dims: Dims) -> Vec<(&'static str, Shape)> {
        let shape = [dims.batch, dims.size, dims.size, dims.channels];
        ["images", "targets"].map(|name| (name, shape.into())).to_vec()
    }

    fn batch(&self, images: &[&[f32]], dims: Dims, _rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        let inputs = images.iter().flat_map(|image| coarse(image, dims)).collect();
        vec![inputs, images.concat()]
    }

    fn head(
        &self,
        layers: &mut Layers,
        tape: &mut Tape,
        features: Value,
        tensors: &[Value],
    ) -> Result<Head, TapeError> {
        let channels = tape.shape(tensors[0]).channels();
        let missing = layers.conv(tape, features, "super_resolution.head", channels, 1, true)?;
        let restored = tape.add(tensors[0], missing)?;
        Ok(Head { loss: tape.l1(restored, tensors[1])?, prediction: restored })
    }

    fn metric(&self) -> Metric {
        MEAN_ABSOLUTE_ERROR
    }

    /// Trivial is to give the input back.
    fn score(&self, tensors: &[Vec<f32>], prediction: &[f32], _dims: Dims) -> Score {
        Score {
            value: mean_absolute_error(prediction, &tensors[1]),
            trivial: mean_absolute_error(&tensors[0], &tensors[1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{batch_of, check_batches, check_learns};
    use super::*;

    #[test]
    fn batches_keep_to_the_rules() {
        check_batches(&SuperResolution);
    }

    #[test]
    fn it_is_learnt() {
        check_learns(&SuperResolution, 0.1, 0.9);
    }

    #[test]
    fn a_flat_image_stays_and_a_checkerboard_is_lost() {
        for size in [4, 6, 16] {
            let dims = Dims { batch: 1, size, channels: 1 };
            let flat = coarse(&vec![2.0; size * size], dims);
            assert!(flat.iter().all(|x| (x - 2.0).abs() < 1e-6), "{flat:?}");
        }
        let dims = Dims { batch: 1, size: 16, channels: 1 };
        let board: Vec<f32> = (0..256).map(|i| if (i / 16 + i % 16) % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!(coarse(&board, dims).iter().all(|x| x.abs() < 1e-6));
    }

    #[test]
    fn a_slope_is_kept_inside() {
        let dims = Dims { batch: 1, size: 16, channels: 1 };
        let slope: Vec<f32> = (0..256).map(|i| (i % 16) as f32).collect();
        for (i, (found, expected)) in coarse(&slope, dims).iter().zip(&slope).enumerate() {
            // Beyond the centres of the outermost blocks the coarse image is flat.
            if (2..14).contains(&(i % 16)) {
                assert!((found - expected).abs() < 1e-5, "{i}: {found}");
            }
        }
    }

    #[test]
    fn the_clean_image_scores_0_and_the_input_the_trivial_error() {
        let dims = Dims { batch: 2, size: 16, channels: 3 };
        let (clean, tensors) = batch_of(&SuperResolution, dims, 2);
        let perfect = SuperResolution.score(&tensors, &clean.concat(), dims);
        assert_eq!(perfect.value, 0.0);
        assert!(perfect.trivial > 0.02, "{perfect:?}");
        assert_eq!(SuperResolution.score(&tensors, &tensors[0], dims).value, perfect.trivial);
    }
}

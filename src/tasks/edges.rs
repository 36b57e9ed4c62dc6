//! Regressing the magnitude of the Sobel gradient of the image's mean channel.
//!
//! `√(gx² + gy²) / 4` with the 3×3 Sobel kernels, the image going on at its border as it is there:
//! an edge from 0 to 1 that runs along an axis has 1. The loss is the mean squared error, under which
//! the best constant answer is the mean.

use rand_chacha::ChaCha8Rng;

use super::judge::{MEAN_SQUARED_ERROR, mean_of_pairs};
use super::{Dims, Head, Metric, Score, Shares, Task};
use crate::nn::Layers;
use crate::tape::{Shape, Tape, TapeError, Value};

#[derive(Debug)]
pub(super) struct Edges;

/// The magnitude at each pixel, `[size, size]`.
fn sobel(image: &[f32], dims: Dims) -> Vec<f32> {
    let Dims { size, channels, .. } = dims;
    let grey: Vec<f32> =
        image.chunks_exact(channels).map(|pixel| pixel.iter().sum::<f32>() / channels as f32).collect();
    let mut result = Vec::with_capacity(grey.len());
    for y in 0..size {
        let [above, here, below] = [y.saturating_sub(1), y, (y + 1).min(size - 1)].map(|y| y * size);
        for x in 0..size {
            let (before, after) = (x.saturating_sub(1), (x + 1).min(size - 1));
            let column = |x: usize| grey[above + x] + 2.0 * grey[here + x] + grey[below + x];
            let row = |y: usize| grey[y + before] + 2.0 * grey[y + x] + grey[y + after];
            result.push((column(after) - column(before)).hypot(row(below) - row(above)) / 4.0);
        }
    }
    result
}

impl Task for Edges {
    fn name(&self) -> &'static str {
        "edges"
    }

    fn about(&self) -> &'static str {
        "tell how steep the image is at each pixel"
    }

    fn shares(&self) -> Shares {
        Shares::EncoderAndDecoder
    }

    fn tensors(&self, dims: Dims) -> Vec<(&'static str, Shape)> {
        vec![
            ("images", [dims.batch, dims.size, dims.size, dims.channels].into()),
            ("edges", [dims.batch, dims.size, dims.size, 1].into()),
        ]
    }

    fn batch(&self, images: &[&[f32]], dims: Dims, _rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        vec![images.concat(), images.iter().flat_map(|image| sobel(image, dims)).collect()]
    }

    fn head(
        &self,
        layers: &mut Layers,
        tape: &mut Tape,
        features: Value,
        tensors: &[Value],
    ) -> Result<Head, TapeError> {
        let edges = layers.conv(tape, features, "edges.head", 1, 1, true)?;
        Ok(Head { loss: tape.mse(edges, tensors[1])?, prediction: edges })
    }

    fn metric(&self) -> Metric {
        MEAN_SQUARED_ERROR
    }

    /// Trivial is to answer the mean of the batch everywhere.
    fn score(&self, tensors: &[Vec<f32>], prediction: &[f32], _dims: Dims) -> Score {
        let edges = &tensors[1];
        let squared = |x: f64, y: f64| (x - y).powi(2);
        let mean = (edges.iter().map(|x| f64::from(*x)).sum::<f64>() / edges.len() as f64) as f32;
        Score {
            value: mean_of_pairs(prediction.iter().copied(), edges, squared),
            trivial: mean_of_pairs(std::iter::repeat(mean), edges, squared),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{batch_of, check_batches, check_learns};
    use super::*;

    #[test]
    fn batches_keep_to_the_rules() {
        check_batches(&Edges);
    }

    #[test]
    fn it_is_learnt() {
        check_learns(&Edges, 0.1, 0.7);
    }

    #[test]
    fn edges_along_either_axis_have_their_height() {
        let dims = Dims { batch: 1, size: 6, channels: 2 };
        // From 0 to 3 in one channel and to 1 in the other: 2 in the mean.
        let step = |high: fn(usize) -> bool| -> Vec<f32> {
            (0..36).flat_map(|i| if high(i) { [3.0, 1.0] } else { [0.0, 0.0] }).collect()
        };
        for (i, edge) in sobel(&step(|i| i % 6 >= 3), dims).iter().enumerate() {
            assert_eq!(*edge, if [2, 3].contains(&(i % 6)) { 2.0 } else { 0.0 });
        }
        for (i, edge) in sobel(&step(|i| i / 6 >= 3), dims).iter().enumerate() {
            assert_eq!(*edge, if [2, 3].contains(&(i / 6)) { 2.0 } else { 0.0 });
        }
    }

    #[test]
    fn the_truth_scores_0_and_the_mean_the_variance() {
        let dims = Dims { batch: 2, size: 16, channels: 1 };
        let (_, tensors) = batch_of(&Edges, dims, 2);
        let score = Edges.score(&tensors, &tensors[1], dims);
        assert_eq!(score.value, 0.0);
        // Var(x) = E(x²) − E(x)².
        let n = tensors[1].len() as f64;
        let (sum, squares) =
            tensors[1].iter().map(|x| f64::from(*x)).fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        assert!((score.trivial - (squares / n - (sum / n).powi(2))).abs() < 1e-6, "{score:?}");
        assert!(score.trivial > 0.0);
    }
}

//! Undoing changes of local texture and of intensity, as in Models Genesis (Zhou et al., "Models
//! Genesis: Generic Autodidactic Models for 3D Medical Image Analysis", 2019), and noise.
//!
//! The changes, in this order: in half of the images, pixels are shuffled within small windows; in
//! nine of ten, intensities go through a random monotone Bézier curve, every second time a falling
//! one; Gaussian noise is added. Images are standardised before, so what must be given back is
//! defined though the curve is not told. Cutting blocks out is a task of its own, `inpainting`.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::judge::{MEAN_ABSOLUTE_ERROR, mean_absolute_error};
use super::{Dims, Head, Metric, Score, Shares, Task};
use crate::nn::Layers;
use crate::tape::{Shape, Tape, TapeError, Value};

/// Probabilities as in Models Genesis.
const SHUFFLED: f64 = 0.5;
const MAPPED: f64 = 0.9;

/// Largest standard deviation of the noise, in that of the image.
const NOISE: f32 = 0.2;

/// Knots of the piecewise linear form of a curve.
const KNOTS: usize = 256;

#[derive(Debug)]
pub(super) struct Restoration;

/// Shuffles pixels within windows of a tenth of the side at most, until they have covered as much as
/// the image has pixels. Each window is filled from the image as it was.
fn shuffle(image: &[f32], dims: Dims, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let Dims { size, channels, .. } = dims;
    let most = (size / 10).max(2).min(size);
    let mut result = image.to_vec();
    let mut order = vec![];
    let mut covered = 0;
    while covered < size * size {
        let [height, width] = [(); 2].map(|()| rng.random_range(1..=most));
        let (top, left) = (rng.random_range(0..=size - height), rng.random_range(0..=size - width));
        let at = |i: usize| ((top + i / width) * size + left + i % width) * channels;
        order.clear();
        order.extend(0..height * width);
        for i in (1..order.len()).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        for (i, from) in order.iter().enumerate() {
            result[at(i)..at(i) + channels].copy_from_slice(&image[at(*from)..at(*from) + channels]);
        }
        covered += height * width;
    }
    result
}

/// A cubic Bézier curve from (0, 0) to (1, 1), at knots evenly spaced in x.
///
/// Both of its coordinates rise with the parameter, for the control points lie in the unit square.
fn curve([x1, y1, x2, y2]: [f32; 4]) -> Vec<f32> {
    let bernstein = |a: f32, b: f32, t: f32| {
        let s = 1.0 - t;
        3.0 * s * s * t * a + 3.0 * s * t * t * b + t * t * t
    };
    // Points on the curve, close enough that between two of them it is as good as straight.
    let steps = 4 * KNOTS;
    let point = |k: usize| {
        let t = k as f32 / steps as f32;
        (bernstein(x1, x2, t), bernstein(y1, y2, t))
    };
    let mut k = 1;
    let knot = |i: usize| {
        let x = i as f32 / (KNOTS - 1) as f32;
        while k < steps && point(k).0 < x {
            k += 1;
        }
        let ((before, low), (after, high)) = (point(k - 1), point(k));
        let share = if after > before { ((x - before) / (after - before)).clamp(0.0, 1.0) } else { 1.0 };
        low + share * (high - low)
    };
    (0..KNOTS).map(knot).collect()
}

/// Sends the image's range through a random curve onto itself.
fn map_intensity(image: &mut [f32], rng: &mut ChaCha8Rng) {
    let knots = curve(std::array::from_fn(|_| rng.random()));
    let falling: bool = rng.random();
    let low = image.iter().copied().fold(f32::INFINITY, f32::min);
    let high = image.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if low >= high {
        return;
    }
    for x in image {
        let at = (*x - low) / (high - low) * (KNOTS - 1) as f32;
        let below = (at as usize).min(KNOTS - 2);
        let y = knots[below] + (at - below as f32) * (knots[below + 1] - knots[below]);
        *x = low + (high - low) * if falling { 1.0 - y } else { y };
    }
}

impl Task for Restoration {
    fn name(&self) -> &'static str {
        "restoration"
    }

    fn about(&self) -> &'static str {
        "undo shuffled pixels, changed intensities and noise"
    }

    fn shares(&self) -> Shares {
        Shares::EncoderAndDecoder
    }

    fn tensors(&self, dims: Dims) -> Vec<(&'static str, Shape)> {
        let shape = [dims.batch, dims.size, dims.size, dims.channels];
        ["images", "targets"].map(|name| (name, shape.into())).to_vec()
    }

    fn batch(&self, images: &[&[f32]], dims: Dims, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        let mut inputs = vec![];
        for image in images {
            let mut changed =
                if rng.random_bool(SHUFFLED) { shuffle(image, dims, rng) } else { image.to_vec() };
            if rng.random_bool(MAPPED) {
                map_intensity(&mut changed, rng);
            }
            let deviation = rng.random_range(0.0..NOISE);
            inputs.extend(changed.into_iter().map(|x| {
                let z: f32 = StandardNormal.sample(rng);
                x + deviation * z
            }));
        }
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
        let restored = layers.conv(tape, features, "restoration.head", channels, 1, true)?;
        Ok(Head { loss: tape.l1(restored, tensors[1])?, prediction: restored })
    }

    fn metric(&self) -> Metric {
        MEAN_ABSOLUTE_ERROR
    }

    /// Trivial is to give the input back, or the mean of a standardised image: what is less wrong.
    fn score(&self, tensors: &[Vec<f32>], prediction: &[f32], _dims: Dims) -> Score {
        Score {
            value: mean_absolute_error(prediction, &tensors[1]),
            trivial: mean_absolute_error(&tensors[0], &tensors[1])
                .min(mean_absolute_error(&vec![0.0; tensors[1].len()], &tensors[1])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{batch_of, check_batches, check_learns, images};
    use super::*;
    use crate::rng::{Purpose, rng};

    #[test]
    fn batches_keep_to_the_rules() {
        check_batches(&Restoration);
    }

    #[test]
    fn it_is_learnt() {
        check_learns(&Restoration, 0.1, 0.9);
    }

    #[test]
    fn curves_rise_from_0_to_1() {
        for step in 0..50 {
            let mut rng = rng(1, Purpose::Task, step);
            let knots = curve(std::array::from_fn(|_| rng.random()));
            assert!(knots[0].abs() < 1e-6 && (knots[KNOTS - 1] - 1.0).abs() < 1e-5);
            assert!(knots.is_sorted_by(|a, b| *a <= b + 1e-6), "{knots:?}");
        }
    }

    #[test]
    fn control_points_on_the_diagonal_change_nothing() {
        for (i, y) in curve([1.0 / 3.0, 1.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0]).iter().enumerate() {
            assert!((y - i as f32 / (KNOTS - 1) as f32).abs() < 1e-5, "{i}: {y}");
        }
        // x = 1 − (1 − t)³ and y = t³, so at x = 7/8, where t = 1/2, y is 1/8.
        let at = 7 * (KNOTS - 1) / 8;
        let y = curve([1.0, 0.0, 1.0, 0.0])[at];
        assert!((y - 0.125).abs() < 0.01, "{y}");
    }

    #[test]
    fn intensities_keep_their_order_or_turn_it_round_and_keep_their_range() {
        let image = &images(1, 16, 1)[0];
        let mut seen = std::collections::BTreeSet::new();
        for step in 0..20 {
            let mut mapped = image.clone();
            map_intensity(&mut mapped, &mut rng(1, Purpose::Task, step));
            let mut pairs: Vec<(f32, f32)> = image.iter().copied().zip(mapped).collect();
            pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let falling = pairs[0].1 > pairs[pairs.len() - 1].1;
            seen.insert(falling);
            let sorted =
                pairs.is_sorted_by(|a, b| if falling { a.1 + 1e-5 >= b.1 } else { a.1 <= b.1 + 1e-5 });
            assert!(sorted, "step {step}");
            let (low, high) = (pairs[0].0, pairs[pairs.len() - 1].0);
            assert!(pairs.iter().all(|(_, y)| *y >= low - 1e-4 && *y <= high + 1e-4));
        }
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn shuffled_pixels_come_from_nearby() {
        // A pixel's value is its place, in two channels.
        let dims = Dims { batch: 1, size: 64, channels: 2 };
        let image: Vec<f32> = (0..64 * 64).flat_map(|i| [(i / 64) as f32, (i % 64) as f32]).collect();
        let shuffled = shuffle(&image, dims, &mut rng(1, Purpose::Task, 0));
        let moves = shuffled.iter().zip(&image).map(|(a, b)| (a - b).abs());
        assert!(moves.clone().all(|distance| distance < 6.0));
        assert!(moves.filter(|distance| *distance > 0.0).count() > 64 * 64 / 2);
    }

    #[test]
    fn the_clean_image_scores_0_and_the_better_of_input_and_mean_the_trivial_error() {
        let dims = Dims { batch: 4, size: 16, channels: 3 };
        let (clean, tensors) = batch_of(&Restoration, dims, 2);
        let perfect = Restoration.score(&tensors, &clean.concat(), dims);
        assert_eq!(perfect.value, 0.0);
        assert!(perfect.trivial > 0.1, "{perfect:?}");
        let of_input = Restoration.score(&tensors, &tensors[0], dims).value;
        let of_zeros = Restoration.score(&tensors, &vec![0.0; tensors[1].len()], dims).value;
        assert_eq!(of_input.min(of_zeros), perfect.trivial);
    }
}

//! How answers are judged.

use super::{Metric, Score};

/// Share of right answers, 0 to 1.
pub(super) const ACCURACY: Metric = Metric { name: "accuracy", higher_is_better: true };

/// In standard deviations of the image, which is standardised.
pub(super) const MEAN_ABSOLUTE_ERROR: Metric =
    Metric { name: "mean absolute error", higher_is_better: false };

pub(super) const MEAN_SQUARED_ERROR: Metric = Metric { name: "mean squared error", higher_is_better: false };

/// Share of rows of `logits [n, classes]` whose largest is that of the label, beside one guess in
/// `classes`. A tie and a NaN are wrong.
pub(super) fn accuracy(logits: &[f32], labels: &[f32], classes: usize) -> Score {
    let right = |(row, label): (&[f32], &f32)| {
        let label = *label as usize;
        let wins = |(class, x): (usize, &f32)| class == label || row[label] > *x;
        !row[label].is_nan() && row.iter().enumerate().all(wins)
    };
    let count = logits.chunks_exact(classes).zip(labels).filter(|pair| right(*pair)).count();
    Score { value: count as f64 / labels.len() as f64, trivial: 1.0 / classes as f64 }
}

/// Mean of `term(prediction, target)` over all pairs.
pub(super) fn mean_of_pairs(
    prediction: impl IntoIterator<Item = f32>,
    target: &[f32],
    term: impl Fn(f64, f64) -> f64,
) -> f64 {
    let pairs = prediction.into_iter().zip(target);
    pairs.map(|(p, t)| term(f64::from(p), f64::from(*t))).sum::<f64>() / target.len() as f64
}

pub(super) fn mean_absolute_error(prediction: &[f32], target: &[f32]) -> f64 {
    mean_of_pairs(prediction.iter().copied(), target, |p, t| (p - t).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_and_nan_are_no_right_answers() {
        let logits = [0.0, 2.0, 1.0, 3.0, 3.0, 0.0, f32::NAN, 0.0, 0.0, 5.0, f32::NAN, 0.0];
        let score = accuracy(&logits, &[1.0, 0.0, 0.0, 0.0], 3);
        assert_eq!(score, Score { value: 0.25, trivial: 1.0 / 3.0 });
    }

    #[test]
    fn errors_are_means_over_elements() {
        assert_eq!(mean_absolute_error(&[1.0, -1.0], &[0.0, 2.0]), 2.0);
        assert_eq!(mean_of_pairs([1.0, -1.0], &[0.0, 2.0], |p, t| (p - t).powi(2)), 5.0);
    }
}

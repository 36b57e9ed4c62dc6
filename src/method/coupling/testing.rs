//! Gradients and Gram matrices for the tests of the methods.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::Observed;
use super::math::dot;

pub fn gram(vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
    vectors.iter().map(|a| vectors.iter().map(|b| dot(a, b)).collect()).collect()
}

/// `count` vectors of `dimensions` normal numbers.
pub fn vectors(rng: &mut ChaCha8Rng, count: usize, dimensions: usize) -> Vec<Vec<f64>> {
    (0..count).map(|_| (0..dimensions).map(|_| StandardNormal.sample(rng)).collect()).collect()
}

/// `Σ weights[k] · vectors[k]`.
pub fn combine(weights: &[f64], vectors: &[Vec<f64>]) -> Vec<f64> {
    (0..vectors[0].len()).map(|i| weights.iter().zip(vectors).map(|(w, v)| w * v[i]).sum()).collect()
}

/// A step of which only the gradients matter.
pub fn gradients(gram: &[Vec<f64>]) -> Observed<'_> {
    Observed { step: 0, losses: &[], gram }
}

#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance);
    assert!(close, "found {found:?}, expected {expected:?}");
}

//! Small dense linear algebra in f64.

/// Relative error to expect of inner products that a device sums in f32. It is added to the diagonal
/// of a matrix of cosines before it is inverted, so that dependent gradients give a bounded answer.
pub const GRAM_ERROR: f64 = 1e-6;

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// `matrix · vector`.
pub fn times(matrix: &[Vec<f64>], vector: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| dot(row, vector)).collect()
}

/// Softmax of `logits`, which are finite, times their number.
pub fn softmax_times_count(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::MIN, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let scale = logits.len() as f64 / powers.iter().sum::<f64>();
    powers.iter().map(|power| power * scale).collect()
}

/// Solves `matrix · x = right` by Gaussian elimination with partial pivoting. None if the matrix is
/// singular to rounding. Entries should be of the size of 1.
pub fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    for column in 0..n {
        let pivot =
            (column..n).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let (done, below) = matrix.split_at_mut(column + 1);
        let head = &done[column];
        if head[column].abs() < SINGULAR || !head[column].is_finite() {
            return None;
        }
        for (offset, row) in below.iter_mut().enumerate() {
            let factor = row[column] / head[column];
            for (value, above) in row.iter_mut().zip(head).skip(column) {
                *value -= factor * above;
            }
            right[column + 1 + offset] -= factor * right[column];
        }
    }
    for row in (0..n).rev() {
        let known = dot(&matrix[row][row + 1..], &right[row + 1..]);
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right.iter().all(|value| value.is_finite()).then_some(right)
}

/// A pivot below this is rounding.
const SINGULAR: f64 = 1e-14;

/// The gradients that are not 0, as lengths and cosines, so that far scales do no harm.
pub struct Directions {
    /// Branches of the whole, and those whose gradient is not 0.
    branches: usize,
    pub present: Vec<usize>,
    /// Norm of each gradient that is present.
    pub norms: Vec<f64>,
    /// Between each two of them.
    pub cosines: Vec<Vec<f64>>,
}

impl Directions {
    pub fn of(gram: &[Vec<f64>]) -> Directions {
        let present: Vec<usize> = (0..gram.len()).filter(|&k| gram[k][k] > 0.0).collect();
        let norms: Vec<f64> = present.iter().map(|&k| gram[k][k].sqrt()).collect();
        let cosine = |a: usize, b: usize| match a == b {
            true => 1.0,
            // One after the other: the product of the norms may underflow.
            false => (gram[present[a]][present[b]] / norms[a] / norms[b]).clamp(-1.0, 1.0),
        };
        let count = present.len();
        let cosines = (0..count).map(|a| (0..count).map(|b| cosine(a, b)).collect()).collect();
        Directions { branches: gram.len(), present, norms, cosines }
    }

    /// The matrix of cosines, safe to invert.
    pub fn regular(&self) -> Vec<Vec<f64>> {
        let mut cosines = self.cosines.clone();
        for (k, row) in cosines.iter_mut().enumerate() {
            row[k] += GRAM_ERROR;
        }
        cosines
    }

    /// Weights of the gradients from those of the unit gradients, scaled so that their absolute
    /// values sum to the number of branches; a branch without a gradient has 0. Equal weights if that
    /// cannot be done.
    pub fn weights(&self, of_units: &[f64]) -> Vec<f64> {
        // Relative to the shortest, where division cannot overflow.
        let shortest = self.norms.iter().copied().fold(f64::INFINITY, f64::min);
        let ratios: Vec<f64> = of_units.iter().zip(&self.norms).map(|(u, n)| u * (shortest / n)).collect();
        let scale = self.branches as f64 / ratios.iter().map(|ratio| ratio.abs()).sum::<f64>();
        if !scale.is_finite() {
            return vec![1.0; self.branches];
        }
        let mut weights = vec![0.0; self.branches];
        for (&branch, ratio) in self.present.iter().zip(ratios) {
            weights[branch] = ratio * scale;
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, gram, vectors};
    use super::*;
    use crate::rng::{Purpose, rng};

    #[test]
    fn solves_what_elimination_without_pivoting_does_not() {
        let x = solve(vec![vec![0.0, 2.0], vec![4.0, 1.0]], vec![6.0, 11.0]).unwrap();
        assert_close(&x, &[2.0, 3.0], 1e-15);
        for case in 0..50 {
            let mut random = rng(1, Purpose::Case, case);
            let n = 1 + case as usize % 8;
            let matrix = vectors(&mut random, n, n);
            let expected = vectors(&mut random, 1, n).remove(0);
            let found = solve(matrix.clone(), times(&matrix, &expected)).unwrap();
            assert_close(&times(&matrix, &found), &times(&matrix, &expected), 1e-9);
        }
    }

    #[test]
    fn singular_and_spoilt_systems_have_no_solution() {
        assert!(solve(vec![vec![1.0, 2.0], vec![2.0, 4.0]], vec![1.0, 1.0]).is_none());
        assert!(solve(vec![vec![0.0]], vec![1.0]).is_none());
        assert!(solve(vec![vec![f64::NAN, 1.0], vec![1.0, 1.0]], vec![1.0, 1.0]).is_none());
    }

    #[test]
    fn softmax_keeps_its_sum_at_any_size() {
        // e^ln 3 : e^0 = 3 : 1.
        assert_close(&softmax_times_count(&[3f64.ln(), 0.0]), &[1.5, 0.5], 1e-15);
        assert_close(&softmax_times_count(&[1e6, 0.0, 1e6]), &[1.5, 0.0, 1.5], 1e-15);
    }

    #[test]
    fn directions_leave_out_what_is_zero() {
        let directions = Directions::of(&gram(&[vec![3.0, 4.0], vec![0.0, 0.0], vec![0.0, 1e-12]]));
        assert_eq!(directions.present, [0, 2]);
        assert_close(&directions.norms, &[5.0, 1e-12], 1e-20);
        assert_close(&directions.cosines[0], &[1.0, 0.8], 1e-15);
        // 1/5 : 0 : −1/5e-12, with the sum of absolute values 3.
        let weights = directions.weights(&[1.0, -1.0]);
        assert_close(&weights, &[6e-13, 0.0, -3.0], 1e-11);
        assert!((weights[0] / 6e-13 - 1.0).abs() < 1e-9);
        assert_eq!(Directions::of(&[vec![0.0]]).weights(&[]), [1.0]);
    }
}

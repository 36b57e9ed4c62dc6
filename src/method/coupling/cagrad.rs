//! Conflict-averse gradient descent.

use super::by_gradients::ByGradients;
use super::math::{GRAM_ERROR, dot, times};
use super::min_norm::min_norm;
use super::{Entry, Observed, Setting};

pub const ENTRY: Entry = Entry {
    name: "cagrad",
    about: "max over d of min_k ⟨g_k, d⟩ with ‖d − ḡ‖ ≤ 0.4‖ḡ‖; Liu, Liu, Jin, Stone & Liu 2021, \"Conflict-averse gradient descent for multi-task learning\"",
    make: |setting| Box::new(ByGradients { name: ENTRY.name, setting, shared }),
};

/// The paper's choice for its networks of dense prediction.
const C: f64 = 0.4;

/// B. Liu, X. Liu, X. Jin, P. Stone, Q. Liu, "Conflict-averse gradient descent for multi-task
/// learning", 2021.
///
/// With ḡ the mean gradient: `max_d min_k ⟨g_k, d⟩` where `‖d − ḡ‖ ≤ c‖ḡ‖`. The dual is `min_w
/// ⟨g_w, ḡ⟩ + c‖ḡ‖ · ‖g_w‖` for `g_w = Σ w_k g_k` over the simplex, and `d = ḡ + c‖ḡ‖ · g_w / ‖g_w‖`.
///
/// Scale: `K · d / (1 + c²)`. K because the methods here are on the scale of the sum, and 1 + c² as in
/// the authors' code: where the two parts of d are at right angles, its length squared is that many
/// times that of ḡ.
fn shared(observed: &Observed, _setting: Setting) -> Vec<f64> {
    combination(observed.gram, C)
}

fn combination(gram: &[Vec<f64>], c: f64) -> Vec<f64> {
    let branches = gram.len() as f64;
    let mut weights = vec![1.0; gram.len()];
    if let Some(dual) = Dual::of(gram, c) {
        let (of_present, multiplier) = dual.solve();
        for (&k, w) in dual.present.iter().zip(of_present) {
            weights[k] += branches * w / multiplier;
        }
    }
    weights.iter().map(|weight| weight / (1.0 + c * c)).collect()
}

/// The dual problem. As `r‖g_w‖ = min_t ½(‖g_w‖² / t + r² t)` for `r = c‖ḡ‖`, it is to find, for the right t =
/// ‖g_w‖ / r, the point of least norm in the hull of all `g_k + t · ḡ`. The length of g_w at that point,
/// over t, falls as t grows, so t is found by bracketing.
struct Dual {
    /// Branches with a gradient. One without would fix the worst slope at 0, whatever d.
    present: Vec<usize>,
    /// Of those, with [`GRAM_ERROR`] added: so `‖g_w‖` is not 0 where the gradients cancel, where d
    /// would not be defined, and d tends to ḡ instead.
    gram: Vec<Vec<f64>>,
    /// `⟨g_k, ḡ⟩`, and `‖ḡ‖²`.
    with_mean: Vec<f64>,
    mean_square: f64,
    radius: f64,
}

impl Dual {
    /// None if d = ḡ.
    fn of(gram: &[Vec<f64>], c: f64) -> Option<Dual> {
        let branches = gram.len() as f64;
        let all_with_mean = times(gram, &vec![1.0 / branches; gram.len()]);
        let mean_square = all_with_mean.iter().sum::<f64>() / branches;
        let radius = c * mean_square.max(0.0).sqrt();
        let present: Vec<usize> = (0..gram.len()).filter(|&k| gram[k][k] > 0.0).collect();
        let entry = |i: usize, j: usize| gram[i][j] * if i == j { 1.0 + GRAM_ERROR } else { 1.0 };
        (radius > 0.0).then(|| Dual {
            gram: present.iter().map(|&i| present.iter().map(|&j| entry(i, j)).collect()).collect(),
            with_mean: present.iter().map(|&k| all_with_mean[k]).collect(),
            present,
            mean_square,
            radius,
        })
    }

    /// The weights and t.
    fn solve(&self) -> (Vec<f64>, f64) {
        let squares = || self.gram.iter().enumerate().map(|(k, row)| row[k]);
        let longest = squares().fold(0.0, f64::max).sqrt();
        let shortest = squares().fold(f64::INFINITY, f64::min).sqrt();
        // ‖g_w‖² is at least the part that was added to the diagonal.
        let floor = shortest * (GRAM_ERROR / self.present.len() as f64).sqrt() / 2.0;
        let mut low = (floor / self.radius).ln();
        let mut high = (longest / self.radius).ln() + 1.0;
        let (mut at_low, mut at_high) = (self.excess(low).1, self.excess(high).1);
        let mut kept_low = None;
        // Regula falsi with the Illinois rule: about ten rounds.
        for _ in 0..ROUNDS {
            let guess = (low * at_high - high * at_low) / (at_high - at_low);
            let t = if guess > low && guess < high { guess } else { (low + high) / 2.0 };
            let (weights, excess) = self.excess(t);
            if excess.abs() < TOLERANCE {
                return (weights, t.exp());
            }
            let to_low = excess > 0.0;
            if to_low {
                (low, at_low) = (t, excess);
            } else {
                (high, at_high) = (t, excess);
            }
            // The same end twice: pull the other one in.
            if kept_low == Some(!to_low) {
                if to_low { at_high /= 2.0 } else { at_low /= 2.0 }
            }
            kept_low = Some(!to_low);
        }
        // The end at which d stays within its radius.
        (self.excess(high).0, high.exp())
    }

    /// Weights for a given log t, and `log(‖g_w‖ / r t)`, of which the root is wanted.
    fn excess(&self, log_t: f64) -> (Vec<f64>, f64) {
        let t = log_t.exp();
        let b = &self.with_mean;
        let shifted: Vec<Vec<f64>> = (self.gram.iter().zip(b))
            .map(|(row, bi)| {
                row.iter().zip(b).map(|(g, bj)| g + t * (bi + bj + t * self.mean_square)).collect()
            })
            .collect();
        let weights = min_norm(&shifted);
        let square = dot(&weights, &times(&self.gram, &weights));
        let length = square.max(0.0).sqrt() / self.radius;
        let excess = length.max(f64::MIN_POSITIVE).ln() - log_t;
        (weights, excess)
    }
}

const ROUNDS: usize = 60;
/// Relative, of t.
const TOLERANCE: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, combine, gram, vectors};
    use super::*;
    use crate::rng::{Purpose, rng};

    /// Length of a vector.
    fn length(vector: &[f64]) -> f64 {
        dot(vector, vector).sqrt()
    }

    /// d without the scale of [`combination`].
    fn direction(vectors: &[Vec<f64>], c: f64) -> Vec<f64> {
        let factor = (1.0 + c * c) / vectors.len() as f64;
        combine(&combination(&gram(vectors), c), vectors).iter().map(|x| x * factor).collect()
    }

    fn mean(vectors: &[Vec<f64>]) -> Vec<f64> {
        combine(&vec![1.0 / vectors.len() as f64; vectors.len()], vectors)
    }

    fn worst_slope(vectors: &[Vec<f64>], d: &[f64]) -> f64 {
        vectors.iter().map(|g| dot(g, d)).fold(f64::INFINITY, f64::min)
    }

    /// The least value of the dual on a grid of the simplex, for two or three vectors.
    fn dual_on_grid(vectors: &[Vec<f64>], c: f64) -> f64 {
        let cells = 400;
        let mean = mean(vectors);
        let value = |w: &[f64]| {
            let g = combine(w, vectors);
            dot(&g, &mean) + c * length(&mean) * length(&g)
        };
        let share = |cell: i32| f64::from(cell) / f64::from(cells);
        let mut least = f64::INFINITY;
        for i in 0..=cells {
            let last = if vectors.len() == 2 { 0 } else { cells - i };
            for j in 0..=last {
                let w = [share(i), share(cells - i - j), share(j)];
                least = least.min(value(&w[..vectors.len()]));
            }
        }
        least
    }

    #[test]
    fn without_a_radius_it_is_the_mean() {
        let all = [vec![1.0, 0.0], vec![-2.0, 1.0], vec![0.0, 3.0]];
        assert_eq!(combination(&gram(&all), 0.0), [1.0; 3]);
        assert_close(&direction(&all, 0.0), &[-1.0 / 3.0, 4.0 / 3.0], 1e-15);
    }

    #[test]
    fn the_scale_is_that_of_the_sum_over_1_plus_c_squared() {
        // (1, 0) and (0, 1), c = ½: d = (0.75, 0.75), so each weighs 2 · 0.75 / 1.25.
        assert_close(&combination(&gram(&[vec![1.0, 0.0], vec![0.0, 1.0]]), 0.5), &[1.2, 1.2], 1e-6);
    }

    #[test]
    fn two_vectors_by_hand() {
        // (1, 0) and (0, 1), c = ½: by symmetry g_w ∥ ḡ, so d = 1.5 ḡ = (0.75, 0.75).
        assert_close(&direction(&[vec![1.0, 0.0], vec![0.0, 1.0]], 0.5), &[0.75, 0.75], 1e-6);
        // (4, 0) and (0, 2), ḡ = (2, 1), r = √5/2: the slopes 4 + 4r·x and 2 + 2r·y for a unit (x, y).
        // The second is the worst unless the first is raised less: with (0, 1) they are 8 and 2 + √5
        // = 4.24: the second is still the worst. So d = (2, 1 + √5/2).
        let d = direction(&[vec![4.0, 0.0], vec![0.0, 2.0]], 0.5);
        assert_close(&d, &[2.0, 1.0 + 5f64.sqrt() / 2.0], 1e-6);
    }

    #[test]
    fn the_worst_slope_is_the_least_of_the_dual() {
        for case in 0..60 {
            let count = 2 + case as usize % 2;
            let mut all = vectors(&mut rng(11, Purpose::Case, case), count, 4);
            let shift = [0.0, 0.5, 1.0][case as usize % 3];
            all.iter_mut().for_each(|v| v[0] += shift);
            let d = direction(&all, C);
            let radius = C * length(&mean(&all));
            let off: Vec<f64> = d.iter().zip(mean(&all)).map(|(d, m)| d - m).collect();
            assert!(length(&off) <= radius * (1.0 + 1e-5), "case {case}");
            // No d in the ball has a better worst slope than any value of the dual; the grid's is
            // above the least by no more than its cells.
            let (found, bound) = (worst_slope(&all, &d), dual_on_grid(&all, C));
            assert!(found <= bound + 1e-5 && found >= bound - 1e-3, "case {case}: {found} {bound}");
        }
    }

    #[test]
    fn primal_and_dual_meet_for_many_branches() {
        for case in 0..200 {
            let count = 3 + case as usize % 6;
            let all = vectors(&mut rng(12, Purpose::Case, case), count, 20);
            let g = gram(&all);
            let d = direction(&all, C);
            let (weights, _) = Dual::of(&g, C).unwrap().solve();
            let least = combine(&weights, &all);
            let dual = dot(&least, &mean(&all)) + C * length(&mean(&all)) * length(&least);
            let primal = worst_slope(&all, &d);
            assert!(primal <= dual + 1e-9 && primal >= dual - 1e-4, "case {case}: {primal} {dual}");
        }
    }

    #[test]
    fn gradients_that_cancel_give_the_mean() {
        // ḡ = 0: nothing to do.
        assert_close(&direction(&[vec![1.0, 2.0], vec![-1.0, -2.0]], C), &[0.0, 0.0], 1e-15);
        // Opposite but of other lengths: no d lowers both, and none is worse than ḡ by far.
        let pair = [vec![3.0, 0.0], vec![-1.0, 0.0]];
        let d = direction(&pair, C);
        assert!(d[0] >= 0.6 - 1e-6 && d[0] <= 1.4 + 1e-6, "{d:?}");
        // A branch without a gradient has a part in the mean alone.
        assert_close(&direction(&[vec![2.0, 0.0], vec![0.0, 0.0]], C), &[1.4, 0.0], 1e-5);
    }
}

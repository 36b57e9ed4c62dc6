//! Impartial multi-task learning, its gradient part.

use super::by_gradients::ByGradients;
use super::math::{Directions, solve};
use super::{Entry, Observed, Setting};

pub const ENTRY: Entry = Entry {
    name: "imtl_g",
    about: "the sum of gradients with equal projections on all of them; Liu et al. 2021, \"Towards impartial multi-task learning\"",
    make: |setting| Box::new(ByGradients { name: ENTRY.name, setting, shared }),
};

/// L. Liu, Y. Li, Z. Kuang, J.-H. Xue, Y. Chen, W. Yang, Q. Liao, W. Zhang, "Towards impartial
/// multi-task learning", 2021 (IMTL-G).
///
/// `g = Σ α_k g_k` with `⟨g, u_k⟩` the same for all unit gradients `u_k = g_k / ‖g_k‖`. In closed form, with
/// C the matrix of cosines: `α_k ∝ (C⁻¹ 1)_k / ‖g_k‖`. That is the paper's `g_1 Uᵀ (D Uᵀ)⁻¹` without
/// its preference for the first.
///
/// Scale: the paper has `Σ α_k = 1`. Here `Σ |α_k| = K` and the common projection is not negative: the
/// same direction when no α is negative; else the paper's α may grow without bound, and raise all
/// losses where `Σ (C⁻¹ 1)_k / ‖g_k‖ < 0`. C gets [`super::math::GRAM_ERROR`] on its diagonal, so that
/// parallel gradients share their weight and opposite ones cancel. A gradient of 0 is left out.
fn shared(observed: &Observed, _setting: Setting) -> Vec<f64> {
    let directions = Directions::of(observed.gram);
    let ones = vec![1.0; directions.present.len()];
    let of_units = solve(directions.regular(), ones.clone()).unwrap_or(ones);
    directions.weights(&of_units)
}

#[cfg(test)]
mod tests {
    use super::super::math::dot;
    use super::super::testing::{assert_close, combine, gradients, gram, vectors};
    use super::*;
    use crate::rng::{Purpose, rng};

    fn of(vectors: &[Vec<f64>]) -> Vec<f64> {
        let setting = Setting { branches: vectors.len(), steps_per_epoch: 1, seed: 0 };
        shared(&gradients(&gram(vectors)), setting)
    }

    #[test]
    fn two_vectors_by_hand() {
        // The bisector of (4, 0) and (0, 1): α ∝ (1/4, 1), of sum 2.
        assert_close(&of(&[vec![4.0, 0.0], vec![0.0, 1.0]]), &[0.4, 1.6], 1e-12);
    }

    #[test]
    fn projections_on_all_unit_gradients_are_equal_and_positive() {
        for case in 0..200 {
            let count = 2 + case as usize % 7;
            let mut all = vectors(&mut rng(7, Purpose::Case, case), count, 40);
            all[0].iter_mut().for_each(|x| *x *= 100.0);
            let update = combine(&of(&all), &all);
            let projections: Vec<f64> = all.iter().map(|g| dot(&update, g) / dot(g, g).sqrt()).collect();
            assert!(projections[0] > 0.0);
            let expected = vec![projections[0]; count];
            assert_close(&projections, &expected, 1e-4 * projections[0]);
        }
    }

    #[test]
    fn it_is_the_closed_form_of_the_paper_for_two() {
        // α_2 = g_1·(u_1 − u_2) / (g_1 − g_2)·(u_1 − u_2), α_1 = 1 − α_2.
        let all = [vec![3.0, 0.0], vec![1.0, 1.0]];
        let h = 0.5f64.sqrt();
        let second = 3.0 * (1.0 - h) / (2.0 * (1.0 - h) + h);
        assert_close(&of(&all), &[2.0 * (1.0 - second), 2.0 * second], 1e-5);
    }

    #[test]
    fn singular_systems_have_a_sensible_answer() {
        // Parallel: each at its share of a unit gradient.
        assert_close(&of(&[vec![1.0, 1.0], vec![2.0, 2.0]]), &[4.0 / 3.0, 2.0 / 3.0], 1e-9);
        // Opposite: nothing is left.
        let pair = [vec![1.0, 0.0], vec![-2.0, 0.0]];
        assert_close(&combine(&of(&pair), &pair), &[0.0, 0.0], 1e-9);
        // None at all, and one of two.
        assert_eq!(of(&[vec![0.0], vec![0.0]]), [1.0, 1.0]);
        assert_eq!(of(&[vec![3.0], vec![0.0]]), [2.0, 0.0]);
    }
}

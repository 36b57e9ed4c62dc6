//! Multi-task learning as a bargaining game.

use super::by_gradients::ByGradients;
use super::math::{Directions, dot, solve, times};
use super::{Entry, Observed, Setting};

pub const ENTRY: Entry = Entry {
    name: "nash_mtl",
    about: "the Nash bargaining solution: weights α with G α = 1/α, G the Gram matrix; Navon et al. 2022, \"Multi-task learning as a bargaining game\"",
    make: |setting| Box::new(ByGradients { name: ENTRY.name, setting, shared }),
};

/// A. Navon, A. Shamsian, I. Achituve, H. Maron, K. Kawaguchi, G. Chechik, E. Fetaya, "Multi-task
/// learning as a bargaining game", 2022.
///
/// The update d maximises `Σ log ⟨g_k, d⟩` in a ball; `d = Σ α_k g_k` with `(G α)_k = 1 / α_k`, α > 0.
/// With `β_k = α_k‖g_k‖` and C the matrix of cosines that is `C β = 1/β`, see [`bargain`], so no scale of
/// the gradients is hard. The weights are solved for in each step, where the authors' code may keep
/// them for several.
///
/// Scale: the bargain fixes the direction, the ball's radius is free. Here `Σ α_k = K`; unscaled,
/// `‖d‖² = K` however small the gradients are. C gets [`super::math::GRAM_ERROR`] on its diagonal, as
/// there is no bargain where gradients cancel. A gradient of 0 is left out.
fn shared(observed: &Observed, _setting: Setting) -> Vec<f64> {
    let directions = Directions::of(observed.gram);
    directions.weights(&bargain(&directions.regular()))
}

/// β > 0 with `(C β)_k = 1 / β_k`: the minimum of the convex `½ βᵀCβ − Σ log β_k`.
///
/// By Newton's method, damped by 1 / (1 + λ) while its decrement λ is large: the function is
/// self-concordant, so that keeps β > 0 and converges from anywhere (Nesterov & Nemirovskii 1994). If
/// C is not positive definite after all, the last sound β is given.
fn bargain(cosines: &[Vec<f64>]) -> Vec<f64> {
    let count = cosines.len();
    let sum: f64 = cosines.iter().flatten().sum();
    // The best of all equal β.
    let start = (count as f64 / sum).sqrt();
    let mut beta = vec![if start.is_finite() { start } else { 1.0 }; count];
    for _ in 0..ITERATIONS {
        let pull = times(cosines, &beta);
        let gradient: Vec<f64> = pull.iter().zip(&beta).map(|(pull, b)| pull - 1.0 / b).collect();
        // In units of β, where the Hessian is of the size of 1.
        let hessian: Vec<Vec<f64>> = (0..count)
            .map(|i| {
                let entry = |j: usize| cosines[i][j] * beta[i] * beta[j];
                (0..count).map(|j| entry(j) + if i == j { 1.0 } else { 0.0 }).collect()
            })
            .collect();
        let scaled: Vec<f64> = gradient.iter().zip(&beta).map(|(g, b)| g * b).collect();
        let Some(step) = solve(hessian, scaled.clone()) else { break };
        let decrement = dot(&step, &scaled).sqrt();
        let damping = if decrement < 0.25 { 1.0 } else { 1.0 / (1.0 + decrement) };
        let next: Vec<f64> = beta.iter().zip(&step).map(|(b, s)| b * (1.0 - damping * s)).collect();
        if !next.iter().all(|b| b.is_finite() && *b > 0.0) {
            break;
        }
        beta = next;
        if decrement < TOLERANCE {
            break;
        }
    }
    beta
}

/// About ten are needed; a few dozen where gradients nearly cancel.
const ITERATIONS: usize = 200;
/// Of the decrement before the last step, which squares it.
const TOLERANCE: f64 = 1e-8;

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::super::testing::{assert_close, combine, gradients, gram, vectors};
    use super::*;
    use crate::rng::{Purpose, rng};

    fn of(vectors: &[Vec<f64>]) -> Vec<f64> {
        let setting = Setting { branches: vectors.len(), steps_per_epoch: 1, seed: 0 };
        shared(&gradients(&gram(vectors)), setting)
    }

    #[test]
    fn known_bargains() {
        // Orthogonal: α_k² ‖g_k‖² = 1, so α ∝ (1/4, 1), of sum 2.
        assert_close(&of(&[vec![4.0, 0.0], vec![0.0, 1.0]]), &[0.4, 1.6], 1e-6);
        // C = [[1, c], [c, 1]]: by symmetry β² (1 + c) = 1.
        for c in [-0.9, -0.5, 0.0, 0.5, 1.0] {
            let beta = 1.0 / f64::sqrt(1.0 + c);
            assert_close(&bargain(&[vec![1.0, c], vec![c, 1.0]]), &[beta; 2], 1e-9);
        }
        // (1, 0), (1, 0), (0, 1): β_1 = β_2 with 2β² = 1, β_3 = 1.
        let h = 0.5f64.sqrt();
        let c = [vec![1.0, 1.0, 0.0], vec![1.0, 1.0, 0.0], vec![0.0, 0.0, 1.0]];
        assert_close(&bargain(&c), &[h, h, 1.0], 1e-9);
    }

    #[test]
    fn the_equation_holds_on_random_gradients() {
        for case in 0..500 {
            let mut random = rng(8, Purpose::Case, case);
            let count = random.random_range(1..=8);
            let cosines =
                Directions::of(&gram(&vectors(&mut random, count, 8 + case as usize % 30))).regular();
            let beta = bargain(&cosines);
            let products: Vec<f64> =
                times(&cosines, &beta).iter().zip(&beta).map(|(pull, b)| pull * b).collect();
            assert!(beta.iter().all(|b| *b > 0.0));
            assert_close(&products, &vec![1.0; count], 1e-9);
        }
    }

    #[test]
    fn nearly_cancelling_gradients_are_bargained_over() {
        // More gradients than dimensions: β is up to 1e3, and sums cancel.
        for case in 0..500 {
            let all = vectors(&mut rng(10, Purpose::Case, case), 8, 1 + case as usize % 7);
            let cosines = Directions::of(&gram(&all)).regular();
            let beta = bargain(&cosines);
            let pull = times(&cosines, &beta);
            let products: Vec<f64> = pull.iter().zip(&beta).map(|(pull, b)| pull * b).collect();
            assert_close(&products, &[1.0; 8], 1e-6);
        }
    }

    #[test]
    fn weights_solve_the_equation_up_to_their_scale() {
        for case in 0..100 {
            let mut all = vectors(&mut rng(9, Purpose::Case, case), 5, 30);
            all[1].iter_mut().for_each(|x| *x *= 1e3);
            let weights = of(&all);
            assert!((weights.iter().sum::<f64>() - 5.0).abs() < 1e-12);
            // α = s · w: α_k (Gα)_k = 1, so all w_k (Gw)_k are 1/s².
            let pull = times(&gram(&all), &weights);
            let products: Vec<f64> =
                weights.iter().zip(&pull).map(|(w, p)| w * p / (weights[0] * pull[0])).collect();
            assert_close(&products, &[1.0; 5], 1e-4);
        }
    }

    #[test]
    fn gradients_that_cancel_leave_no_update() {
        let pair = [vec![1.0, 0.0], vec![-2.0, 0.0]];
        assert_close(&combine(&of(&pair), &pair), &[0.0, 0.0], 1e-9);
        assert_eq!(of(&[vec![0.0], vec![0.0]]), [1.0, 1.0]);
        assert_close(&of(&[vec![3.0], vec![0.0]]), &[2.0, 0.0], 1e-12);
    }

    #[test]
    fn a_matrix_that_is_not_definite_ends_with_positive_numbers() {
        let beta = bargain(&[vec![1.0, -1.0, -1.0], vec![-1.0, 1.0, -1.0], vec![-1.0, -1.0, 1.0]]);
        assert!(beta.iter().all(|b| b.is_finite() && *b > 0.0), "{beta:?}");
    }
}

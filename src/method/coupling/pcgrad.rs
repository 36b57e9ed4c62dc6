//! Projecting conflicting gradients.

use rand::seq::SliceRandom;

use super::by_gradients::ByGradients;
use super::math::dot;
use super::{Entry, Observed, Setting};
use crate::rng::{Purpose, rng};

pub const ENTRY: Entry = Entry {
    name: "pcgrad",
    about: "sum of gradients, each projected off those it conflicts with, in random order; Yu et al. 2020, \"Gradient surgery for multi-task learning\"",
    make: |setting| Box::new(ByGradients { name: ENTRY.name, setting, shared }),
};

/// T. Yu, S. Kumar, A. Gupta, S. Levine, K. Hausman, C. Finn, "Gradient surgery for multi-task
/// learning", 2020.
///
/// Each gradient g_i, starting as itself, meets the others in random order: where `⟨g_i, g_j⟩ < 0`,
/// `g_i ← g_i − ⟨g_i, g_j⟩ / ‖g_j‖² · g_j`, with g_j as it was. The update is the sum of what is left.
fn shared(observed: &Observed, setting: Setting) -> Vec<f64> {
    let gram = observed.gram;
    let mut rng = rng(setting.seed, Purpose::Coupling, observed.step as u64);
    let mut order: Vec<usize> = (0..gram.len()).collect();
    let mut weights = vec![0.0; gram.len()];
    for i in 0..gram.len() {
        order.shuffle(&mut rng);
        // The projected gradient as a sum of all gradients.
        let mut projected = vec![0.0; gram.len()];
        projected[i] = 1.0;
        for &j in order.iter().filter(|&&j| j != i) {
            let product = dot(&projected, &gram[j]);
            if product < 0.0 && gram[j][j] > 0.0 {
                projected[j] -= product / gram[j][j];
            }
        }
        weights.iter_mut().zip(projected).for_each(|(weight, part)| *weight += part);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, combine, gradients, gram, vectors};
    use super::*;

    fn of(vectors: &[Vec<f64>], seed: u64) -> Vec<f64> {
        let setting = Setting { branches: vectors.len(), steps_per_epoch: 1, seed };
        shared(&gradients(&gram(vectors)), setting)
    }

    #[test]
    fn two_conflicting_vectors_by_hand() {
        // ⟨a, b⟩ = −1. a off b: (1, 0) + ½(−1, 1) = (½, ½). b off a: (−1, 1) + (1, 0) = (0, 1).
        let pair = [vec![1.0, 0.0], vec![-1.0, 1.0]];
        let weights = of(&pair, 0);
        assert_close(&weights, &[2.0, 1.5], 1e-15);
        assert_close(&combine(&weights, &pair), &[0.5, 1.5], 1e-15);
    }

    #[test]
    fn without_a_conflict_it_is_the_sum() {
        assert_eq!(of(&[vec![1.0, 0.0], vec![0.0, 2.0], vec![1.0, 1.0]], 0), [1.0; 3]);
    }

    #[test]
    fn opposite_vectors_leave_nothing() {
        let pair = [vec![1.0, 2.0], vec![-3.0, -6.0]];
        assert_close(&combine(&of(&pair, 0), &pair), &[0.0, 0.0], 1e-14);
    }

    #[test]
    fn the_update_is_that_of_the_vectors_themselves() {
        // The paper's Algorithm 1 on vectors, for the same orders.
        for seed in 0..100 {
            let all = vectors(&mut rng(seed, Purpose::Case, 0), 5, 4);
            let mut random = rng(seed, Purpose::Coupling, 0);
            let mut order: Vec<usize> = (0..5).collect();
            let mut update = vec![0.0; 4];
            for i in 0..5 {
                order.shuffle(&mut random);
                let mut left = all[i].clone();
                for &j in order.iter().filter(|&&j| j != i) {
                    let product = dot(&left, &all[j]);
                    if product < 0.0 {
                        let factor = product / dot(&all[j], &all[j]);
                        left.iter_mut().zip(&all[j]).for_each(|(a, b)| *a -= factor * b);
                    }
                }
                update.iter_mut().zip(&left).for_each(|(sum, a)| *sum += a);
            }
            assert_close(&combine(&of(&all, seed), &all), &update, 1e-10);
        }
    }

    #[test]
    fn the_order_is_random() {
        let three = [vec![1.0, 0.0], vec![-1.0, 1.0], vec![-1.0, -0.5]];
        let first = of(&three, 0);
        assert!((1..20).any(|seed| of(&three, seed) != first));
        assert_eq!(of(&three, 0), first);
    }
}

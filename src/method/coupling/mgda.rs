//! Multiple-gradient descent.

use super::by_gradients::ByGradients;
use super::min_norm::min_norm;
use super::{Entry, Observed, Setting};

pub const ENTRY: Entry = Entry {
    name: "mgda",
    about: "K times the point of least norm in the hull of the gradients; Désidéri 2012; Sener & Koltun 2018, \"Multi-task learning as multi-objective optimization\"",
    make: |setting| Box::new(ByGradients { name: ENTRY.name, setting, shared }),
};

/// J.-A. Désidéri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", 2012;
/// O. Sener, V. Koltun, "Multi-task learning as multi-objective optimization", 2018.
///
/// `min ‖Σ w_k g_k‖²` where `w_k ≥ 0`, `Σ w_k = 1`: the update lowers every loss, and is 0 where none can
/// be lowered without raising another, so also where one gradient is 0. Gradients are taken as they
/// are, without normalisation, so the shortest counts most.
///
/// Scale: K times those weights, as the methods here are on the scale of the sum.
fn shared(observed: &Observed, _setting: Setting) -> Vec<f64> {
    let branches = observed.gram.len() as f64;
    min_norm(observed.gram).iter().map(|weight| branches * weight).collect()
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
        // The foot of the perpendicular on the line from (2, 0) to (0, 1) is (0.4, 0.8).
        let pair = [vec![2.0, 0.0], vec![0.0, 1.0]];
        let weights = of(&pair);
        assert_close(&weights, &[0.4, 1.6], 1e-14);
        assert_close(&combine(&weights, &pair), &[0.8, 1.6], 1e-14);
    }

    #[test]
    fn it_descends_on_all_losses_alike_or_more() {
        for case in 0..200 {
            let all = vectors(&mut rng(4, Purpose::Case, case), 6, 8);
            let update = combine(&of(&all), &all);
            let square = dot(&update, &update) / 6.0;
            assert!(all.iter().all(|g| dot(g, &update) >= square - 1e-9), "case {case}");
        }
    }

    #[test]
    fn it_stops_where_the_gradients_cancel() {
        let all = [vec![1.0, 0.0], vec![-1.0, 1.0], vec![0.0, -2.0]];
        assert_close(&combine(&of(&all), &all), &[0.0, 0.0], 1e-12);
    }
}

//! How the losses or gradients of several tasks are put together in one step. One file each.
//!
//! Every method here gives the weights of a sum: `gradient of the shared parameters = Σ shared[k] ·
//! g_k`, and `gradient of branch k's own parameters = own[k] · g_k`. What it may look at are the
//! losses and the inner products of the gradients of the shared parameters, which the step has
//! computed on the device. Branch 0 is the target.
//!
//! **Own parameters.** A method that weights losses gives a branch's own parameters the weight that
//! the branch has in the shared ones: it is the gradient of one weighted loss. A method that
//! combines gradients gives them 1 each, as its conflict is about shared parameters only.
//!
//! **Scale.** With AdamW a common factor of all weights matters little, as the step is divided by
//! the root of the gradient's running square; it matters for clipping, and where the factor changes
//! from step to step. So that the methods can be compared at one learning rate, each is on the scale
//! of `equal`, the plain sum: where a paper's weights sum to 1 (MGDA, IMTL-G, random) or start from
//! the mean gradient (CAGrad), they are multiplied by the number of branches K; where it leaves
//! the length open (Nash-MTL) they are made to sum to K.
//!
//! **Odd steps.** A step with a loss that is not finite does not change what a method has learnt, and
//! a method of gradients gives equal weights where an inner product is not finite: the update is
//! spoilt either way, and the trainer says so.

mod adam;
mod by_gradients;
pub mod cagrad;
pub mod cosine_gating;
pub mod dwa;
pub mod equal;
pub mod fixed;
pub mod gradnorm;
pub mod imtl_g;
mod math;
pub mod mgda;
mod min_norm;
pub mod nash_mtl;
pub mod pcgrad;
pub mod random;
mod saved;
#[cfg(test)]
mod testing;
pub mod uncertainty;

pub use crate::train::coupled::{Coupling, Observed, Weights};

/// What a method is told before it starts.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Branches, the target first; at least 2.
    pub branches: usize,
    pub steps_per_epoch: usize,
    pub seed: u64,
}

/// A method that can be named in a config.
#[derive(Debug)]
pub struct Entry {
    /// As in `method.rivals`, without the `joint_` before it.
    pub name: &'static str,
    /// The formula in one line, and its source.
    pub about: &'static str,
    pub make: fn(Setting) -> Box<dyn Coupling>,
}

/// Every method that couples all tasks.
pub fn all() -> &'static [Entry] {
    const ALL: &[Entry] = &[
        equal::ENTRY,
        uncertainty::ENTRY,
        dwa::ENTRY,
        random::ENTRY,
        gradnorm::ENTRY,
        pcgrad::ENTRY,
        cagrad::ENTRY,
        mgda::ENTRY,
        imtl_g::ENTRY,
        nash_mtl::ENTRY,
        cosine_gating::ENTRY,
    ];
    ALL
}

pub fn by_name(name: &str) -> Option<&'static Entry> {
    all().iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::testing::{gram, vectors};
    use serde_json::Value as Json;

    use super::*;
    use crate::rng::{Purpose, rng};

    fn finite(weights: &Weights, branches: usize) -> bool {
        let all = |w: &[f64]| w.len() == branches && w.iter().all(|value| value.is_finite());
        all(&weights.shared) && all(&weights.own)
    }

    /// Vectors with what goes wrong in training: nothing, doubles, opposites, far scales.
    fn spoil(vectors: &mut [Vec<f64>], case: usize) {
        let last = vectors.len() - 1;
        let scale = |v: &mut Vec<f64>, factor: f64| v.iter_mut().for_each(|x| *x *= factor);
        match case % 9 {
            1 => scale(&mut vectors[0], 0.0),
            2 => scale(&mut vectors[last], 0.0),
            3 => vectors.iter_mut().for_each(|v| scale(v, 0.0)),
            4 => vectors[last] = vectors[0].clone(),
            5 => {
                vectors[last] = vectors[0].clone();
                scale(&mut vectors[last], -3.0);
            }
            6 => {
                scale(&mut vectors[0], 1e-12);
                scale(&mut vectors[last], 1e6);
            }
            7 => {
                let first = vectors[0].clone();
                vectors.iter_mut().for_each(|v| *v = first.clone());
            }
            8 => {
                // The last undoes all others: 0 is inside the hull.
                let sum = (0..vectors[0].len()).map(|i| -vectors[..last].iter().map(|v| v[i]).sum::<f64>());
                vectors[last] = sum.collect();
            }
            _ => {}
        }
    }

    #[test]
    fn names_are_found_and_told() {
        let names: Vec<&str> = all().iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), 11);
        for entry in all() {
            assert_eq!(by_name(entry.name).unwrap().name, entry.name);
            assert_eq!(names.iter().filter(|name| **name == entry.name).count(), 1);
            let made = (entry.make)(Setting { branches: 2, steps_per_epoch: 1, seed: 0 });
            assert_eq!(made.name(), entry.name);
            assert!(entry.about.contains("20"), "{}: no year of the source", entry.name);
        }
        assert!(by_name("fixed").is_none() && by_name("").is_none());
    }

    #[test]
    fn weights_are_finite_on_a_thousand_matrices() {
        for entry in all() {
            for case in 0..1000 {
                let mut random = rng(5, Purpose::Case, case as u64);
                let branches = random.random_range(2..=8);
                // Fewer dimensions than branches too: dependent gradients.
                let mut gradients = vectors(&mut random, branches, 1 + case % 12);
                spoil(&mut gradients, case);
                let losses: Vec<f64> = (0..branches).map(|_| random.random_range(0.0..3.0)).collect();
                let gram = gram(&gradients);
                let mut method = (entry.make)(Setting { branches, steps_per_epoch: 2, seed: 1 });
                for step in 0..3 {
                    let weights = method.weights(&Observed { step, losses: &losses, gram: &gram });
                    assert!(finite(&weights, branches), "{} case {case}: {weights:?}", entry.name);
                }
            }
        }
    }

    #[test]
    fn a_spoilt_step_neither_hangs_nor_leaves_a_trace() {
        let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for entry in all() {
            let make = || (entry.make)(Setting { branches: 3, steps_per_epoch: 4, seed: 1 });
            let (mut method, mut undisturbed) = (make(), make());
            let sound = gram(&[vec![1.0, 0.0], vec![-0.5, 1.0], vec![0.0, -0.3]]);
            for (step, value) in bad.iter().enumerate() {
                let mut spoilt = sound.clone();
                spoilt[1][1] = *value;
                spoilt[0][1] = *value;
                let weights = method.weights(&Observed { step, losses: &[1.0, *value, 2.0], gram: &spoilt });
                assert!(finite(&weights, 3), "{}: {weights:?}", entry.name);
                assert_eq!(method.save(), undisturbed.save(), "{}", entry.name);
            }
            let next = Observed { step: 3, losses: &[1.0, 0.5, 2.0], gram: &sound };
            assert_eq!(method.weights(&next), undisturbed.weights(&next), "{}", entry.name);
        }
    }

    #[test]
    fn extreme_but_finite_numbers_are_survived() {
        for entry in all() {
            for scale in [0.0, 1e-300, 1e-38, 1e38, 1e76] {
                let mut method = (entry.make)(Setting { branches: 2, steps_per_epoch: 1, seed: 1 });
                // No Gram matrix of anything, as rounding makes them.
                let gram = vec![vec![scale, -1.5 * scale], vec![-1.5 * scale, scale]];
                for step in 0..4 {
                    let losses = [scale, if step % 2 == 0 { 0.0 } else { -scale }];
                    let weights = method.weights(&Observed { step, losses: &losses, gram: &gram });
                    assert!(finite(&weights, 2), "{} {scale:e}: {weights:?}", entry.name);
                }
                let text = method.save().to_string();
                method.restore(&serde_json::from_str(&text).unwrap()).unwrap();
            }
        }
    }

    #[test]
    fn a_resumed_method_goes_on_with_the_same_bits() {
        for entry in all() {
            let setting = Setting { branches: 4, steps_per_epoch: 3, seed: 9 };
            let mut whole = (entry.make)(setting);
            let mut resumed = (entry.make)(setting);
            for step in 0..20 {
                let mut random = rng(6, Purpose::Case, step as u64);
                let losses: Vec<f64> = (0..4).map(|_| random.random_range(0.1..3.0)).collect();
                let gram = gram(&vectors(&mut random, 4, 6));
                let observed = Observed { step, losses: &losses, gram: &gram };
                // A new process at every step.
                let text = resumed.save().to_string();
                resumed = (entry.make)(setting);
                resumed.restore(&serde_json::from_str(&text).unwrap()).unwrap();
                let (a, b) = (whole.weights(&observed), resumed.weights(&observed));
                let bits = |w: &[f64]| w.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&a.shared), bits(&b.shared), "{} step {step}", entry.name);
                assert_eq!(bits(&a.own), bits(&b.own), "{} step {step}", entry.name);
            }
        }
    }

    #[test]
    fn malformed_state_is_refused_by_method_and_field() {
        for entry in all() {
            let setting = Setting { branches: 2, steps_per_epoch: 1, seed: 0 };
            let mut method = (entry.make)(setting);
            for step in 0..4 {
                let gram = gram(&[vec![1.0, 0.0], vec![0.5, 1.0]]);
                method.weights(&Observed { step, losses: &[1.0, 2.0], gram: &gram });
            }
            let sound = method.save();
            for wrong in [Json::from(3), Json::from("x"), serde_json::json!({"walk": 1})] {
                let error = method.restore(&wrong).unwrap_err();
                assert!(error.contains(entry.name), "{error}");
            }
            for field in sound.as_object().into_iter().flat_map(|fields| fields.keys()) {
                for wrong in [Json::from("x"), Json::from(vec![1.0]), Json::from(-1e300), Json::Bool(true)] {
                    let mut state = sound.clone();
                    state[field] = wrong;
                    let error = method.restore(&state).unwrap_err();
                    assert!(error.contains(entry.name) && error.contains(field.as_str()), "{error}");
                }
                let mut state = sound.clone();
                state.as_object_mut().unwrap().remove(field);
                let error = method.restore(&state).unwrap_err();
                assert!(error.contains(field.as_str()), "{error}");
            }
            assert_eq!(method.save(), sound, "{}: a refused state left a trace", entry.name);
        }
    }
}

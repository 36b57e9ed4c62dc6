//! Initial values of parameters.

use rand_distr::{Distribution, StandardNormal};

use crate::rng::{Purpose, hash, rng};

/// What a state starts with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with standard deviation `sqrt(2 / fan_in)`, for layers followed by a ReLU
    /// (He et al., "Delving Deep into Rectifiers", 2015).
    He {
        fan_in: usize,
    },
    /// Normal with standard deviation `sqrt(1 / fan_in)`, the same for layers without a ReLU.
    HeLinear {
        fan_in: usize,
    },
    Constant(f32),
}

impl Init {
    /// `len` numbers for the parameter `name`. They depend on `seed` and `name` alone, so a part
    /// that two networks share starts alike in both.
    pub fn numbers(self, len: usize, seed: u64, name: &str) -> Vec<f32> {
        match self {
            Init::Constant(value) => vec![value; len],
            Init::He { fan_in } => normal(2.0 / fan_in.max(1) as f64, len, seed, name),
            Init::HeLinear { fan_in } => normal(1.0 / fan_in.max(1) as f64, len, seed, name),
        }
    }
}

fn normal(variance: f64, len: usize, seed: u64, name: &str) -> Vec<f32> {
    let mut rng = rng(seed, Purpose::Init, hash(name.bytes()));
    let draw = |_| {
        let z: f64 = StandardNormal.sample(&mut rng);
        (variance.sqrt() * z) as f32
    };
    (0..len).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn he_has_its_deviation_and_depends_on_seed_and_name() {
        let a = Init::He { fan_in: 50 }.numbers(20_000, 1, "down.0.0.weight");
        let mean = a.iter().map(|x| f64::from(*x)).sum::<f64>() / 20_000.0;
        let variance = a.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.005, "{mean}");
        assert!((variance.sqrt() / 0.2 - 1.0).abs() < 0.02, "{variance}");
        assert_eq!(a, Init::He { fan_in: 50 }.numbers(20_000, 1, "down.0.0.weight"));
        assert_ne!(a, Init::He { fan_in: 50 }.numbers(20_000, 2, "down.0.0.weight"));
        assert_ne!(a, Init::He { fan_in: 50 }.numbers(20_000, 1, "down.0.3.weight"));
    }
}

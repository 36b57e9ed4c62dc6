//! Bootstrap intervals (Efron, Annals of Statistics 7, 1979).

use rand::RngExt;

use crate::rng::{Purpose, rng};

/// How often the images are drawn anew.
pub const RESAMPLES: usize = 10_000;

/// The 95 % percentile interval of the mean of `values`; none of fewer than two, which say nothing of their spread.
///
/// As many values are drawn with replacement, 10,000 times; the bounds are the 2.5 and 97.5 percentiles
/// of the means, interpolated. The draws are the same for every set of one size.
pub fn interval(values: &[f64]) -> Option<[f64; 2]> {
    let n = values.len();
    if n < 2 {
        return None;
    }
    let mut random = rng(0, Purpose::Bootstrap, 0);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..n).map(|_| values[random.random_range(0..n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    Some([quantile(&means, 0.025), quantile(&means, 0.975)])
}

/// Between the two values next to `(n − 1) · share`.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * share;
    let low = sorted[place.floor() as usize];
    low + (sorted[place.ceil() as usize] - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_values_is_that_value() {
        assert_eq!(interval(&[0.75; 9]), Some([0.75, 0.75]));
        assert_eq!([interval(&[]), interval(&[0.75])], [None, None]);
    }

    /// The number of ones in a resample of 20 zeros and ones, 10 each, is binomial(20, 1/2), whose
    /// 2.5 and 97.5 percentiles are 6 and 14.
    #[test]
    fn of_zeros_and_ones_is_binomial() {
        let values: Vec<f64> = (0..20).map(|i| f64::from(i % 2)).collect();
        assert_eq!(interval(&values), Some([0.3, 0.7]));
    }

    /// Of many values it is that of the normal distribution: mean ± 1.96 · sd / √n.
    #[test]
    fn of_many_values_is_normal() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i) / 999.0).collect();
        let sd = (values.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / 1000.0).sqrt();
        let half = 1.96 * sd / 1000f64.sqrt();
        let [low, high] = interval(&values).unwrap();
        assert!((low - (0.5 - half)).abs() < 0.001 && (high - (0.5 + half)).abs() < 0.001, "{low} {high}");
    }

    #[test]
    fn quantiles_are_interpolated() {
        let sorted = [0.0, 1.0, 2.0, 3.0];
        assert_eq!([0.0, 0.5, 0.9, 1.0].map(|share| quantile(&sorted, share)), [0.0, 1.5, 2.7, 3.0]);
    }
}

//! Bootstrap intervals (Efron, Annals of Statistics 7, 1979).

use rand::RngExt;

use crate::rng::{Purpose, rng};

/// How often the images are drawn anew.
pub const RESAMPLES: usize = 10_000;

/// The 95 % percentile interval of the mean of all values of `units`; none of fewer than two units, which say nothing
/// of their spread.
///
/// As many units are drawn with replacement, each with all its values, 10,000 times; the bounds are the 2.5 and 97.5
/// percentiles of the means, interpolated. The draws are the same for every set of as many units.
pub fn interval(units: &[Vec<f64>]) -> Option<[f64; 2]> {
    let n = units.len();
    if n < 2 {
        return None;
    }
    let sums: Vec<(f64, usize)> = units.iter().map(|values| (values.iter().sum(), values.len())).collect();
    let mut random = rng(0, Purpose::Bootstrap, 0);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..n).map(|_| sums[random.random_range(0..n)]);
            let (sum, count) = drawn.fold((0.0, 0), |(sum, count), (s, c)| (sum + s, count + c));
            sum / count as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    Some([quantile(&means, 0.025), quantile(&means, 0.975)])
}

/// As [`interval`], where each value is a unit.
pub fn interval_of_values(values: &[f64]) -> Option<[f64; 2]> {
    interval(&values.iter().map(|value| vec![*value]).collect::<Vec<_>>())
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
        assert_eq!(interval_of_values(&[0.75; 9]), Some([0.75, 0.75]));
        assert_eq!([interval_of_values(&[]), interval_of_values(&[0.75])], [None, None]);
    }

    /// The number of ones in a resample of 20 zeros and ones, 10 each, is binomial(20, 1/2), whose
    /// 2.5 and 97.5 percentiles are 6 and 14.
    #[test]
    fn of_zeros_and_ones_is_binomial() {
        let values: Vec<f64> = (0..20).map(|i| f64::from(i % 2)).collect();
        assert_eq!(interval_of_values(&values), Some([0.3, 0.7]));
    }

    /// Of many values it is that of the normal distribution: mean ± 1.96 · sd / √n.
    #[test]
    fn of_many_values_is_normal() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i) / 999.0).collect();
        let sd = (values.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / 1000.0).sqrt();
        let half = 1.96 * sd / 1000f64.sqrt();
        let [low, high] = interval_of_values(&values).unwrap();
        assert!((low - (0.5 - half)).abs() < 0.001 && (high - (0.5 + half)).abs() < 0.001, "{low} {high}");
    }

    /// Two units of 1 and 3 values: a resample is the first twice (mean 1), the second twice (0), or both
    /// (1/4, as all four values count alike), each of the first two in a quarter of the draws.
    #[test]
    fn a_unit_is_drawn_with_all_its_values() {
        assert_eq!(interval(&[vec![1.0], vec![0.0; 3]]), Some([0.0, 1.0]));
        let many: Vec<Vec<f64>> =
            (0..400).map(|i| if i % 2 == 0 { vec![1.0] } else { vec![0.0; 3] }).collect();
        let [low, high] = interval(&many).unwrap();
        assert!(low < 0.25 && 0.25 < high && high < 0.3, "around the mean over values: {low} {high}");
    }

    #[test]
    fn quantiles_are_interpolated() {
        let sorted = [0.0, 1.0, 2.0, 3.0];
        assert_eq!([0.0, 0.5, 0.9, 1.0].map(|share| quantile(&sorted, share)), [0.0, 1.5, 2.7, 3.0]);
    }
}

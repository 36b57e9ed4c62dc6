//! The Wilcoxon signed-rank test for pairs (Wilcoxon, Biometrics Bulletin 1, 1945).

use std::f64::consts::SQRT_2;

/// With more differences than this the normal approximation is used.
const LARGEST_EXACT: usize = 50;

/// What the test says of the differences of pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignedRank {
    /// Sum of the ranks of the differences above 0.
    pub above: f64,
    /// Sum of the ranks of the differences below 0.
    pub below: f64,
    /// Two-sided.
    pub p: f64,
}

/// Tests whether `differences` lie around 0; none when all of them are 0.
///
/// Differences of 0 are left out, as Wilcoxon did, and equal ones share the mean of their ranks. Up to
/// 50 differences the p value is exact: the share of all assignments of signs to these ranks, ties
/// included, that are as far from the middle. Above that it is the normal approximation
/// `erfc((|W − n(n+1)/4| − 1/2) / (σ√2))` with `σ² = n(n+1)(2n+1)/24 − Σ(t³ − t)/48` over groups of t
/// ties (Hollander & Wolfe, Nonparametric Statistical Methods, 3.1).
pub fn signed_rank(differences: &[f64]) -> Option<SignedRank> {
    let mut sorted: Vec<f64> = differences.iter().copied().filter(|d| !tied(*d, 0.0)).collect();
    sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    if sorted.is_empty() {
        return None;
    }
    let (ranks, ties) = doubled_ranks(&sorted);
    let sum = |above: bool| -> usize {
        sorted.iter().zip(&ranks).filter(|(d, _)| (**d > 0.0) == above).map(|(_, rank)| rank).sum()
    };
    let (above, below) = (sum(true), sum(false));
    let smaller = above.min(below);
    let p = if ranks.len() <= LARGEST_EXACT { exact(&ranks, smaller) } else { normal(&ranks, ties, smaller) };
    Some(SignedRank { above: above as f64 / 2.0, below: below as f64 / 2.0, p })
}

/// Ranks from 1, times 2 so that shared ones are whole, and the sum of `t³ − t` over groups of ties.
fn doubled_ranks(sorted: &[f64]) -> (Vec<usize>, f64) {
    let mut ranks = Vec::with_capacity(sorted.len());
    let mut ties = 0.0;
    for group in sorted.chunk_by(|a, b| tied(a.abs(), b.abs())) {
        let (first, t) = (ranks.len() + 1, group.len());
        ranks.extend(std::iter::repeat_n(2 * first + t - 1, t));
        ties += (t * t * t - t) as f64;
    }
    (ranks, ties)
}

/// Whether two sizes of differences differ by no more than rounding: 0.9 − 0.8 and 0.8 − 0.7 are one.
fn tied(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12
}

/// Twice the share of the sign assignments whose sum of ranks is at most `smaller`.
fn exact(ranks: &[usize], smaller: usize) -> f64 {
    // ways[s]: assignments of the ranks so far whose positive ranks sum to s. At most 2^50, exact in f64.
    let mut ways = vec![0.0; ranks.iter().sum::<usize>() + 1];
    ways[0] = 1.0;
    for rank in ranks {
        for sum in (*rank..ways.len()).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    let tail: f64 = ways[..=smaller].iter().sum();
    (2.0 * tail / 2f64.powi(ranks.len() as i32)).min(1.0)
}

fn normal(ranks: &[usize], ties: f64, smaller: usize) -> f64 {
    let n = ranks.len() as f64;
    let mean = n * (n + 1.0) / 4.0;
    let sd = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0).sqrt();
    let z = ((mean - smaller as f64 / 2.0 - 0.5) / sd).max(0.0);
    libm::erfc(z / SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(x: &[f64], y: &[f64]) -> Vec<f64> {
        x.iter().zip(y).map(|(x, y)| x - y).collect()
    }

    /// Every assignment of signs to the ranks, one by one.
    fn enumerate(ranks: &[usize], smaller: usize) -> f64 {
        let sum = |signs: u32| -> usize {
            ranks.iter().enumerate().filter(|(i, _)| signs >> i & 1 == 1).map(|(_, rank)| rank).sum()
        };
        let total = 1u32 << ranks.len();
        let tail = (0..total).filter(|signs| sum(*signs) <= smaller).count();
        (2.0 * tail as f64 / f64::from(total)).min(1.0)
    }

    /// Hollander & Wolfe, Nonparametric Statistical Methods, example 3.1: depression before and
    /// after therapy, T+ = 40; one-sided p 0.01953 in R's `?wilcox.test`.
    #[test]
    #[allow(clippy::approx_constant, reason = "a score of 3.14")]
    fn the_depression_scores_of_hollander_and_wolfe() {
        let before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30];
        let after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
        let test = signed_rank(&differences(&before, &after)).unwrap();
        assert_eq!((test.above, test.below), (40.0, 5.0));
        assert!((test.p - 2.0 * 0.01953).abs() < 1e-5, "{test:?}");
    }

    /// Darwin's plants, as in the manual of `scipy.stats.wilcoxon`: statistic 24, p 0.041259765625.
    #[test]
    fn the_plants_of_darwin() {
        let d = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75].map(f64::from);
        let test = signed_rank(&d).unwrap();
        assert_eq!((test.above, test.below), (96.0, 24.0));
        assert_eq!(test.p, 0.041_259_765_625);
    }

    /// Bortz, Lienert & Boehnke, with ties and zeros: R's exactRankTests gives 0.1367, `wilcox.test`,
    /// which takes the normal approximation, 0.1436.
    #[test]
    fn ties_and_zeros_as_in_r() {
        let x = [9, 14, 8, 11, 14, 10, 8, 14, 12, 14, 13, 9, 15, 12, 9].map(f64::from);
        let y = [13, 15, 9, 12, 16, 10, 8, 13, 12, 16, 9, 10, 16, 12, 9].map(f64::from);
        let d = differences(&x, &y);
        let test = signed_rank(&d).unwrap();
        assert_eq!(test.above, 13.0);
        assert!((test.p - 0.1367).abs() < 5e-5, "{test:?}");
        let mut sorted: Vec<f64> = d.into_iter().filter(|d| *d != 0.0).collect();
        sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let (ranks, ties) = doubled_ranks(&sorted);
        assert!((normal(&ranks, ties, 26) - 0.1436).abs() < 5e-5);
    }

    #[test]
    fn exact_is_what_enumeration_counts() {
        for d in [
            vec![1.0],
            vec![1.0, 2.0, -3.0, 4.0],
            vec![0.5, 0.5, -0.5, 0.0, 1.0, 1.0, -2.0, 3.0, 3.0, 3.0],
            (1..=14).map(|i| if i % 3 == 0 { -f64::from(i / 2) } else { f64::from(i / 2) }).collect(),
        ] {
            let mut sorted: Vec<f64> = d.iter().copied().filter(|d| *d != 0.0).collect();
            sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
            let (ranks, _) = doubled_ranks(&sorted);
            let test = signed_rank(&d).unwrap();
            let smaller = (2.0 * test.above.min(test.below)) as usize;
            assert_eq!(test.p, enumerate(&ranks, smaller), "{d:?}");
        }
    }

    #[test]
    fn the_approximation_takes_over_smoothly() {
        // Ties in fives; every third is below 0.
        let d: Vec<f64> =
            (0..50).map(|i| (f64::from(i / 5) + 1.0) * if i % 3 == 0 { -1.0 } else { 1.0 }).collect();
        let (ranks, ties) = doubled_ranks(&d);
        let test = signed_rank(&d).unwrap();
        let near = normal(&ranks, ties, (2.0 * test.below) as usize);
        assert!((test.p - near).abs() < 0.002, "{} {near}", test.p);
    }

    #[test]
    fn the_bounds() {
        assert_eq!(signed_rank(&[]), None);
        assert_eq!(signed_rank(&[0.0, 0.0, 0.1 + 0.2 - 0.3]), None);
        // All of ten on one side: 2 of 1024.
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!(signed_rank(&ten).unwrap().p, 2.0 / 1024.0);
        assert_eq!(signed_rank(&[1.0, -1.0]).unwrap().p, 1.0);
        // Rounding does not make different ranks of equal differences.
        let equal = signed_rank(&[0.9 - 0.8, -(0.8 - 0.7), 0.5]).unwrap();
        assert_eq!((equal.above, equal.below), (4.5, 1.5));
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        // z = (2525 − 0.5) / √84587.5 = 8.680, whose two-sided tail is below 1e-17.
        let p = signed_rank(&hundred).unwrap().p;
        assert!(p > 1e-18 && p < 1e-17, "{p}");
    }
}

//! The point of least norm in a convex hull.

use super::math::{dot, solve, times};

/// Weights, at least 0 and of sum 1, of the point of least norm in the convex hull of vectors whose
/// inner products are `gram`: `min ‖Σ w_k v_k‖²`.
///
/// By the active sets of P. Wolfe, "Finding the nearest point in a polytope", 1976: exact but for
/// rounding after finitely many steps, where Frank-Wolfe creeps. It ends when no vector v_k has
/// `⟨v_k, x⟩ < ‖x‖²` by more than [`TOLERANCE`] of the terms of that difference.
pub fn min_norm(gram: &[Vec<f64>]) -> Vec<f64> {
    let mut weights = vec![0.0; gram.len()];
    let Some(shortest) = (0..gram.len()).min_by(|&a, &b| gram[a][a].total_cmp(&gram[b][b])) else {
        return weights;
    };
    weights[shortest] = 1.0;
    let mut active = vec![shortest];
    let mut slopes = times(gram, &weights);
    let mut square = dot(&weights, &slopes);
    for _ in 0..CYCLES_PER_VECTOR * gram.len() {
        let terms = |k: usize| gram[k].iter().zip(&weights).map(|(g, w)| (g * w).abs()).sum::<f64>();
        let shortens = |k: &usize| slopes[*k] < square - TOLERANCE * (terms(*k) + square.abs());
        let entering = (0..gram.len())
            .filter(|k| !active.contains(k))
            .filter(shortens)
            .min_by(|&a, &b| slopes[a].total_cmp(&slopes[b]));
        let Some(entering) = entering else { break };
        active.push(entering);
        let Some(next) = descend(gram, weights.clone(), &mut active) else { break };
        let next_slopes = times(gram, &next);
        let next_square = dot(&next, &next_slopes);
        // Else rounding is all that is left.
        if next_square.total_cmp(&square).is_ge() {
            break;
        }
        (weights, slopes, square) = (next, next_slopes, next_square);
    }
    weights
}

/// Relative to the terms of a sum.
const TOLERANCE: f64 = 1e-12;
/// Far more than is ever needed; a bound where rounding would go in circles.
const CYCLES_PER_VECTOR: usize = 20;

/// Moves to the point of least norm of the plane through the active vectors, and drops those that
/// are in the way, until that point is inside their hull. None if they are dependent.
fn descend(gram: &[Vec<f64>], mut weights: Vec<f64>, active: &mut Vec<usize>) -> Option<Vec<f64>> {
    loop {
        let ideal = least_of_plane(gram, active)?;
        let blocking = active
            .iter()
            .zip(&ideal)
            .filter(|(_, ideal)| **ideal <= 0.0)
            .map(|(&k, ideal)| (k, weights[k] / (weights[k] - ideal)))
            .map(|(k, share)| if share.is_finite() { (k, share) } else { (k, 0.0) })
            .min_by(|a, b| a.1.total_cmp(&b.1));
        let share = blocking.map_or(1.0, |(_, share)| share);
        for (&k, ideal) in active.iter().zip(&ideal) {
            weights[k] += share * (ideal - weights[k]);
        }
        let Some((dropped, _)) = blocking else { return Some(weights) };
        weights[dropped] = 0.0;
        active.retain(|&k| k != dropped);
    }
}

/// Weights of sum 1 of the point of least norm of the plane through the active vectors.
fn least_of_plane(gram: &[Vec<f64>], active: &[usize]) -> Option<Vec<f64>> {
    // In units of each vector's length: minimise βᵀCβ, where Σ β_k / length_k is given.
    let lengths: Vec<f64> = active.iter().map(|&k| gram[k][k].max(0.0).sqrt()).collect();
    let shortest = lengths.iter().copied().fold(f64::INFINITY, f64::min);
    let shares: Vec<f64> = lengths.iter().map(|length| shortest / length).collect();
    let mut system: Vec<Vec<f64>> = Vec::with_capacity(active.len() + 1);
    for (a, &i) in active.iter().enumerate() {
        let cosines = active.iter().zip(&lengths).map(|(&j, length)| gram[i][j] / lengths[a] / length);
        system.push(cosines.chain([shares[a]]).collect());
    }
    system.push(shares.iter().copied().chain([0.0]).collect());
    let mut right = vec![0.0; active.len()];
    right.push(1.0);
    let solution = solve(system, right)?;
    Some(solution.iter().zip(&shares).map(|(beta, share)| beta * share).collect())
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::super::testing::{assert_close, combine, gram, vectors};
    use super::*;
    use crate::rng::{Purpose, rng};

    fn of(vectors: &[&[f64]]) -> Vec<f64> {
        min_norm(&gram(&vectors.iter().map(|v| v.to_vec()).collect::<Vec<_>>()))
    }

    #[test]
    fn two_vectors_have_the_closed_form() {
        // The foot of the perpendicular from 0 on the line from (2, 0) to (0, 1): (0.4, 0.8).
        assert_close(&of(&[&[2.0, 0.0], &[0.0, 1.0]]), &[0.2, 0.8], 1e-14);
        // An obtuse triangle: the shorter alone.
        assert_close(&of(&[&[3.0, 1.0], &[1.0, 0.0]]), &[0.0, 1.0], 0.0);
        assert_close(&of(&[&[1.0, 0.0], &[-3.0, 0.0]]), &[0.75, 0.25], 1e-14);
        // ((v₂ − v₁)·v₂) / ‖v₁ − v₂‖², clamped (Sener & Koltun 2018, equation 5).
        for case in 0..200 {
            let pair = vectors(&mut rng(2, Purpose::Case, case), 2, 3);
            let g = gram(&pair);
            let first = ((g[1][1] - g[0][1]) / (g[0][0] + g[1][1] - 2.0 * g[0][1])).clamp(0.0, 1.0);
            assert_close(&min_norm(&g), &[first, 1.0 - first], 1e-11);
        }
    }

    #[test]
    fn three_vectors_of_known_answer() {
        // Zero inside the hull: corners of a regular triangle around it.
        let h = 3f64.sqrt() / 2.0;
        assert_close(&of(&[&[1.0, 0.0], &[-0.5, h], &[-0.5, -h]]), &[1.0 / 3.0; 3], 1e-12);
        // A vertex: (1, 1) is nearest, the others lie behind it.
        assert_close(&of(&[&[3.0, 1.0], &[1.0, 1.0], &[1.0, 4.0]]), &[0.0, 1.0, 0.0], 0.0);
        // An edge: from (−1, 1) to (3, 1) the nearest is (0, 1); (0, 5) lies behind.
        assert_close(&of(&[&[-1.0, 1.0], &[0.0, 5.0], &[3.0, 1.0]]), &[0.75, 0.0, 0.25], 1e-14);
        // The face of the unit vectors: its middle.
        assert_close(&of(&[&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0], &[0.0, 0.0, 1.0]]), &[1.0 / 3.0; 3], 1e-14);
    }

    #[test]
    fn optimality_holds_on_random_vectors() {
        for case in 0..500 {
            let mut random = rng(3, Purpose::Case, case);
            let count = random.random_range(2..=8);
            let mut points = vectors(&mut random, count, 1 + case as usize % 10);
            // Shifted from 0 or not, so that faces of all dimensions are met.
            let shift = [0.0, 0.3, 1.0, 3.0][case as usize % 4];
            points.iter_mut().for_each(|v| v[0] += shift);
            let weights = min_norm(&gram(&points));
            assert!(weights.iter().all(|w| *w >= 0.0));
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let least = combine(&weights, &points);
            let square = dot(&least, &least);
            for point in &points {
                assert!(dot(point, &least) >= square - 1e-9, "case {case}: {weights:?}");
            }
        }
    }

    #[test]
    fn far_scales_are_kept_apart() {
        // On the line from (1e-12, 0) to (−1e6, 1e6) the point nearest to 0 is
        // (0.5e-12, 0.5e-12), as the line is at 45° and passes through (1e-12, 0).
        let weights = of(&[&[1e-12, 0.0], &[-1e6, 1e6]]);
        assert!((weights[1] / 0.5e-18 - 1.0).abs() < 1e-6, "{weights:?}");
        assert!((weights[0] - 1.0).abs() < 1e-15);
    }

    #[test]
    fn degenerate_hulls_have_an_answer() {
        assert_eq!(min_norm(&[]), Vec::<f64>::new());
        assert_close(&of(&[&[1.0, 1.0], &[0.0, 0.0]]), &[0.0, 1.0], 0.0);
        let equal = of(&[&[1.0, 2.0], &[1.0, 2.0], &[1.0, 2.0]]);
        assert!((equal.iter().sum::<f64>() - 1.0).abs() < 1e-15);
    }
}

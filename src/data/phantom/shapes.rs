//! Geometry and texture for drawing, in film coordinates: x to the right and y down, both 0..1.

use rand::{Rng, RngExt};

pub type Point = (f32, f32);

/// A number drawn uniformly from `low..high`.
pub fn between(rng: &mut impl Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

pub fn chance(rng: &mut impl Rng, probability: f32) -> bool {
    rng.random::<f32>() < probability
}

/// 0 below `from`, 1 above `to`, smooth between.
pub fn ramp(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A bell of height 1 and width (standard deviation) `width` around 0.
pub fn bell(x: f32, width: f32) -> f32 {
    (-0.5 * (x / width).powi(2)).exp()
}

pub fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Distance of `p` to the segment from `a` to `b`.
pub fn to_segment(p: Point, a: Point, b: Point) -> f32 {
    squared_to_segment(p, a, b).sqrt()
}

/// Squared, for the nearest of many is found without roots.
fn squared_to_segment(p: Point, a: Point, b: Point) -> f32 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = (dx * dx + dy * dy).max(1e-12);
    let t = (((p.0 - a.0) * dx + (p.1 - a.1) * dy) / length).clamp(0.0, 1.0);
    (p.0 - a.0 - t * dx).powi(2) + (p.1 - a.1 - t * dy).powi(2)
}

/// Distance of `p` to an open line of points.
pub fn to_line(p: Point, line: &[Point]) -> f32 {
    let squared = line.windows(2).map(|w| squared_to_segment(p, w[0], w[1]));
    squared.fold(f32::INFINITY, f32::min).sqrt()
}

/// Distance of `p` to the edge of a closed outline, positive inside.
pub fn depth(p: Point, outline: &[Point]) -> f32 {
    let mut nearest = f32::INFINITY;
    let mut inside = false;
    let edges = outline.iter().zip(outline.iter().cycle().skip(1));
    for (&a, &b) in edges {
        nearest = nearest.min(squared_to_segment(p, a, b));
        if (a.1 > p.1) != (b.1 > p.1) && p.0 < a.0 + (p.1 - a.1) / (b.1 - a.1) * (b.0 - a.0) {
            inside = !inside;
        }
    }
    let distance = nearest.sqrt();
    if inside { distance } else { -distance }
}

/// Points along a smooth curve through `knots` (Catmull-Rom), `steps` for each stretch.
pub fn smooth(knots: &[Point], steps: usize) -> Vec<Point> {
    let Some((&first, &last)) = knots.first().zip(knots.last()) else { return Vec::new() };
    let knot = |i: isize| match usize::try_from(i) {
        Ok(i) => knots.get(i).copied().unwrap_or(last),
        Err(_) => first,
    };
    let mut points = Vec::with_capacity(knots.len() * steps);
    for i in 0..knots.len().saturating_sub(1) as isize {
        let (a, b, c, d) = (knot(i - 1), knot(i), knot(i + 1), knot(i + 2));
        let at = |a: f32, b: f32, c: f32, d: f32, t: f32| {
            let (t2, t3) = (t * t, t * t * t);
            0.5 * (2.0 * b
                + (c - a) * t
                + (2.0 * a - 5.0 * b + 4.0 * c - d) * t2
                + (3.0 * b - a - 3.0 * c + d) * t3)
        };
        points.extend((0..steps).map(|s| {
            let t = s as f32 / steps as f32;
            (at(a.0, b.0, c.0, d.0, t), at(a.1, b.1, c.1, d.1, t))
        }));
    }
    points.push(last);
    points
}

/// Smooth random hills of mean about 0: random numbers on a grid, interpolated, in several octaves.
pub struct Hills {
    octaves: Vec<(usize, f32, Vec<f32>)>,
}

impl Hills {
    /// `cells` grid cells across the film in the first octave; each further one has twice as many and
    /// `decay` of the height.
    pub fn new(rng: &mut impl Rng, cells: usize, octaves: usize, decay: f32) -> Hills {
        let octave = |level: usize| {
            let side = (cells << level) + 2;
            let grid = (0..side * side).map(|_| between(rng, -1.0, 1.0)).collect();
            (side, decay.powi(level as i32), grid)
        };
        Hills { octaves: (0..octaves).map(octave).collect() }
    }

    pub fn at(&self, (x, y): Point) -> f32 {
        let height = |&(side, height, ref grid): &(usize, f32, Vec<f32>)| {
            let place = |v: f32| {
                let v = v.clamp(0.0, 1.0) * (side - 2) as f32;
                (v as usize, ramp(0.0, 1.0, v.fract()))
            };
            let ((i, u), (j, v)) = (place(x), place(y));
            let cell = |dx: usize, dy: usize| grid[(j + dy).min(side - 1) * side + (i + dx).min(side - 1)];
            let (top, bottom) = (lerp(cell(0, 0), cell(1, 0), u), lerp(cell(0, 1), cell(1, 1), u));
            height * lerp(top, bottom, v)
        };
        self.octaves.iter().map(height).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_of_a_square() {
        let square = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)];
        assert!((depth((0.5, 0.5), &square) - 0.3).abs() < 1e-6);
        assert!((depth((0.1, 0.5), &square) + 0.1).abs() < 1e-6);
    }

    #[test]
    fn a_smooth_curve_goes_through_its_knots() {
        let knots = [(0.0, 0.0), (0.5, 0.2), (1.0, 0.0)];
        let curve = smooth(&knots, 8);
        assert_eq!(curve.len(), 17);
        assert_eq!((curve[0], curve[8], curve[16]), (knots[0], knots[1], knots[2]));
    }
}

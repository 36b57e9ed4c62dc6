//! Resampling of standardised images `[size, size, channels]`.

/// A square part of an image, enlarged or shrunk to `size × size` by bilinear interpolation. Pixels
/// are squares of side 1 with the first at 0..1; outside, the image goes on as at its edge.
pub(super) fn resample(
    image: &[f32],
    [from_size, size, channels]: [usize; 3],
    [left, top]: [f32; 2],
    side: f32,
) -> Vec<f32> {
    let axis = |start: f32| -> Vec<(usize, usize, f32)> {
        let step = side / size as f32;
        let last = (from_size - 1) as f32;
        let place = |i: usize| (start + (i as f32 + 0.5) * step - 0.5).clamp(0.0, last);
        let neighbours = |at: f32| (at as usize, (at as usize + 1).min(from_size - 1), at.fract());
        (0..size).map(|i| neighbours(place(i))).collect()
    };
    let (columns, rows) = (axis(left), axis(top));
    let mut result = Vec::with_capacity(size * size * channels);
    for (above, below, v) in rows {
        let (above, below) = (above * from_size, below * from_size);
        for (before, after, u) in &columns {
            for c in 0..channels {
                let at = |row: usize, column: usize| image[(row + column) * channels + c];
                let upper = at(above, *before) * (1.0 - u) + at(above, *after) * u;
                let lower = at(below, *before) * (1.0 - u) + at(below, *after) * u;
                result.push(upper * (1.0 - v) + lower * v);
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_image_at_its_own_size_stays_as_it_is() {
        let image: Vec<f32> = (0..5 * 5 * 3).map(|i| (i * 37 % 11) as f32).collect();
        assert_eq!(resample(&image, [5, 5, 3], [0.0, 0.0], 5.0), image);
    }

    #[test]
    fn a_slope_stays_a_slope() {
        // x + 10 y at pixel centres, doubled from the part that starts at (1, 2) and is 2 wide.
        let image: Vec<f32> = (0..36).map(|i| (i % 6) as f32 + 10.0 * (i / 6) as f32).collect();
        let part = resample(&image, [6, 4, 1], [1.0, 2.0], 2.0);
        for (i, found) in part.iter().enumerate() {
            let (x, y) = ((i % 4) as f32, (i / 4) as f32);
            let expected = (1.0 + (x + 0.5) / 2.0 - 0.5) + 10.0 * (2.0 + (y + 0.5) / 2.0 - 0.5);
            assert!((found - expected).abs() < 1e-5, "{i}: {found}, not {expected}");
        }
    }
}

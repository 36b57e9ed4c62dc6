//! Each image to mean 0 and standard deviation 1.

/// `(x − mean) / (std + 1e-6)` over all pixels and channels of one image.
///
/// The variance divides by n − 1, as PyTorch's `Tensor.std` does. A flat image becomes all 0.
pub fn standardise(pixels: &mut [f32]) {
    let n = pixels.len().max(1) as f64;
    let mean = pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let squares = pixels.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
    let std = (squares / (n - 1.0).max(1.0)).sqrt();
    for v in pixels {
        *v = ((f64::from(*v) - mean) / (std + 1e-6)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divides_by_n_minus_1() {
        let mut pixels = [1.0, 2.0, 3.0, 4.0];
        standardise(&mut pixels);
        let std = (5.0f64 / 3.0).sqrt() + 1e-6;
        for (found, want) in pixels.iter().zip([-1.5, -0.5, 0.5, 1.5]) {
            assert!((f64::from(*found) - want / std).abs() < 1e-6);
        }
    }

    #[test]
    fn flat_and_single_pixel_images_become_0() {
        let mut flat = [0.7; 9];
        standardise(&mut flat);
        assert!(flat.iter().all(|v| v.abs() < 1e-6));
        let mut one = [0.3];
        standardise(&mut one);
        assert_eq!(one, [0.0]);
    }
}

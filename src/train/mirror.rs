//! The mirror image of an image and of its map, for test-time augmentation: a model answers for both, and the mean of the
//! two answers counts.
//!
//! Left and right alone, as training mirrors images (`augment.flip`) and never turns them upside down: a network has not
//! learnt what a chest film on its head shows.

/// `pixels [height, width, channels]` with left and right exchanged.
pub fn mirror(pixels: &[f32], width: usize, channels: usize) -> Vec<f32> {
    let rows = pixels.chunks_exact((width * channels).max(1));
    rows.flat_map(|row| row.chunks_exact(channels.max(1)).rev().flatten().copied()).collect()
}

/// The mean of a map `[size, size, channels]` and of the map of the mirror image, which is mirrored back.
pub fn mean_with_mirrored(map: &[f32], of_mirrored: &[f32], size: usize, channels: usize) -> Vec<f32> {
    let back = mirror(of_mirrored, size, channels);
    map.iter().zip(back).map(|(a, b)| (a + b) / 2.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_turned_and_channels_are_not() {
        assert_eq!(mirror(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, 1), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        assert_eq!(mirror(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 1, 3), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(mirror(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3), [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]);
        assert!(mirror(&[], 3, 1).is_empty());
    }

    #[test]
    fn a_model_that_answers_alike_for_both_keeps_its_answer() {
        let map = [0.1, 0.9, 0.3, 1.0];
        assert_eq!(mean_with_mirrored(&map, &mirror(&map, 2, 1), 2, 1), map);
        assert_eq!(mean_with_mirrored(&[0.0, 1.0], &[0.0, 1.0], 2, 1), [0.5, 0.5]);
    }
}

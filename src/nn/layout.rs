//! Weights between this crate's layout and PyTorch's.
//!
//! Convolutions are `[kernel_h, kernel_w, in, out]` here and `[out, in, kernel_h, kernel_w]` there;
//! transposed ones `[kernel_h, kernel_w, out, in]` here and `[in, out, kernel_h, kernel_w]` there;
//! linear ones `[in, out]` here and `[out, in]` there. All three are one permutation by rank.

use crate::tape::Shape;

/// PyTorch's shape of a tensor of this crate's `shape`.
pub fn torch_shape(shape: &Shape) -> Vec<usize> {
    match *shape.dims() {
        [kernel_h, kernel_w, a, b] => vec![b, a, kernel_h, kernel_w],
        [a, b] => vec![b, a],
        _ => shape.dims().to_vec(),
    }
}

/// The numbers in PyTorch's order.
pub fn to_torch(shape: &Shape, data: &[f32]) -> Vec<f32> {
    let mut torch = vec![0.0; data.len()];
    for_each_pair(shape, |ours, theirs| torch[theirs] = data[ours]);
    torch
}

/// The numbers in this crate's order, from PyTorch's.
pub fn from_torch(shape: &Shape, torch: &[f32]) -> Vec<f32> {
    let mut data = vec![0.0; torch.len()];
    for_each_pair(shape, |ours, theirs| data[ours] = torch[theirs]);
    data
}

/// Calls `visit` with the index of each element here and there.
fn for_each_pair(shape: &Shape, mut visit: impl FnMut(usize, usize)) {
    let (taps, rows, columns) = match *shape.dims() {
        [kernel_h, kernel_w, a, b] => (kernel_h * kernel_w, a, b),
        [a, b] => (1, a, b),
        _ => (1, 1, shape.len()),
    };
    for tap in 0..taps {
        for row in 0..rows {
            for column in 0..columns {
                visit((tap * rows + row) * columns + column, (column * rows + row) * taps + tap);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolution_weight_is_permuted_and_comes_back() {
        // [kernel_h 1, kernel_w 2, in 3, out 2], numbered in order.
        let shape = Shape::from([1, 2, 3, 2]);
        let ours: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let torch = to_torch(&shape, &ours);
        assert_eq!(torch_shape(&shape), [2, 3, 1, 2]);
        // torch[o][i][0][kx] = ours[kx][i][o]
        assert_eq!(torch, [0., 6., 2., 8., 4., 10., 1., 7., 3., 9., 5., 11.]);
        assert_eq!(from_torch(&shape, &torch), ours);
    }

    #[test]
    fn a_vector_stays_as_it_is() {
        let shape = Shape::from([5]);
        assert_eq!(to_torch(&shape, &[1., 2., 3., 4., 5.]), [1., 2., 3., 4., 5.]);
        assert_eq!(torch_shape(&shape), [5]);
    }
}

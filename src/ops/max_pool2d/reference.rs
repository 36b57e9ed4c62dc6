//! The pool and its gradient in plain loops, f64.

use super::MaxPool2d;
use crate::reference::Tensor;
use crate::tape::Shape;

/// For each result, in order, the index of its input: the first of the largest, row by row; of
/// several NaN, the last.
fn places(pool: &MaxPool2d, input: &Tensor, output: &Shape) -> Result<Vec<usize>, String> {
    let [_, in_h, in_w, channels] = input.shape.nhwc()?;
    let [_, out_h, out_w, _] = output.nhwc()?;
    // Inputs below window `o` on an axis.
    let window = |o: usize, extent: usize| {
        let first = (o * pool.stride).saturating_sub(pool.padding);
        first..(o * pool.stride + pool.kernel - pool.padding).min(extent)
    };
    let place =
        |i: usize| {
            let (c, x, y) = (i % channels, i / channels % out_w, i / (channels * out_w) % out_h);
            let n = i / (channels * out_w * out_h);
            let inputs = window(y, in_h).flat_map(|in_y| {
                window(x, in_w).map(move |in_x| ((n * in_h + in_y) * in_w + in_x) * channels + c)
            });
            inputs.reduce(|best, at| {
                if input.data[at] > input.data[best] || input.data[at].is_nan() { at } else { best }
            })
        };
    Ok((0..output.len()).filter_map(place).collect())
}

pub fn forward(pool: &MaxPool2d, input: &Tensor, output: &Shape) -> Result<Vec<f64>, String> {
    Ok(places(pool, input, output)?.into_iter().map(|at| input.data[at]).collect())
}

pub fn grad(pool: &MaxPool2d, input: &Tensor, grad_output: &Tensor) -> Result<Vec<f64>, String> {
    let mut grad_input = vec![0.0; input.data.len()];
    for (at, gradient) in places(pool, input, &grad_output.shape)?.into_iter().zip(&grad_output.data) {
        grad_input[at] += gradient;
    }
    Ok(grad_input)
}

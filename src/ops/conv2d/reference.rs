//! Convolution and its gradients as plain loops in f64.

use super::geometry::Geometry;

/// Calls `visit(input index of channel 0, output index of channel 0, weight index of the tap)` for
/// every pair of pixels that a tap joins.
fn for_each_tap(g: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    let [in_h, in_w] = g.in_size;
    let [out_h, out_w] = g.out_size;
    for n in 0..g.batch {
        for oy in 0..out_h {
            for ox in 0..out_w {
                let output = ((n * out_h + oy) * out_w + ox) * g.out_channels;
                for ky in 0..g.kernel[0] {
                    for kx in 0..g.kernel[1] {
                        let (y, x) = (oy * g.stride + ky, ox * g.stride + kx);
                        if y < g.padding || x < g.padding {
                            continue;
                        }
                        let (y, x) = (y - g.padding, x - g.padding);
                        if y >= in_h || x >= in_w {
                            continue;
                        }
                        let input = ((n * in_h + y) * in_w + x) * g.in_channels;
                        let weight = (ky * g.kernel[1] + kx) * g.in_channels * g.out_channels;
                        visit(input, output, weight);
                    }
                }
            }
        }
    }
}

/// `output[o] = bias[o] + Σ input[i] · weight[i, o]` over taps and input channels.
pub fn forward(g: &Geometry, input: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let mut output = initial(g.output().len(), bias);
    for_each_tap(g, |at_input, at_output, at_weight| {
        let output = &mut output[at_output..at_output + g.out_channels];
        for i in 0..g.in_channels {
            let x = input[at_input + i];
            let weights = &weight[at_weight + i * g.out_channels..][..g.out_channels];
            for (y, w) in output.iter_mut().zip(weights) {
                *y += x * w;
            }
        }
    });
    output
}

/// `grad_input[i] = bias[i] + Σ grad_output[o] · weight[i, o]` over taps and output channels.
/// The bias is that of a transposed convolution.
pub fn grad_input(g: &Geometry, grad_output: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let mut grad_input = initial(g.input().len(), bias);
    for_each_tap(g, |at_input, at_output, at_weight| {
        let grad_output = &grad_output[at_output..at_output + g.out_channels];
        for i in 0..g.in_channels {
            let weights = &weight[at_weight + i * g.out_channels..][..g.out_channels];
            grad_input[at_input + i] += grad_output.iter().zip(weights).map(|(g, w)| g * w).sum::<f64>();
        }
    });
    grad_input
}

/// `grad_weight[i, o] = Σ input[i] · grad_output[o]` over all pixels that a tap joins.
pub fn grad_weight(g: &Geometry, input: &[f64], grad_output: &[f64]) -> Vec<f64> {
    let mut grad_weight = vec![0.0; g.weight().len()];
    for_each_tap(g, |at_input, at_output, at_weight| {
        let grad_output = &grad_output[at_output..at_output + g.out_channels];
        for i in 0..g.in_channels {
            let x = input[at_input + i];
            let sums = &mut grad_weight[at_weight + i * g.out_channels..][..g.out_channels];
            for (sum, g) in sums.iter_mut().zip(grad_output) {
                *sum += x * g;
            }
        }
    });
    grad_weight
}

fn initial(len: usize, bias: Option<&[f64]>) -> Vec<f64> {
    match bias {
        Some(bias) => bias.iter().copied().cycle().take(len).collect(),
        None => vec![0.0; len],
    }
}

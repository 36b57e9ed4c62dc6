//! The norm and its gradient in plain loops, f64.

use super::{Geometry, Norm};
use crate::reference::Tensor;

/// Calls `visit(set, channel, index)` for every element.
fn each(g: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    for index in 0..g.sets * g.pixels * g.channels {
        visit(index / (g.pixels * g.channels), index % g.channels, index);
    }
}

/// Mean and biased variance of each channel's group, `[sets, 2, channels]`.
pub fn stats(g: &Geometry, input: &[f64]) -> Vec<f64> {
    let count = (g.pixels * g.group_size) as f64;
    let group = |set: usize, channel: usize| (set * g.channels + channel) / g.group_size;
    let groups = g.sets * g.channels / g.group_size;
    let (mut means, mut variances) = (vec![0.0; groups], vec![0.0; groups]);
    each(g, |set, channel, i| means[group(set, channel)] += input[i] / count);
    each(g, |set, channel, i| {
        variances[group(set, channel)] += (input[i] - means[group(set, channel)]).powi(2) / count;
    });
    (0..g.sets)
        .flat_map(|set| [(set, &means), (set, &variances)])
        .flat_map(|(set, values)| (0..g.channels).map(move |channel| values[group(set, channel)]))
        .collect()
}

/// Mean and `1 / sqrt(variance + eps)` of a channel.
fn mean_and_inverse(g: &Geometry, norm: &Norm, stats: &[f64], set: usize, channel: usize) -> (f64, f64) {
    let at = 2 * set * g.channels + channel;
    (stats[at], 1.0 / (stats[at + g.channels] + f64::from(norm.eps)).sqrt())
}

/// Inputs: input, weight, bias, statistics.
pub fn forward(g: &Geometry, norm: &Norm, inputs: &[&Tensor]) -> Vec<f64> {
    let [input, weight, bias, stats] = [0, 1, 2, 3].map(|i| &inputs[i].data);
    let mut output = vec![0.0; input.len()];
    each(g, |set, channel, i| {
        let (mean, inverse) = mean_and_inverse(g, norm, stats, set, channel);
        let y = (input[i] - mean) * inverse * weight[channel] + bias[channel];
        output[i] = if norm.relu && y < 0.0 { 0.0 } else { y };
    });
    output
}

/// Sum of the gradient that passes the ReLU, and of its product with the normalised input,
/// `[sets, 2, channels]`. Inputs: those of the forward, gradient of the result.
pub fn grad_sums(g: &Geometry, norm: &Norm, inputs: &[&Tensor]) -> Vec<f64> {
    let [input, weight, bias, stats, grad_output] = [0, 1, 2, 3, 4].map(|i| &inputs[i].data);
    let mut sums = vec![0.0; 2 * g.sets * g.channels];
    each(g, |set, channel, i| {
        let (mean, inverse) = mean_and_inverse(g, norm, stats, set, channel);
        let normal = (input[i] - mean) * inverse;
        if !norm.relu || normal * weight[channel] + bias[channel] > 0.0 {
            sums[2 * set * g.channels + channel] += grad_output[i];
            sums[(2 * set + 1) * g.channels + channel] += grad_output[i] * normal;
        }
    });
    sums
}

/// Mean, scale, offset and slope, `[sets, 4, channels]`. Inputs: weight, statistics and, where the
/// gradient goes through the statistics, the sums.
pub fn grad_terms(g: &Geometry, norm: &Norm, inputs: &[&Tensor]) -> Vec<f64> {
    let [weight, stats] = [0, 1].map(|i| &inputs[i].data);
    let mut terms = vec![0.0; 4 * g.sets * g.channels];
    for set in 0..g.sets {
        for channel in 0..g.channels {
            let (mean, inverse) = mean_and_inverse(g, norm, stats, set, channel);
            let first = channel - channel % g.group_size;
            // Mean over the group of a row of the sums, each channel times its weight.
            let weighted_mean = |row: usize| match inputs.get(2) {
                Some(sums) => {
                    let at = (2 * set + row) * g.channels;
                    let group = first..first + g.group_size;
                    group.map(|k| weight[k] * sums.data[at + k]).sum::<f64>()
                        / (g.pixels * g.group_size) as f64
                }
                None => 0.0,
            };
            let values = [
                mean,
                weight[channel] * inverse,
                weighted_mean(0) * inverse,
                weighted_mean(1) * inverse * inverse,
            ];
            for (row, value) in values.into_iter().enumerate() {
                terms[(4 * set + row) * g.channels + channel] = value;
            }
        }
    }
    terms
}

/// Inputs: input, bias, terms, gradient of the result.
pub fn grad_input(g: &Geometry, norm: &Norm, inputs: &[&Tensor]) -> Vec<f64> {
    let [input, bias, terms, grad_output] = [0, 1, 2, 3].map(|i| &inputs[i].data);
    let mut grad_input = vec![0.0; input.len()];
    each(g, |set, channel, i| {
        let [mean, scale, offset, slope] =
            [0, 1, 2, 3].map(|row| terms[(4 * set + row) * g.channels + channel]);
        let distance = input[i] - mean;
        let passes = !norm.relu || distance * scale + bias[channel] > 0.0;
        let gradient = if passes { grad_output[i] } else { 0.0 };
        grad_input[i] = scale * gradient - offset - distance * slope;
    });
    grad_input
}

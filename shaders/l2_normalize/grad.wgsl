// l2_normalize_grad: factor * (grad_output - factor^2 * (sum of input * grad_output) * input), with
// factor = 1 / sqrt(sum of input^2 + epsilon), sums over the channels.
// Grid: one invocation for a pixel, folded into x and y.

struct Params {
    pixels: u32,
    channels: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.pixels {
        return;
    }
    let first = i * params.channels;
    let end = first + params.channels;
    var squares = params.epsilon;
    var along = 0.0;
    for (var k = first; k < end; k++) {
        squares += input[k] * input[k];
        along += input[k] * grad_output[k];
    }
    let factor = 1.0 / sqrt(squares);
    let part = along / squares;
    for (var k = first; k < end; k++) {
        grad_input[k] = factor * (grad_output[k] - part * input[k]);
    }
}

// l2_normalize over the channels: output = input / sqrt(sum of input^2 + epsilon).
// Grid: one invocation for a pixel, folded into x and y.

struct Params {
    pixels: u32,
    channels: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

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
    for (var k = first; k < end; k++) {
        squares += input[k] * input[k];
    }
    let factor = 1.0 / sqrt(squares);
    for (var k = first; k < end; k++) {
        output[k] = factor * input[k];
    }
}

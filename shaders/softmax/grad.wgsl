// softmax_grad: output * (grad_output - sum of output * grad_output over the channels).
// Grid: one invocation for a pixel, folded into x and y.

struct Params {
    pixels: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> output: array<f32>;
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
    var sum = 0.0;
    for (var k = first; k < end; k++) {
        sum += output[k] * grad_output[k];
    }
    for (var k = first; k < end; k++) {
        grad_input[k] = output[k] * (grad_output[k] - sum);
    }
}

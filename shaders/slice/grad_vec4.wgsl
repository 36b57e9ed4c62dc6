// slice_grad: grad_output where it came from, 0 elsewhere; channels counted in vec4s of channels.
// Grid: one invocation for a result, groups folded into x and y.

alias GradOutput = vec4f;
alias GradInput = vec4f;

struct Params {
    /// Results in all, and for a pixel.
    count: u32,
    channels: u32,
    /// First channel of the slice, and its channels.
    start: u32,
    length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad_output: array<GradOutput>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<GradInput>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.count {
        return;
    }
    let pixel = i / params.channels;
    let c = i % params.channels;
    var grad = vec4f(0.0);
    if c >= params.start && c < params.start + params.length {
        grad = vec4f(grad_output[pixel * params.length + (c - params.start)]);
    }
    grad_input[i] = GradInput(grad);
}

// global_average_pool_grad: grad_input[n, p, c] = factor * grad_output[n, c]. T is f32 or vec4f;
// channels counts Ts.
// Grid: one invocation for an (n, t, c); it does the pixels t, t + threads, … of the image.

alias GradInput = T;

struct Params {
    batch: u32,
    pixels: u32,
    channels: u32,
    threads: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad_output: array<T>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<GradInput>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.batch * params.threads * params.channels {
        return;
    }
    let c = i % params.channels;
    let t = (i / params.channels) % params.threads;
    let n = i / (params.channels * params.threads);
    let gradient = params.factor * grad_output[n * params.channels + c];
    for (var p = t; p < params.pixels; p += params.threads) {
        grad_input[(n * params.pixels + p) * params.channels + c] = GradInput(gradient);
    }
}

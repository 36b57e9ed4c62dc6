// norm: output = (input - mean) * weight / sqrt(variance + eps) + bias, then perhaps relu.
// T is f32 or vec4f; channels counts Ts.
// Grid: one invocation for a (set, t, channel); it does the pixels t, t + threads, … of the set, so
// that what belongs to the channel is loaded once for all of them.

alias Input = T;
alias Output = T;

struct Params {
    sets: u32,
    pixels: u32,
    channels: u32,
    threads: u32,
    eps: f32,
    relu: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> weight: array<T>;
@group(0) @binding(3) var<storage, read> bias: array<T>;
/// [sets, 2, channels]: mean, variance.
@group(0) @binding(4) var<storage, read> stats: array<T>;
@group(0) @binding(5) var<storage, read_write> output: array<Output>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.sets * params.threads * params.channels {
        return;
    }
    let c = i % params.channels;
    let row = i / params.channels;
    let t = row % params.threads;
    let s = row / params.threads;
    let mean = stats[2u * s * params.channels + c];
    let variance = stats[(2u * s + 1u) * params.channels + c];
    let scale = weight[c] / sqrt(variance + params.eps);
    let shift = bias[c];
    let stride = params.threads * params.channels;
    let count = (params.pixels - t + params.threads - 1u) / params.threads;
    var at = (s * params.pixels + t) * params.channels + c;
    for (var k = 0u; k < count; k++) {
        let y = (T(input[at]) - mean) * scale + shift;
        // NaN stays NaN.
        output[at] = Output(select(y, T(0.0), (y < T(0.0)) & B(params.relu != 0u)));
        at += stride;
    }
}

// norm, gradient, first pass: sums of g and of g * x̂ of each channel over the pixels t,
// t + threads, … of a set, where x̂ = (input - mean) / sqrt(variance + eps) and g is grad_output,
// less what relu holds back. partial [sets, threads, 2, channels].
// T is f32 or vec4f; channels counts Ts. Grid: one invocation for a (set, t, channel).

alias Input = T;
alias GradOutput = T;

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
@group(0) @binding(5) var<storage, read> grad_output: array<GradOutput>;
@group(0) @binding(6) var<storage, read_write> partial: array<T>;

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
    let deviation = sqrt(variance + params.eps);
    let scale = weight[c] / deviation;
    let shift = bias[c];
    let stride = params.threads * params.channels;
    let count = (params.pixels - t + params.threads - 1u) / params.threads;
    var at = (s * params.pixels + t) * params.channels + c;
    var sum = T(0.0);
    var products = T(0.0);
    for (var k = 0u; k < count; k++) {
        let distance = T(input[at]) - mean;
        // The forward's own expression, cheaper than a load of its result.
        let passes = (distance * scale + shift > T(0.0)) | B(params.relu == 0u);
        let g = select(T(0.0), T(grad_output[at]), passes);
        sum += g;
        products += g * distance;
        at += stride;
    }
    partial[2u * row * params.channels + c] = sum;
    partial[(2u * row + 1u) * params.channels + c] = products / deviation;
}

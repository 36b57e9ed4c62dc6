// norm, gradient of the input: scale * g - offset - (input - mean) * slope, where g is grad_output,
// less what relu holds back. T is f32 or vec4f; channels counts Ts.
// Grid: one invocation for a (set, t, channel); it does the pixels t, t + threads, … of the set.

alias Input = T;
alias GradOutput = T;
alias GradInput = T;

struct Params {
    sets: u32,
    pixels: u32,
    channels: u32,
    threads: u32,
    relu: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> bias: array<T>;
/// [sets, 4, channels]: mean, scale, offset, slope.
@group(0) @binding(3) var<storage, read> terms: array<T>;
@group(0) @binding(4) var<storage, read> grad_output: array<GradOutput>;
@group(0) @binding(5) var<storage, read_write> grad_input: array<GradInput>;

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
    let mean = terms[4u * s * params.channels + c];
    let scale = terms[(4u * s + 1u) * params.channels + c];
    let offset = terms[(4u * s + 2u) * params.channels + c];
    let slope = terms[(4u * s + 3u) * params.channels + c];
    let shift = bias[c];
    let stride = params.threads * params.channels;
    let count = (params.pixels - t + params.threads - 1u) / params.threads;
    var at = (s * params.pixels + t) * params.channels + c;
    for (var k = 0u; k < count; k++) {
        let distance = T(input[at]) - mean;
        let passes = (distance * scale + shift > T(0.0)) | B(params.relu == 0u);
        let g = select(T(0.0), T(grad_output[at]), passes);
        grad_input[at] = GradInput(scale * g - offset - distance * slope);
        at += stride;
    }
}

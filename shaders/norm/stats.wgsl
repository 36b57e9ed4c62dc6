// norm, statistics, first pass: the mean, and the sum of squared distances from it, of each channel
// over the pixels p = t, t + threads, … of a set. partial [sets, threads, 2, channels].
// T is f32 or vec4f; channels counts Ts. Grid: one invocation for a (set, t, channel).

alias Input = T;

struct Params {
    sets: u32,
    pixels: u32,
    channels: u32,
    threads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read_write> partial: array<T>;

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
    let stride = params.threads * params.channels;
    let count = (params.pixels - t + params.threads - 1u) / params.threads;
    var at = (s * params.pixels + t) * params.channels + c;
    // Distances from one of the numbers themselves: no large mean is squared and taken away again.
    let shift = T(input[at]);
    var sum = T(0.0);
    var squares = T(0.0);
    for (var k = 1u; k < count; k++) {
        at += stride;
        let distance = T(input[at]) - shift;
        sum += distance;
        squares += distance * distance;
    }
    let offset = sum / f32(count);
    let rest = squares - sum * offset;
    partial[2u * row * params.channels + c] = shift + offset;
    partial[(2u * row + 1u) * params.channels + c] = select(rest, T(0.0), rest < T(0.0));
}

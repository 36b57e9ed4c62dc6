// channel_sum: partial[t, c] = sum of input[p, c] over the pixels p = t, t + threads, ….
// Two passes make [1, channels]: many threads, then one. Grid: one invocation for a (t, c).

struct Params {
    pixels: u32,
    channels: u32,
    threads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.threads * params.channels {
        return;
    }
    let channel = i % params.channels;
    var sum = 0.0;
    for (var p = i / params.channels; p < params.pixels; p += params.threads) {
        sum += input[p * params.channels + channel];
    }
    partial[i] = sum;
}

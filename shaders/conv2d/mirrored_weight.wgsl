// The weights by which a convolution's gradient of the input is itself a convolution: taps in reverse, input and output
// channels exchanged.
//
// weights: [taps][in][out]. mirrored: [taps][out][in], in quads.
// Grid: one invocation for a quad, groups folded into x and y.

struct Params {
    taps: u32,
    in_channels: u32,
    out_channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> mirrored: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    let quads = params.in_channels / 4u;
    if i >= params.taps * params.out_channels * quads {
        return;
    }
    let from_channel = i / quads % params.out_channels;
    let tap = params.taps - 1u - i / quads / params.out_channels;
    let next = params.out_channels;
    let at = (tap * params.in_channels + i % quads * 4u) * next + from_channel;
    mirrored[i] = vec4f(weights[at], weights[at + next], weights[at + 2u * next], weights[at + 3u * next]);
}

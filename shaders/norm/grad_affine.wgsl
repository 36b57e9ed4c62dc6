// norm, gradient of the bias (row 0) or the weight (row 1): the sum over the sets of one row of
// sums [sets, 2, channels]. Grid: one invocation for a channel.

struct Params {
    sets: u32,
    channels: u32,
    row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.channels {
        return;
    }
    var sum = 0.0;
    for (var s = 0u; s < params.sets; s++) {
        sum += sums[(2u * s + params.row) * params.channels + i];
    }
    output[i] = sum;
}

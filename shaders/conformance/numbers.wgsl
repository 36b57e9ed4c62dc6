// A number for each index, of 24 bits, so that f32 has it exactly: what lands in the wrong place is seen.
//
// output: [count]. Grid: one invocation for a number, groups folded into x, y and z.

struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = ((group.z * groups.y + group.y) * groups.x + group.x) * 64u + local;
    if i < params.count {
        output[i] = f32((i * 2654435761u) >> 8u);
    }
}

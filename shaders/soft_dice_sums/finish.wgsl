// soft_dice_sums: sums[sample] = the sum of its partial sums. Grid: one invocation for a sample.

struct Params {
    samples: u32,
    /// Partial sums of a sample.
    threads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let sample = (group.y * groups.x + group.x) * 64u + local;
    if sample >= params.samples {
        return;
    }
    var sum = vec4f(0.0);
    for (var t = 0u; t < params.threads; t++) {
        sum += partial[sample * params.threads + t];
    }
    sums[3u * sample] = sum.x;
    sums[3u * sample + 1u] = sum.y;
    sums[3u * sample + 2u] = sum.z;
}

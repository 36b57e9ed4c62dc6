// running_update: running = (1 - momentum) * running + momentum * new, where the new variance is the
// unbiased one. Grid: one invocation for a channel.

struct Params {
    channels: u32,
    momentum: f32,
    /// count / (count - 1).
    unbiased: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> variance: array<f32>;
/// [1, 2, channels]: mean, biased variance.
@group(0) @binding(3) var<storage, read> stats: array<f32>;

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
    let keep = 1.0 - params.momentum;
    mean[i] = keep * mean[i] + params.momentum * stats[i];
    let unbiased = params.unbiased * stats[params.channels + i];
    variance[i] = keep * variance[i] + params.momentum * unbiased;
}

// sum: output[t] = factor * sum of input[t + k * threads] over k, in that order.
// Two passes make one number: many threads, then one. Grid: one invocation for an output.

struct Params {
    count: u32,
    threads: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.y * groups.x + group.x) * 64u + local;
    if t >= params.threads {
        return;
    }
    var sum = 0.0;
    for (var i = t; i < params.count; i += params.threads) {
        sum += input[i];
    }
    output[t] = params.factor * sum;
}

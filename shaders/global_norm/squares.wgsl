// global_norm: partial sums of the squares of one input.
// Grid: one invocation for a partial sum; thread t takes the vec4s t, t + threads, ...

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
    threads: u32,
    count: u32,
    /// Where this input's partial sums start.
    start: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

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
    var sum = vec4f(0.0);
    for (var i = t; i < params.vectors; i += params.threads) {
        let x = input[i];
        // The last vec4 may hold padding, which may be anything.
        let elements = 4u * i + vec4u(0u, 1u, 2u, 3u);
        sum += select(vec4f(0.0), x * x, elements < vec4u(params.count));
    }
    partial[params.start + t] = (sum.x + sum.y) + (sum.z + sum.w);
}

// bce_with_logits: partial sums of (1 - y) max(x, 0) + v y max(-x, 0) + w log(1 + exp(-|x|)), where
// v = positive_weight and w = 1 + (v - 1) y. For y in 0..1 all terms are positive, so none cancel.
// Grid: one invocation for a partial sum; thread t takes the vec4s t, t + threads, ...

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
    threads: u32,
    count: u32,
    positive_weight: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;
@group(0) @binding(2) var<storage, read> truth: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

/// log(1 + e) for e in 0..1 by 2 artanh(e / (2 + e)), whose series to the 13th power is enough for
/// f32. Right to rounding where e is tiny, too, which log(1 + e) is not.
fn log1p(e: vec4f) -> vec4f {
    let s = e / (2.0 + e);
    let t = s * s;
    let series = 1.0 / 3.0 + t * (0.2 + t * (1.0 / 7.0 + t * (1.0 / 9.0 + t * (1.0 / 11.0 + t / 13.0))));
    return 2.0 * s * (1.0 + t * series);
}

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
        let x = logits[i];
        let y = truth[i];
        let positive = params.positive_weight * y;
        let size = abs(x);
        let linear = select(1.0 - y, positive, x < vec4f(0.0)) * size;
        let term = linear + (1.0 - y + positive) * log1p(exp(-size));
        // The last vec4 may hold padding, which may be anything.
        let elements = 4u * i + vec4u(0u, 1u, 2u, 3u);
        sum += select(vec4f(0.0), term, elements < vec4u(params.count));
    }
    partial[t] = (sum.x + sum.y) + (sum.z + sum.w);
}

// soft_dice_sums: for each sample partial sums of p y, p and y, where p = sigmoid(logits).
// partial [samples, threads, 3].
// Grid: one invocation for a partial sum; thread t of a sample takes its vec4s t, t + threads, ...

struct Params {
    samples: u32,
    /// Elements of a sample.
    count: u32,
    /// Partial sums of a sample.
    threads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;
@group(0) @binding(2) var<storage, read> truth: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let at = (group.y * groups.x + group.x) * 64u + local;
    if at >= params.samples * params.threads {
        return;
    }
    let sample = at / params.threads;
    let t = at % params.threads;
    // A sample's first and last vec4 may be shared with its neighbours, or hold padding.
    let low = sample * params.count;
    let high = low + params.count;
    var both = vec4f(0.0);
    var predicted = vec4f(0.0);
    var labelled = vec4f(0.0);
    for (var i = low / 4u + t; 4u * i < high; i += params.threads) {
        let elements = 4u * i + vec4u(0u, 1u, 2u, 3u);
        let inside = (elements >= vec4u(low)) & (elements < vec4u(high));
        let x = logits[i];
        let e = exp(-abs(x));
        let p = select(vec4f(0.0), select(vec4f(1.0), e, x < vec4f(0.0)) / (1.0 + e), inside);
        let y = select(vec4f(0.0), truth[i], inside);
        both += p * y;
        predicted += p;
        labelled += y;
    }
    let ones = vec4f(1.0);
    partial[3u * at] = dot(both, ones);
    partial[3u * at + 1u] = dot(predicted, ones);
    partial[3u * at + 2u] = dot(labelled, ones);
}

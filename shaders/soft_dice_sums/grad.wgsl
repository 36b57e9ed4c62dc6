// soft_dice_sums_grad: grad_logits = (g0 y + g1) p (1 - p), where p = sigmoid(logits) and g0, g1 are
// the gradients of the sample's sums of p y and of p.
// Grid: one invocation for a vec4, groups folded into x and y.

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
    samples: u32,
    /// Elements of a sample.
    count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;
@group(0) @binding(2) var<storage, read> truth: array<vec4f>;
@group(0) @binding(3) var<storage, read> grad_sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_logits: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.vectors {
        return;
    }
    let x = logits[i];
    let e = exp(-abs(x));
    // p (1 - p) without a difference: e / (1 + e)^2.
    let slope = e / ((1.0 + e) * (1.0 + e));
    // Samples of the first and the last lane; the padding may be of none.
    let first = 4u * i / params.count;
    let last = min((4u * i + 3u) / params.count, params.samples - 1u);
    var grad_both = vec4f(grad_sums[3u * first]);
    var grad_predicted = vec4f(grad_sums[3u * first + 1u]);
    if last != first {
        for (var lane = 1u; lane < 4u; lane++) {
            let sample = min((4u * i + lane) / params.count, params.samples - 1u);
            grad_both[lane] = grad_sums[3u * sample];
            grad_predicted[lane] = grad_sums[3u * sample + 1u];
        }
    }
    grad_logits[i] = (grad_both * truth[i] + grad_predicted) * slope;
}

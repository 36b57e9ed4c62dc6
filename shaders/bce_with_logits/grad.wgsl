// bce_with_logits_grad: factor * grad_output * ((1 - y) - w (1 - sigmoid(x))), where
// w = 1 + (positive_weight - 1) y and factor = 1 / elements.
// Grid: one invocation for a vec4, groups folded into x and y.

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
    factor: f32,
    positive_weight: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;
@group(0) @binding(2) var<storage, read> truth: array<vec4f>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
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
    let y = truth[i];
    let weight = 1.0 + (params.positive_weight - 1.0) * y;
    let e = exp(-abs(x));
    let one_minus_sigmoid = select(e, vec4f(1.0), x < vec4f(0.0)) / (1.0 + e);
    grad_logits[i] = params.factor * grad_output[0] * ((1.0 - y) - weight * one_minus_sigmoid);
}

// kl_distillation_binary_grad: factor * grad_output * (sigmoid(student / T) - sigmoid(teacher / T)),
// with factor = T / elements.
// Grid: one invocation for a vec4, groups folded into x and y.

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
    factor: f32,
    /// 1 / T
    inverse_temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> student: array<vec4f>;
@group(0) @binding(2) var<storage, read> teacher: array<vec4f>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_student: array<vec4f>;

/// exp never overflows: its argument is <= 0.
fn sigmoid(x: vec4f) -> vec4f {
    let e = exp(-abs(x));
    return select(vec4f(1.0), e, x < vec4f(0.0)) / (1.0 + e);
}

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
    let p = sigmoid(params.inverse_temperature * student[i]);
    let q = sigmoid(params.inverse_temperature * teacher[i]);
    grad_student[i] = params.factor * grad_output[0] * (p - q);
}

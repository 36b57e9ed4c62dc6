// mse_grad: factor * grad_output * (prediction - truth), with factor = 2 / elements.
// Grid: one invocation for a vec4, groups folded into x and y.

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> prediction: array<vec4f>;
@group(0) @binding(2) var<storage, read> truth: array<vec4f>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_prediction: array<vec4f>;

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
    grad_prediction[i] = params.factor * grad_output[0] * (prediction[i] - truth[i]);
}

// adam: Adam or AdamW; one of the two weight decays is 0. See the op for the formulas.
// Grid: one invocation for a vec4, groups folded into x and y.

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
    /// Where in gradient_scale the scale is.
    scale_at: u32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    epsilon: f32,
    /// Added to the gradient: Adam.
    coupled_decay: f32,
    /// Taken off the parameter: AdamW.
    decoupled_decay: f32,
}

// gradient_scale[1] of 0 leaves the update out.
override SKIPS: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> parameter: array<vec4f>;
@group(0) @binding(2) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> first_moment: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> second_moment: array<vec4f>;
@group(0) @binding(5) var<storage, read> hyper: array<f32>;
@group(0) @binding(6) var<storage, read> gradient_scale: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.vectors || (SKIPS && gradient_scale[1] == 0.0) {
        return;
    }
    let rate = hyper[0];
    let p = parameter[i];
    let g = gradient_scale[params.scale_at] * gradient[i] + params.coupled_decay * p;
    var m = first_moment[i];
    m += params.one_minus_beta1 * (g - m);
    let v = params.beta2 * second_moment[i] + params.one_minus_beta2 * g * g;
    first_moment[i] = m;
    second_moment[i] = v;
    let divisor = sqrt(v) / sqrt(hyper[2]) + params.epsilon;
    parameter[i] = p - rate * params.decoupled_decay * p - rate / hyper[1] * (m / divisor);
}

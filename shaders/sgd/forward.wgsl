// sgd: g = scale grad + weight_decay p, velocity = momentum velocity + g, p = p - rate velocity.
// Grid: one invocation for a vec4, groups folded into x and y.

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
    /// Where in gradient_scale the scale is.
    scale_at: u32,
    momentum: f32,
    weight_decay: f32,
}

// gradient_scale[1] of 0 leaves the update out.
override SKIPS: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> parameter: array<vec4f>;
@group(0) @binding(2) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> velocity: array<vec4f>;
@group(0) @binding(4) var<storage, read> hyper: array<f32>;
@group(0) @binding(5) var<storage, read> gradient_scale: array<f32>;

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
    let p = parameter[i];
    let g = gradient_scale[params.scale_at] * gradient[i] + params.weight_decay * p;
    let v = params.momentum * velocity[i] + g;
    velocity[i] = v;
    parameter[i] = p - hyper[0] * v;
}

// clip_scale: min(1, max_norm / (norm + 1e-6)). NaN stays NaN. Grid: one invocation.

struct Params {
    max_norm: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> norm: array<f32>;
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;

@compute @workgroup_size(1)
fn main() {
    let ratio = params.max_norm / (norm[0] + 1e-6);
    scale[0] = select(ratio, 1.0, ratio > 1.0);
}

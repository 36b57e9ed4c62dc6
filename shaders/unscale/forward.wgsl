// unscale: [factor, taken, norm] of the gradient of a scaled loss, from its norm. Grid: one invocation.

struct Params {
    max_norm: f32,
}

override CLIP: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> norm: array<f32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(1)
fn main() {
    // By the bits: a compiler may take it that every number is finite.
    let finite = (bitcast<u32>(norm[0]) & 0x7f800000u) != 0x7f800000u;
    let unscaled = norm[0] / scale[0];
    let ratio = params.max_norm / (unscaled + 1e-6);
    let clip = select(1.0, ratio, CLIP && ratio < 1.0);
    output[0] = select(0.0, clip / scale[0], finite);
    output[1] = select(0.0, 1.0, finite);
    output[2] = unscaled;
}

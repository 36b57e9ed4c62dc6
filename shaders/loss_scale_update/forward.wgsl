// loss_scale_update: half the scale where the norm is not finite; twice as much after growth_steps finite
// ones in line. Grid: one invocation.

struct Params {
    growth_steps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> norm: array<f32>;
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> good_steps: array<f32>;

@compute @workgroup_size(1)
fn main() {
    // By the bits: a compiler may take it that every number is finite.
    let finite = (bitcast<u32>(norm[0]) & 0x7f800000u) != 0x7f800000u;
    let good = select(0.0, good_steps[0] + 1.0, finite);
    let grows = good >= params.growth_steps;
    scale[0] = scale[0] * select(select(0.5, 1.0, finite), 2.0, grows);
    good_steps[0] = select(good, 0.0, grows);
}

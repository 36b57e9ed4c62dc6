// global_norm: the square root of the sum of the partial sums. Grid: one invocation.

struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> norm: array<f32>;

@compute @workgroup_size(1)
fn main() {
    var sum = 0.0;
    for (var i = 0u; i < params.count; i++) {
        sum += partial[i];
    }
    norm[0] = sqrt(sum);
}

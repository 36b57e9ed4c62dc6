// One dispatch as long as is asked for: a chain x <- a x + c of whole numbers modulo 2^32, whose end can be computed without
// its steps.
//
// output: [64], the upper 24 bits of the end of each invocation's chain. Grid: one workgroup.

struct Params {
    steps: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
    var x = local;
    for (var i = 0u; i < params.steps; i++) {
        x = x * 1664525u + 1013904223u;
    }
    output[local] = f32(x >> 8u);
}

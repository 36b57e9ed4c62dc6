enable f16;

// Multiply-adds of f16 and nothing else: the adapter's own ceiling. Each invocation runs CHAINS vec4s of
// them that do not wait for one another; each round is 8 multiply-adds long. Two of them, with addends
// `odd` and `even`, make x + even − odd of x when the factor is −1: whole numbers, exact in f16, that
// tell how many were done.
//
// Grid: any. output: one number an invocation.

struct Params {
    rounds: u32,
    factor: f32,
    odd: f32,
    even: f32,
}

override CHAINS: u32 = 4;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

fn step(value: vec4<f16>, addend: vec4<f16>) -> vec4<f16> {
    return fma(value, vec4<f16>(f16(params.factor)), addend);
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
    let odd = vec4<f16>(f16(params.odd));
    let even = vec4<f16>(f16(params.even));
    var a = vec4<f16>(f16(lane));
    var b = vec4<f16>(f16(lane + 1u));
    var c = vec4<f16>(f16(lane + 2u));
    var d = vec4<f16>(f16(lane + 3u));
    var e = vec4<f16>(f16(lane + 4u));
    var f = vec4<f16>(f16(lane + 5u));
    for (var round = 0u; round < params.rounds; round++) {
        for (var i = 0u; i < 4u; i++) {
            a = step(step(a, odd), even);
            b = step(step(b, odd), even);
            c = step(step(c, odd), even);
            if CHAINS > 3u {
                d = step(step(d, odd), even);
            }
            if CHAINS > 4u {
                e = step(step(e, odd), even);
                f = step(step(f, odd), even);
            }
        }
    }
    // In f32: the sum is too large to be exact in f16.
    let sum = vec4f(a) + vec4f(b) + vec4f(c) + vec4f(d) + vec4f(e) + vec4f(f);
    output[group.x * 64u + lane] = sum.x + sum.y + sum.z + sum.w;
}

// Multiply-adds and nothing else: the adapter's own ceiling. Each invocation runs CHAINS vec4s of
// them that do not wait for one another; each round is 8 multiply-adds long.
//
// Grid: any. output: one number an invocation.

struct Params {
    rounds: u32,
    factor: f32,
    addend: f32,
}

override CHAINS: u32 = 4;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

fn step(value: vec4f) -> vec4f {
    return fma(value, vec4f(params.factor), vec4f(params.addend));
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
    let seed = f32(lane) * params.addend;
    var a = vec4f(seed);
    var b = vec4f(seed + 1.0);
    var c = vec4f(seed + 2.0);
    var d = vec4f(seed + 3.0);
    var e = vec4f(seed + 4.0);
    var f = vec4f(seed + 5.0);
    for (var round = 0u; round < params.rounds; round++) {
        for (var i = 0u; i < 8u; i++) {
            a = step(a);
            b = step(b);
            c = step(c);
            if CHAINS > 3u {
                d = step(d);
            }
            if CHAINS > 4u {
                e = step(e);
                f = step(f);
            }
        }
    }
    let sum = a + b + c + d + e + f;
    output[group.x * 64u + lane] = sum.x + sum.y + sum.z + sum.w;
}

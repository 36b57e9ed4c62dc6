// max_pool2d of 2x2 windows that lie side by side: the largest input of each; NaN if one is NaN.
// T is f32 or vec4f; channels counts Ts. Grid: one invocation for an output T, folded into x and y.

alias Input = T;
alias Output = T;

struct Params {
    batch: u32,
    in_h: u32,
    in_w: u32,
    channels: u32,
    out_h: u32,
    out_w: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read_write> output: array<Output>;

/// By the bits: a compiler may take it that no number is NaN.
fn is_nan(x: T) -> B {
    return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u);
}

fn larger(a: T, b: T) -> T {
    return select(a, b, (b > a) | is_nan(b));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.batch * params.out_h * params.out_w * params.channels {
        return;
    }
    let c = i % params.channels;
    let pixel = i / params.channels;
    let x = pixel % params.out_w;
    let y = (pixel / params.out_w) % params.out_h;
    let n = pixel / (params.out_w * params.out_h);
    let top = ((n * params.in_h + 2u * y) * params.in_w + 2u * x) * params.channels + c;
    let bottom = top + params.in_w * params.channels;
    let upper = larger(T(input[top]), T(input[top + params.channels]));
    output[i] = Output(larger(larger(upper, T(input[bottom])), T(input[bottom + params.channels])));
}

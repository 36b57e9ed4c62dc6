// max_pool2d: the largest input of each window; NaN if one is NaN. Padding is never the largest.
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
    kernel: u32,
    stride: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read_write> output: array<Output>;

/// By the bits: a compiler may take it that no number is NaN.
fn is_nan(x: T) -> B {
    return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u);
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
    // The window without the padding. It is not empty, as padding is half the kernel at most.
    let y_first = max(y * params.stride, params.padding) - params.padding;
    let x_first = max(x * params.stride, params.padding) - params.padding;
    let y_end = min(y * params.stride + params.kernel - params.padding, params.in_h);
    let x_end = min(x * params.stride + params.kernel - params.padding, params.in_w);
    var largest = T(-0x1.fffffep+127f);
    var found = B(false);
    for (var in_y = y_first; in_y < y_end; in_y++) {
        var at = ((n * params.in_h + in_y) * params.in_w + x_first) * params.channels + c;
        for (var in_x = x_first; in_x < x_end; in_x++) {
            let value = T(input[at]);
            // What comes first is taken even if it is −∞.
            largest = select(largest, value, (value > largest) | is_nan(value) | !found);
            found = B(true);
            at += params.channels;
        }
    }
    output[i] = Output(largest);
}

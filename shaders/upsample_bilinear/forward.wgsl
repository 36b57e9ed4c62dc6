// upsample_bilinear: on each axis, output o lies at (o + 1/2) / factor - 1/2 of the input, but not
// below 0, and mixes the input below it and the one above. T is f32 or vec4f; channels counts Ts.
// Grid: one invocation for an output T, folded into x and y.

alias Input = T;
alias Output = T;

struct Params {
    batch: u32,
    in_h: u32,
    in_w: u32,
    channels: u32,
    factor: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read_write> output: array<Output>;

/// The place of output `o` on an axis, in parts of an input of which there are 2 * factor.
fn place(o: u32) -> u32 {
    return max(2u * o + 1u, params.factor) - params.factor;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    let out_h = params.in_h * params.factor;
    let out_w = params.in_w * params.factor;
    if i >= params.batch * out_h * out_w * params.channels {
        return;
    }
    let c = i % params.channels;
    let pixel = i / params.channels;
    let parts = 2u * params.factor;
    let y = place((pixel / out_w) % out_h);
    let x = place(pixel % out_w);
    let n = pixel / (out_w * out_h);
    let y0 = y / parts;
    let x0 = x / parts;
    let y1 = min(y0 + 1u, params.in_h - 1u);
    let x1 = min(x0 + 1u, params.in_w - 1u);
    let v = f32(y % parts) / f32(parts);
    let u = f32(x % parts) / f32(parts);
    let row0 = (n * params.in_h + y0) * params.in_w;
    let row1 = (n * params.in_h + y1) * params.in_w;
    let upper = (1.0 - u) * T(input[(row0 + x0) * params.channels + c])
        + u * T(input[(row0 + x1) * params.channels + c]);
    let lower = (1.0 - u) * T(input[(row1 + x0) * params.channels + c])
        + u * T(input[(row1 + x1) * params.channels + c]);
    output[i] = Output((1.0 - v) * upper + v * lower);
}

// upsample_bilinear_grad: the sum of the gradients of the outputs that an input has a share in,
// each times the share. T is f32 or vec4f; channels counts Ts. Grid: one invocation for an input T,
// folded into x and y.

alias GradOutput = T;
alias GradInput = T;

struct Params {
    batch: u32,
    in_h: u32,
    in_w: u32,
    channels: u32,
    factor: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad_output: array<GradOutput>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<GradInput>;

/// The share of input `i` of `extent` in output `o`, on one axis.
fn share(i: u32, o: u32, extent: u32) -> f32 {
    let parts = 2u * params.factor;
    let place = max(2u * o + 1u, params.factor) - params.factor;
    let below = place / parts;
    let above = min(below + 1u, extent - 1u);
    let fraction = f32(place % parts) / f32(parts);
    return select(0.0, 1.0 - fraction, below == i) + select(0.0, fraction, above == i);
}

/// The first output that input `i` may have a share in.
fn first_output(i: u32) -> u32 {
    let reach = (params.factor + 1u) / 2u;
    return max(i * params.factor, reach) - reach;
}

/// One more than the last output that input `i` of `extent` may have a share in.
fn end_output(i: u32, extent: u32) -> u32 {
    return min(i * params.factor + 3u * params.factor / 2u + 1u, extent * params.factor);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.batch * params.in_h * params.in_w * params.channels {
        return;
    }
    let c = i % params.channels;
    let pixel = i / params.channels;
    let x = pixel % params.in_w;
    let y = (pixel / params.in_w) % params.in_h;
    let n = pixel / (params.in_w * params.in_h);
    let y_end = end_output(y, params.in_h);
    let x_end = end_output(x, params.in_w);
    var sum = T(0.0);
    for (var out_y = first_output(y); out_y < y_end; out_y++) {
        let v = share(y, out_y, params.in_h);
        if v == 0.0 {
            continue;
        }
        let row = (n * params.in_h * params.factor + out_y) * params.in_w * params.factor;
        for (var out_x = first_output(x); out_x < x_end; out_x++) {
            let u = share(x, out_x, params.in_w);
            if u == 0.0 {
                continue;
            }
            sum += u * v * T(grad_output[(row + out_x) * params.channels + c]);
        }
    }
    grad_input[i] = GradInput(sum);
}

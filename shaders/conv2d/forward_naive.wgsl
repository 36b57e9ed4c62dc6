// conv2d, forward: output[n, y, x, o] = bias[o] + sum of input * weight over taps and channels.
// Any kernel, stride and padding. NHWC; weight [kernel_h, kernel_w, in_channels, out_channels].
// Grid: one invocation for an output element, groups folded into x and y.

struct Params {
    batch: u32,
    in_h: u32,
    in_w: u32,
    in_channels: u32,
    out_h: u32,
    out_w: u32,
    out_channels: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride: u32,
    padding: u32,
    has_bias: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
/// Any buffer when `has_bias` is 0.
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * 64u + local;
    if index >= params.batch * params.out_h * params.out_w * params.out_channels {
        return;
    }
    let o = index % params.out_channels;
    let pixel = index / params.out_channels;
    let x = pixel % params.out_w;
    let y = (pixel / params.out_w) % params.out_h;
    let n = pixel / (params.out_w * params.out_h);

    var sum = 0.0;
    for (var ky = 0u; ky < params.kernel_h; ky++) {
        // Left of the image wraps to a huge number, which is no less than the extent either.
        let in_y = y * params.stride + ky - params.padding;
        if in_y >= params.in_h {
            continue;
        }
        for (var kx = 0u; kx < params.kernel_w; kx++) {
            let in_x = x * params.stride + kx - params.padding;
            if in_x >= params.in_w {
                continue;
            }
            let at_input = ((n * params.in_h + in_y) * params.in_w + in_x) * params.in_channels;
            let at_weight = (ky * params.kernel_w + kx) * params.in_channels * params.out_channels + o;
            for (var i = 0u; i < params.in_channels; i++) {
                sum += input[at_input + i] * weight[at_weight + i * params.out_channels];
            }
        }
    }
    if params.has_bias != 0u {
        sum += bias[o];
    }
    output[index] = sum;
}

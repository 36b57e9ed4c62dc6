// conv2d, gradient of the input; with a bias, the transposed convolution:
// grad_input[n, y, x, i] = bias[i] + sum of grad_output * weight over taps and output channels.
// Any kernel, stride and padding. NHWC; weight [kernel_h, kernel_w, in_channels, out_channels].
// Grid: one invocation for an element of grad_input, groups folded into x and y.

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
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
/// Any buffer when `has_bias` is 0.
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * 64u + local;
    if index >= params.batch * params.in_h * params.in_w * params.in_channels {
        return;
    }
    let i = index % params.in_channels;
    let pixel = index / params.in_channels;
    let x = pixel % params.in_w;
    let y = (pixel / params.in_w) % params.in_h;
    let n = pixel / (params.in_w * params.in_h);

    var sum = 0.0;
    for (var ky = 0u; ky < params.kernel_h; ky++) {
        // Before the first tap wraps to a huge number, which is no multiple within the extent.
        let from_y = y + params.padding - ky;
        let out_y = from_y / params.stride;
        if y + params.padding < ky || from_y % params.stride != 0u || out_y >= params.out_h {
            continue;
        }
        for (var kx = 0u; kx < params.kernel_w; kx++) {
            let from_x = x + params.padding - kx;
            let out_x = from_x / params.stride;
            if x + params.padding < kx || from_x % params.stride != 0u || out_x >= params.out_w {
                continue;
            }
            let at_output = ((n * params.out_h + out_y) * params.out_w + out_x) * params.out_channels;
            let at_weight = ((ky * params.kernel_w + kx) * params.in_channels + i) * params.out_channels;
            for (var o = 0u; o < params.out_channels; o++) {
                sum += grad_output[at_output + o] * weight[at_weight + o];
            }
        }
    }
    if params.has_bias != 0u {
        sum += bias[i];
    }
    grad_input[index] = sum;
}

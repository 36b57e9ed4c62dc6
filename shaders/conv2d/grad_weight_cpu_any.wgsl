// Gradient of the weights of conv2d for software drivers, where channels are few or no multiple
// of 4: any kernel up to 3 wide, any stride, padding and channel count, no subgroup operations.
//
// A thread sums one row of taps of one input channel, for 4 output channels, over every
// `splits`-th image row; sum_rows adds the partial sums.
//
// input, grad_output: NHWC. partials: [splits][kernel_h, kernel_w, in, out].
// Grid: x: ceil(kernel_h * in_channels * ceil(out_channels / 4) / 8), y: splits.

struct Params {
    batch: u32,
    in_height: u32,
    in_width: u32,
    in_channels: u32,
    out_height: u32,
    out_width: u32,
    out_channels: u32,
    pad_top: u32,
    pad_left: u32,
    splits: u32,
}

override KERNEL_H: u32 = 3;
override KERNEL_W: u32 = 3;
override STRIDE: u32 = 1;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let index = group.x * 8u + lane;
    let quads = (params.out_channels + 3u) / 4u;
    let co = index % quads * 4u;
    let ci = index / quads % params.in_channels;
    let ky = index / quads / params.in_channels;
    if ky >= KERNEL_H {
        return;
    }

    var sums: array<vec4f, 3>;
    for (var row = group.y; row < params.batch * params.out_height; row += params.splits) {
        let iy = row % params.out_height * STRIDE + ky - params.pad_top;
        let in_row = (row / params.out_height * params.in_height + iy) * params.in_width;
        let out_row = row * params.out_width;
        for (var x = 0u; x < params.out_width; x++) {
            // Channels past the last read a neighbour's gradient and are never stored.
            let at = (out_row + x) * params.out_channels + co;
            let last = params.batch * params.out_height * params.out_width * params.out_channels - 1u;
            let dy = vec4f(
                grad_output[at],
                grad_output[min(at + 1u, last)],
                grad_output[min(at + 2u, last)],
                grad_output[min(at + 3u, last)],
            );
            for (var kx = 0u; kx < KERNEL_W; kx++) {
                let ix = x * STRIDE + kx - params.pad_left;
                let ok = iy < params.in_height && ix < params.in_width;
                let value = select(0.0, input[select(0u, (in_row + ix) * params.in_channels + ci, ok)], ok);
                sums[kx] = fma(vec4f(value), dy, sums[kx]);
            }
        }
    }

    for (var kx = 0u; kx < KERNEL_W; kx++) {
        for (var j = 0u; j < 4u; j++) {
            if co + j < params.out_channels {
                let tap = (group.y * KERNEL_H + ky) * KERNEL_W + kx;
                let at = (tap * params.in_channels + ci) * params.out_channels + co + j;
                partials[at] = sums[kx][j];
            }
        }
    }
}

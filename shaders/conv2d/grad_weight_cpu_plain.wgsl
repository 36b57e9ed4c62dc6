// Gradient of the weights of conv2d for software drivers without subgroup operations: any kernel,
// stride and padding, channels multiples of 4.
//
// A thread sums 8 input by 8 output channels of one tap over every `splits`-th image row;
// sum_rows adds the partial sums.
//
// input, grad_output: NHWC. partials: [splits][kernel_h, kernel_w, in, out].
// Grid: x: ceil(kernel_h * kernel_w * ceil(in_channels / 8) * ceil(out_channels / 8) / 8), y: splits.

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
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> grad_output: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4f>;

var<private> sums: array<vec4f, 16>;             // [input channel][half of the output channels]

fn accumulate(half: u32, x: vec4f, dy0: vec4f, dy1: vec4f) {
    for (var c = 0u; c < 4u; c++) {
        let at = 8u * half + 2u * c;
        sums[at] = fma(vec4f(x[c]), dy0, sums[at]);
        sums[at + 1u] = fma(vec4f(x[c]), dy1, sums[at + 1u]);
    }
}

// Stores 4 input by 4 output channels.
fn store(tap: u32, ci_quad: u32, co_quad: u32, half_in: u32, half_out: u32) {
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    if ci_quad >= in_quads || co_quad >= out_quads {
        return;
    }
    let at = 8u * half_in + half_out;
    let block = mat4x4f(sums[at], sums[at + 2u], sums[at + 4u], sums[at + 6u]);
    for (var i = 0u; i < 4u; i++) {
        partials[(tap * params.in_channels + ci_quad * 4u + i) * out_quads + co_quad] = block[i];
    }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    let index = group.x * 8u + lane;
    let out_tiles = (out_quads + 1u) / 2u;
    let in_tiles = (in_quads + 1u) / 2u;
    let co = index % out_tiles * 2u;
    let ci = index / out_tiles % in_tiles * 2u;
    let tap = index / out_tiles / in_tiles;
    if tap >= KERNEL_H * KERNEL_W {
        return;
    }
    let next_ci = min(ci + 1u, in_quads - 1u);
    let next_co = min(co + 1u, out_quads - 1u);

    for (var row = group.y; row < params.batch * params.out_height; row += params.splits) {
        let iy = row % params.out_height * STRIDE + tap / KERNEL_W - params.pad_top;
        let in_row = (row / params.out_height * params.in_height + iy) * params.in_width;
        for (var x = 0u; x < params.out_width; x++) {
            let ix = x * STRIDE + tap % KERNEL_W - params.pad_left;
            let ok = iy < params.in_height && ix < params.in_width;
            let pixel = select(0u, (in_row + ix) * in_quads, ok);
            let dy_pixel = (row * params.out_width + x) * out_quads;
            let dy0 = grad_output[dy_pixel + co];
            let dy1 = grad_output[dy_pixel + next_co];
            accumulate(0u, select(vec4f(), input[pixel + ci], vec4<bool>(ok)), dy0, dy1);
            accumulate(1u, select(vec4f(), input[pixel + next_ci], vec4<bool>(ok)), dy0, dy1);
        }
    }

    let split_tap = group.y * KERNEL_H * KERNEL_W + tap;
    store(split_tap, ci, co, 0u, 0u);
    store(split_tap, ci, co + 1u, 0u, 1u);
    store(split_tap, ci + 1u, co, 1u, 0u);
    store(split_tap, ci + 1u, co + 1u, 1u, 1u);
}

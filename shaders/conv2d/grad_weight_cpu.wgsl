// Gradient of the weights of conv2d for software drivers with subgroups of 8 lanes and 64-bit
// integers (lavapipe): stride 1, kernels up to 3x3, any padding, channels multiples of 4.
//
// As in conv_cpu.wgsl nothing is loaded twice, and two floats are one u64. A workgroup is one subgroup and sums all taps of 4
// input by 16 output channels. Its lanes are 4 quads of output channels, twice: each half walks
// down its own run of 8 pixels a row, with the rows under the kernel at hand. A lane loads the
// gradients of its own channels and every fourth pixel of the input; the other pixels come from
// its neighbours. Runs are dealt out to `splits` workgroups; sum_rows adds their sums.
//
// input, grad_output: NHWC. partials: [splits][kernel_h, kernel_w, in, out].
// Grid: x: in_channels / 4; y: ceil(out_channels / 16); z: splits, at most half as many as there
// are runs, batch * ceil(out_width / 8).

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

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec2<u64>>;         // quads of channels
@group(0) @binding(2) var<storage, read> grad_output: array<vec2<u64>>;   // quads of channels
@group(0) @binding(3) var<storage, read_write> partials: array<vec4f>;

const RUN = 8u;                                  // pixels of a row
const SHARES = 3u;                               // vec4s a lane holds of a row of input

var<private> lane: u32;
var<private> half: u32;
var<private> image: u32;
var<private> x0: u32;                            // the run's first pixel
var<private> ci_quad: u32;
var<private> sums: array<vec4f, 36>;             // [tap][input channel], each lane its output channels
var<private> x: array<vec4f, 9>;                 // [row under the kernel][share]
var<private> dy: array<vec4f, RUN>;

fn floats(quad: vec2<u64>) -> vec4f {
    return bitcast<vec4f>(vec4u(u32(quad.x), u32(quad.x >> 32u), u32(quad.y), u32(quad.y >> 32u)));
}

fn load_row(r: u32, iy: u32) {
    for (var i = 0u; 4u * i < RUN + KERNEL_W - 1u; i++) {
        let ix = x0 + 4u * i + lane % 4u - params.pad_left;
        let ok = image < params.batch && iy < params.in_height && ix < params.in_width;
        let at = ((image * params.in_height + iy) * params.in_width + ix) * (params.in_channels / 4u) + ci_quad;
        x[r * SHARES + i] = select(vec4f(), floats(input[select(0u, at, ok)]), vec4<bool>(ok));
    }
}

fn load_grads(y: u32, co_quad: u32) {
    let out_quads = params.out_channels / 4u;
    for (var p = 0u; p < RUN; p++) {
        let ok = image < params.batch && x0 + p < params.out_width && co_quad < out_quads;
        let at = ((image * params.out_height + y) * params.out_width + x0 + p) * out_quads + co_quad;
        dy[p] = select(vec4f(), floats(grad_output[select(0u, at, ok)]), vec4<bool>(ok));
    }
}

fn accumulate(ky: u32, kx: u32) {
    for (var c = 0u; c < 4u; c++) {
        var sum = sums[(ky * KERNEL_W + kx) * 4u + c];
        for (var p = 0u; p < RUN; p++) {
            let column = p + kx;
            let value = subgroupShuffle(x[ky * SHARES + column / 4u][c], half * 4u + column % 4u);
            sum = fma(vec4f(value), dy[p], sum);
        }
        sums[(ky * KERNEL_W + kx) * 4u + c] = sum;
    }
}

// Spelled out, as in conv_cpu.wgsl: every index must become a constant.
fn accumulate_row(ky: u32) {
    accumulate(ky, 0u);
    if KERNEL_W > 1u {
        accumulate(ky, 1u);
    }
    if KERNEL_W > 2u {
        accumulate(ky, 2u);
    }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    lane = thread;
    half = lane / 4u;
    ci_quad = group.x;
    let co_quad = group.y * 4u + lane % 4u;
    let runs_per_row = (params.out_width + RUN - 1u) / RUN;
    let runs = params.batch * runs_per_row;

    for (var pair = group.z; pair * 2u < runs; pair += params.splits) {
        let run = pair * 2u + half;
        image = run / runs_per_row;
        x0 = run % runs_per_row * RUN;
        if KERNEL_H > 1u {
            load_row(1u, 0u - params.pad_top);
        }
        if KERNEL_H > 2u {
            load_row(2u, 1u - params.pad_top);
        }
        for (var y = 0u; y < params.out_height; y++) {
            for (var i = 0u; i < (KERNEL_H - 1u) * SHARES; i++) {
                x[i] = x[i + SHARES];
            }
            load_row(KERNEL_H - 1u, y + KERNEL_H - 1u - params.pad_top);
            load_grads(y, co_quad);
            accumulate_row(0u);
            if KERNEL_H > 1u {
                accumulate_row(1u);
            }
            if KERNEL_H > 2u {
                accumulate_row(2u);
            }
        }
    }

    // The sums to store are always the first, the others move up: a loop that is not unrolled, for
    // stores take the driver long to compile.
    let first_tap = group.z * KERNEL_H * KERNEL_W;
    for (var tap = first_tap; tap < first_tap + KERNEL_H * KERNEL_W; tap++) {
        for (var c = 0u; c < 4u; c++) {
            let sum = sums[c] + subgroupShuffleXor(sums[c], 4u);
            let ci = ci_quad * 4u + c;
            if half == 0u && co_quad < params.out_channels / 4u {
                partials[(tap * params.in_channels + ci) * (params.out_channels / 4u) + co_quad] = sum;
            }
        }
        for (var i = 0u; i < (KERNEL_H * KERNEL_W - 1u) * 4u; i++) {
            sums[i] = sums[i + 4u];
        }
    }
}

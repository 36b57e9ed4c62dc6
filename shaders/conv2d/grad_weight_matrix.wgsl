// Gradient of the weights of conv2d as an implicit matrix product by cooperative matrices: kernels of at most
// 9 by 9, any stride and padding, channels multiples of SIDE. Products of f16, sums in f32.
//
// grad_weights[m, co] = sum over pixels of taps[m, pixel] * grad_output[pixel, co], m = (ky, kx, ci). A subgroup
// computes 2 * SIDE of m by COLUMNS * SIDE channels; the SUBGROUPS of a workgroup stand one below the other and
// share the gradient. The pixels are cut into `splits` stretches, which sum_rows adds; DEPTH at a time are staged
// in workgroup memory, where their places were worked out while those before them were multiplied.
//
// The source is preceded by SIDE and the types Left, Right and Sum. Subgroups are LANES invocations that follow
// each other; fewer may run in step only where SUBGROUPS is 1, and then all do the same.
//
// input, grad_output: NHWC. partials: [splits][kernel_h, kernel_w, in, out].
// Grid: x: ceil(kernel_h * kernel_w * in_channels / (2 * SIDE * SUBGROUPS)), y: ceil(out_channels / (SIDE *
// COLUMNS)), z: splits.

alias Input = vec4f;
alias GradOutput = vec4f;

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
override LANES: u32 = 32;
override SUBGROUPS: u32 = 4;
override COLUMNS: u32 = 4;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> grad_output: array<GradOutput>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;

const SIDES = 16u;                               // as in conv_tiled.wgsl
const DEPTH = 32u;                               // pixels staged at a time

override THREADS: u32 = LANES * SUBGROUPS;
override M: u32 = 2u * SIDE * SUBGROUPS;         // in a tile
override CHANNELS: u32 = SIDE * COLUMNS;
override M_QUADS: u32 = M / 4u;
override CHANNEL_QUADS: u32 = CHANNELS / 4u;
override STEP: u32 = THREADS / M_QUADS;          // pixels that all threads load at a time
override TAPS: u32 = DEPTH * M_QUADS;
override GRADS: u32 = DEPTH * CHANNEL_QUADS;

var<workgroup> taps_tile: array<vec4<f16>, TAPS>;   // [pixel][m quad]
var<workgroup> grad_tile: array<vec4<f16>, GRADS>;  // [pixel][channel quad]
// Of a pixel: where tap (0, 0) lies, in quads as two's complement, and which taps lie inside, a bit for each row
// of the kernel and, from SIDES on, for each column.
var<workgroup> base: array<u32, DEPTH>;
var<workgroup> inside: array<u32, DEPTH>;

fn find_pixels(thread: u32, first: u32, end: u32) {
    for (var p = thread; p < DEPTH; p += THREADS) {
        let pixel = first + p;
        let row = pixel / params.out_width;
        let image = row / params.out_height;
        let top = row % params.out_height * STRIDE - params.pad_top;
        let left = pixel % params.out_width * STRIDE - params.pad_left;
        base[p] = ((image * params.in_height + top) * params.in_width + left) * (params.in_channels / 4u);
        var bits = 0u;
        for (var k = 0u; k < KERNEL_H; k++) {
            bits |= select(0u, 1u << k, top + k < params.in_height);
        }
        for (var k = 0u; k < KERNEL_W; k++) {
            bits |= select(0u, 1u << (SIDES + k), left + k < params.in_width);
        }
        inside[p] = select(0u, bits, pixel < end);
    }
}

// A quad of m under a tap, `away` from tap (0, 0), of pixels STEP apart.
fn stage_taps(m_quad: u32, first: u32, wanted: u32, away: u32) {
    for (var p = first; p < DEPTH; p += STEP) {
        let ok = (inside[p] & wanted) == wanted;
        let tap = vec4<f16>(input[select(0u, base[p] + away, ok)]);
        taps_tile[p * M_QUADS + m_quad] = select(vec4<f16>(), tap, vec4<bool>(ok));
    }
}

// Of pixels past the end, whose taps are 0, and of channels past the last, which are not kept, others.
fn stage_grads(thread: u32, first: u32, channel0: u32) {
    let out_quads = params.out_channels / 4u;
    let last = params.batch * params.out_height * params.out_width - 1u;
    for (var i = thread; i < GRADS; i += THREADS) {
        let pixel = min(first + i / CHANNEL_QUADS, last);
        let quad = min(channel0 / 4u + i % CHANNEL_QUADS, out_quads - 1u);
        grad_tile[i] = vec4<f16>(grad_output[pixel * out_quads + quad]);
    }
}

// The matrix of gradients of the pixels from `pixel` on, `column` matrices to the right.
fn right(pixel: u32, column: u32) -> Right {
    return coopLoadT<Right>(&grad_tile[(pixel * CHANNELS + column * SIDE) / 4u], CHANNEL_QUADS);
}

// Keeps a matrix of sums, of these m and channels on. Channels are multiples of SIDE: it is kept whole or not.
fn keep(sums: Sum, split: u32, m: u32, channel: u32) {
    let rows = KERNEL_H * KERNEL_W * params.in_channels;
    if m < rows && channel < params.out_channels {
        // What a store takes must be named before it.
        let kept = sums;
        let at = (split * rows + m) * params.out_channels + channel;
        let pitch = params.out_channels;
        coopStoreT(kept, &partials[at], pitch);
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let m0 = group.x * M;
    let channel0 = group.y * CHANNELS;
    let pixels = params.batch * params.out_height * params.out_width;
    let stretch = (pixels + params.splits - 1u) / params.splits;
    let begin = group.z * stretch;
    let end = min(pixels, begin + stretch);
    // What the thread loads: a quad of m. Past the last tap it needs a row's bit that no pixel has.
    let in_quads = params.in_channels / 4u;
    let m_quad = m0 / 4u + thread % M_QUADS;
    let tap = m_quad / in_quads;
    let wanted = (1u << (tap / KERNEL_W)) | (1u << (SIDES + tap % KERNEL_W));
    let away = (tap / KERNEL_W * params.in_width + tap % KERNEL_W) * in_quads + m_quad % in_quads;

    let row0 = thread / LANES * (2u * SIDE);     // of the subgroup, in the tile
    var s00 = Sum();
    var s01 = Sum();
    var s02 = Sum();
    var s03 = Sum();
    var s10 = Sum();
    var s11 = Sum();
    var s12 = Sum();
    var s13 = Sum();
    find_pixels(thread, begin, end);
    workgroupBarrier();
    for (var first = begin; first < end; first += DEPTH) {
        stage_taps(thread % M_QUADS, thread / M_QUADS, wanted, away);
        stage_grads(thread, first, channel0);
        workgroupBarrier();
        find_pixels(thread, first + DEPTH, end);
        for (var p = 0u; p < DEPTH; p += SIDE) {
            let above = coopLoad<Left>(&taps_tile[(p * M + row0) / 4u], M_QUADS);
            let below = coopLoad<Left>(&taps_tile[(p * M + row0 + SIDE) / 4u], M_QUADS);
            let r0 = right(p, 0u);
            s00 = coopMultiplyAdd(above, r0, s00);
            s10 = coopMultiplyAdd(below, r0, s10);
            if COLUMNS > 1u {
                let r1 = right(p, 1u);
                s01 = coopMultiplyAdd(above, r1, s01);
                s11 = coopMultiplyAdd(below, r1, s11);
            }
            if COLUMNS > 2u {
                let r2 = right(p, 2u);
                s02 = coopMultiplyAdd(above, r2, s02);
                s12 = coopMultiplyAdd(below, r2, s12);
            }
            if COLUMNS > 3u {
                let r3 = right(p, 3u);
                s03 = coopMultiplyAdd(above, r3, s03);
                s13 = coopMultiplyAdd(below, r3, s13);
            }
        }
        workgroupBarrier();
    }

    let m = m0 + row0;
    keep(s00, group.z, m, channel0);
    keep(s10, group.z, m + SIDE, channel0);
    if COLUMNS > 1u {
        keep(s01, group.z, m, channel0 + SIDE);
        keep(s11, group.z, m + SIDE, channel0 + SIDE);
    }
    if COLUMNS > 2u {
        keep(s02, group.z, m, channel0 + 2u * SIDE);
        keep(s12, group.z, m + SIDE, channel0 + 2u * SIDE);
    }
    if COLUMNS > 3u {
        keep(s03, group.z, m, channel0 + 3u * SIDE);
        keep(s13, group.z, m + SIDE, channel0 + 3u * SIDE);
    }
}

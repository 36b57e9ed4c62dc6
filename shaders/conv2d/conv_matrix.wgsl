// conv2d as an implicit matrix product by cooperative matrices: kernels of at most 9 by 9, any stride and
// padding, channels multiples of 4. Products of f16, sums in f32; what is f32 is rounded as it is staged.
//
// output[pixel, co] = sum over k of taps[pixel, k] * weights[k, co], k = (ky, kx, ci). A subgroup computes
// 2 * SIDE pixels by COLUMNS * SIDE channels; the SUBGROUPS of a workgroup stand one below the other and share
// the weights. Both factors are staged through workgroup memory, DEPTH k at a time, a quad of channels a load.
// TRANSPOSED as in conv_naive.wgsl, any stride.
//
// The source is preceded by SIDE and the types Left, Right and Sum. Subgroups are LANES invocations that follow
// each other; fewer may run in step only where SUBGROUPS is 1, and then all do the same.
//
// input, output: NHWC. weights: [kernel_h, kernel_w, in, out]. bias: [out].
// Grid: x then y: ceil(pixels / (2 * SIDE * SUBGROUPS)); z: ceil(out_channels / (SIDE * COLUMNS)).

alias Input = vec4f;
alias Output = vec4f;

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
}

override KERNEL_H: u32 = 3;
override KERNEL_W: u32 = 3;
override STRIDE: u32 = 1;
override TRANSPOSED: bool = false;
override HAS_BIAS: bool = false;
override LANES: u32 = 32;
override SUBGROUPS: u32 = 4;
override COLUMNS: u32 = 4;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> output: array<Output>;

const SIDES = 16u;                               // as in conv_tiled.wgsl
const DEPTH = 32u;                               // k staged at a time
const K_QUADS = DEPTH / 4u;
const MOST_LOADS = 32u;                          // pixels a thread loads, at 8 lanes and SIDE 16

override THREADS: u32 = LANES * SUBGROUPS;
override PIXELS: u32 = 2u * SIDE * SUBGROUPS;
override CHANNELS: u32 = SIDE * COLUMNS;
override STEP: u32 = THREADS / K_QUADS;          // pixels that all threads load at a time
override LOADS: u32 = PIXELS / STEP;
override TAPS: u32 = PIXELS * K_QUADS;
override WEIGHTS: u32 = CHANNELS * K_QUADS;
override SUMS: u32 = SUBGROUPS * SIDE * SIDE;

var<workgroup> taps_tile: array<vec4<f16>, TAPS>;        // [pixel][k quad]
var<workgroup> weights_tile: array<vec4<f16>, WEIGHTS>;  // [k][channel quad], or [channel][k quad] if TRANSPOSED
var<workgroup> sums_tile: array<f32, SUMS>;              // [subgroup][pixel][channel]

// Of the pixels that the thread loads taps of, as in conv_tiled.wgsl.
var<private> base: array<u32, MOST_LOADS>;
var<private> inside: array<u32, MOST_LOADS>;

// Whether the input has a value under a tap that is `tap` from `start`.
fn reaches(start: u32, tap: u32, size: u32) -> bool {
    if TRANSPOSED {
        return start >= tap && (start - tap) % STRIDE == 0u && (start - tap) / STRIDE < size;
    }
    return start + tap < size;
}

fn find_pixels(first: u32) {
    for (var p = 0u; p < LOADS; p++) {
        let pixel = first + p * STEP;
        let row = pixel / params.out_width;
        let image = row / params.out_height;
        var top = row % params.out_height * STRIDE - params.pad_top;
        var left = pixel % params.out_width * STRIDE - params.pad_left;
        var pitch = params.in_height * params.in_width;
        if TRANSPOSED {
            top = row % params.out_height + params.pad_top;
            left = pixel % params.out_width + params.pad_left;
            pitch *= STRIDE;
        }
        base[p] = (image * pitch + top * params.in_width + left) * (params.in_channels / 4u);
        var bits = 0u;
        for (var k = 0u; k < KERNEL_H; k++) {
            bits |= select(0u, 1u << k, reaches(top, k, params.in_height));
        }
        for (var k = 0u; k < KERNEL_W; k++) {
            bits |= select(0u, 1u << (SIDES + k), reaches(left, k, params.in_width));
        }
        inside[p] = select(0u, bits, image < params.batch);
    }
}

// The bits of `inside` that a tap needs; past the last tap a row's that no pixel has.
fn needs(tap: u32) -> u32 {
    return (1u << (tap / KERNEL_W)) | (1u << (SIDES + tap % KERNEL_W));
}

// How far quad `ci_quad` under `tap` lies from tap (0, 0), in the measure of `base`.
fn distance(tap: u32, ci_quad: u32) -> u32 {
    let tap_distance = (tap / KERNEL_W * params.in_width + tap % KERNEL_W) * (params.in_channels / 4u);
    return select(ci_quad + tap_distance, ci_quad * STRIDE - tap_distance, TRANSPOSED);
}

fn stage_taps(first: u32, k_quad: u32, wanted: u32, away: u32) {
    for (var p = 0u; p < LOADS; p++) {
        let ok = (inside[p] & wanted) == wanted;
        let at = (base[p] + away) / select(1u, STRIDE, TRANSPOSED);
        let tap = vec4<f16>(input[select(0u, at, ok)]);
        taps_tile[(first + p * STEP) * K_QUADS + k_quad] = select(vec4<f16>(), tap, vec4<bool>(ok));
    }
}

// Past the last k, where taps are 0, and past the last channel, which is not kept, any weights do.
fn stage_weights(thread: u32, k0: u32, tap: u32, ci_quad: u32, channel0: u32) {
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    if TRANSPOSED {
        let k_quad = thread % K_QUADS;
        let row = min(tap, KERNEL_H * KERNEL_W - 1u) * params.out_channels;
        for (var channel = thread / K_QUADS; channel < CHANNELS; channel += STEP) {
            let source = row + min(channel0 + channel, params.out_channels - 1u);
            weights_tile[channel * K_QUADS + k_quad] = vec4<f16>(weights[source * in_quads + ci_quad]);
        }
    } else {
        for (var i = thread; i < WEIGHTS; i += THREADS) {
            let k = min(k0 + i / (CHANNELS / 4u), KERNEL_H * KERNEL_W * params.in_channels - 1u);
            let quad = min(channel0 / 4u + i % (CHANNELS / 4u), out_quads - 1u);
            weights_tile[i] = vec4<f16>(weights[k * out_quads + quad]);
        }
    }
}

// The matrix of weights from k on, `column` matrices to the right.
fn right(k: u32, column: u32) -> Right {
    if TRANSPOSED {
        return coopLoad<Right>(&weights_tile[column * SIDE * K_QUADS + k / 4u], K_QUADS);
    }
    return coopLoadT<Right>(&weights_tile[(k * CHANNELS + column * SIDE) / 4u], CHANNELS / 4u);
}

// Keeps a matrix of sums, of the pixels and channels from these on. All subgroups call it together.
fn keep(sums: Sum, thread: u32, pixel0: u32, channel0: u32) {
    let lane = thread % LANES;
    let at0 = thread / LANES * (SIDE * SIDE);
    // What a store takes must be named before it.
    let kept = sums;
    let pitch = SIDE;
    coopStoreT(kept, &sums_tile[at0], pitch);
    workgroupBarrier();
    let out_quads = params.out_channels / 4u;
    for (var i = lane; i < SIDE * SIDE / 4u; i += LANES) {
        let pixel = pixel0 + i / (SIDE / 4u);
        let quad = channel0 / 4u + i % (SIDE / 4u);
        if pixel < params.batch * params.out_height * params.out_width && quad < out_quads {
            let at = at0 + 4u * i;
            var sum = vec4f(sums_tile[at], sums_tile[at + 1u], sums_tile[at + 2u], sums_tile[at + 3u]);
            if HAS_BIAS {
                sum += bias[quad];
            }
            output[pixel * out_quads + quad] = Output(sum);
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let pixel0 = (group.y * groups.x + group.x) * PIXELS;
    let channel0 = group.z * CHANNELS;
    // What the thread loads: a k quad of pixels STEP apart.
    let k_quad = thread % K_QUADS;
    let first = thread / K_QUADS;
    find_pixels(pixel0 + first);

    // The k that the thread loads, as a tap and a quad of channels, and how far it goes on.
    let in_quads = params.in_channels / 4u;
    var tap = k_quad / in_quads;
    var ci_quad = k_quad % in_quads;
    let more_taps = K_QUADS / in_quads;
    let more_quads = K_QUADS % in_quads;

    let row0 = thread / LANES * (2u * SIDE);     // of the subgroup, in the tile
    var s00 = Sum();
    var s01 = Sum();
    var s02 = Sum();
    var s03 = Sum();
    var s10 = Sum();
    var s11 = Sum();
    var s12 = Sum();
    var s13 = Sum();
    for (var k0 = 0u; k0 < KERNEL_H * KERNEL_W * params.in_channels; k0 += DEPTH) {
        stage_taps(first, k_quad, needs(tap), distance(tap, ci_quad));
        stage_weights(thread, k0, tap, ci_quad, channel0);
        tap += more_taps;
        ci_quad += more_quads;
        if ci_quad >= in_quads {
            ci_quad -= in_quads;
            tap++;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k += SIDE) {
            let above = coopLoadT<Left>(&taps_tile[row0 * K_QUADS + k / 4u], K_QUADS);
            let below = coopLoadT<Left>(&taps_tile[(row0 + SIDE) * K_QUADS + k / 4u], K_QUADS);
            let r0 = right(k, 0u);
            s00 = coopMultiplyAdd(above, r0, s00);
            s10 = coopMultiplyAdd(below, r0, s10);
            if COLUMNS > 1u {
                let r1 = right(k, 1u);
                s01 = coopMultiplyAdd(above, r1, s01);
                s11 = coopMultiplyAdd(below, r1, s11);
            }
            if COLUMNS > 2u {
                let r2 = right(k, 2u);
                s02 = coopMultiplyAdd(above, r2, s02);
                s12 = coopMultiplyAdd(below, r2, s12);
            }
            if COLUMNS > 3u {
                let r3 = right(k, 3u);
                s03 = coopMultiplyAdd(above, r3, s03);
                s13 = coopMultiplyAdd(below, r3, s13);
            }
        }
        workgroupBarrier();
    }

    let pixel = pixel0 + row0;
    keep(s00, thread, pixel, channel0);
    keep(s10, thread, pixel + SIDE, channel0);
    if COLUMNS > 1u {
        keep(s01, thread, pixel, channel0 + SIDE);
        keep(s11, thread, pixel + SIDE, channel0 + SIDE);
    }
    if COLUMNS > 2u {
        keep(s02, thread, pixel, channel0 + 2u * SIDE);
        keep(s12, thread, pixel + SIDE, channel0 + 2u * SIDE);
    }
    if COLUMNS > 3u {
        keep(s03, thread, pixel, channel0 + 3u * SIDE);
        keep(s13, thread, pixel + SIDE, channel0 + 3u * SIDE);
    }
}

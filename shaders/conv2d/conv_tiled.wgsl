// conv2d as an implicit matrix product, for GPUs: kernels of at most 9 by 9, any stride and padding,
// channels multiples of 4.
//
// output[pixel, co] = sum over k of taps[pixel, k] * weights[k, co], k = (ky, kx, ci). A workgroup
// of 128 threads computes 8 * ROWS pixels by 4 * QUADS * COLS channels, 8 pixels by QUADS vec4s a
// thread, and stages both factors through workgroup memory, 4 * K_QUADS k at a time. Every load is
// a vec4 of channels; 4 pixels by 4 channels are turned in registers to be staged as pixels.
//
// COLS = 4, QUADS = 1: 256 pixels by 16 channels; 8, 1: 128 by 32; 8, 2: 128 by 64.
// TRANSPOSED as in conv_naive.wgsl, any stride.
//
// input, output: NHWC. weights: [kernel_h, kernel_w, in, out]. bias: [out].
// Grid: x then y: ceil(pixels / (8 * ROWS)); z: ceil(out_channels / (4 * QUADS * COLS)).

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
override COLS: u32 = 8;
override QUADS: u32 = 2;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> output: array<Output>;

const THREADS = 128u;
// A kernel's rows and columns have 16 bits each; the last rows' bits are never set.
const SIDES = 16u;

override ROWS: u32 = THREADS / COLS;
override PIXEL_QUADS: u32 = 2u * ROWS;           // 4 pixels each, in a tile
override CHANNEL_QUADS: u32 = QUADS * COLS;      // 4 channels each, in a tile
override K_QUADS: u32 = 128u / PIXEL_QUADS;      // 4 k each, staged at a time: a block of 4x4 taps a thread
// One more, so that the blocks of one row of threads lie in different banks.
override PITCH: u32 = PIXEL_QUADS + 1u;
// No larger than they must be: workgroup memory bounds how many workgroups a core holds.
override TAPS: u32 = 4u * K_QUADS * PITCH;
override WEIGHTS: u32 = 4u * K_QUADS * CHANNEL_QUADS;

var<workgroup> taps_tile: array<vec4f, TAPS>;        // [k][pixel quad], rows PITCH apart
var<workgroup> weights_tile: array<vec4f, WEIGHTS>;  // [k][channel quad]

// Of the 4 pixels that the thread loads taps of: where tap (0, 0) lies, in quads as two's complement
// (STRIDE times that if TRANSPOSED), and which taps lie inside, a bit for each row of the kernel and,
// from SIDES on, for each column.
var<private> base: array<u32, 4>;
var<private> inside: array<u32, 4>;

// Whether the input has a value under a tap that is `tap` from `start`.
fn reaches(start: u32, tap: u32, size: u32) -> bool {
    if TRANSPOSED {
        return start >= tap && (start - tap) % STRIDE == 0u && (start - tap) / STRIDE < size;
    }
    return start + tap < size;
}

fn find_pixels(first: u32) {
    for (var p = 0u; p < 4u; p++) {
        let pixel = first + p;
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

// 4 k, `distance` under `tap`, of each of the 4 pixels.
fn load_taps(wanted: u32, distance: u32) -> array<vec4f, 4> {
    var taps: array<vec4f, 4>;
    for (var p = 0u; p < 4u; p++) {
        let ok = (inside[p] & wanted) == wanted;
        let at = (base[p] + distance) / select(1u, STRIDE, TRANSPOSED);
        taps[p] = select(vec4f(), vec4f(input[select(0u, at, ok)]), vec4<bool>(ok));
    }
    return taps;
}

// The weights from 4 k, number `k_quad` or quad `ci_quad` under `tap`, to the 4 channels of quad
// `co_quad`: [k], or [channel] if TRANSPOSED. Past the last k, where taps are 0, other weights of the
// same channels.
fn load_weights(k_quad: u32, tap: u32, ci_quad: u32, co_quad: u32) -> array<vec4f, 4> {
    var share: array<vec4f, 4>;
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    var at = min(k_quad, KERNEL_H * KERNEL_W * in_quads - 1u) * (4u * out_quads) + co_quad;
    if TRANSPOSED {
        at = min(tap, KERNEL_H * KERNEL_W - 1u) * (params.out_channels * in_quads) + 4u * co_quad * in_quads + ci_quad;
    }
    for (var i = 0u; i < 4u; i++) {
        share[i] = weights[at + i * select(out_quads, in_quads, TRANSPOSED)];
    }
    return share;
}

fn turned(a: array<vec4f, 4>) -> array<vec4f, 4> {
    return array(
        vec4f(a[0].x, a[1].x, a[2].x, a[3].x),
        vec4f(a[0].y, a[1].y, a[2].y, a[3].y),
        vec4f(a[0].z, a[1].z, a[2].z, a[3].z),
        vec4f(a[0].w, a[1].w, a[2].w, a[3].w),
    );
}

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let pixel_quad0 = (group.y * groups.x + group.x) * PIXEL_QUADS;
    let channel_quad0 = group.z * CHANNEL_QUADS;
    let row = thread / COLS;
    let col = thread % COLS;
    // What the thread loads: the same k of neighbouring pixels lie far apart, so neighbours take
    // other k of one pixel.
    let k_quad = thread % K_QUADS;
    let quad = thread / K_QUADS;
    find_pixels((pixel_quad0 + quad) * 4u);
    let loads_weights = quad < CHANNEL_QUADS;
    let co_quad = min(channel_quad0 + quad, params.out_channels / 4u - 1u);

    // The k that the thread loads, as a tap and a quad of channels, and how far it goes on.
    let in_quads = params.in_channels / 4u;
    var tap = k_quad / in_quads;
    var ci_quad = k_quad % in_quads;
    let more_taps = K_QUADS / in_quads;
    let more_quads = K_QUADS % in_quads;
    var wanted = needs(tap);
    var away = distance(tap, ci_quad);

    var sums: array<vec4f, 16>;                  // [pixel][quad of channels]
    for (var k0 = 0u; k0 < KERNEL_H * KERNEL_W * in_quads; k0 += K_QUADS) {
        let pixels = turned(load_taps(wanted, away));
        for (var i = 0u; i < 4u; i++) {
            taps_tile[(k_quad * 4u + i) * PITCH + quad] = pixels[i];
        }
        if loads_weights {
            var channels = load_weights(k0 + k_quad, tap, ci_quad, co_quad);
            if TRANSPOSED {
                channels = turned(channels);
            }
            for (var i = 0u; i < 4u; i++) {
                weights_tile[(k_quad * 4u + i) * CHANNEL_QUADS + quad] = channels[i];
            }
        }
        tap += more_taps;
        ci_quad += more_quads;
        if ci_quad >= in_quads {
            ci_quad -= in_quads;
            tap++;
        }
        wanted = needs(tap);
        away = distance(tap, ci_quad);
        workgroupBarrier();
        for (var k = 0u; k < K_QUADS * 4u; k++) {
            let first = taps_tile[k * PITCH + row];
            let second = taps_tile[k * PITCH + row + ROWS];
            for (var q = 0u; q < QUADS; q++) {
                let weight = weights_tile[k * CHANNEL_QUADS + col + q * COLS];
                for (var p = 0u; p < 4u; p++) {
                    sums[p * QUADS + q] = fma(vec4f(first[p]), weight, sums[p * QUADS + q]);
                    sums[(p + 4u) * QUADS + q] = fma(vec4f(second[p]), weight, sums[(p + 4u) * QUADS + q]);
                }
            }
        }
        workgroupBarrier();
    }

    let out_quads = params.out_channels / 4u;
    for (var p = 0u; p < 8u; p++) {
        let pixel = (pixel_quad0 + row + p / 4u * ROWS) * 4u + p % 4u;
        for (var q = 0u; q < QUADS; q++) {
            let quad = channel_quad0 + col + q * COLS;
            if pixel < params.batch * params.out_height * params.out_width && quad < out_quads {
                var sum = sums[p * QUADS + q];
                if HAS_BIAS {
                    sum += bias[quad];
                }
                output[pixel * out_quads + quad] = Output(sum);
            }
        }
    }
}

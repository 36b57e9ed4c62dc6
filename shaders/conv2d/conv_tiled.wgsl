// conv2d as an implicit matrix product, for GPUs: any kernel, stride and padding, channels
// multiples of 4.
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
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4f>;

const THREADS = 128u;
const OUTSIDE = 0xffffffffu;

override ROWS: u32 = THREADS / COLS;
override PIXEL_QUADS: u32 = 2u * ROWS;           // 4 pixels each, in a tile
override CHANNEL_QUADS: u32 = QUADS * COLS;      // 4 channels each, in a tile
override K_QUADS: u32 = 128u / PIXEL_QUADS;      // 4 k each, staged at a time: a block of 4x4 taps a thread
// One more, so that the blocks of one row of threads lie in different banks.
override PITCH: u32 = PIXEL_QUADS + 1u;

var<workgroup> taps_tile: array<vec4f, 528>;     // [k][pixel quad], rows PITCH apart
var<workgroup> weights_tile: array<vec4f, 256>;  // [k][channel quad]

// Of the 4 pixels that the thread loads taps of: the input's row and column under tap (0, 0), as
// two's complement, and where its image begins.
var<private> top: array<u32, 4>;
var<private> left: array<u32, 4>;
var<private> image: array<u32, 4>;

fn find_pixels(first: u32) {
    for (var p = 0u; p < 4u; p++) {
        let pixel = first + p;
        let row = pixel / params.out_width;
        let n = row / params.out_height;
        let oy = row % params.out_height;
        let ox = pixel % params.out_width;
        if TRANSPOSED {
            top[p] = oy + params.pad_top;
            left[p] = ox + params.pad_left;
        } else {
            top[p] = oy * STRIDE - params.pad_top;
            left[p] = ox * STRIDE - params.pad_left;
        }
        if n >= params.batch {
            // Far from every tap.
            top[p] = 0x40000000u;
        }
        image[p] = n * params.in_height * params.in_width;
    }
}

// The input coordinate under a tap of a pixel that begins at `start`; at or past `size` if outside.
fn tapped(start: u32, tap: u32) -> u32 {
    if TRANSPOSED {
        let i = start - tap;
        return select(OUTSIDE, i / STRIDE, STRIDE == 1u || (start >= tap && i % STRIDE == 0u));
    }
    return start + tap;
}

// 4 k of each of the 4 pixels.
fn load_taps(k_quad: u32) -> array<vec4f, 4> {
    var taps: array<vec4f, 4>;
    let in_quads = params.in_channels / 4u;
    let tap = k_quad / in_quads;
    let ky = tap / KERNEL_W;
    let kx = tap % KERNEL_W;
    for (var p = 0u; p < 4u; p++) {
        let iy = tapped(top[p], ky);
        let ix = tapped(left[p], kx);
        let ok = ky < KERNEL_H && iy < params.in_height && ix < params.in_width;
        let at = (image[p] + iy * params.in_width + ix) * in_quads + k_quad - tap * in_quads;
        taps[p] = select(vec4f(), input[select(0u, at, ok)], vec4<bool>(ok));
    }
    return taps;
}

// The weights from the 4 k of a quad to the 4 channels of one: [k], or [channel] if TRANSPOSED.
fn load_weights(k_quad: u32, co_quad: u32) -> array<vec4f, 4> {
    var share: array<vec4f, 4>;
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    let ok = k_quad < KERNEL_H * KERNEL_W * in_quads && co_quad < out_quads;
    for (var i = 0u; i < 4u; i++) {
        var at = (k_quad * 4u + i) * out_quads + co_quad;
        if TRANSPOSED {
            let tap = k_quad / in_quads;
            at = (tap * params.out_channels + co_quad * 4u + i) * in_quads + k_quad - tap * in_quads;
        }
        share[i] = select(vec4f(), weights[select(0u, at, ok)], vec4<bool>(ok));
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
    let taps_k = thread % K_QUADS;
    let taps_pixel = thread / K_QUADS;
    let weights_k = thread / CHANNEL_QUADS;
    let weights_channel = thread % CHANNEL_QUADS;
    find_pixels((pixel_quad0 + taps_pixel) * 4u);

    var sums: array<vec4f, 16>;                  // [pixel][quad of channels]
    let k_quads = KERNEL_H * KERNEL_W * (params.in_channels / 4u);
    for (var k0 = 0u; k0 < k_quads; k0 += K_QUADS) {
        let pixels = turned(load_taps(k0 + taps_k));
        for (var i = 0u; i < 4u; i++) {
            taps_tile[(taps_k * 4u + i) * PITCH + taps_pixel] = pixels[i];
        }
        if weights_k < K_QUADS {
            var channels = load_weights(k0 + weights_k, channel_quad0 + weights_channel);
            if TRANSPOSED {
                channels = turned(channels);
            }
            for (var i = 0u; i < 4u; i++) {
                weights_tile[(weights_k * 4u + i) * CHANNEL_QUADS + weights_channel] = channels[i];
            }
        }
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
                output[pixel * out_quads + quad] = sum;
            }
        }
    }
}

// Gradient of the weights of conv2d as an implicit matrix product, for GPUs: any kernel, stride and
// padding, channels multiples of 4.
//
// grad_weights[m, co] = sum over pixels of taps[m, pixel] * grad_output[pixel, co], m = (ky, kx, ci).
// A workgroup of 128 threads computes 8 * ROWS of m by 4 * QUADS * COLS channels (COLS and QUADS as
// in conv_tiled.wgsl), 8 of m by QUADS vec4s a thread, over one of `splits` stretches of the pixels;
// sum_rows adds the stretches. DEPTH pixels at a time are staged in workgroup memory.
//
// input, grad_output: NHWC. partials: [splits][kernel_h, kernel_w, in, out].
// Grid: x: ceil(kernel_h * kernel_w * in_channels / (8 * ROWS)), y: ceil(out_channels / (4 * QUADS *
// COLS)), z: splits.

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
override COLS: u32 = 8;
override QUADS: u32 = 2;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> grad_output: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4f>;

const THREADS = 128u;

override ROWS: u32 = THREADS / COLS;
override M_QUADS: u32 = 2u * ROWS;               // 4 of m each, in a tile
override CHANNEL_QUADS: u32 = QUADS * COLS;      // 4 channels each, in a tile
override DEPTH: u32 = 4u * THREADS / M_QUADS;    // so that each thread loads the taps of 4 pixels

var<workgroup> taps_tile: array<vec4f, 512>;     // [pixel][m quad]
var<workgroup> grad_tile: array<vec4f, 256>;     // [pixel][channel quad]

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let m_quad0 = group.x * M_QUADS;
    let channel_quad0 = group.y * CHANNEL_QUADS;
    let row = thread / COLS;
    let col = thread % COLS;
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    let pixels = params.batch * params.out_height * params.out_width;
    let stretch = (pixels + params.splits - 1u) / params.splits;
    let end = min(pixels, (group.z + 1u) * stretch);

    // What the thread loads of each pixel.
    let m_quad = m_quad0 + thread % M_QUADS;
    let tap = m_quad / in_quads;
    let ci_quad = m_quad % in_quads;
    let ky = tap / KERNEL_W;
    let kx = tap % KERNEL_W;

    var sums: array<vec4f, 16>;                  // [m][quad of channels]
    for (var pixel0 = group.z * stretch; pixel0 < end; pixel0 += DEPTH) {
        let staged = thread / M_QUADS * 4u;
        let pixel = pixel0 + staged;
        var x = pixel % params.out_width;
        var y = pixel / params.out_width % params.out_height;
        var image = pixel / params.out_width / params.out_height;
        for (var p = 0u; p < 4u; p++) {
            let iy = y * STRIDE + ky - params.pad_top;
            let ix = x * STRIDE + kx - params.pad_left;
            let ok = pixel + p < end && ky < KERNEL_H && iy < params.in_height && ix < params.in_width;
            let at = ((image * params.in_height + iy) * params.in_width + ix) * in_quads + ci_quad;
            taps_tile[(staged + p) * M_QUADS + thread % M_QUADS] =
                select(vec4f(), input[select(0u, at, ok)], vec4<bool>(ok));
            // The pixel after it.
            x++;
            if x == params.out_width {
                x = 0u;
                y++;
                if y == params.out_height {
                    y = 0u;
                    image++;
                }
            }
        }
        for (var i = thread; i < DEPTH * CHANNEL_QUADS; i += THREADS) {
            let from0 = pixel0 + i / CHANNEL_QUADS;
            let quad = channel_quad0 + i % CHANNEL_QUADS;
            let ok = from0 < end && quad < out_quads;
            grad_tile[i] = select(vec4f(), grad_output[select(0u, from0 * out_quads + quad, ok)], vec4<bool>(ok));
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let first = taps_tile[k * M_QUADS + row];
            let second = taps_tile[k * M_QUADS + row + ROWS];
            for (var q = 0u; q < QUADS; q++) {
                let grad = grad_tile[k * CHANNEL_QUADS + col + q * COLS];
                for (var i = 0u; i < 4u; i++) {
                    sums[i * QUADS + q] = fma(vec4f(first[i]), grad, sums[i * QUADS + q]);
                    sums[(i + 4u) * QUADS + q] = fma(vec4f(second[i]), grad, sums[(i + 4u) * QUADS + q]);
                }
            }
        }
        workgroupBarrier();
    }

    let rows_of_m = KERNEL_H * KERNEL_W * params.in_channels;
    for (var i = 0u; i < 8u; i++) {
        let m = (m_quad0 + row + i / 4u * ROWS) * 4u + i % 4u;
        for (var q = 0u; q < QUADS; q++) {
            let quad = channel_quad0 + col + q * COLS;
            if m < rows_of_m && quad < out_quads {
                partials[(group.z * rows_of_m + m) * out_quads + quad] = sums[i * QUADS + q];
            }
        }
    }
}

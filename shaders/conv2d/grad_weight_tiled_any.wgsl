// Gradient of the weights of conv2d as an implicit matrix product, for GPUs, where channels are no
// multiples of 4: any kernel, stride and padding.
//
// grad_weights[m, co] = sum over pixels of taps[m, pixel] * grad_output[pixel, co], m = (ky, kx, ci).
// A workgroup of 256 threads computes ROWS*4 of m by COLS*4 channels (COLS as in conv_tiled_any.wgsl),
// 4x4 a thread, over one of `splits` stretches of the pixels; sum_rows adds the stretches.
//
// input, grad_output: NHWC. partials: [splits][kernel_h, kernel_w, in, out].
// Grid: x: ceil(kernel_h * kernel_w * in_channels / (1024 / COLS)), y: ceil(out_channels / (4 * COLS)),
// z: splits.

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
override COLS: u32 = 16;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;

const THREADS = 256u;
const DEPTH = 8u;

var<workgroup> taps_tile: array<f32, 2048>;      // [pixel][m], at most 256 of m
var<workgroup> grad_tile: array<f32, 512>;       // [pixel][channel], at most 64 channels

fn load_tap(pixel: u32, m: u32) -> f32 {
    let tap = m / params.in_channels;
    let row = pixel / params.out_width;
    let image = row / params.out_height;
    let iy = row % params.out_height * STRIDE + tap / KERNEL_W - params.pad_top;
    let ix = pixel % params.out_width * STRIDE + tap % KERNEL_W - params.pad_left;
    if image >= params.batch || tap >= KERNEL_H * KERNEL_W || iy >= params.in_height || ix >= params.in_width {
        return 0.0;
    }
    return input[((image * params.in_height + iy) * params.in_width + ix) * params.in_channels + m % params.in_channels];
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let rows = THREADS / COLS;
    let tile_m = rows * 4u;
    let tile_channels = COLS * 4u;
    let m0 = group.x * tile_m;
    let channel0 = group.y * tile_channels;
    let row = thread / COLS;
    let col = thread % COLS;
    let pixels = params.batch * params.out_height * params.out_width;
    let stretch = (pixels + params.splits - 1u) / params.splits;
    let end = min(pixels, (group.z + 1u) * stretch);

    var sums: array<vec4f, 4>;
    for (var pixel0 = group.z * stretch; pixel0 < end; pixel0 += DEPTH) {
        for (var i = thread; i < DEPTH * tile_m; i += THREADS) {
            taps_tile[i] = load_tap(pixel0 + i / tile_m, m0 + i % tile_m);
        }
        for (var i = thread; i < DEPTH * tile_channels; i += THREADS) {
            let pixel = pixel0 + i / tile_channels;
            let co = channel0 + i % tile_channels;
            var value = 0.0;
            if pixel < end && co < params.out_channels {
                value = grad_output[pixel * params.out_channels + co];
            }
            grad_tile[i] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let g = k * tile_channels + col;
            let grad = vec4f(grad_tile[g], grad_tile[g + COLS], grad_tile[g + 2u * COLS], grad_tile[g + 3u * COLS]);
            for (var i = 0u; i < 4u; i++) {
                sums[i] = fma(vec4f(taps_tile[k * tile_m + row + i * rows]), grad, sums[i]);
            }
        }
        workgroupBarrier();
    }

    let per_split = KERNEL_H * KERNEL_W * params.in_channels * params.out_channels;
    for (var i = 0u; i < 4u; i++) {
        let m = m0 + row + i * rows;
        for (var j = 0u; j < 4u; j++) {
            let co = channel0 + col + j * COLS;
            if m < KERNEL_H * KERNEL_W * params.in_channels && co < params.out_channels {
                partials[group.z * per_split + m * params.out_channels + co] = sums[i][j];
            }
        }
    }
}

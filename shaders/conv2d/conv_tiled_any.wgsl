// conv2d as an implicit matrix product, for GPUs, where channels are no multiples of 4: any kernel,
// stride and padding.
//
// output[pixel, co] = sum over k of taps[pixel, k] * weights[k, co], k = (ky, kx, ci). A workgroup
// of 256 threads computes ROWS*4 pixels by COLS*4 channels, 4x4 a thread, and stages both factors
// through workgroup memory 8 k at a time. COLS = 4, 8 or 16 trades channels for pixels: choose
// the least with 4*COLS >= out_channels.
// TRANSPOSED as in conv_naive.wgsl, any stride.
//
// input, output: NHWC. weights: [kernel_h, kernel_w, in, out]. bias: [out].
// Grid: x then y: ceil(pixels / (1024 / COLS)); z: ceil(out_channels / (4 * COLS)).

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
override COLS: u32 = 16;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

const THREADS = 256u;
const DEPTH = 8u;
const OUTSIDE = 0xffffffffu;

var<workgroup> taps_tile: array<f32, 2048>;      // [k][pixel], at most 256 pixels
var<workgroup> weights_tile: array<f32, 512>;    // [k][channel], at most 64 channels

// The input coordinate that `tap` of output coordinate `o` reads, or OUTSIDE.
fn tapped(o: u32, tap: u32, pad: u32, size: u32) -> u32 {
    if TRANSPOSED {
        let i = o + pad - tap;
        return select(OUTSIDE, i / STRIDE, o + pad >= tap && i % STRIDE == 0u && i / STRIDE < size);
    }
    let i = o * STRIDE + tap - pad;
    return select(OUTSIDE, i, i < size);
}

fn load_tap(pixel: u32, k: u32) -> f32 {
    let tap = k / params.in_channels;
    let row = pixel / params.out_width;
    let image = row / params.out_height;
    let iy = tapped(row % params.out_height, tap / KERNEL_W, params.pad_top, params.in_height);
    let ix = tapped(pixel % params.out_width, tap % KERNEL_W, params.pad_left, params.in_width);
    if image >= params.batch || tap >= KERNEL_H * KERNEL_W || iy == OUTSIDE || ix == OUTSIDE {
        return 0.0;
    }
    return input[((image * params.in_height + iy) * params.in_width + ix) * params.in_channels + k % params.in_channels];
}

fn load_weight(k: u32, co: u32) -> f32 {
    if k >= KERNEL_H * KERNEL_W * params.in_channels || co >= params.out_channels {
        return 0.0;
    }
    let swapped = (k / params.in_channels * params.out_channels + co) * params.in_channels + k % params.in_channels;
    return weights[select(k * params.out_channels + co, swapped, TRANSPOSED)];
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let rows = THREADS / COLS;
    let tile_pixels = rows * 4u;
    let tile_channels = COLS * 4u;
    let pixel0 = (group.y * groups.x + group.x) * tile_pixels;
    let channel0 = group.z * tile_channels;
    let row = thread / COLS;
    let col = thread % COLS;

    var sums: array<vec4f, 4>;
    for (var k0 = 0u; k0 < KERNEL_H * KERNEL_W * params.in_channels; k0 += DEPTH) {
        for (var i = thread; i < DEPTH * tile_pixels; i += THREADS) {
            taps_tile[i % DEPTH * tile_pixels + i / DEPTH] = load_tap(pixel0 + i / DEPTH, k0 + i % DEPTH);
        }
        for (var i = thread; i < DEPTH * tile_channels; i += THREADS) {
            weights_tile[i] = load_weight(k0 + i / tile_channels, channel0 + i % tile_channels);
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let w = k * tile_channels + col;
            let weight = vec4f(weights_tile[w], weights_tile[w + COLS], weights_tile[w + 2u * COLS], weights_tile[w + 3u * COLS]);
            for (var p = 0u; p < 4u; p++) {
                sums[p] = fma(vec4f(taps_tile[k * tile_pixels + row + p * rows]), weight, sums[p]);
            }
        }
        workgroupBarrier();
    }

    for (var p = 0u; p < 4u; p++) {
        let pixel = pixel0 + row + p * rows;
        for (var j = 0u; j < 4u; j++) {
            let co = channel0 + col + j * COLS;
            if pixel < params.batch * params.out_height * params.out_width && co < params.out_channels {
                var sum = sums[p][j];
                if HAS_BIAS {
                    sum += bias[co];
                }
                output[pixel * params.out_channels + co] = sum;
            }
        }
    }
}

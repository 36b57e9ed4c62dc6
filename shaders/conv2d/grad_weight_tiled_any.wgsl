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

alias Input = f32;
alias GradOutput = f32;

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
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> grad_output: array<GradOutput>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;

const THREADS = 256u;

override ROWS: u32 = THREADS / COLS;             // 4 of m each, in a tile
override MS: u32 = 4u * ROWS;                    // in a tile
override CHANNELS: u32 = 4u * COLS;              // in a tile
override RUN: u32 = max(4u, 32u / COLS);         // pixels of a row that a thread loads at a time: 8, 4, 4
override STEP: u32 = THREADS / MS;               // runs at a time: one for each thread's loads
override DEPTH: u32 = RUN * STEP;                // pixels at a time
override GRADS: u32 = RUN * CHANNELS;            // numbers of the gradient in a run
override TAPS_TILE: u32 = DEPTH * MS;
override GRAD_TILE: u32 = DEPTH * CHANNELS;

var<workgroup> taps_tile: array<f32, TAPS_TILE>;  // [pixel][m]
var<workgroup> grad_tile: array<f32, GRAD_TILE>;  // [pixel][channel]

// Smallest x, at least 0, with x * STRIDE >= bound; bound as two's complement.
fn first_at(bound: u32) -> u32 {
    return u32(max(0, (i32(bound) + i32(STRIDE) - 1) / i32(STRIDE)));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let m0 = group.x * MS;
    let channel0 = group.y * CHANNELS;
    let row = thread / COLS;
    let col = thread % COLS;
    // Rows are cut into runs, of which the last may go past the row's end.
    let row_runs = (params.out_width + RUN - 1u) / RUN;
    let runs = params.batch * params.out_height * row_runs;
    let stretch = (runs + params.splits - 1u) / params.splits;
    let end = min(runs, (group.z + 1u) * stretch);

    // What the thread loads of each run: one m of all its pixels, and number `lane`, + MS, ... of the
    // gradient's [pixel][channel]. For these x there is an input under the tap:
    let lane = thread % MS;
    let tap = (m0 + lane) / params.in_channels;
    let tap_y = tap / KERNEL_W - params.pad_top;
    let tap_x = tap % KERNEL_W - params.pad_left;
    let x_begin = first_at(0u - tap_x);
    let x_end = select(0u, min(params.out_width, first_at(params.in_width - tap_x)), tap < KERNEL_H * KERNEL_W);
    let x_count = max(x_begin, x_end) - x_begin;
    let taps_from = (tap_y * params.in_width + tap_x) * params.in_channels + (m0 + lane) % params.in_channels;
    let last_pixel = params.batch * params.out_height * params.out_width - 1u;

    // The run's place, and how far the next one is.
    let staged = thread / MS;
    let run = group.z * stretch + staged;
    var x = run % row_runs * RUN;
    var y = run / row_runs % params.out_height;
    var image = run / row_runs / params.out_height;
    let more_x = STEP % row_runs * RUN;
    let more_rows = STEP / row_runs % params.out_height;
    let more_images = STEP / row_runs / params.out_height;

    var sums: array<vec4f, 4>;
    for (var run0 = group.z * stretch; run0 < end; run0 += STEP) {
        let iy = y * STRIDE + tap_y;
        let from_begin = select(x_count, x - x_begin, iy < params.in_height && run0 + staged < end);
        let at0 = image * (params.in_height * params.in_width * params.in_channels)
            + y * (STRIDE * params.in_width * params.in_channels) + x * (STRIDE * params.in_channels) + taps_from;
        for (var p = 0u; p < RUN; p++) {
            let ok = from_begin + p < x_count;
            let at = at0 + p * (STRIDE * params.in_channels);
            taps_tile[(staged * RUN + p) * MS + lane] = select(0.0, f32(input[select(0u, at, ok)]), ok);
        }
        let pixel0 = (image * params.out_height + y) * params.out_width + x;
        for (var i = 0u; i < GRADS; i += MS) {
            let item = i + lane;
            if GRADS % MS == 0u || item < GRADS {
                // Taps past the row's end are 0, so that any pixel does for the gradient there.
                let pixel = min(pixel0 + item / CHANNELS, last_pixel);
                let co = min(channel0 + item % CHANNELS, params.out_channels - 1u);
                grad_tile[staged * GRADS + item] = f32(grad_output[pixel * params.out_channels + co]);
            }
        }
        x += more_x;
        y += more_rows;
        image += more_images;
        if x >= row_runs * RUN {
            x -= row_runs * RUN;
            y++;
        }
        if y >= params.out_height {
            y -= params.out_height;
            image++;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let g = k * CHANNELS + col * 4u;
            let grad = vec4f(grad_tile[g], grad_tile[g + 1u], grad_tile[g + 2u], grad_tile[g + 3u]);
            for (var i = 0u; i < 4u; i++) {
                sums[i] = fma(vec4f(taps_tile[k * MS + row * 4u + i]), grad, sums[i]);
            }
        }
        workgroupBarrier();
    }

    let per_split = KERNEL_H * KERNEL_W * params.in_channels * params.out_channels;
    for (var i = 0u; i < 4u; i++) {
        let m = m0 + row * 4u + i;
        for (var j = 0u; j < 4u; j++) {
            let co = channel0 + col * 4u + j;
            if m < KERNEL_H * KERNEL_W * params.in_channels && co < params.out_channels {
                partials[group.z * per_split + m * params.out_channels + co] = sums[i][j];
            }
        }
    }
}

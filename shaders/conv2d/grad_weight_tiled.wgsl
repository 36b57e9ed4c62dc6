// Gradient of the weights of conv2d as an implicit matrix product, for GPUs: any kernel, stride and
// padding, channels multiples of 4.
//
// grad_weights[m, co] = sum over pixels of taps[m, pixel] * grad_output[pixel, co], m = (ky, kx, ci).
// A workgroup of 128 threads computes 8 * ROWS of m by 4 * QUADS * COLS channels (COLS and QUADS as
// in conv_tiled.wgsl), 8 of m by QUADS vec4s a thread, over one of `splits` stretches of the pixels;
// sum_rows adds the stretches. DEPTH pixels at a time are staged in workgroup memory, in runs of 4 of
// one row, so that a run has one place to find and its pixels lie side by side.
//
// input, grad_output: NHWC. partials: [splits][kernel_h, kernel_w, in, out].
// Grid: x: ceil(kernel_h * kernel_w * in_channels / (8 * ROWS)), y: ceil(out_channels / (4 * QUADS *
// COLS)), z: splits.

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
override COLS: u32 = 8;
override QUADS: u32 = 2;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> grad_output: array<GradOutput>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4f>;

const THREADS = 128u;

override ROWS: u32 = THREADS / COLS;
override M_QUADS: u32 = 2u * ROWS;               // 4 of m each, in a tile
override CHANNEL_QUADS: u32 = QUADS * COLS;      // 4 channels each, in a tile
override STEP: u32 = THREADS / M_QUADS;          // runs of 4 pixels at a time: one for each thread's loads
override DEPTH: u32 = 4u * STEP;                 // pixels at a time
override GRADS: u32 = 4u * CHANNEL_QUADS;        // quads of the gradient in a run
override TAPS_TILE: u32 = DEPTH * M_QUADS;
override GRAD_TILE: u32 = DEPTH * CHANNEL_QUADS;

var<workgroup> taps_tile: array<vec4f, TAPS_TILE>;  // [pixel][m quad]
var<workgroup> grad_tile: array<vec4f, GRAD_TILE>;  // [pixel][channel quad]

// Smallest x, at least 0, with x * STRIDE >= bound; bound as two's complement.
fn first_at(bound: u32) -> u32 {
    return u32(max(0, (i32(bound) + i32(STRIDE) - 1) / i32(STRIDE)));
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let m_quad0 = group.x * M_QUADS;
    let channel_quad0 = group.y * CHANNEL_QUADS;
    let row = thread / COLS;
    let col = thread % COLS;
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    // Rows are cut into runs of 4 pixels, of which the last may go past the row's end.
    let row_runs = (params.out_width + 3u) / 4u;
    let runs = params.batch * params.out_height * row_runs;
    let stretch = (runs + params.splits - 1u) / params.splits;
    let end = min(runs, (group.z + 1u) * stretch);

    // What the thread loads of each run: a quad of m of all 4 pixels,
    let lane = thread % M_QUADS;
    let m_quad = m_quad0 + lane;
    let tap = m_quad / in_quads;
    let tap_y = tap / KERNEL_W - params.pad_top;
    let tap_x = tap % KERNEL_W - params.pad_left;
    // for which these x have an input under the tap;
    let x_begin = first_at(0u - tap_x);
    let x_end = select(0u, min(params.out_width, first_at(params.in_width - tap_x)), tap < KERNEL_H * KERNEL_W);
    let x_count = max(x_begin, x_end) - x_begin;
    let taps_from = (tap_y * params.in_width + tap_x) * in_quads + m_quad % in_quads;
    // and of the gradient quad `lane`, + M_QUADS, ... of [pixel][channel quad], channels past the last as the last.
    let last_pixel = params.batch * params.out_height * params.out_width - 1u;

    // The run's place, and how far the next one is.
    let staged = thread / M_QUADS;
    let run = group.z * stretch + staged;
    var x = run % row_runs * 4u;
    var y = run / row_runs % params.out_height;
    var image = run / row_runs / params.out_height;
    let more_x = STEP % row_runs * 4u;
    let more_rows = STEP / row_runs % params.out_height;
    let more_images = STEP / row_runs / params.out_height;

    var sums: array<vec4f, 16>;                  // [m][quad of channels]
    for (var run0 = group.z * stretch; run0 < end; run0 += STEP) {
        let iy = y * STRIDE + tap_y;
        let from_begin = select(x_count, x - x_begin, iy < params.in_height && run0 + staged < end);
        let at0 = image * (params.in_height * params.in_width * in_quads) + y * (STRIDE * params.in_width * in_quads)
            + x * (STRIDE * in_quads) + taps_from;
        for (var p = 0u; p < 4u; p++) {
            let ok = from_begin + p < x_count;
            let at = at0 + p * (STRIDE * in_quads);
            taps_tile[(staged * 4u + p) * M_QUADS + lane] = select(vec4f(), vec4f(input[select(0u, at, ok)]), vec4<bool>(ok));
        }
        let pixel0 = (image * params.out_height + y) * params.out_width + x;
        for (var i = 0u; i < GRADS; i += M_QUADS) {
            let item = i + lane;
            if GRADS % M_QUADS == 0u || item < GRADS {
                // Taps past the row's end are 0, so that any pixel does for the gradient there.
                let pixel = min(pixel0 + item / CHANNEL_QUADS, last_pixel);
                let quad = min(channel_quad0 + item % CHANNEL_QUADS, out_quads - 1u);
                grad_tile[staged * GRADS + item] = vec4f(grad_output[pixel * out_quads + quad]);
            }
        }
        x += more_x;
        y += more_rows;
        image += more_images;
        if x >= row_runs * 4u {
            x -= row_runs * 4u;
            y++;
        }
        if y >= params.out_height {
            y -= params.out_height;
            image++;
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

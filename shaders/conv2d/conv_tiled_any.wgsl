// conv2d as an implicit matrix product, for GPUs, where channels are no multiples of 4: kernels of at
// most 9 by 9, any stride and padding.
//
// output[pixel, co] = sum over k of taps[pixel, k] * weights[k, co], k = (ky, kx, ci). A workgroup
// of 256 threads computes ROWS*4 pixels by COLS*4 channels, 4x4 a thread, and stages both factors
// through workgroup memory 8 k at a time. COLS = 4, 8 or 16 trades channels for pixels: choose
// the least with 4*COLS >= out_channels.
// TRANSPOSED as in conv_naive.wgsl, any stride.
//
// input, output: NHWC. weights: [kernel_h, kernel_w, in, out]. bias: [out].
// Grid: x then y: ceil(pixels / (1024 / COLS)); z: ceil(out_channels / (4 * COLS)).

alias Input = f32;
alias Output = f32;

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
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<Output>;

const THREADS = 256u;
const DEPTH = 8u;
// A kernel's rows and columns have 16 bits each; the last rows' bits are never set.
const SIDES = 16u;

override ROWS: u32 = THREADS / COLS;             // 4 pixels each, in a tile
override CHANNELS: u32 = 4u * COLS;              // in a tile
// One more, so that the k that neighbours store lie in different banks.
override PITCH: u32 = ROWS + 1u;
override TAPS: u32 = DEPTH * PITCH;
override WEIGHTS: u32 = DEPTH * CHANNELS;
// Of a tile, for each k, how many threads share it, and what they load at a time.
const SHARE = THREADS / DEPTH;
override PIXEL_LOADS: u32 = (ROWS + SHARE - 1u) / SHARE;
override CHANNEL_LOADS: u32 = (CHANNELS + SHARE - 1u) / SHARE;

var<workgroup> taps_tile: array<vec4f, TAPS>;    // [k][4 pixels], rows PITCH apart
var<workgroup> weights_tile: array<f32, WEIGHTS>;  // [k][channel]

// Of the pixels that the thread loads taps of, at most 8: where tap (0, 0) lies, as two's complement
// (STRIDE times that if TRANSPOSED), and which taps lie inside, a bit for each row of the kernel and,
// from SIDES on, for each column.
var<private> base: array<u32, 8>;
var<private> inside: array<u32, 8>;

// Whether the input has a value under a tap that is `tap` from `start`.
fn reaches(start: u32, tap: u32, size: u32) -> bool {
    if TRANSPOSED {
        return start >= tap && (start - tap) % STRIDE == 0u && (start - tap) / STRIDE < size;
    }
    return start + tap < size;
}

fn find_pixel(slot: u32, pixel: u32) {
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
    base[slot] = (image * pitch + top * params.in_width + left) * params.in_channels;
    var bits = 0u;
    for (var k = 0u; k < KERNEL_H; k++) {
        bits |= select(0u, 1u << k, reaches(top, k, params.in_height));
    }
    for (var k = 0u; k < KERNEL_W; k++) {
        bits |= select(0u, 1u << (SIDES + k), reaches(left, k, params.in_width));
    }
    inside[slot] = select(0u, bits, image < params.batch);
}

// The bits of `inside` that a tap needs; past the last tap a row's that no pixel has.
fn needs(tap: u32) -> u32 {
    return (1u << (tap / KERNEL_W)) | (1u << (SIDES + tap % KERNEL_W));
}

// How far channel `ci` under `tap` lies from tap (0, 0), in the measure of `base`.
fn distance(tap: u32, ci: u32) -> u32 {
    let tap_distance = (tap / KERNEL_W * params.in_width + tap % KERNEL_W) * params.in_channels;
    return select(ci + tap_distance, ci * STRIDE - tap_distance, TRANSPOSED);
}

// The k, `distance` under `tap`, of the pixel of a slot.
fn load_tap(slot: u32, wanted: u32, distance: u32) -> f32 {
    let ok = (inside[slot] & wanted) == wanted;
    let at = (base[slot] + distance) / select(1u, STRIDE, TRANSPOSED);
    return select(0.0, f32(input[select(0u, at, ok)]), ok);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let quad0 = (group.y * groups.x + group.x) * ROWS;
    let channel0 = group.z * CHANNELS;
    let row = thread / COLS;
    let col = thread % COLS;
    // What the thread loads: neighbours take other k of one pixel.
    let my_k = thread % DEPTH;
    let share = thread / DEPTH;
    for (var i = 0u; i < PIXEL_LOADS; i++) {
        for (var p = 0u; p < 4u; p++) {
            find_pixel(i * 4u + p, (quad0 + share + i * SHARE) * 4u + p);
        }
    }

    // That k as a tap and a channel, and how far it goes on.
    var tap = my_k / params.in_channels;
    var ci = my_k % params.in_channels;
    let more_taps = DEPTH / params.in_channels;
    let more_channels = DEPTH % params.in_channels;
    var wanted = needs(tap);
    var away = distance(tap, ci);

    var sums: array<vec4f, 4>;
    let k_end = KERNEL_H * KERNEL_W * params.in_channels;
    for (var k0 = 0u; k0 < k_end; k0 += DEPTH) {
        for (var i = 0u; i < PIXEL_LOADS; i++) {
            let quad = share + i * SHARE;
            if ROWS % SHARE == 0u || quad < ROWS {
                taps_tile[my_k * PITCH + quad] = vec4f(
                    load_tap(i * 4u, wanted, away),
                    load_tap(i * 4u + 1u, wanted, away),
                    load_tap(i * 4u + 2u, wanted, away),
                    load_tap(i * 4u + 3u, wanted, away),
                );
            }
        }
        for (var i = 0u; i < CHANNEL_LOADS; i++) {
            let channel = share + i * SHARE;
            if CHANNELS % SHARE == 0u || channel < CHANNELS {
                // Past the last k, where taps are 0, other weights of the same channel.
                let co = min(channel0 + channel, params.out_channels - 1u);
                var at = min(k0 + my_k, k_end - 1u) * params.out_channels + co;
                if TRANSPOSED {
                    at = (min(tap, KERNEL_H * KERNEL_W - 1u) * params.out_channels + co) * params.in_channels + ci;
                }
                weights_tile[my_k * CHANNELS + channel] = weights[at];
            }
        }
        tap += more_taps;
        ci += more_channels;
        if ci >= params.in_channels {
            ci -= params.in_channels;
            tap++;
        }
        wanted = needs(tap);
        away = distance(tap, ci);
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let w = k * CHANNELS + col * 4u;
            let weight = vec4f(weights_tile[w], weights_tile[w + 1u], weights_tile[w + 2u], weights_tile[w + 3u]);
            let taps = taps_tile[k * PITCH + row];
            for (var p = 0u; p < 4u; p++) {
                sums[p] = fma(vec4f(taps[p]), weight, sums[p]);
            }
        }
        workgroupBarrier();
    }

    for (var p = 0u; p < 4u; p++) {
        let pixel = (quad0 + row) * 4u + p;
        for (var j = 0u; j < 4u; j++) {
            let co = channel0 + col * 4u + j;
            if pixel < params.batch * params.out_height * params.out_width && co < params.out_channels {
                var sum = sums[p][j];
                if HAS_BIAS {
                    sum += bias[co];
                }
                output[pixel * params.out_channels + co] = Output(sum);
            }
        }
    }
}

// conv2d for software drivers with subgroups of 8 lanes (lavapipe): stride 1, kernels up to 3x3,
// any padding, channels multiples of 4.
//
// On such a driver a load is taken lane by lane and costs as much as a hundred multiplications, an
// exchange between lanes is one instruction. So nothing is loaded twice: a workgroup is one
// subgroup, its lanes are 8 columns of pixels, and together they compute a tile of 8x8 pixels by
// 16 output channels. For 4 input channels at a time every lane loads its own column of the input
// and its own share of the weights, and the rest comes from the other lanes.
//
// TRANSPOSED as in conv_naive.wgsl. PATCH = p with KERNEL_H = KERNEL_W = 1
// serves the p by p kernel of stride p, no padding (conv_transpose2d): every pixel of the smaller
// image meets a patch of p by p pixels of the larger one, each with its own 1x1 weights.
//
// input, output: NHWC. weights: [kernel_h, kernel_w, in, out]. bias: [out].
// Grid: x then y: batch * ceil(height / 8) * ceil(width / 8), of the output, or of the smaller
// image if PATCH > 1; z: ceil(out_channels / 16), times PATCH * PATCH if TRANSPOSED.

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
override PATCH: u32 = 1;
override TRANSPOSED: bool = false;
override HAS_BIAS: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4f>;

const TILE = 8u;                                 // pixels each way; one column a lane
const ROWS = 10u;                                // rows of input under a tile
const QUADS = 4u;                                // vec4s of output channels

var<private> lane: u32;
var<private> sums: array<vec4f, 32>;             // [row of the tile][quad of output channels]
var<private> x: array<vec4f, 30>;                // [horizontal tap][row of input]
var<private> w: array<vec4f, 6>;                 // [horizontal tap][half], a share each lane

fn load_input(image: u32, iy: u32, ix: u32, quad: u32) -> vec4f {
    let ok = image < params.batch && iy < params.in_height && ix < params.in_width;
    let at = ((image * params.in_height + iy) * params.in_width + ix) * (params.in_channels / 4u) + quad;
    return select(vec4f(), input[select(0u, at, ok)], vec4<bool>(ok));
}

// Loads the input under the tile, for each horizontal tap the column that the lane's pixel sees.
fn load_columns(image: u32, top: u32, left: u32, quad: u32) {
    for (var r = 0u; r < TILE + KERNEL_H - 1u; r++) {
        x[r] = load_input(image, top + r, left + lane, quad);
    }
    if KERNEL_W == 1u {
        return;
    }
    // The two columns right of the tile, 4 rows of them in the 8 lanes of each load.
    var edge: array<vec4f, 3>;
    for (var i = 0u; i < 3u; i++) {
        edge[i] = load_input(image, top + i * 4u + lane / 2u, left + TILE + lane % 2u, quad);
    }
    for (var kx = 1u; kx < KERNEL_W; kx++) {
        let column = (lane + kx) % TILE;
        let outside = vec4<bool>(lane + kx >= TILE);
        for (var r = 0u; r < TILE + KERNEL_H - 1u; r++) {
            let beside = subgroupShuffle(edge[r / 4u], r % 4u * 2u + column % 2u);
            x[kx * ROWS + r] = select(subgroupShuffle(x[r], column), beside, outside);
        }
    }
}

// Channels past the last read some other weight; their sums are never stored.
fn load_weight(at: u32) -> vec4f {
    let count = KERNEL_H * KERNEL_W * PATCH * PATCH * params.in_channels * params.out_channels;
    return weights[min(at, count / 4u - 1u)];
}

// Loads a row of taps, from 4 input to 16 output channels: 64 weights a tap, 8 a lane.
fn load_weights(first_tap: u32, ci_quad: u32, co_quad: u32) {
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    for (var kx = 0u; kx < KERNEL_W; kx++) {
        var tap = first_tap + kx;
        if TRANSPOSED && PATCH == 1u {
            tap = KERNEL_H * KERNEL_W - 1u - tap;
        }
        if TRANSPOSED {
            let at = (tap * params.out_channels + co_quad * 4u + lane) * in_quads + ci_quad;
            w[2u * kx] = load_weight(at);
            w[2u * kx + 1u] = load_weight(at + 8u * in_quads);
        } else {
            let at = (tap * params.in_channels + ci_quad * 4u + lane / 4u) * out_quads + co_quad + lane % 4u;
            w[2u * kx] = load_weight(at);
            w[2u * kx + 1u] = load_weight(at + 2u * out_quads);
        }
    }
}

// The weights of tap kx from input channel c to output channels 4q to 4q + 3.
fn weight(kx: u32, c: u32, q: u32) -> vec4f {
    if TRANSPOSED {
        let share = w[2u * kx + q / 2u][c];
        let from0 = q % 2u * 4u;
        return vec4f(
            subgroupShuffle(share, from0),
            subgroupShuffle(share, from0 + 1u),
            subgroupShuffle(share, from0 + 2u),
            subgroupShuffle(share, from0 + 3u),
        );
    }
    return subgroupShuffle(w[2u * kx + c / 2u], c % 2u * 4u + q);
}

// Adds row ky of the taps to 4 rows of the tile (row0 = 0 or 4) by 4 output channels: as many
// sums as fit the registers.
fn accumulate(ky: u32, q: u32, row0: u32) {
    for (var kx = 0u; kx < KERNEL_W; kx++) {
        for (var c = 0u; c < 4u; c++) {
            let v = weight(kx, c, q);
            for (var r = row0; r < row0 + 4u; r++) {
                sums[r * QUADS + q] = fma(vec4f(x[kx * ROWS + r + ky][c]), v, sums[r * QUADS + q]);
            }
        }
    }
}

// Spelled out: every index must be a constant for the sums to live in registers, and the driver
// does not unroll a loop as long as this.
fn accumulate_all(ky: u32) {
    accumulate(ky, 0u, 0u);
    accumulate(ky, 0u, 4u);
    accumulate(ky, 1u, 0u);
    accumulate(ky, 1u, 4u);
    accumulate(ky, 2u, 0u);
    accumulate(ky, 2u, 4u);
    accumulate(ky, 3u, 0u);
    accumulate(ky, 3u, 4u);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    lane = thread;
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    let co_tiles = (out_quads + QUADS - 1u) / QUADS;
    let co_quad = group.z % co_tiles * QUADS;

    // Pixels the tiles cover, and how far apart they lie in the output.
    var height = params.out_height;
    var width = params.out_width;
    var spread = 1u;
    if TRANSPOSED && PATCH > 1u {
        height = params.in_height;
        width = params.in_width;
        spread = PATCH;
    }
    let tiles_y = (height + TILE - 1u) / TILE;
    let tiles_x = (width + TILE - 1u) / TILE;
    let tile = group.y * groups.x + group.x;
    let image = tile / (tiles_x * tiles_y);
    let y0 = tile / tiles_x % tiles_y * TILE;
    let x0 = tile % tiles_x * TILE;

    if PATCH > 1u && !TRANSPOSED {
        // The pixels of a patch are as so many more input channels.
        for (var tap = 0u; tap < PATCH * PATCH; tap++) {
            for (var quad = 0u; quad < in_quads; quad++) {
                for (var r = 0u; r < TILE; r++) {
                    x[r] = load_input(image, (y0 + r) * PATCH + tap / PATCH, (x0 + lane) * PATCH + tap % PATCH, quad);
                }
                load_weights(tap, quad, co_quad);
                accumulate_all(0u);
            }
        }
    } else {
        let top = y0 - select(params.pad_top, KERNEL_H - 1u - params.pad_top, TRANSPOSED);
        let left = x0 - select(params.pad_left, KERNEL_W - 1u - params.pad_left, TRANSPOSED);
        for (var quad = 0u; quad < in_quads; quad++) {
            load_columns(image, top, left, quad);
            load_weights(group.z / co_tiles, quad, co_quad);
            accumulate_all(0u);
            if KERNEL_H > 1u {
                load_weights(KERNEL_W, quad, co_quad);
                accumulate_all(1u);
            }
            if KERNEL_H > 2u {
                load_weights(2u * KERNEL_W, quad, co_quad);
                accumulate_all(2u);
            }
        }
    }

    if image >= params.batch || x0 + lane >= width {
        return;
    }
    // The row to store is always the first, the others move up: a loop that is not unrolled, for
    // stores take the driver long to compile.
    let tap = group.z / co_tiles;
    let ox = (x0 + lane) * spread + tap % PATCH;
    for (var y = y0; y < min(y0 + TILE, height); y++) {
        let oy = y * spread + tap / PATCH;
        let at = ((image * params.out_height + oy) * params.out_width + ox) * out_quads + co_quad;
        for (var q = 0u; q < QUADS; q++) {
            if co_quad + q < out_quads {
                var sum = sums[q];
                if HAS_BIAS {
                    sum += bias[co_quad + q];
                }
                output[at + q] = sum;
            }
        }
        for (var i = 0u; i < 7u * QUADS; i++) {
            sums[i] = sums[i + QUADS];
        }
    }
}

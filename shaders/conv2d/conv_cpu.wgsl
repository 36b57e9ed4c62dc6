// conv2d for software drivers with subgroups of 8 lanes and 64-bit integers (lavapipe): stride 1,
// kernels up to 3x3, any padding, channels multiples of 4.
//
// On such a driver a load is taken lane by lane, with a branch for each lane and component, and
// costs as much as ten to thirty vectors of multiply-adds; an exchange between lanes is one
// instruction. So a workgroup is one subgroup, its lanes are 8 columns of pixels, and together
// they compute BLOCKS, 1 or 2, blocks of 8x8 pixels by 16 output channels. For two input channels at a time
// every lane loads its own column of the input and its own share of the weights, two floats as
// one u64, and the rest comes from the other lanes. Each sum then runs over all taps and both
// channels in one chain.
//
// The gradient of the input is taken with mirrored weights. PATCH = p with KERNEL_H = KERNEL_W = 1
// serves the p by p kernel of stride p, no padding (conv_transpose2d): every pixel of the smaller
// image meets a patch of p by p pixels of the larger one, each with its own 1x1 weights. TRANSPOSED goes
// from the smaller image to the larger, with weights as the other way takes them.
//
// input, output: NHWC. weights: [kernel_h, kernel_w, in, out]. bias: [out].
// Grid: x then y: the blocks, BLOCKS at a time, batch * ceil(height / 8) * ceil(width / 8), of the output, or
// of the smaller image if PATCH > 1; z: ceil(out_channels / 16), times PATCH * PATCH if TRANSPOSED.

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
override BLOCKS: u32 = 1;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u64>;     // pairs of channels
@group(0) @binding(2) var<storage, read> weights: array<u64>;   // pairs of channels
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4f>;

const SIDE = 8u;                                 // pixels of a block each way; one column a lane
const ROWS = 10u;                                // rows of input under a block
const QUADS = 4u;                                // vec4s of output channels

// A block of pixels, of the output or, if PATCH > 1, of the smaller image.
struct Block {
    image: u32,
    y0: u32,
    x0: u32,
}

var<private> lane: u32;
var<private> sums: array<vec4f, 64>;             // [block][row][quad of output channels]
var<private> x: array<vec2f, 60>;                // [block][horizontal tap or pair of channels][row of input]
var<private> w: array<vec4f, 9>;                 // [tap or pair of channels], a share each lane

// Pairs of input channels that one chain runs over; a 1x1 kernel alone makes it too short.
fn depth() -> u32 {
    return select(1u, 2u, KERNEL_H * KERNEL_W == 1u);
}

fn floats(pair: u64) -> vec2f {
    return vec2f(bitcast<f32>(u32(pair)), bitcast<f32>(u32(pair >> 32u)));
}

fn load_input(image: u32, iy: u32, ix: u32, pair: u32) -> vec2f {
    let ok = image < params.batch && iy < params.in_height && ix < params.in_width;
    let at = ((image * params.in_height + iy) * params.in_width + ix) * (params.in_channels / 2u) + pair;
    return select(vec2f(), floats(input[select(0u, at, ok)]), vec2<bool>(ok));
}

// Loads the input under a block, for each horizontal tap the column that the lane's pixel sees.
fn load_columns(block: u32, image: u32, top: u32, left: u32, pair: u32) {
    let slot = block * 3u * ROWS;
    for (var r = 0u; r < SIDE + KERNEL_H - 1u; r++) {
        x[slot + r] = load_input(image, top + r, left + lane, pair);
    }
    if KERNEL_W == 1u {
        for (var r = 0u; r < SIDE && depth() == 2u; r++) {
            x[slot + ROWS + r] = load_input(image, top + r, left + lane, pair + 1u);
        }
        return;
    }
    // The two columns right of the block, 4 rows of them in the 8 lanes of each load.
    var edge: array<vec2f, 3>;
    for (var i = 0u; i < 3u; i++) {
        edge[i] = load_input(image, top + i * 4u + lane / 2u, left + SIDE + lane % 2u, pair);
    }
    for (var kx = 1u; kx < KERNEL_W; kx++) {
        let column = (lane + kx) % SIDE;
        let outside = vec2<bool>(lane + kx >= SIDE);
        for (var r = 0u; r < SIDE + KERNEL_H - 1u; r++) {
            let beside = subgroupShuffle(edge[r / 4u], r % 4u * 2u + column % 2u);
            x[slot + kx * ROWS + r] = select(subgroupShuffle(x[slot + r], column), beside, outside);
        }
    }
}

// Channels past the last read some other weight; their sums are never stored.
fn load_weight(at: u32) -> vec2f {
    let count = KERNEL_H * KERNEL_W * PATCH * PATCH * params.in_channels * params.out_channels;
    return floats(weights[min(at, count / 2u - 1u)]);
}

// Loads the weights of one tap from 2 input to 16 output channels, 4 a lane.
fn load_tap(tap: u32, pair: u32, co_quad: u32) -> vec4f {
    if TRANSPOSED {
        // Lane l: both input channels, of output channels l and l + 8.
        let at = (tap * params.out_channels + co_quad * 4u + lane) * (params.in_channels / 2u) + pair;
        return vec4f(load_weight(at), load_weight(at + 4u * params.in_channels));
    }
    // Lane l: output channels of quad l % 4, of input channel l / 4.
    let at = (tap * params.in_channels + pair * 2u + lane / 4u) * (params.out_channels / 2u)
        + (co_quad + lane % 4u) * 2u;
    return vec4f(load_weight(at), load_weight(at + 1u));
}

fn load_weights(first_tap: u32, pair: u32, co_quad: u32) {
    for (var t = 0u; t < KERNEL_H * KERNEL_W; t++) {
        w[t] = load_tap(first_tap + t, pair, co_quad);
    }
    if depth() == 2u {
        w[1] = load_tap(first_tap, pair + 1u, co_quad);
    }
}

// The weights of share t from input channel c to output channels 4q to 4q + 3.
fn weight(t: u32, c: u32, q: u32) -> vec4f {
    if TRANSPOSED {
        let share = w[t][q / 2u * 2u + c];
        let from0 = q % 2u * 4u;
        return vec4f(
            subgroupShuffle(share, from0),
            subgroupShuffle(share, from0 + 1u),
            subgroupShuffle(share, from0 + 2u),
            subgroupShuffle(share, from0 + 3u),
        );
    }
    return subgroupShuffle(w[t], c * 4u + q);
}

// Adds all taps to one row of a block, 4 output channels.
fn accumulate(block: u32, q: u32, row: u32) {
    let at = (block * SIDE + row) * QUADS + q;
    var sum = sums[at];
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        for (var kx = 0u; kx < max(KERNEL_W, depth()); kx++) {
            for (var c = 0u; c < 2u; c++) {
                let value = x[(block * 3u + kx) * ROWS + row + ky][c];
                sum = fma(vec4f(value), weight(ky * KERNEL_W + kx, c, q), sum);
            }
        }
    }
    sums[at] = sum;
}

// Spelled out: every index must be a constant for the arrays to dissolve, and the driver does not
// unroll a loop as long as this.
fn accumulate_block(block: u32, q: u32) {
    accumulate(block, q, 0u);
    accumulate(block, q, 1u);
    accumulate(block, q, 2u);
    accumulate(block, q, 3u);
    accumulate(block, q, 4u);
    accumulate(block, q, 5u);
    accumulate(block, q, 6u);
    accumulate(block, q, 7u);
}

// Both use the same weights.
fn accumulate_blocks(q: u32) {
    accumulate_block(0u, q);
    if BLOCKS == 2u {
        accumulate_block(1u, q);
    }
}

fn accumulate_all() {
    accumulate_blocks(0u);
    accumulate_blocks(1u);
    accumulate_blocks(2u);
    accumulate_blocks(3u);
}

// Size of the image that the blocks cover.
fn covered() -> vec2u {
    if TRANSPOSED {
        return vec2u(params.in_width, params.in_height);
    }
    return vec2u(params.out_width, params.out_height);
}

fn block_at(index: u32) -> Block {
    let blocks = (covered() + SIDE - 1u) / SIDE;
    return Block(index / (blocks.x * blocks.y), index / blocks.x % blocks.y * SIDE, index % blocks.x * SIDE);
}

fn load_block(block: u32, at: Block, tap: u32, pair: u32) {
    if PATCH > 1u && !TRANSPOSED {
        // One pixel of each patch.
        let slot = block * 3u * ROWS;
        for (var r = 0u; r < SIDE; r++) {
            let iy = (at.y0 + r) * PATCH + tap / PATCH;
            let ix = (at.x0 + lane) * PATCH + tap % PATCH;
            x[slot + r] = load_input(at.image, iy, ix, pair);
            x[slot + ROWS + r] = load_input(at.image, iy, ix, pair + 1u);
        }
        return;
    }
    load_columns(block, at.image, at.y0 - params.pad_top, at.x0 - params.pad_left, pair);
}

fn store_block(block: u32, at: Block, tap: u32, co_quad: u32) {
    let size = covered();
    if at.image >= params.batch || at.x0 + lane >= size.x {
        return;
    }
    let out_quads = params.out_channels / 4u;
    let spread = select(1u, PATCH, TRANSPOSED);
    let slot = block * SIDE * QUADS;
    let ox = (at.x0 + lane) * spread + tap % PATCH;
    // The row to store is always the first, the others move up: a loop that is not unrolled, for
    // stores take the driver long to compile.
    for (var y = at.y0; y < min(at.y0 + SIDE, size.y); y++) {
        let oy = y * spread + tap / PATCH;
        let to = ((at.image * params.out_height + oy) * params.out_width + ox) * out_quads + co_quad;
        for (var q = 0u; q < QUADS; q++) {
            if co_quad + q < out_quads {
                var sum = sums[slot + q];
                if HAS_BIAS {
                    sum += bias[co_quad + q];
                }
                output[to + q] = sum;
            }
        }
        for (var i = slot; i < slot + (SIDE - 1u) * QUADS; i++) {
            sums[i] = sums[i + QUADS];
        }
    }
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    lane = thread;
    let co_tiles = (params.out_channels / 4u + QUADS - 1u) / QUADS;
    let co_quad = group.z % co_tiles * QUADS;
    let first = (group.y * groups.x + group.x) * BLOCKS;
    let block0 = block_at(first);
    let block1 = block_at(first + 1u);

    // The patch's pixel that is written; the ones that are read count as so many more channels.
    let out_tap = group.z / co_tiles;
    let in_taps = select(PATCH * PATCH, 1u, TRANSPOSED);
    for (var in_tap = 0u; in_tap < in_taps; in_tap++) {
        for (var pair = 0u; pair < params.in_channels / 2u; pair += depth()) {
            load_block(0u, block0, in_tap, pair);
            if BLOCKS == 2u {
                load_block(1u, block1, in_tap, pair);
            }
            load_weights(out_tap + in_tap, pair, co_quad);
            accumulate_all();
        }
    }
    store_block(0u, block0, out_tap, co_quad);
    if BLOCKS == 2u {
        store_block(1u, block1, out_tap, co_quad);
    }
}

// conv2d by Winograd's F(4x4, 3x3), step 1: tiles of the input, transformed.
//
// Each tile of 4x4 results sees 6x6 pixels d of its input. tiles = B d B' of each, channel by channel;
// src/ops/conv2d/winograd.rs has the matrices. For software drivers: four floats are loaded as two u64.
//
// input: NHWC, in quads of channels. tiles: [36][count][channels], of the tiles first to first + count.
// Grid: one invocation for a quad of channels of a tile, groups folded into x and y.

struct Params {
    batch: u32,
    height: u32,
    width: u32,
    /// Quads of channels.
    quads: u32,
    /// Tiles of an image.
    tiles_y: u32,
    tiles_x: u32,
    pad_top: u32,
    pad_left: u32,
    first: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read_write> tiles: array<vec4f>;

const P = 0.70710678118654752;                   // points 0, ±1/√2, ±√2, ∞
const Q = 1.41421356237309505;

var<private> d: array<vec4f, 36>;

fn floats(quad: vec2<u64>) -> vec4f {
    return bitcast<vec4f>(vec4u(u32(quad.x), u32(quad.x >> 32u), u32(quad.y), u32(quad.y >> 32u)));
}

// Six values of d, `step` apart, times B.
fn transform(at: u32, step: u32) {
    let d0 = d[at];
    let d1 = d[at + step];
    let d2 = d[at + 2u * step];
    let d3 = d[at + 3u * step];
    let d4 = d[at + 4u * step];
    let d5 = d[at + 5u * step];
    let a = d4 - 2.0 * d2;
    let b = P * (d3 - 2.0 * d1);
    let c = d4 - 0.5 * d2;
    let e = Q * (d3 - 0.5 * d1);
    d[at] = d0 - 2.5 * d2 + d4;
    d[at + step] = a + b;
    d[at + 2u * step] = a - b;
    d[at + 3u * step] = c + e;
    d[at + 4u * step] = c - e;
    d[at + 5u * step] = d1 - 2.5 * d3 + d5;
}

// Loads are long to compile, so there are those of one row, the last; the others move up before.
fn load_row(y: u32, image: u32, top: u32, left: u32, quad: u32) {
    for (var i = 0u; i < 30u; i++) {
        d[i] = d[i + 6u];
    }
    let iy = top + y;
    for (var x = 0u; x < 6u; x++) {
        let ix = left + x;
        let ok = iy < params.height && ix < params.width;
        let at = ((image * params.height + iy) * params.width + ix) * params.quads + quad;
        d[30u + x] = select(vec4f(), floats(input[select(0u, at, ok)]), vec4<bool>(ok));
    }
    transform(30u, 1u);
}

// Spelled out where it is called: every index must become a constant, and the driver unrolls no loop as long.
fn store_column(x: u32, i: u32) {
    transform(x, 6u);
    for (var y = 0u; y < 6u; y++) {
        tiles[(y * 6u + x) * params.count * params.quads + i] = d[y * 6u + x];
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.count * params.quads {
        return;
    }
    let quad = i % params.quads;
    let tile = params.first + i / params.quads;
    let image = tile / (params.tiles_y * params.tiles_x);
    let top = tile / params.tiles_x % params.tiles_y * 4u - params.pad_top;
    let left = tile % params.tiles_x * 4u - params.pad_left;
    // A number that the driver does not know, so that it unrolls nothing.
    let rows = select(6u, 0u, params.count == 0u);
    for (var y = 0u; y < rows; y++) {
        load_row(y, image, top, left, quad);
    }
    store_column(0u, i);
    store_column(1u, i);
    store_column(2u, i);
    store_column(3u, i);
    store_column(4u, i);
    store_column(5u, i);
}

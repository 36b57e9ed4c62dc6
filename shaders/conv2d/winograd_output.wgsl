// conv2d by Winograd's F(4x4, 3x3), step 4: the products m of each tile, 6x6, as A m A', the tile's 4x4 results.
//
// products: [36][count][channels], in quads, of the tiles first to first + count. output: NHWC. bias: [channels].
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
    first: u32,
    count: u32,
}

override HAS_BIAS: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> products: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

const P = 0.70710678118654752;
const Q = 1.41421356237309505;

var<private> m: array<vec4f, 36>;

fn floats(quad: vec2<u64>) -> vec4f {
    return bitcast<vec4f>(vec4u(u32(quad.x), u32(quad.x >> 32u), u32(quad.y), u32(quad.y >> 32u)));
}

// Six values of m, `step` apart, times A: four.
fn transform(at: u32, step: u32) {
    let s = m[at + step] + m[at + 2u * step];
    let t = m[at + step] - m[at + 2u * step];
    let u = m[at + 3u * step] + m[at + 4u * step];
    let v = m[at + 3u * step] - m[at + 4u * step];
    m[at] = m[at] + s + u;
    m[at + step] = P * t + Q * v;
    m[at + 2u * step] = 0.5 * s + 2.0 * u;
    m[at + 3u * step] = (0.5 * P) * t + (2.0 * Q) * v + m[at + 5u * step];
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
    let top = tile / params.tiles_x % params.tiles_y * 4u;
    let left = tile % params.tiles_x * 4u;
    // Row by row into the last, as in winograd_input.wgsl.
    let rows = select(6u, 0u, params.count == 0u);
    for (var y = 0u; y < rows; y++) {
        for (var k = 0u; k < 30u; k++) {
            m[k] = m[k + 6u];
        }
        for (var x = 0u; x < 6u; x++) {
            m[30u + x] = floats(products[(y * 6u + x) * params.count * params.quads + i]);
        }
        transform(30u, 1u);
    }
    for (var x = 0u; x < 4u; x++) {
        transform(x, 6u);
        for (var y = 0u; y < 4u; y++) {
            if top + y < params.height && left + x < params.width {
                var sum = m[y * 6u + x];
                if HAS_BIAS {
                    sum += bias[quad];
                }
                output[((image * params.height + top + y) * params.width + left + x) * params.quads + quad] = sum;
            }
        }
    }
}

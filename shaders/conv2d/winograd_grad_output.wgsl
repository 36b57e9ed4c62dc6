// Gradient of the weights of conv2d by Winograd's F(3x3, 4x4): tiles of the result's gradient, transformed.
//
// The gradient of a 3x3 weight is the correlation of the tile's 6x6 input with the 4x4 gradients of its results: so
// these are the kernel here, G g G', and the input is transformed as for the forward (winograd_input.wgsl).
//
// grad_output: NHWC, in quads of channels. tiles: [36][count][channels], of the tiles first to first + count.
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

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad_output: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read_write> tiles: array<vec4f>;

const P = 0.70710678118654752;
const Q = 1.41421356237309505;

var<private> g: array<vec4f, 36>;                // [row][column], of which 4x4, 4x6 and then all are in use

fn floats(quad: vec2<u64>) -> vec4f {
    return bitcast<vec4f>(vec4u(u32(quad.x), u32(quad.x >> 32u), u32(quad.y), u32(quad.y >> 32u)));
}

// Four values of g, `step` apart, times G: six.
fn transform(at: u32, step: u32) {
    let g0 = g[at];
    let g1 = g[at + step];
    let g2 = g[at + 2u * step];
    let g3 = g[at + 3u * step];
    let a = (-2.0 / 3.0) * g0 - (1.0 / 3.0) * g2;
    let b = (-2.0 / 3.0 * P) * (g1 + 0.5 * g3);
    let c = (1.0 / 6.0) * g0 + (1.0 / 3.0) * g2;
    let e = (Q / 6.0) * (g1 + 2.0 * g3);
    g[at + step] = a + b;
    g[at + 2u * step] = a - b;
    g[at + 3u * step] = c + e;
    g[at + 4u * step] = c - e;
    g[at + 5u * step] = g3;
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
    // Row by row into the last of four, as in winograd_input.wgsl.
    let rows = select(4u, 0u, params.count == 0u);
    for (var y = 0u; y < rows; y++) {
        for (var k = 0u; k < 18u; k++) {
            g[k] = g[k + 6u];
        }
        for (var x = 0u; x < 4u; x++) {
            let ok = top + y < params.height && left + x < params.width;
            let at = ((image * params.height + top + y) * params.width + left + x) * params.quads + quad;
            g[18u + x] = select(vec4f(), floats(grad_output[select(0u, at, ok)]), vec4<bool>(ok));
        }
        transform(18u, 1u);
    }
    for (var x = 0u; x < 6u; x++) {
        transform(x, 6u);
        for (var y = 0u; y < 6u; y++) {
            tiles[(y * 6u + x) * params.count * params.quads + i] = g[y * 6u + x];
        }
    }
}

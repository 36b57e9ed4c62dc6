// conv2d by Winograd's F(4x4, 3x3), step 2: the 3x3 weights g of each pair of channels as G g G', 6x6.
//
// weights: [3, 3, in, out]. transformed: [36][in][out]. Both in quads.
// Grid: one invocation for a quad of pairs of channels, groups folded into x and y.

struct Params {
    quads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read_write> transformed: array<vec4f>;

const P = 0.70710678118654752;
const Q = 1.41421356237309505;

var<private> g: array<vec4f, 36>;                // [row][column], of which 3x3, 3x6 and then all are in use

fn floats(quad: vec2<u64>) -> vec4f {
    return bitcast<vec4f>(vec4u(u32(quad.x), u32(quad.x >> 32u), u32(quad.y), u32(quad.y >> 32u)));
}

// Three values of g, `step` apart, times G: six.
fn transform(at: u32, step: u32) {
    let g0 = g[at];
    let g1 = g[at + step];
    let g2 = g[at + 2u * step];
    let a = (-2.0 / 3.0) * g0 - (1.0 / 3.0) * g2;
    let b = (-2.0 / 3.0 * P) * g1;
    let c = (1.0 / 6.0) * g0 + (1.0 / 3.0) * g2;
    let e = (Q / 6.0) * g1;
    g[at + step] = a + b;
    g[at + 2u * step] = a - b;
    g[at + 3u * step] = c + e;
    g[at + 4u * step] = c - e;
    g[at + 5u * step] = g2;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.quads {
        return;
    }
    // Loads and stores are long to compile: row by row into the last of three, column by column out of the first, in
    // loops that the driver cannot unroll, as it does not know how long they are.
    let rows = select(3u, 0u, params.quads == 0u);
    for (var y = 0u; y < rows; y++) {
        for (var k = 0u; k < 12u; k++) {
            g[k] = g[k + 6u];
        }
        for (var x = 0u; x < 3u; x++) {
            g[12u + x] = floats(weights[(y * 3u + x) * params.quads + i]);
        }
        transform(12u, 1u);
    }
    for (var x = 0u; x < 2u * rows; x++) {
        transform(0u, 6u);
        for (var y = 0u; y < 6u; y++) {
            transformed[(y * 6u + x) * params.quads + i] = g[y * 6u];
        }
        for (var k = 0u; k < 17u; k++) {
            g[k] = g[k + 1u];
        }
    }
}

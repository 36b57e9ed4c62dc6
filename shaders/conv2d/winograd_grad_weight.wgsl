// Gradient of the weights of conv2d by Winograd's F(3x3, 4x4), last step: the products m of each pair of channels,
// 6x6, as A m A', the gradients of its 3x3 weights.
//
// products: [36][in][out]. grad_weight: [3, 3, in, out]. Both in quads.
// Grid: one invocation for a quad of pairs, groups folded into x and y.

struct Params {
    /// Quads of pairs of channels.
    quads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> products: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read_write> grad_weight: array<vec4f>;

const P = 0.70710678118654752;
const Q = 1.41421356237309505;

var<private> m: array<vec4f, 36>;

fn floats(quad: vec2<u64>) -> vec4f {
    return bitcast<vec4f>(vec4u(u32(quad.x), u32(quad.x >> 32u), u32(quad.y), u32(quad.y >> 32u)));
}

// Six values of m, `step` apart, times A: three.
fn transform(at: u32, step: u32) {
    let s = m[at + step] + m[at + 2u * step];
    let t = m[at + step] - m[at + 2u * step];
    let u = m[at + 3u * step] + m[at + 4u * step];
    let v = m[at + 3u * step] - m[at + 4u * step];
    m[at] = m[at] + s + u;
    m[at + step] = P * t + Q * v;
    m[at + 2u * step] = 0.5 * s + 2.0 * u + m[at + 5u * step];
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
    // Row by row into the last, as in winograd_input.wgsl.
    let rows = select(6u, 0u, params.quads == 0u);
    for (var y = 0u; y < rows; y++) {
        for (var k = 0u; k < 30u; k++) {
            m[k] = m[k + 6u];
        }
        for (var x = 0u; x < 6u; x++) {
            m[30u + x] = floats(products[(y * 6u + x) * params.quads + i]);
        }
        transform(30u, 1u);
    }
    for (var x = 0u; x < 3u; x++) {
        transform(x, 6u);
        for (var y = 0u; y < 3u; y++) {
            grad_weight[(y * 3u + x) * params.quads + i] = m[y * 6u + x];
        }
    }
}

// conv2d by Winograd's F(4x4, 3x3), step 2: the 3x3 weights g of each pair of channels as G g G', 6x6.
//
// TRANSPOSED: as in conv_naive.wgsl, the weights of the gradient of the input, mirrored and with the roles of the
// channels exchanged.
//
// weights: [3, 3, in, out]. transformed: [36][in][out] or, TRANSPOSED, [36][out][in], in quads.
// Grid: one invocation for a quad of the result, groups folded into x and y.

struct Params {
    in_channels: u32,
    out_channels: u32,
}

override TRANSPOSED: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> transformed: array<vec4f>;

const P = 0.70710678118654752;
const Q = 1.41421356237309505;

var<private> g: array<vec4f, 36>;                // [row][column], of which 3x3, 3x6 and then all are in use

fn load(tap: u32, from_channel: u32, quad: u32) -> vec4f {
    if TRANSPOSED {
        // From output channel `from_channel` to input channels 4 quad to 4 quad + 3.
        let at = ((8u - tap) * params.in_channels + quad * 4u) * params.out_channels + from_channel;
        let next = params.out_channels;
        return vec4f(weights[at], weights[at + next], weights[at + 2u * next], weights[at + 3u * next]);
    }
    let at = (tap * params.in_channels + from_channel) * params.out_channels + quad * 4u;
    return vec4f(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]);
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
    let count = params.in_channels * params.out_channels / 4u;
    if i >= count {
        return;
    }
    let quads = select(params.out_channels, params.in_channels, TRANSPOSED) / 4u;
    for (var y = 0u; y < 3u; y++) {
        for (var x = 0u; x < 3u; x++) {
            g[y * 6u + x] = load(y * 3u + x, i / quads, i % quads);
        }
        transform(y * 6u, 1u);
    }
    for (var x = 0u; x < 6u; x++) {
        transform(x, 6u);
        for (var y = 0u; y < 6u; y++) {
            transformed[(y * 6u + x) * count + i] = g[y * 6u + x];
        }
    }
}

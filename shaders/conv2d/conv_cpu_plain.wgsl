// conv2d for software drivers without subgroup operations: any kernel, stride and padding,
// channels multiples of 4.
//
// A thread computes 8 neighbouring pixels of a row by 8 output channels; every load is a vec4,
// since such a driver loads lane by lane and a load costs as much as dozens of multiplications.
// TRANSPOSED (stride 1 only) as in conv_naive.wgsl.
//
// input, output: NHWC. weights: [kernel_h, kernel_w, in, out]. bias: [out].
// Grid: 8 strips of 8 pixels a workgroup, along x then y; z: ceil(out_channels / 8).

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

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4f>;

const STRIP = 8u;

var<private> x: array<vec4f, STRIP>;             // 4 input channels of each pixel
var<private> sums: array<vec4f, 16>;             // [pixel][half of the 8 output channels]

// Adds the products with 4 output channels; w holds a row of them for each input channel.
fn accumulate(half: u32, w: array<vec4f, 4>) {
    for (var p = 0u; p < STRIP; p++) {
        var sum = sums[2u * p + half];
        sum = fma(vec4f(x[p].x), w[0], sum);
        sum = fma(vec4f(x[p].y), w[1], sum);
        sum = fma(vec4f(x[p].z), w[2], sum);
        sums[2u * p + half] = fma(vec4f(x[p].w), w[3], sum);
    }
}

// Weights from 4 input channels to 4 output channels, a row for each input channel.
fn load_weights(tap: u32, ci_quad: u32, co_quad: u32) -> array<vec4f, 4> {
    let step = select(params.out_channels, params.in_channels, TRANSPOSED) / 4u;
    if TRANSPOSED {
        let at = (tap * params.out_channels + co_quad * 4u) * step + ci_quad;
        let w = transpose(mat4x4f(weights[at], weights[at + step], weights[at + 2u * step], weights[at + 3u * step]));
        return array<vec4f, 4>(w[0], w[1], w[2], w[3]);
    }
    let at = (tap * params.in_channels + ci_quad * 4u) * step + co_quad;
    return array<vec4f, 4>(weights[at], weights[at + step], weights[at + 2u * step], weights[at + 3u * step]);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let strips_per_row = (params.out_width + STRIP - 1u) / STRIP;
    let strip = (group.y * groups.x + group.x) * 8u + lane;
    let row = strip / strips_per_row;
    let x0 = strip % strips_per_row * STRIP;
    let image = row / params.out_height;
    let y = row % params.out_height;
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    let first = group.z * 2u;
    let second = min(first + 1u, out_quads - 1u);

    for (var ky = 0u; ky < KERNEL_H; ky++) {
        let iy = select(y * STRIDE + ky - params.pad_top, y + params.pad_top - ky, TRANSPOSED);
        let row_ok = image < params.batch && iy < params.in_height;
        let in_row = (image * params.in_height + iy) * params.in_width;
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            for (var quad = 0u; quad < in_quads; quad++) {
                for (var p = 0u; p < STRIP; p++) {
                    let ix = select((x0 + p) * STRIDE + kx - params.pad_left, x0 + p + params.pad_left - kx, TRANSPOSED);
                    let ok = row_ok && ix < params.in_width;
                    x[p] = select(vec4f(), input[select(0u, (in_row + ix) * in_quads + quad, ok)], vec4<bool>(ok));
                }
                accumulate(0u, load_weights(ky * KERNEL_W + kx, quad, first));
                accumulate(1u, load_weights(ky * KERNEL_W + kx, quad, second));
            }
        }
    }

    if image >= params.batch {
        return;
    }
    for (var half = 0u; half < 2u; half++) {
        let quad = first + half;
        if quad < out_quads {
            var b = vec4f();
            if HAS_BIAS {
                b = bias[quad];
            }
            for (var p = 0u; p < STRIP; p++) {
                if x0 + p < params.out_width {
                    output[(row * params.out_width + x0 + p) * out_quads + quad] = sums[2u * p + half] + b;
                }
            }
        }
    }
}

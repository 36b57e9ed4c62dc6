// conv2d for software drivers, where channels are few or no multiple of 4 (the first layer, the
// head): any kernel, stride, padding and channel count, no subgroup operations.
//
// A thread computes 4 neighbouring pixels of a row by 4 output channels, with scalar loads.
// TRANSPOSED (stride 1 only) as in conv_naive.wgsl.
//
// input, output: NHWC. weights: [kernel_h, kernel_w, in, out]. bias: [out].
// Grid: 8 strips of 4 pixels a workgroup, along x then y; z: ceil(out_channels / 4).

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
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

const STRIP = 4u;

// The weights of four output channels from `co` on; those past the last are never stored.
fn load_weights(tap: u32, ci: u32, co: u32) -> vec4f {
    if TRANSPOSED {
        let step = params.in_channels;
        let at = (tap * params.out_channels + co) * step + ci;
        return vec4f(weight(at), weight(at + step), weight(at + 2u * step), weight(at + 3u * step));
    }
    let at = (tap * params.in_channels + ci) * params.out_channels + co;
    return vec4f(weight(at), weight(at + 1u), weight(at + 2u), weight(at + 3u));
}

fn weight(at: u32) -> f32 {
    return weights[min(at, KERNEL_H * KERNEL_W * params.in_channels * params.out_channels - 1u)];
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
    let co = group.z * 4u;

    var sums: array<vec4f, STRIP>;
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        let iy = select(y * STRIDE + ky - params.pad_top, y + params.pad_top - ky, TRANSPOSED);
        let row_ok = image < params.batch && iy < params.in_height;
        let in_row = (image * params.in_height + iy) * params.in_width;
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            for (var ci = 0u; ci < params.in_channels; ci++) {
                let w = load_weights(ky * KERNEL_W + kx, ci, co);
                for (var p = 0u; p < STRIP; p++) {
                    let ix = select((x0 + p) * STRIDE + kx - params.pad_left, x0 + p + params.pad_left - kx, TRANSPOSED);
                    let ok = row_ok && ix < params.in_width;
                    let x = select(0.0, input[select(0u, (in_row + ix) * params.in_channels + ci, ok)], ok);
                    sums[p] = fma(vec4f(x), w, sums[p]);
                }
            }
        }
    }

    if image >= params.batch {
        return;
    }
    for (var p = 0u; p < STRIP; p++) {
        for (var j = 0u; j < 4u; j++) {
            if x0 + p < params.out_width && co + j < params.out_channels {
                var sum = sums[p][j];
                if HAS_BIAS {
                    sum += bias[co + j];
                }
                output[(row * params.out_width + x0 + p) * params.out_channels + co + j] = sum;
            }
        }
    }
}

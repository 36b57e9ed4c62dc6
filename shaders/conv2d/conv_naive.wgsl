// conv2d, one thread an output value: any kernel, stride, padding and channel count.
//
// One file serves a convolution and its mirror image. With TRANSPOSED the output is the image that
// the convolution would have read (gradient of the input; conv_transpose2d): out_* then describes
// that larger image, the weights are stored [kernel_h, kernel_w, out, in] as seen from here, and
// stride and padding are still those of the convolution.
//
// input, output: NHWC. weights: [kernel_h, kernel_w, in, out]. bias: [out].
// Grid: 64 outputs a workgroup, counted along x, then y.

alias Input = f32;
alias Output = f32;

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
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<Output>;

const OUTSIDE = 0xffffffffu;

// The input coordinate that `tap` of output coordinate `o` reads, or OUTSIDE.
fn tapped(o: u32, tap: u32, pad: u32, size: u32) -> u32 {
    if TRANSPOSED {
        let i = o + pad - tap;
        return select(OUTSIDE, i / STRIDE, o + pad >= tap && i % STRIDE == 0u && i / STRIDE < size);
    }
    let i = o * STRIDE + tap - pad;
    return select(OUTSIDE, i, i < size);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = (group.y * groups.x + group.x) * 64u + thread;
    let pixel = index / params.out_channels;
    let co = index % params.out_channels;
    let row = pixel / params.out_width;
    let image = row / params.out_height;
    if image >= params.batch {
        return;
    }

    var sum = 0.0;
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        let iy = tapped(row % params.out_height, ky, params.pad_top, params.in_height);
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            let ix = tapped(pixel % params.out_width, kx, params.pad_left, params.in_width);
            if iy == OUTSIDE || ix == OUTSIDE {
                continue;
            }
            let first = ((image * params.in_height + iy) * params.in_width + ix) * params.in_channels;
            let tap = ky * KERNEL_W + kx;
            for (var ci = 0u; ci < params.in_channels; ci++) {
                let w = select(
                    (tap * params.in_channels + ci) * params.out_channels + co,
                    (tap * params.out_channels + co) * params.in_channels + ci,
                    TRANSPOSED,
                );
                sum = fma(f32(input[first + ci]), weights[w], sum);
            }
        }
    }
    if HAS_BIAS {
        sum += bias[co];
    }
    output[index] = Output(sum);
}

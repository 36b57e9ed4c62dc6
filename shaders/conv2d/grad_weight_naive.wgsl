// Gradient of the weights of conv2d, one thread a weight: any kernel, stride, padding, channels.
//
// input: NHWC, what the convolution read; grad_output: NHWC, the gradient of what it wrote.
// grad_weights: [kernel_h, kernel_w, in, out].
// Grid: 64 weights a workgroup, counted along x, then y.

alias Input = f32;
alias GradOutput = f32;

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

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> grad_output: array<GradOutput>;
@group(0) @binding(3) var<storage, read_write> grad_weights: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = (group.y * groups.x + group.x) * 64u + thread;
    let per_tap = params.in_channels * params.out_channels;
    let tap = index / per_tap;
    if tap >= KERNEL_H * KERNEL_W {
        return;
    }
    let ci = index % per_tap / params.out_channels;
    let co = index % params.out_channels;

    var sum = 0.0;
    for (var row = 0u; row < params.batch * params.out_height; row++) {
        let iy = row % params.out_height * STRIDE + tap / KERNEL_W - params.pad_top;
        if iy >= params.in_height {
            continue;
        }
        let in_row = (row / params.out_height * params.in_height + iy) * params.in_width;
        for (var x = 0u; x < params.out_width; x++) {
            let ix = x * STRIDE + tap % KERNEL_W - params.pad_left;
            if ix < params.in_width {
                let dy = f32(grad_output[(row * params.out_width + x) * params.out_channels + co]);
                sum = fma(f32(input[(in_row + ix) * params.in_channels + ci]), dy, sum);
            }
        }
    }
    grad_weights[index] = sum;
}

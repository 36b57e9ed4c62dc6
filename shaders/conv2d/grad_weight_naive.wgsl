// conv2d, gradient of the weight: grad_weight[ky, kx, i, o] = sum of input * grad_output over all
// pixels that the tap joins. Any kernel, stride and padding. NHWC.
// Grid: one invocation for a weight, groups folded into x and y.

struct Params {
    batch: u32,
    in_h: u32,
    in_w: u32,
    in_channels: u32,
    out_h: u32,
    out_w: u32,
    out_channels: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride: u32,
    padding: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_weight: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * 64u + local;
    if index >= params.kernel_h * params.kernel_w * params.in_channels * params.out_channels {
        return;
    }
    let o = index % params.out_channels;
    let i = (index / params.out_channels) % params.in_channels;
    let tap = index / (params.out_channels * params.in_channels);
    let kx = tap % params.kernel_w;
    let ky = tap / params.kernel_w;

    var sum = 0.0;
    for (var n = 0u; n < params.batch; n++) {
        for (var y = 0u; y < params.out_h; y++) {
            let in_y = y * params.stride + ky - params.padding;
            if in_y >= params.in_h {
                continue;
            }
            // A sum for each row keeps the rounding of long sums small.
            var row = 0.0;
            for (var x = 0u; x < params.out_w; x++) {
                let in_x = x * params.stride + kx - params.padding;
                if in_x < params.in_w {
                    let at_input = ((n * params.in_h + in_y) * params.in_w + in_x) * params.in_channels;
                    let at_output = ((n * params.out_h + y) * params.out_w + x) * params.out_channels;
                    row += input[at_input + i] * grad_output[at_output + o];
                }
            }
            sum += row;
        }
    }
    grad_weight[index] = sum;
}

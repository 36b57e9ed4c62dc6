// soft_dice_grad: the gradient of the loss with respect to the sums of each sample,
// -2 / (d n) for the first and (2 both + smoothing) / (d^2 n) for the others, where
// d = predicted + labelled + smoothing, times grad_output. Grid: one invocation for a sample.

struct Params {
    samples: u32,
    smoothing: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_sums: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let n = (group.y * groups.x + group.x) * 64u + local;
    if n >= params.samples {
        return;
    }
    let both = sums[3u * n];
    let d = sums[3u * n + 1u] + sums[3u * n + 2u] + params.smoothing;
    let grad = grad_output[0] / (f32(params.samples) * d);
    let grad_size = grad * (2.0 * both + params.smoothing) / d;
    grad_sums[3u * n] = -2.0 * grad;
    grad_sums[3u * n + 1u] = grad_size;
    grad_sums[3u * n + 2u] = grad_size;
}

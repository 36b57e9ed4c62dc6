// soft_dice: 1 - the mean over samples of (2 both + smoothing) / (predicted + labelled + smoothing).
// Grid: one invocation; there are few samples.

struct Params {
    samples: u32,
    smoothing: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;

@compute @workgroup_size(1)
fn main() {
    var total = 0.0;
    for (var n = 0u; n < params.samples; n++) {
        let both = sums[3u * n];
        let size = sums[3u * n + 1u] + sums[3u * n + 2u];
        // 1 - (2 both + smoothing) / (size + smoothing), which does not cancel where the two are close.
        total += (size - 2.0 * both) / (size + params.smoothing);
    }
    loss[0] = total / f32(params.samples);
}

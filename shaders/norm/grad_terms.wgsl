// norm, gradient: what `grad_input` needs of each channel of a set:
// mean, scale, offset, slope, in grad_input = scale * g - offset - (input - mean) * slope.
// terms [sets, 4, channels]. Grid: one invocation for a (set, channel).

struct Params {
    sets: u32,
    pixels: u32,
    channels: u32,
    /// Channels of a group; 0 where the statistics are constants.
    size: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
/// [sets, 2, channels]: mean, variance.
@group(0) @binding(2) var<storage, read> stats: array<f32>;
/// [sets, 2, channels]: sum of g, sum of g * x̂. Any buffer when `size` is 0.
@group(0) @binding(3) var<storage, read> sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> terms: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.sets * params.channels {
        return;
    }
    let c = i % params.channels;
    let s = i / params.channels;
    let at = 2u * s * params.channels;
    let deviation = sqrt(stats[at + params.channels + c] + params.eps);
    var mean_g = 0.0;
    var mean_product = 0.0;
    if params.size > 0u {
        let first = c - c % params.size;
        for (var k = first; k < first + params.size; k++) {
            mean_g += weight[k] * sums[at + k];
            mean_product += weight[k] * sums[at + params.channels + k];
        }
        let count = f32(params.size) * f32(params.pixels);
        mean_g /= count;
        mean_product /= count;
    }
    terms[2u * at + c] = stats[at + c];
    terms[2u * at + params.channels + c] = weight[c] / deviation;
    terms[2u * at + 2u * params.channels + c] = mean_g / deviation;
    terms[2u * at + 3u * params.channels + c] = mean_product / deviation / deviation;
}

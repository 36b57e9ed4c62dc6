// norm, statistics, last pass: the mean and the biased variance of each channel's group, from the
// means and sums of squared distances of its channels, which all have the same number of pixels.
// stats [sets, 2, channels]. Grid: one invocation for a (set, channel).

struct Params {
    sets: u32,
    pixels: u32,
    channels: u32,
    /// Channels of a group.
    size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
/// [sets, 2, channels].
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> stats: array<f32>;

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
    let at = 2u * (i - c);
    let first = at + c - c % params.size;
    let shift = input[first];
    var sum = 0.0;
    var distances = 0.0;
    var squares = 0.0;
    for (var k = first; k < first + params.size; k++) {
        let distance = input[k] - shift;
        sum += distance;
        distances += distance * distance;
        squares += input[k + params.channels];
    }
    let size = f32(params.size);
    let offset = sum / size;
    let rest = squares / f32(params.pixels) + (distances - sum * offset);
    stats[at + c] = shift + offset;
    stats[at + params.channels + c] = select(rest / size, 0.0, rest < 0.0);
}

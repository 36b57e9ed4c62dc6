// softmax over the channels: exp(x) / sum of exp(x), with the largest x of the pixel taken away
// first so that nothing overflows. A NaN makes its whole pixel NaN.
// Grid: one invocation for a pixel, folded into x and y.

struct Params {
    pixels: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.pixels {
        return;
    }
    let first = i * params.channels;
    let end = first + params.channels;
    var largest = input[first];
    for (var k = first + 1u; k < end; k++) {
        let x = input[k];
        largest = select(largest, x, x > largest);
    }
    var sum = 0.0;
    for (var k = first; k < end; k++) {
        sum += exp(input[k] - largest);
    }
    for (var k = first; k < end; k++) {
        output[k] = exp(input[k] - largest) / sum;
    }
}

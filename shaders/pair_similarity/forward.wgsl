// pair_similarity: output[i, p] = factor * sum over c of input[i, c] * input[j, c], where j is the
// p-th of the rows other than i.
// Grid: one invocation for an (i, p), folded into x and y.

struct Params {
    rows: u32,
    channels: u32,
    factor: f32,
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
    let at = (group.y * groups.x + group.x) * 64u + local;
    let others = params.rows - 1u;
    if at >= params.rows * others {
        return;
    }
    let i = at / others;
    let p = at % others;
    let j = select(p, p + 1u, p >= i);
    var sum = 0.0;
    for (var c = 0u; c < params.channels; c++) {
        sum += input[i * params.channels + c] * input[j * params.channels + c];
    }
    output[at] = params.factor * sum;
}

// weighted_sum: adds up to four inputs, each times its weight, to the output or in its place.
// Grid: one invocation for a vec4, groups folded into x and y.

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
    /// Inputs that count, 1 to 4.
    count: u32,
    /// 1: what the output holds is kept.
    keep: u32,
    /// Where the weight of each input is.
    weight_0: u32,
    weight_1: u32,
    weight_2: u32,
    weight_3: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> input_0: array<vec4f>;
@group(0) @binding(3) var<storage, read> input_1: array<vec4f>;
@group(0) @binding(4) var<storage, read> input_2: array<vec4f>;
@group(0) @binding(5) var<storage, read> input_3: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.vectors {
        return;
    }
    var sum = weights[params.weight_0] * input_0[i];
    if params.keep == 1u {
        sum += output[i];
    }
    if params.count > 1u {
        sum += weights[params.weight_1] * input_1[i];
    }
    if params.count > 2u {
        sum += weights[params.weight_2] * input_2[i];
    }
    if params.count > 3u {
        sum += weights[params.weight_3] * input_3[i];
    }
    output[i] = sum;
}

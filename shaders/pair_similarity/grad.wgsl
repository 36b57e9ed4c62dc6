// pair_similarity_grad: grad_input[i, c] = factor * sum over j != i of (g[i, j] + g[j, i]) * input[j, c],
// where g[i, j] is the entry of grad_output for row i with row j; row i leaves itself out.
// Grid: one invocation for an (i, c), folded into x and y.

struct Params {
    rows: u32,
    channels: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let at = (group.y * groups.x + group.x) * 64u + local;
    if at >= params.rows * params.channels {
        return;
    }
    let i = at / params.channels;
    let c = at % params.channels;
    let others = params.rows - 1u;
    var sum = 0.0;
    for (var j = 0u; j < i; j++) {
        let both = grad_output[i * others + j] + grad_output[j * others + i - 1u];
        sum += both * input[j * params.channels + c];
    }
    for (var j = i + 1u; j < params.rows; j++) {
        let both = grad_output[i * others + j - 1u] + grad_output[j * others + i];
        sum += both * input[j * params.channels + c];
    }
    grad_input[at] = params.factor * sum;
}

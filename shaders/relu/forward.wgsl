// relu: output = max(input, 0). NaN stays NaN.
// Grid: one invocation for a vec4, groups folded into x and y.

alias Input = vec4f;
alias Output = vec4f;

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read_write> output: array<Output>;

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
    let x = vec4f(input[i]);
    output[i] = Output(select(x, vec4f(0.0), x < vec4f(0.0)));
}

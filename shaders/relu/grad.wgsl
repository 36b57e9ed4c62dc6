// relu_grad: grad_input = grad_output where output > 0, else 0.
// Grid: one invocation for a vec4, groups folded into x and y.

alias Output = vec4f;
alias GradOutput = vec4f;
alias GradInput = vec4f;

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> output: array<Output>;
@group(0) @binding(2) var<storage, read> grad_output: array<GradOutput>;
@group(0) @binding(3) var<storage, read_write> grad_input: array<GradInput>;

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
    grad_input[i] = GradInput(select(vec4f(0.0), vec4f(grad_output[i]), vec4f(output[i]) > vec4f(0.0)));
}

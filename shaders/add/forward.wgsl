// add: output = a + b.
// Grid: one invocation for a vec4, groups folded into x and y.

alias A = vec4f;
alias B = vec4f;
alias Output = vec4f;

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<A>;
@group(0) @binding(2) var<storage, read> b: array<B>;
@group(0) @binding(3) var<storage, read_write> output: array<Output>;

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
    output[i] = Output(vec4f(a[i]) + vec4f(b[i]));
}

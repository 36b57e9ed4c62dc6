// upsample_nearest: each input becomes a square of factor x factor outputs. T is f32 or vec4f;
// channels counts Ts; rows are those of all images. Grid: one invocation for an input T, folded
// into x and y.

alias Input = T;
alias Output = T;

struct Params {
    rows: u32,
    in_w: u32,
    channels: u32,
    factor: u32,
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
    if i >= params.rows * params.in_w * params.channels {
        return;
    }
    let c = i % params.channels;
    let pixel = i / params.channels;
    let x = pixel % params.in_w;
    let row = pixel / params.in_w;
    let value = T(input[i]);
    for (var dy = 0u; dy < params.factor; dy++) {
        let first = ((row * params.factor + dy) * params.in_w + x) * params.factor;
        for (var dx = 0u; dx < params.factor; dx++) {
            output[(first + dx) * params.channels + c] = Output(value);
        }
    }
}

// concat, slice: copies some channels of one tensor to some channels of another, counted in vec4s of channels.
// Grid: one invocation for a copied one, groups folded into x and y.

alias Input = vec4f;
alias Output = vec4f;

struct Params {
    /// What is copied in all, and for a pixel.
    count: u32,
    channels: u32,
    /// Channels of the source, and the first that is read.
    input_channels: u32,
    input_start: u32,
    /// Channels of the destination, and the first that is written.
    output_channels: u32,
    output_start: u32,
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
    if i >= params.count {
        return;
    }
    let pixel = i / params.channels;
    let c = i % params.channels;
    let copied = vec4f(input[pixel * params.input_channels + params.input_start + c]);
    output[pixel * params.output_channels + params.output_start + c] = Output(copied);
}

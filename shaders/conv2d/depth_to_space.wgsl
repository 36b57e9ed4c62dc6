// conv2d, strided without overlap, the way back of space_to_depth, plus a bias:
// [batch, h, w, stride, stride, channels] to [batch, h * stride, w * stride, channels].
// Channels are a multiple of 4. Grid: one invocation for a vec4, groups folded into x and y.

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
    /// Width of the input: w.
    width: u32,
    stride: u32,
    /// Channels, in vec4s.
    quads: u32,
}

override HAS_BIAS: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
/// Any buffer when HAS_BIAS is false.
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

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
    // i counts the output: rows of `width * stride` pixels.
    let quad = i % params.quads;
    let column = i / params.quads % (params.width * params.stride);
    let row = i / (params.quads * params.width * params.stride);
    let x = column / params.stride;
    let tap = row % params.stride * params.stride + column % params.stride;
    let pixel = row / params.stride * params.width + x;
    var value = input[(pixel * params.stride * params.stride + tap) * params.quads + quad];
    if HAS_BIAS {
        value += bias[quad];
    }
    output[i] = value;
}

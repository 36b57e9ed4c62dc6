// conv2d as a matrix product, step 1: for each pixel of the result all numbers that it is made of, side by side. For
// software drivers: four floats are loaded as two u64.
//
// input: NHWC, in quads of channels. columns: [batch][out_height][out_width][kernel_h][kernel_w][channels].
// Grid: one invocation for a quad of columns, groups folded into x and y.

struct Params {
    /// Quads of columns in all.
    count: u32,
    height: u32,
    width: u32,
    /// Quads of channels.
    quads: u32,
    out_height: u32,
    out_width: u32,
    pad_top: u32,
    pad_left: u32,
}

override KERNEL_H: u32 = 3;
override KERNEL_W: u32 = 3;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read_write> columns: array<vec4f>;

fn floats(quad: vec2<u64>) -> vec4f {
    return bitcast<vec4f>(vec4u(u32(quad.x), u32(quad.x >> 32u), u32(quad.y), u32(quad.y >> 32u)));
}

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
    let quad = i % params.quads;
    let tap = i / params.quads % (KERNEL_H * KERNEL_W);
    let pixel = i / params.quads / (KERNEL_H * KERNEL_W);
    let x = pixel % params.out_width + tap % KERNEL_W - params.pad_left;
    let y = pixel / params.out_width % params.out_height + tap / KERNEL_W - params.pad_top;
    let image = pixel / (params.out_width * params.out_height);
    let ok = y < params.height && x < params.width;
    let at = ((image * params.height + y) * params.width + x) * params.quads + quad;
    columns[i] = select(vec4f(), floats(input[select(0u, at, ok)]), vec4<bool>(ok));
}

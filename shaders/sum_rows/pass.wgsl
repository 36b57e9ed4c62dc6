// sum_rows, one pass: output[b, t, c] = factor * sum of input[b, r, c] over the rows r = t, t + threads, ….
// T is f32 or vec4f; columns counts Ts. Grid: one invocation for a (b, t, c), folded into x and y.

alias Input = T;

struct Params {
    batch: u32,
    rows: u32,
    columns: u32,
    threads: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read_write> output: array<T>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.batch * params.threads * params.columns {
        return;
    }
    let c = i % params.columns;
    let t = (i / params.columns) % params.threads;
    let b = i / (params.columns * params.threads);
    let stride = params.threads * params.columns;
    let count = (params.rows - t + params.threads - 1u) / params.threads;
    var at = (b * params.rows + t) * params.columns + c;
    var sum = T(0.0);
    for (var k = 0u; k < count; k++) {
        sum += T(input[at]);
        at += stride;
    }
    output[i] = params.factor * sum;
}

struct Params {
    count: u32,  // values of the result
    splits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i >= params.count { return; }
    var sum = 0.0;
    for (var s = 0u; s < params.splits; s++) {
        sum += partials[s * params.count + i];
    }
    output[i] = sum;
}

// cross_entropy_grad: factor * grad_output * (softmax(logits) - one-hot(label)), factor = 1 / pixels.
// NaN where the label is no class.
// Grid: one invocation for a pixel, groups folded into x and y.

struct Params {
    pixels: u32,
    classes: u32,
    factor: f32,
    nan: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<f32>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_logits: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let pixel = (group.y * groups.x + group.x) * 64u + local;
    if pixel >= params.pixels {
        return;
    }
    let start = pixel * params.classes;
    var largest = logits[start];
    var sum = 1.0;
    for (var c = 1u; c < params.classes; c++) {
        let x = logits[start + c];
        if x > largest {
            sum = sum * exp(largest - x) + 1.0;
            largest = x;
        } else {
            sum += exp(x - largest);
        }
    }
    let label = labels[pixel];
    let is_class = label >= 0.0 && label < f32(params.classes) && label == floor(label);
    let factor = select(params.nan, params.factor * grad_output[0], is_class);
    for (var c = 0u; c < params.classes; c++) {
        let p = exp(logits[start + c] - largest) / sum;
        grad_logits[start + c] = factor * (p - select(0.0, 1.0, f32(c) == label));
    }
}

// cross_entropy: partial sums over pixels of log(sum of exp(logits)) - logit of the label.
// The logit of a label that is no class is NaN.
// Grid: one invocation for a partial sum; thread t takes the pixels t, t + threads, ...

struct Params {
    pixels: u32,
    threads: u32,
    classes: u32,
    nan: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let t = (group.y * groups.x + group.x) * 64u + local;
    if t >= params.threads {
        return;
    }
    var total = 0.0;
    for (var pixel = t; pixel < params.pixels; pixel += params.threads) {
        let start = pixel * params.classes;
        let label = labels[pixel];
        // The sum of exp(x - largest), rescaled when a larger one comes: each logit is loaded once.
        var largest = logits[start];
        var sum = 1.0;
        var chosen = select(params.nan, largest, label == 0.0);
        for (var c = 1u; c < params.classes; c++) {
            let x = logits[start + c];
            if x > largest {
                sum = sum * exp(largest - x) + 1.0;
                largest = x;
            } else {
                sum += exp(x - largest);
            }
            if f32(c) == label {
                chosen = x;
            }
        }
        total += (largest - chosen) + log(sum);
    }
    partial[t] = total;
}

// kl_distillation: partial sums over pixels of sum over classes of q (log q - log p), where
// q = softmax(teacher / T) and p = softmax(student / T).
// Grid: one invocation for a partial sum; thread t takes the pixels t, t + threads, ...

struct Params {
    pixels: u32,
    threads: u32,
    classes: u32,
    /// 1 / T
    inverse_temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> student: array<f32>;
@group(0) @binding(2) var<storage, read> teacher: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

/// The largest of a pixel's values and the sum of exp(factor (value - largest)), rescaled when a
/// larger one comes.
struct Normaliser {
    largest: f32,
    sum: f32,
}

fn include(n: Normaliser, x: f32) -> Normaliser {
    if x > n.largest {
        return Normaliser(x, n.sum * exp(params.inverse_temperature * (n.largest - x)) + 1.0);
    }
    return Normaliser(n.largest, n.sum + exp(params.inverse_temperature * (x - n.largest)));
}

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
        var of_student = Normaliser(student[start], 1.0);
        var of_teacher = Normaliser(teacher[start], 1.0);
        for (var c = 1u; c < params.classes; c++) {
            of_student = include(of_student, student[start + c]);
            of_teacher = include(of_teacher, teacher[start + c]);
        }
        // log q - log p = a - b + logs, where a, b <= 0 are the distances to the largest, over T.
        let logs = log(of_student.sum) - log(of_teacher.sum);
        var divergence = 0.0;
        for (var c = 0u; c < params.classes; c++) {
            let a = params.inverse_temperature * (teacher[start + c] - of_teacher.largest);
            let b = params.inverse_temperature * (student[start + c] - of_student.largest);
            divergence += exp(a) * ((a - b) + logs);
        }
        total += divergence / of_teacher.sum;
    }
    partial[t] = total;
}

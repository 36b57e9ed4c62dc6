// kl_distillation_grad: factor * grad_output * (softmax(student / T) - softmax(teacher / T)), with
// factor = T / pixels. Grid: one invocation for a pixel, groups folded into x and y.

struct Params {
    pixels: u32,
    classes: u32,
    factor: f32,
    /// 1 / T
    inverse_temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> student: array<f32>;
@group(0) @binding(2) var<storage, read> teacher: array<f32>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_student: array<f32>;

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
    let pixel = (group.y * groups.x + group.x) * 64u + local;
    if pixel >= params.pixels {
        return;
    }
    let start = pixel * params.classes;
    var of_student = Normaliser(student[start], 1.0);
    var of_teacher = Normaliser(teacher[start], 1.0);
    for (var c = 1u; c < params.classes; c++) {
        of_student = include(of_student, student[start + c]);
        of_teacher = include(of_teacher, teacher[start + c]);
    }
    let factor = params.factor * grad_output[0];
    for (var c = 0u; c < params.classes; c++) {
        let p = exp(params.inverse_temperature * (student[start + c] - of_student.largest)) / of_student.sum;
        let q = exp(params.inverse_temperature * (teacher[start + c] - of_teacher.largest)) / of_teacher.sum;
        grad_student[start + c] = factor * (p - q);
    }
}

// kl_distillation_binary: partial sums of KL(Bernoulli(sigmoid(a)) || Bernoulli(sigmoid(b))), where
// a = teacher / T and b = student / T.
// With p = sigmoid and softplus(x) = max(x, 0) + log(1 + exp(-|x|)) it is
// p(a) (a - b) + softplus(b) - softplus(a). Both signs may be turned, so a >= 0 is enough, and then
// p(a) (a - b) + max(b, 0) - a = max(-b, 0) - p(-a) (a - b): nothing large cancels.
// Grid: one invocation for a partial sum; thread t takes the vec4s t, t + threads, ...

struct Params {
    /// Elements, in vec4s.
    vectors: u32,
    threads: u32,
    count: u32,
    /// 1 / T
    inverse_temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> student: array<vec4f>;
@group(0) @binding(2) var<storage, read> teacher: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

/// log(1 + e) for e in 0..1 by 2 artanh(e / (2 + e)), whose series to the 13th power is enough for
/// f32. Right to rounding where e is tiny, too, which log(1 + e) is not.
fn log1p(e: vec4f) -> vec4f {
    let s = e / (2.0 + e);
    let t = s * s;
    let series = 1.0 / 3.0 + t * (0.2 + t * (1.0 / 7.0 + t * (1.0 / 9.0 + t * (1.0 / 11.0 + t / 13.0))));
    return 2.0 * s * (1.0 + t * series);
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
    var sum = vec4f(0.0);
    for (var i = t; i < params.vectors; i += params.threads) {
        let teacher_logit = params.inverse_temperature * teacher[i];
        let turn = teacher_logit < vec4f(0.0);
        let a = select(teacher_logit, -teacher_logit, turn);
        let student_logit = params.inverse_temperature * student[i];
        let b = select(student_logit, -student_logit, turn);
        let e = exp(-a);
        let negative_part = select(vec4f(0.0), -b, b < vec4f(0.0));
        let logs = log1p(exp(-abs(b))) - log1p(e);
        let term = negative_part - e / (1.0 + e) * (a - b) + logs;
        // The last vec4 may hold padding, which may be anything.
        let elements = 4u * i + vec4u(0u, 1u, 2u, 3u);
        sum += select(vec4f(0.0), term, elements < vec4u(params.count));
    }
    partial[t] = (sum.x + sum.y) + (sum.z + sum.w);
}

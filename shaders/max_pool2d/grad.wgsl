// max_pool2d_grad: the gradient of a window goes to the first of its largest inputs, row by row;
// of several NaN, to the last. Each input asks the windows that it lies in. T is f32 or vec4f;
// channels counts Ts. Grid: one invocation for an input T, folded into x and y.

alias Input = T;
alias GradOutput = T;
alias GradInput = T;

struct Params {
    batch: u32,
    in_h: u32,
    in_w: u32,
    channels: u32,
    out_h: u32,
    out_w: u32,
    kernel: u32,
    stride: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> grad_output: array<GradOutput>;
@group(0) @binding(3) var<storage, read_write> grad_input: array<GradInput>;

/// By the bits: a compiler may take it that no number is NaN.
fn is_nan(x: T) -> B {
    return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u);
}

/// The first window on an axis that reaches `at`.
fn first_window(at: u32) -> u32 {
    let padded = at + params.padding;
    return select((padded - params.kernel) / params.stride + 1u, 0u, padded < params.kernel);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.batch * params.in_h * params.in_w * params.channels {
        return;
    }
    let c = i % params.channels;
    let pixel = i / params.channels;
    let own_x = pixel % params.in_w;
    let own_y = (pixel / params.in_w) % params.in_h;
    let n = pixel / (params.in_w * params.in_h);
    let y_last = min((own_y + params.padding) / params.stride + 1u, params.out_h);
    let x_last = min((own_x + params.padding) / params.stride + 1u, params.out_w);
    var sum = T(0.0);
    for (var y = first_window(own_y); y < y_last; y++) {
        let y_first = max(y * params.stride, params.padding) - params.padding;
        let y_end = min(y * params.stride + params.kernel - params.padding, params.in_h);
        for (var x = first_window(own_x); x < x_last; x++) {
            let x_first = max(x * params.stride, params.padding) - params.padding;
            let x_end = min(x * params.stride + params.kernel - params.padding, params.in_w);
            var largest = T(-0x1.fffffep+127f);
            // No input has this number: the compiler keeps tensors smaller.
            var place = U(0xffffffffu);
            for (var in_y = y_first; in_y < y_end; in_y++) {
                var at = ((n * params.in_h + in_y) * params.in_w + x_first) * params.channels + c;
                for (var in_x = x_first; in_x < x_end; in_x++) {
                    let value = T(input[at]);
                    let takes = (value > largest) | is_nan(value) | (place == U(0xffffffffu));
                    largest = select(largest, value, takes);
                    place = select(place, U(at), takes);
                    at += params.channels;
                }
            }
            let gradient = T(grad_output[((n * params.out_h + y) * params.out_w + x) * params.channels + c]);
            sum += select(T(0.0), gradient, place == U(i));
        }
    }
    grad_input[i] = GradInput(sum);
}

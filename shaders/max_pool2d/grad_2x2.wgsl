// max_pool2d_grad of 2x2 windows that lie side by side: the gradient of a window goes to the first
// of its largest inputs, row by row. T is f32 or vec4f; channels counts Ts.
// Grid: one invocation for a T of a window, and of the row and column of inputs that an odd extent
// leaves without a window, which get 0; folded into x and y.

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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input>;
@group(0) @binding(2) var<storage, read> grad_output: array<GradOutput>;
@group(0) @binding(3) var<storage, read_write> grad_input: array<GradInput>;

/// By the bits: a compiler may take it that no number is NaN.
fn is_nan(x: T) -> B {
    return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u);
}

fn takes(value: T, largest: T) -> B {
    return (value > largest) | is_nan(value);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    let columns = (params.in_w + 1u) / 2u;
    let rows = (params.in_h + 1u) / 2u;
    if i >= params.batch * rows * columns * params.channels {
        return;
    }
    let c = i % params.channels;
    let pixel = i / params.channels;
    let x = pixel % columns;
    let y = (pixel / columns) % rows;
    let n = pixel / (columns * rows);
    let a = ((n * params.in_h + 2u * y) * params.in_w + 2u * x) * params.channels + c;
    let b = a + params.channels;
    let d = a + params.in_w * params.channels;
    let e = d + params.channels;
    if x == params.out_w || y == params.out_h {
        grad_input[a] = GradInput(T(0.0));
        if x < params.out_w {
            grad_input[b] = GradInput(T(0.0));
        }
        if y < params.out_h {
            grad_input[d] = GradInput(T(0.0));
        }
        return;
    }
    var largest = T(input[a]);
    var place = U(0u);
    let second = T(input[b]);
    place = select(place, U(1u), takes(second, largest));
    largest = select(largest, second, takes(second, largest));
    let third = T(input[d]);
    place = select(place, U(2u), takes(third, largest));
    largest = select(largest, third, takes(third, largest));
    place = select(place, U(3u), takes(T(input[e]), largest));
    let gradient = T(grad_output[((n * params.out_h + y) * params.out_w + x) * params.channels + c]);
    grad_input[a] = GradInput(select(T(0.0), gradient, place == U(0u)));
    grad_input[b] = GradInput(select(T(0.0), gradient, place == U(1u)));
    grad_input[d] = GradInput(select(T(0.0), gradient, place == U(2u)));
    grad_input[e] = GradInput(select(T(0.0), gradient, place == U(3u)));
}

// norm, statistics, a further pass: the means and sums of squared distances of `rows` parts of a
// set become those of `threads` parts; part r becomes a part of r % threads. `threads` divides
// `rows`, so part r always holds the pixels r, r + rows, ….
// Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983), eq. 1.5.
// T is f32 or vec4f; channels counts Ts. Grid: one invocation for a (set, t, channel).

struct Params {
    sets: u32,
    pixels: u32,
    channels: u32,
    rows: u32,
    threads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
/// [sets, rows, 2, channels].
@group(0) @binding(1) var<storage, read> input: array<T>;
/// [sets, threads, 2, channels].
@group(0) @binding(2) var<storage, read_write> output: array<T>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= params.sets * params.threads * params.channels {
        return;
    }
    let c = i % params.channels;
    let row = i / params.channels;
    let t = row % params.threads;
    let s = row / params.threads;
    let shift = input[2u * (s * params.rows + t) * params.channels + c];
    var count = 0.0;
    var sum = T(0.0);
    var squares = T(0.0);
    for (var r = t; r < params.rows; r += params.threads) {
        let at = 2u * (s * params.rows + r) * params.channels + c;
        let n = f32((params.pixels - r + params.rows - 1u) / params.rows);
        let distance = input[at] - shift;
        count += n;
        sum += n * distance;
        squares += input[at + params.channels] + n * distance * distance;
    }
    let offset = sum / count;
    let rest = squares - sum * offset;
    output[2u * row * params.channels + c] = shift + offset;
    output[(2u * row + 1u) * params.channels + c] = select(rest, T(0.0), rest < T(0.0));
}

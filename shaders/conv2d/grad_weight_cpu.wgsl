struct Params {
    batch: u32,
    in_height: u32,
    in_width: u32,
    in_channels: u32,
    out_height: u32,
    out_width: u32,
    out_channels: u32,
    pad_top: u32,
    pad_left: u32,
    splits: u32,
}

override KERNEL_H: u32 = 3;
override KERNEL_W: u32 = 3;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> grad_output: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4f>;

const RUN = 8u;

var<private> acc: array<vec4f, 36>;   // [vertical tap][horizontal tap][input channel of the quad], lanes: 4 quads of output channels
var<private> x: array<vec4f, 9>;      // [row under the kernel][4 pixels for each half of the lanes]
var<private> dy: array<vec4f, RUN>;
var<private> lane: u32;
var<private> half: u32;
var<private> image: u32;
var<private> x0: u32;
var<private> ci_quad: u32;

fn load_row(row: u32, iy: u32) {
    for (var i = 0u; 4u * i < RUN + KERNEL_W - 1u; i++) {
        let ix = x0 + 4u * i + lane % 4u - params.pad_left;
        let ok = image < params.batch && iy < params.in_height && ix < params.in_width;
        let at = ((image * params.in_height + iy) * params.in_width + ix) * (params.in_channels / 4u) + ci_quad;
        x[row * 3u + i] = select(vec4f(), input[select(0u, at, ok)], vec4<bool>(ok));
    }
}

fn accumulate(ky: u32, kx: u32) {
    for (var c = 0u; c < 4u; c++) {
        let a = (ky * KERNEL_W + kx) * 4u + c;
        for (var p = 0u; p < RUN; p++) {
            let i = p + kx;
            let v = subgroupShuffle(x[ky * 3u + i / 4u][c], half * 4u + i % 4u);
            acc[a] = fma(vec4f(v), dy[p], acc[a]);
        }
    }
}

fn accumulate_row(ky: u32) {
    accumulate(ky, 0u);
    if KERNEL_W > 1u { accumulate(ky, 1u); }
    if KERNEL_W > 2u { accumulate(ky, 2u); }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane_: u32) {
    lane = lane_;
    half = lane / 4u;
    ci_quad = group.x;
    let out_quads = params.out_channels / 4u;
    let co_quad = group.y * 4u + lane % 4u;
    let runs_per_row = (params.out_width + RUN - 1u) / RUN;
    let runs = params.batch * runs_per_row;

    for (var pair = group.z; pair * 2u < runs; pair += params.splits) {
        let run = pair * 2u + half;
        image = run / runs_per_row;
        x0 = (run % runs_per_row) * RUN;
        if KERNEL_H > 1u { load_row(1u, 0u - params.pad_top); }
        if KERNEL_H > 2u { load_row(2u, 1u - params.pad_top); }
        for (var y = 0u; y < params.out_height; y++) {
            for (var i = 0u; i < 3u * (KERNEL_H - 1u); i++) {
                x[i] = x[i + 3u];
            }
            load_row(KERNEL_H - 1u, y + KERNEL_H - 1u - params.pad_top);
            for (var p = 0u; p < RUN; p++) {
                let ok = image < params.batch && x0 + p < params.out_width && co_quad < out_quads;
                let at = ((image * params.out_height + y) * params.out_width + x0 + p) * out_quads + co_quad;
                dy[p] = select(vec4f(), grad_output[select(0u, at, ok)], vec4<bool>(ok));
            }
            accumulate_row(0u);
            if KERNEL_H > 1u { accumulate_row(1u); }
            if KERNEL_H > 2u { accumulate_row(2u); }
        }
    }

    for (var tap = 0u; tap < KERNEL_H * KERNEL_W; tap++) {
        for (var c = 0u; c < 4u; c++) {
            let sum = acc[tap * 4u + c] + subgroupShuffleXor(acc[tap * 4u + c], 4u);
            if half == 0u && co_quad < out_quads {
                partials[((group.z * KERNEL_H * KERNEL_W + tap) * params.in_channels + ci_quad * 4u + c) * out_quads + co_quad] = sum;
            }
        }
    }
}

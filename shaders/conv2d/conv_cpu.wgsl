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
}

override KERNEL_H: u32 = 3;
override KERNEL_W: u32 = 3;
override HAS_BIAS: bool = false;
override TRANSPOSED: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4f>;

const QUADS = 4u;
const ROWS = 10u;

var<private> lane: u32;
var<private> acc: array<vec4f, 32>;   // [row of the tile][quad of output channels]
var<private> x: array<vec4f, 30>;     // [horizontal tap][row]
var<private> w: array<vec4f, 6>;      // [horizontal tap][half]
var<private> halo: array<vec4f, 3>;

fn load_input(image: u32, iy: u32, ix: u32, quad: u32) -> vec4f {
    let ok = image < params.batch && iy < params.in_height && ix < params.in_width;
    let at = ((image * params.in_height + iy) * params.in_width + ix) * (params.in_channels / 4u) + quad;
    return select(vec4f(), input[select(0u, at, ok)], vec4<bool>(ok));
}

fn load_weights(ky: u32, ci_quad: u32, co_quad: u32) {
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    for (var kx = 0u; kx < KERNEL_W; kx++) {
        var tap = ky * KERNEL_W + kx;
        if TRANSPOSED {
            tap = KERNEL_H * KERNEL_W - 1u - tap;
        }
        if TRANSPOSED {
            let at = (tap * params.out_channels + co_quad * 4u + lane) * in_quads + ci_quad;
            w[2u * kx] = weights[at];
            w[2u * kx + 1u] = weights[at + 8u * in_quads];
        } else {
            let at = (tap * params.in_channels + ci_quad * 4u + lane / 4u) * out_quads + co_quad + lane % 4u;
            w[2u * kx] = weights[at];
            w[2u * kx + 1u] = weights[at + 2u * out_quads];
        }
    }
}

fn weight(kx: u32, c: u32, q: u32) -> vec4f {
    if TRANSPOSED {
        let s = w[2u * kx + q / 2u][c];
        let l = (q % 2u) * 4u;
        return vec4f(subgroupShuffle(s, l), subgroupShuffle(s, l + 1u), subgroupShuffle(s, l + 2u), subgroupShuffle(s, l + 3u));
    }
    return subgroupShuffle(w[2u * kx + c / 2u], (c % 2u) * 4u + q);
}

fn accumulate(ky: u32, q: u32, half: u32) {
    for (var kx = 0u; kx < KERNEL_W; kx++) {
        for (var c = 0u; c < 4u; c++) {
            let v = weight(kx, c, q);
            for (var r = 4u * half; r < 4u * half + 4u; r++) {
                acc[r * QUADS + q] = fma(vec4f(x[kx * ROWS + r + ky][c]), v, acc[r * QUADS + q]);
            }
        }
    }
}

fn tap_row(ky: u32, ci_quad: u32, co_quad: u32) {
    load_weights(ky, ci_quad, co_quad);
    accumulate(ky, 0u, 0u);
    accumulate(ky, 0u, 1u);
    accumulate(ky, 1u, 0u);
    accumulate(ky, 1u, 1u);
    accumulate(ky, 2u, 0u);
    accumulate(ky, 2u, 1u);
    accumulate(ky, 3u, 0u);
    accumulate(ky, 3u, 1u);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane_: u32) {
    lane = lane_;
    let tiles_x = (params.out_width + 7u) / 8u;
    let tiles_y = (params.out_height + 7u) / 8u;
    let tile = group.y * groups.x + group.x;
    let image = tile / (tiles_x * tiles_y);
    let x0 = (tile % tiles_x) * 8u;
    let y0 = (tile / tiles_x % tiles_y) * 8u;
    let co_quad = group.z * QUADS;
    let in_quads = params.in_channels / 4u;
    let out_quads = params.out_channels / 4u;
    let left = x0 - select(params.pad_left, KERNEL_W - 1u - params.pad_left, TRANSPOSED);
    let top = y0 - select(params.pad_top, KERNEL_H - 1u - params.pad_top, TRANSPOSED);

    for (var quad = 0u; quad < in_quads; quad++) {
        for (var r = 0u; r < 7u + KERNEL_H; r++) {
            x[r] = load_input(image, top + r, left + lane, quad);
        }
        if KERNEL_W > 1u {
            for (var i = 0u; i < 3u; i++) {
                halo[i] = load_input(image, top + i * 4u + lane / 2u, left + 8u + lane % 2u, quad);
            }
            for (var kx = 1u; kx < KERNEL_W; kx++) {
                let source = (lane + kx) % 8u;
                let wraps = vec4<bool>(lane + kx >= 8u);
                for (var r = 0u; r < 7u + KERNEL_H; r++) {
                    x[kx * ROWS + r] = select(subgroupShuffle(x[r], source), subgroupShuffle(halo[r / 4u], (r % 4u) * 2u + source % 2u), wraps);
                }
            }
        }
        tap_row(0u, quad, co_quad);
        if KERNEL_H > 1u { tap_row(1u, quad, co_quad); }
        if KERNEL_H > 2u { tap_row(2u, quad, co_quad); }
    }
    let ox = x0 + lane;
    if image >= params.batch || ox >= params.out_width { return; }
    for (var q = 0u; q < QUADS; q++) {
        if co_quad + q < out_quads {
            var b = vec4f();
            if HAS_BIAS { b = bias[co_quad + q]; }
            for (var r = 0u; r < 8u; r++) {
                if y0 + r < params.out_height {
                    output[((image * params.out_height + y0 + r) * params.out_width + ox) * out_quads + co_quad + q] = acc[r * QUADS + q] + b;
                }
            }
        }
    }
}

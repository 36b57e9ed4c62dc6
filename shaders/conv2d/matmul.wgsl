// Matrix products, to which conv2d by Winograd and by im2col come down: c = a b, or a' b if TRANSPOSED, for software
// drivers with subgroups of 8 lanes and 64-bit integers (lavapipe).
//
// As in conv_cpu.wgsl nothing is loaded twice by a subgroup, and two floats are one u64. A workgroup is one
// subgroup and makes 32 rows by 32 columns, of which a lane has one quad. For 4 terms at a time it loads its own quads
// of b and its share of a; the other shares come from its neighbours. More terms or rows at a time leave the
// processor's cache of decoded instructions.
//
// a: [count][rows][depth] or, TRANSPOSED, [count][depth][rows]. b: [count][depth][columns]. c: [count][rows][columns], added
// to what is there if `add`. All in quads; rows, columns and, if a is not transposed, depth are multiples of 4,
// but rows of an a that is not transposed may be any number.
// Grid: x: ceil(rows / 32); y: ceil(columns / 32); z: count.

struct Params {
    rows: u32,
    columns: u32,
    depth: u32,
    add: u32,
}

override TRANSPOSED: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec2<u64>>;
@group(0) @binding(2) var<storage, read> b: array<vec2<u64>>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4f>;

const LANES = 8u;
const ROWS = 32u;
const TERMS = 4u;                                // of a sum, at a time

var<private> lane: u32;
var<private> workgroup: vec3u;
var<private> sums: array<vec4f, ROWS>;
var<private> x: array<vec4f, TERMS>;             // the lane's share of a
var<private> w: array<vec4f, TERMS>;             // the lane's quads of b

fn floats(quad: vec2<u64>) -> vec4f {
    return bitcast<vec4f>(vec4u(u32(quad.x), u32(quad.x >> 32u), u32(quad.y), u32(quad.y >> 32u)));
}

fn element(row: u32, term: u32) -> f32 {
    if TRANSPOSED {
        return subgroupShuffle(x[term][row % 4u], row / 4u);
    }
    return subgroupShuffle(x[row / LANES][term], row % LANES);
}

fn load_a(first_row: u32, first_term: u32) {
    let matrix = workgroup.z * params.rows * params.depth / 4u;
    if TRANSPOSED {
        let quads = params.rows / 4u;
        for (var t = 0u; t < TERMS; t++) {
            let at = matrix + min(first_term + t, params.depth - 1u) * quads;
            x[t] = floats(a[at + min(first_row / 4u + lane, quads - 1u)]);
        }
        return;
    }
    let quads = params.depth / 4u;
    for (var i = 0u; i < ROWS / LANES; i++) {
        let at = matrix + min(first_row + i * LANES + lane, params.rows - 1u) * quads;
        x[i] = floats(a[at + first_term / 4u]);
    }
}

// What lies behind the last term counts nothing.
fn load_b(first_term: u32, column: u32) {
    let quads = params.columns / 4u;
    let at = workgroup.z * params.depth * quads + min(column, quads - 1u);
    for (var t = 0u; t < TERMS; t++) {
        let ok = first_term + t < params.depth;
        let quad = floats(b[at + min(first_term + t, params.depth - 1u) * quads]);
        w[t] = select(vec4f(), quad, vec4<bool>(ok));
    }
}

// The terms at hand are summed first and then added: the rounding error of a sum grows with the root of the number
// of times that it is added to.
fn accumulate(row: u32) {
    var part = vec4f(element(row, 0u)) * w[0];
    for (var t = 1u; t < TERMS; t++) {
        part = fma(vec4f(element(row, t)), w[t], part);
    }
    sums[row] += part;
}

// Spelled out, as in conv_cpu.wgsl: every index must become a constant.
fn accumulate_8(row: u32) {
    accumulate(row);
    accumulate(row + 1u);
    accumulate(row + 2u);
    accumulate(row + 3u);
    accumulate(row + 4u);
    accumulate(row + 5u);
    accumulate(row + 6u);
    accumulate(row + 7u);
}


@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    lane = thread;
    workgroup = group;
    let first_row = group.x * ROWS;
    let column = group.y * LANES + lane;
    for (var term = 0u; term < params.depth; term += TERMS) {
        load_b(term, column);
        load_a(first_row, term);
        accumulate_8(0u);
        accumulate_8(8u);
        accumulate_8(16u);
        accumulate_8(24u);
    }
    let quads = params.columns / 4u;
    if column >= quads {
        return;
    }
    // The row to store is always the first, the others move up, as in conv_cpu.wgsl.
    for (var row = first_row; row < min(first_row + ROWS, params.rows); row++) {
        let at = (group.z * params.rows + row) * quads + column;
        var sum = sums[0];
        if params.add != 0u {
            sum += c[at];
        }
        c[at] = sum;
        for (var i = 0u; i < ROWS - 1u; i++) {
            sums[i] = sums[i + 1u];
        }
    }
}

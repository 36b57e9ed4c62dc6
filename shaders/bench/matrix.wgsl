// Multiply-adds of cooperative matrices and nothing else: the adapter's own ceiling. A workgroup is one
// subgroup; each adds products of two left and two right matrices of small whole numbers to four sums
// that do not wait for one another, `rounds` times.
//
// The source is preceded by SIDE, Scalar, and the types Left, Right and Sum.
//
// Grid: any. output: four matrices a workgroup, row by row.

struct Params {
    rounds: u32,
}

override LANES: u32 = 32;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

var<workgroup> left: array<Scalar, 2u * SIDE * SIDE>;
var<workgroup> right: array<Scalar, 2u * SIDE * SIDE>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
    for (var i = lane; i < 2u * SIDE * SIDE; i += LANES) {
        let which = i / (SIDE * SIDE);
        let row = i / SIDE % SIDE;
        let column = i % SIDE;
        left[i] = Scalar(i32((row + 2u * column + which) % 5u) - 2);
        right[i] = Scalar(i32((3u * row + column + 2u * which) % 7u) - 3);
    }
    workgroupBarrier();
    let a0 = coopLoadT<Left>(&left[0], SIDE);
    let a1 = coopLoadT<Left>(&left[SIDE * SIDE], SIDE);
    let b0 = coopLoadT<Right>(&right[0], SIDE);
    let b1 = coopLoadT<Right>(&right[SIDE * SIDE], SIDE);
    var c00 = Sum();
    var c01 = Sum();
    var c10 = Sum();
    var c11 = Sum();
    for (var round = 0u; round < params.rounds; round++) {
        c00 = coopMultiplyAdd(a0, b0, c00);
        c01 = coopMultiplyAdd(a0, b1, c01);
        c10 = coopMultiplyAdd(a1, b0, c10);
        c11 = coopMultiplyAdd(a1, b1, c11);
    }
    // What a store takes must be named before it.
    let stride = SIDE;
    let at00 = group.x * 4u * SIDE * SIDE;
    let at01 = at00 + SIDE * SIDE;
    let at10 = at01 + SIDE * SIDE;
    let at11 = at10 + SIDE * SIDE;
    let s00 = c00;
    let s01 = c01;
    let s10 = c10;
    let s11 = c11;
    coopStoreT(s00, &output[at00], stride);
    coopStoreT(s01, &output[at01], stride);
    coopStoreT(s10, &output[at10], stride);
    coopStoreT(s11, &output[at11], stride);
}

// All of the 16 KiB of workgroup memory: each invocation writes 16 numbers and then reads 16 of others, twice. A barrier that
// does not hold, or memory that overlaps, gives numbers of the wrong round or place.
//
// output: [groups][4096]. Grid: a workgroup for each 4096 numbers.

struct Params {
    groups: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

const COUNT = 4096u;
const EACH = 16u;

var<workgroup> shared_numbers: array<f32, COUNT>;

// Exact in f32, different in each group, round and place.
fn number(group: u32, round: u32, i: u32) -> f32 {
    return f32((((group * 2u + round) * COUNT + i) * 2654435761u) >> 8u);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
    // The same for all invocations of a workgroup, which barriers ask for.
    if group.x >= params.groups {
        return;
    }
    for (var round = 0u; round < 2u; round++) {
        for (var k = 0u; k < EACH; k++) {
            let i = k * 256u + local;
            shared_numbers[i] = number(group.x, round, i);
        }
        workgroupBarrier();
        for (var k = 0u; k < EACH; k++) {
            // From the other end: another invocation's, of another subgroup.
            let i = k * 256u + local;
            let at = group.x * COUNT + i;
            let before = select(0.0, output[at], round > 0u);
            output[at] = before + shared_numbers[COUNT - 1u - i] * select(1.0, -1.0, round > 0u);
        }
        workgroupBarrier();
    }
}

//! The machine code as the driver prints it: its main loop, and what share of it is multiply-adds.

/// A loop's vector arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Loop {
    /// First and last block.
    pub blocks: (usize, usize),
    /// Instructions of the vector unit; one of two halves counts as two.
    pub vector: usize,
    /// Those that multiply and add numbers, not addresses.
    pub multiply_adds: usize,
}

impl Loop {
    pub fn percent(&self) -> f64 {
        100.0 * self.multiply_adds as f64 / self.vector.max(1) as f64
    }
}

/// A stretch of code that is entered at its label alone.
#[derive(Default)]
struct Block<'a> {
    number: usize,
    /// Where its branches lead.
    targets: Vec<usize>,
    instructions: Vec<&'a str>,
}

/// The loop that most multiply-adds are in: those of a loop inside another count for the inner one. Most
/// often it is an innermost loop; where the compiler has unrolled the product, it is the loop around it,
/// and all in it counts, inner loops that load as well.
///
/// A loop is the blocks from the target of a backward branch to that branch; several branches to one
/// target make one loop.
pub fn main_loop(assembly: &str) -> Option<Loop> {
    let blocks = blocks(assembly);
    let mut loops: Vec<(usize, usize)> = vec![];
    for (at, block) in blocks.iter().enumerate() {
        for target in &block.targets {
            let Some(begin) = blocks[..=at].iter().position(|b| b.number == *target) else { continue };
            loops.retain(|(other, _)| *other != begin);
            loops.push((begin, at));
        }
    }
    let found = loops.iter().map(|outer| {
        let inside = |inner: &&(usize, usize)| inner != &outer && inner.0 >= outer.0 && inner.1 <= outer.1;
        let inner: Vec<&(usize, usize)> = loops.iter().filter(inside).collect();
        let mut own = 0;
        let mut all = Loop { blocks: (blocks[outer.0].number, blocks[outer.1].number), ..Loop::default() };
        for (at, block) in blocks.iter().enumerate().take(outer.1 + 1).skip(outer.0) {
            let (vector, multiply_adds) = block.count();
            all.vector += vector;
            all.multiply_adds += multiply_adds;
            if !inner.iter().any(|(begin, end)| (*begin..=*end).contains(&at)) {
                own += multiply_adds;
            }
        }
        (own, all)
    });
    found.max_by_key(|(own, all)| (*own, all.vector)).map(|(_, all)| all)
}

impl Block<'_> {
    /// Instructions of the vector unit, and multiply-adds among them.
    fn count(&self) -> (usize, usize) {
        let halves = self.instructions.iter().flat_map(|instruction| instruction.split("::"));
        let names = halves.filter_map(|half| half.split_whitespace().next());
        names.fold((0, 0), |(vector, multiply_adds), name| {
            (vector + usize::from(name.starts_with("v_")), multiply_adds + usize::from(is_multiply_add(name)))
        })
    }
}

fn blocks(assembly: &str) -> Vec<Block<'_>> {
    let mut blocks = vec![Block::default()];
    for line in assembly.lines() {
        // After a semicolon come the instruction's bytes.
        let code = line.split(';').next().unwrap_or_default().trim();
        if let Some(number) = code.strip_suffix(':').and_then(block_number) {
            blocks.push(Block { number, ..Block::default() });
        } else if let (false, Some(block)) = (code.is_empty(), blocks.last_mut()) {
            if code.starts_with("s_cbranch") || code.starts_with("s_branch") {
                block.targets.extend(code.split_whitespace().filter_map(block_number));
            }
            block.instructions.push(code);
        }
    }
    blocks
}

/// Whether there is an instruction that multiplies matrices.
pub fn multiplies_matrices(assembly: &str) -> bool {
    ["v_wmma_", "v_mfma_"].iter().any(|name| assembly.contains(name))
}

/// 12 of `BB12`.
fn block_number(label: &str) -> Option<usize> {
    label.strip_prefix("BB")?.parse().ok()
}

/// Multiply-adds of floats, and dot products. `v_mad_u32_u24` and its like make addresses.
fn is_multiply_add(name: &str) -> bool {
    let name = name.trim_start_matches("v_").trim_start_matches("dual_").trim_start_matches("pk_");
    let fused = ["fma", "fmac", "fmaak", "fmamk", "mad", "mac", "madak", "madmk", "fma_mix", "mad_mix"];
    name.starts_with("dot") || fused.iter().any(|f| name.strip_prefix(f).is_some_and(is_float_type))
}

/// `_f32`, `_f16_e64`, `_legacy_f32`, of a mix nothing more.
fn is_float_type(rest: &str) -> bool {
    let rest = rest.trim_start_matches("_legacy");
    ["_f16", "_f32", "_f64", "lo_f16", "hi_f16"].iter().any(|kind| rest.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_LOOPS: &str = "\
BB0:
\ts_mov_b32 s0, 0                                             ; be800080
\tv_fma_f32 v9, v9, v9, v9                                    ; d613
BB1:
\ts_cbranch_scc1 BB6                                          ; bf850030
\tglobal_load_b128 v[0:3], v4, s[2:3]                         ; dc5e
\tv_mul_lo_u32 v5, v5, s1                                     ; d72c
BB2:
\tds_load_b128 v[0:3], v4                                     ; dbfc
\tv_dual_fmac_f32 v1, v2, v3 :: v_dual_mov_b32 v4, v5         ; c800
\tv_dual_fmac_f32 v1, v2, v3 :: v_dual_fmac_f32 v4, v5, v6    ; c800
\tv_fmac_f32_e32 v1, v2, v3                                   ; 5602
\tv_add_nc_u32_e32 v4, 16, v4                                 ; 4a08
\ts_add_i32 s4, s4, 1                                         ; 8104
\ts_cbranch_scc0 BB2                                          ; bf84fff8
BB3:
\tv_mov_b32_e32 v4, 0                                         ; 7e08
BB4:
\tv_mad_u32_u24 v4, v5, v6, v7                                ; d60b
\tv_mad_u64_u32 v[4:5], null, v5, v6, v[7:8]                  ; d6fe
\ts_cbranch_vccnz BB4                                         ; bf87
\ts_branch BB1                                                ; bf82
BB6:
\ts_endpgm                                                    ; bfb0
";

    #[test]
    fn an_inner_loop_has_its_multiply_adds_for_itself() {
        let found = main_loop(TWO_LOOPS).unwrap();
        assert_eq!(found, Loop { blocks: (2, 2), vector: 6, multiply_adds: 4 });
        assert!((found.percent() - 66.7).abs() < 0.1, "{}", found.percent());
    }

    #[test]
    fn around_an_unrolled_product_the_loads_count_as_well() {
        let text = "BB1:\n v_mov_b32_e32 v0, 0\nBB2:\n v_add_u32_e32 v1, v2, v3\n s_cbranch_scc0 BB2\nBB3:\n \
                    v_fma_f32 v0, v0, v0, v0\n v_fma_f32 v0, v0, v0, v0\n s_cbranch_scc0 BB1\nBB4:\n s_endpgm\n";
        assert_eq!(main_loop(text), Some(Loop { blocks: (1, 3), vector: 4, multiply_adds: 2 }));
    }

    #[test]
    fn branches_to_one_target_make_one_loop() {
        let text = "BB0:\n v_fma_f32 v0, v0, v0, v0\nBB1:\n v_pk_fma_f32 v[0:1], v[2:3], v[4:5], v[0:1]\n\
                    s_cbranch_scc0 BB1\nBB2:\n v_mac_f32_e32 v0, v1, v2\n v_mov_b32_e32 v0, v1\n s_branch BB1\n\
                    BB3:\n s_branch BB4\nBB4:\n s_endpgm\n";
        assert_eq!(main_loop(text), Some(Loop { blocks: (1, 2), vector: 3, multiply_adds: 2 }));
    }

    #[test]
    fn forward_branches_make_no_loop() {
        assert_eq!(
            main_loop("BB0:\n s_cbranch_execz BB1\n v_fma_f32 v0, v0, v0, v0\nBB1:\n s_endpgm\n"),
            None
        );
        assert_eq!(main_loop(""), None);
    }

    #[test]
    fn addresses_are_no_multiply_adds() {
        for name in [
            "v_fma_f32",
            "v_fmac_f32_e32",
            "v_fmaak_f32",
            "v_dual_fmac_f32",
            "v_pk_fma_f16",
            "v_mad_f32",
            "v_mac_f32_e32",
            "v_madak_f32",
            "v_fma_mix_f32",
            "v_fma_mixlo_f16",
            "v_fmac_legacy_f32",
            "v_dot2_f32_f16",
            "v_fma_f64",
        ] {
            assert!(is_multiply_add(name), "{name}");
        }
        for name in [
            "v_mad_u32_u24",
            "v_mad_u64_u32",
            "v_mad_i32_i24",
            "v_mul_f32_e32",
            "v_dual_mul_f32",
            "v_max_f32",
        ] {
            assert!(!is_multiply_add(name), "{name}");
        }
    }
}

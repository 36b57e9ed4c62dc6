//! Sums over the rows of `[batch, rows, columns]` in passes of a fixed order, which several ops need.

use crate::program::{ByWidth, Kernel, Lower, LowerError, Operand, Word};
use crate::shader_by_width;

static ROWS: ByWidth = shader_by_width!("reduce/rows");

/// Terms that one invocation adds at most.
const TERMS: usize = 64;

/// Parts that each pass of a sum over `rows` leaves, the last 1. Each number divides the one before
/// it. They depend on `rows` alone, so that the order of the sum is the same on every device.
pub(crate) fn passes(rows: usize) -> Vec<usize> {
    let mut passes = vec![1];
    let mut parts = 1;
    while rows.div_ceil(parts) > TERMS {
        parts *= TERMS.min(rows.div_ceil(parts * TERMS));
        passes.push(parts);
    }
    passes.reverse();
    passes
}

/// `output [batch, columns] = factor · Σ input [batch, rows, columns]` over the rows.
pub(crate) fn lower_rows(
    lower: &mut Lower,
    [batch, rows, columns]: [usize; 3],
    factor: f32,
    input: Operand,
    output: Operand,
) -> Result<(), LowerError> {
    let (shader, width) = ROWS.of(columns);
    let columns = columns / width;
    let (mut from, mut rows) = (input, rows);
    for parts in passes(rows) {
        let last = parts == 1;
        let to = if last { output } else { lower.scratch(batch * parts * columns * width) };
        let factor = if last { factor } else { 1.0 };
        let params = [Word::from(batch), rows.into(), columns.into(), parts.into(), factor.into()];
        lower.dispatch_items(Kernel::new(shader), &params, &[from, to], batch * parts * columns)?;
        (from, rows) = (to, parts);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pass_divides_the_one_before_and_adds_few_terms() {
        for rows in [1, 2, 63, 64, 65, 130, 4_096, 4_097, 131_072, 1_000_003, 70_000_000] {
            let passes = passes(rows);
            assert_eq!(passes.last(), Some(&1));
            let mut before = rows;
            for (i, parts) in passes.iter().enumerate() {
                assert!(before.div_ceil(*parts) <= TERMS, "{rows}: {passes:?}");
                assert!(*parts <= before && (i == 0 || before.is_multiple_of(*parts)), "{rows}: {passes:?}");
                before = *parts;
            }
        }
    }
}

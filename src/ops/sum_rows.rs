//! The one way that ops sum over more than a few numbers: in passes of a fixed order, over the rows
//! of `[batch, rows, columns]`.
//!
//! An op that sums numbers as they are takes [`lower_sum_rows`]. One that sums a function of them
//! makes the first pass with a kernel of its own, which leaves [`first_parts`] sums, and the rest
//! with this. Only a norm's statistics are merged by another rule, in the same [`passes`].

use crate::program::{ByWidth, Kernel, Lower, LowerError, Operand, Shader, Word};
use crate::shader_by_width;

static PASS: ByWidth = shader_by_width!("sum_rows/pass");

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

/// Parts that the first pass leaves.
pub(crate) fn first_parts(rows: usize) -> usize {
    passes(rows)[0]
}

/// `output [batch, columns] = factor · Σ input [batch, rows, columns]` over the rows.
pub(crate) fn lower_sum_rows(
    lower: &mut Lower,
    [batch, rows, columns]: [usize; 3],
    factor: f32,
    input: Operand,
    output: Operand,
) -> Result<(), LowerError> {
    let (shader, width) = PASS.of(columns);
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

/// `output = factor · Σ` over `items` terms that `shader` makes of the op's inputs.
///
/// `shader` writes the sums of the first pass, one an invocation. Its params are `items`, the number
/// of these sums, then `extra`; its operands are the op's inputs, then the sums.
pub(crate) fn lower_sum_terms(
    lower: &mut Lower,
    shader: &'static Shader,
    items: usize,
    extra: &[Word],
    factor: f64,
) -> Result<(), LowerError> {
    let parts = first_parts(items);
    let partial = lower.scratch(parts);
    let params = [&[items.into(), parts.into()], extra].concat();
    let mut operands: Vec<_> = (0..lower.input_count()).map(|i| lower.input(i)).collect();
    operands.push(partial);
    lower.dispatch_items(Kernel::new(shader), &params, &operands, parts)?;
    let output = lower.output();
    lower_sum_rows(lower, [1, parts, 1], factor as f32, partial, output)
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

//! What ops that sum over a whole tensor share: a sum of fixed order in passes.

use super::sum::FORWARD;
use crate::program::{Kernel, Lower, LowerError, Operand, Shader, Word};

/// Threads of the first pass at most: a fixed number, so that the order of the sum is the same
/// on every device.
const THREADS: usize = 4096;

/// Threads of the second pass, where there are three.
const MIDDLE_THREADS: usize = 64;

/// Threads that sum `items` terms, at least a few terms each.
pub(crate) fn reduction_threads(items: usize) -> usize {
    THREADS.min(items.div_ceil(8)).max(1)
}

/// `output = factor · Σ` over `items` terms, in two or three passes.
///
/// `shader` writes one partial sum a thread. Its params are `items`, the number of threads, then
/// `extra`; its operands are the op's inputs, then the partial sums.
pub(crate) fn lower_reduction(
    lower: &mut Lower,
    shader: &'static Shader,
    items: usize,
    extra: &[Word],
    factor: f64,
) -> Result<(), LowerError> {
    let threads = reduction_threads(items);
    let partial = lower.scratch(threads);
    let mut params = vec![Word::from(items), threads.into()];
    params.extend_from_slice(extra);
    let mut operands: Vec<_> = (0..lower.input_count()).map(|i| lower.input(i)).collect();
    operands.push(partial);
    lower.dispatch_items(Kernel::new(shader), &params, &operands, threads)?;
    let (partial, count) = lower_middle_pass(lower, partial, threads)?;
    let params = [Word::from(count), 1usize.into(), (factor as f32).into()];
    let output = lower.output();
    lower.dispatch_items(Kernel::new(&FORWARD), &params, &[partial, output], 1)
}

/// Sums many partial sums to few, so that the last pass, which has one thread, is short.
/// Returns where the sums are and how many there are.
pub(crate) fn lower_middle_pass(
    lower: &mut Lower,
    partial: Operand,
    count: usize,
) -> Result<(Operand, usize), LowerError> {
    if count <= 2 * MIDDLE_THREADS {
        return Ok((partial, count));
    }
    let fewer = lower.scratch(MIDDLE_THREADS);
    let params = [Word::from(count), MIDDLE_THREADS.into(), 1.0f32.into()];
    lower.dispatch_items(Kernel::new(&FORWARD), &params, &[partial, fewer], MIDDLE_THREADS)?;
    Ok((fewer, MIDDLE_THREADS))
}

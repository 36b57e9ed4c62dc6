//! What losses share that are a mean over elements of a function of two numbers: a prediction,
//! which takes a gradient, and a target, which takes none.

use super::sum_rows::lower_sum_terms;
use super::{Case, Fill, Op, expect_inputs, expect_same};
use crate::program::{Kernel, Lower, LowerError, Shader, Word};
use crate::reference::Tensor;
use crate::tape::Shape;

/// Checks prediction and target. The result is one number.
pub(crate) fn pair_loss_shape(inputs: &[&Shape]) -> Result<Shape, String> {
    expect_inputs(inputs, 2)?;
    pair_shape(inputs)?;
    Ok(Shape::scalar())
}

/// Checks prediction, target and the gradient of the loss. The result is of the prediction's shape.
pub(crate) fn pair_grad_shape(inputs: &[&Shape]) -> Result<Shape, String> {
    expect_inputs(inputs, 3)?;
    pair_shape(inputs)?;
    expect_same(inputs[2], &Shape::scalar())?;
    Ok(inputs[0].clone())
}

fn pair_shape(inputs: &[&Shape]) -> Result<(), String> {
    expect_same(inputs[0], inputs[1])?;
    if inputs[0].is_empty() { Err("the mean of no elements".to_owned()) } else { Ok(()) }
}

/// Mean of `term(prediction, target)`.
pub(crate) fn reference_pair_mean(inputs: &[&Tensor], term: impl Fn(f64, f64) -> f64) -> Vec<Vec<f64>> {
    let pairs = inputs[0].data.iter().zip(&inputs[1].data);
    vec![vec![pairs.map(|(x, y)| term(*x, *y)).sum::<f64>() / inputs[0].data.len() as f64]]
}

/// `derivative(prediction, target)`, times the loss's gradient over the number of elements.
pub(crate) fn reference_pair_grad(inputs: &[&Tensor], derivative: impl Fn(f64, f64) -> f64) -> Vec<Vec<f64>> {
    let factor = inputs[2].data[0] / inputs[0].data.len() as f64;
    let pairs = inputs[0].data.iter().zip(&inputs[1].data);
    vec![pairs.map(|(x, y)| factor * derivative(*x, *y)).collect()]
}

/// `scale · mean`. The kernel's params: `vectors, threads, count`, then `extra`.
pub(crate) fn lower_pair_mean(
    lower: &mut Lower,
    shader: &'static Shader,
    extra: &[Word],
    scale: f64,
) -> Result<(), LowerError> {
    let count = lower.input_shape(0).len();
    let mut params = vec![Word::from(count)];
    params.extend_from_slice(extra);
    lower_sum_terms(lower, shader, count.div_ceil(4), &params, scale / count as f64)
}

/// One dispatch over `vec4<f32>`s. The kernel's params: `vectors`, `factor = scale / count`,
/// then `extra`; its operands: prediction, target, the loss's gradient, the result.
pub(crate) fn lower_pair_grad(
    lower: &mut Lower,
    shader: &'static Shader,
    extra: &[Word],
    scale: f64,
) -> Result<(), LowerError> {
    let count = lower.output_shape().len();
    let vectors = count.div_ceil(4);
    let mut params = vec![Word::from(vectors), Word::from((scale / count as f64) as f32)];
    params.extend_from_slice(extra);
    let operands = [lower.input(0), lower.input(1), lower.input(2), lower.output()];
    lower.dispatch_items(Kernel::new(shader), &params, &operands, vectors)
}

/// The shapes each of these losses is checked at, with targets by `target`.
pub(crate) fn pair_loss_cases<O: Op + 'static>(op: impl Fn() -> O, target: Fill) -> Vec<Case> {
    let case = |name: &str, why, shape: [usize; 4]| {
        Case::new(name, why, op()).filled(shape, Fill::Uniform(-3.0, 3.0)).fixed(shape, target)
    };
    vec![
        case("1", "a single element", [1, 1, 1, 1]),
        case("3x5x7x3", "no multiple of 4: the padding must not enter the sum", [3, 5, 7, 3]),
        case("1x41x47x5", "primes, a ragged last round", [1, 41, 47, 5]),
        case("3x61x64x5", "three passes", [3, 61, 64, 5]),
        case("3x61x64x5 folded", "the path of more than 65,535 workgroups", [3, 61, 64, 5])
            .max_workgroups(17),
    ]
}

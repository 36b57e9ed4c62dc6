//! What ops that work element by element share.

use super::Case;
use crate::program::{Kernel, Lower, LowerError, Shader, Word};

/// One dispatch over `vec4<f32>`s: `params` is the number of vec4s, then `extra`; the operands
/// are the op's inputs, then its result.
pub(crate) fn lower_elementwise(
    lower: &mut Lower,
    shader: &'static Shader,
    extra: &[Word],
) -> Result<(), LowerError> {
    let vectors = lower.output_shape().len().div_ceil(4);
    let mut params = vec![Word::from(vectors)];
    params.extend_from_slice(extra);
    let mut operands: Vec<_> = (0..lower.input_count()).map(|i| lower.input(i)).collect();
    operands.push(lower.output());
    lower.dispatch_items(Kernel::new(shader), &params, &operands, vectors)
}

/// The shapes every element-wise op is checked at, with `inputs` inputs.
pub(crate) fn elementwise_cases(inputs: usize, make: impl Fn(&str, &'static str) -> Case) -> Vec<Case> {
    let case =
        |name: &str, why, shape: [usize; 4]| (0..inputs).fold(make(name, why), |case, _| case.input(shape));
    vec![
        case("1", "a single element", [1, 1, 1, 1]),
        case("3", "no multiple of 4, less than one vec4", [1, 1, 3, 1]),
        case("2x5x7x3", "odd extents, channels that are no multiple of 4", [2, 5, 7, 3]),
        case("1x41x47x8", "primes", [1, 41, 47, 8]),
        case("1x41x47x8 folded", "the path of more than 65,535 workgroups", [1, 41, 47, 8]).max_workgroups(9),
    ]
}

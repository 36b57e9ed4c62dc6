//! What the two ways to enlarge an image by a whole factor share.

use super::{Case, Op};
use crate::tape::Shape;

/// Shape of the enlarged image.
pub(crate) fn enlarged(input: &Shape, factor: usize) -> Result<Shape, String> {
    let [batch, height, width, channels] = input.nhwc()?;
    if factor == 0 {
        return Err("the factor is 0".to_owned());
    }
    Ok([batch, height * factor, width * factor, channels].into())
}

/// The shapes that both are checked at, with the op that `by` makes of a factor.
pub(crate) fn upsample_cases<O: Op + 'static>(by: impl Fn(usize) -> O) -> Vec<Case> {
    let case = |name: &str, why, shape: [usize; 4], factor| Case::new(name, why, by(factor)).input(shape);
    vec![
        case("1 pixel, 2", "an image of one pixel", [1, 1, 1, 1], 2),
        case("2x5x7x3, 2", "odd extents, channels that are no multiple of 4", [2, 5, 7, 3], 2),
        case("2x6x8x16, 2", "the shape of a U-Net", [2, 6, 8, 16], 2),
        case("1x41x3x8, 3", "a prime extent, an odd factor", [1, 41, 3, 8], 3),
        case("1x1x47x5, 4", "one row", [1, 1, 47, 5], 4),
        case("1x3x2x12, 5", "a factor larger than the image", [1, 3, 2, 12], 5),
        case("2x4x4x20, 1", "the image itself", [2, 4, 4, 20], 1),
        case("1x20x22x4, 2, folded", "the path of more than 65,535 workgroups", [1, 20, 22, 4], 2)
            .max_workgroups(6),
    ]
}

//! The weights by which a gradient of the input of stride 1 is itself a convolution: taps in reverse, channels exchanged.
//! Kernels for software drivers take them laid out so, for a kernel less to compile is worth more there than the copy.

use super::geometry::Geometry;
use super::kernels::Direction;
use crate::program::{Kernel, Lower, LowerError, Operand, Shader, Word};
use crate::shader;

static MIRRORED_WEIGHT: Shader = shader!("conv2d/mirrored_weight");

/// The weights of a convolution in this direction: as they are, or mirrored. Channels are multiples of 4.
pub fn lower_weight(
    lower: &mut Lower,
    g: &Geometry,
    direction: Direction,
    weight: Operand,
) -> Result<Operand, LowerError> {
    if direction == Direction::Forward {
        return Ok(weight);
    }
    let mirrored = lower.scratch(g.weight().len());
    let sizes = [g.kernel[0] * g.kernel[1], g.in_channels, g.out_channels].map(Word::from);
    let items = g.weight().len() / 4;
    lower.dispatch_items(Kernel::new(&MIRRORED_WEIGHT), &sizes, &[weight, mirrored], items)?;
    Ok(mirrored)
}

/// Its padding at the top and at the left: a mirrored kernel overlaps by what the padding leaves.
pub fn padding(g: &Geometry, direction: Direction) -> [usize; 2] {
    g.kernel.map(|side| match direction {
        Direction::Forward => g.padding,
        Direction::GradInput => side - 1 - g.padding,
    })
}

//! Convolutions of stride 1 as one matrix product over pixels that are laid out with all that they are made of (im2col):
//! `[pixels, taps · channels]` by the weights as they are. For so few pixels that the copies are small, and blocks of
//! 8×8 pixels or Winograd's tiles would be half empty.

use super::geometry::Geometry;
use super::kernels::{Direction, params};
use super::matmul::{Product, lower_matmul};
use super::mirrored;
use crate::program::{Caps, Family, Kernel, Lower, LowerError, Operand, Shader, Word};
use crate::shader;

static IM2COL: Shader = shader!("conv2d/im2col");

/// Pixels of a result, above which other forms are better: what a workgroup of the product takes, eight times.
const MOST_PIXELS: usize = 256;
/// Fewer channels on either side, and the copies cost more than they save.
const LEAST_CHANNELS: usize = 32;

/// Whether a convolution with a result of `size`, or a gradient of it, can be computed this way.
pub fn is_possible(caps: &Caps, g: &Geometry, size: [usize; 2]) -> bool {
    let pixels = g.batch * size[0] * size[1];
    let taps = g.kernel[0] * g.kernel[1];
    let fits = |numbers: usize| 4 * numbers as u64 <= caps.max_binding_bytes;
    caps.family == Family::Cpu
        && caps.subgroups
        && g.stride == 1
        && g.kernel.iter().all(|side| (1..=3).contains(side) && g.padding < *side)
        && taps > 1
        && pixels <= MOST_PIXELS
        && [g.in_channels, g.out_channels].iter().all(|n| n.is_multiple_of(4))
        && fits(pixels * taps * g.in_channels.max(g.out_channels))
        && fits(g.weight().len())
}

/// Whether it is better than other forms, as a rule.
pub fn pays(g: &Geometry) -> bool {
    g.in_channels.min(g.out_channels) >= LEAST_CHANNELS
}

/// A convolution, or by `direction` the gradient of its input.
pub fn lower_conv(
    lower: &mut Lower,
    g: &Geometry,
    direction: Direction,
    [input, weight, output]: [Operand; 3],
) -> Result<(), LowerError> {
    let [batch, _, _, in_channels, height, width, channels, ..] = params(g, direction);
    let taps = g.kernel[0] * g.kernel[1];
    let columns = lower_im2col(lower, g, direction, input)?;
    let weight = mirrored::lower_weight(lower, g, direction, weight)?;
    let sizes = [batch * height * width, channels, taps * in_channels];
    lower_matmul(lower, Product { sizes, ..Product::default() }, [columns, weight, output])
}

/// The gradient of the weight.
pub fn lower_grad_weight(
    lower: &mut Lower,
    g: &Geometry,
    [input, grad_output, grad_weight]: [Operand; 3],
) -> Result<(), LowerError> {
    let columns = lower_im2col(lower, g, Direction::Forward, input)?;
    let sizes = [g.kernel[0] * g.kernel[1] * g.in_channels, g.out_channels, g.out_pixels()];
    let product = Product { sizes, transposed: true, ..Product::default() };
    lower_matmul(lower, product, [columns, grad_output, grad_weight])
}

/// Lays out `input`: the image that a convolution of this direction reads.
fn lower_im2col(
    lower: &mut Lower,
    g: &Geometry,
    direction: Direction,
    input: Operand,
) -> Result<Operand, LowerError> {
    let [batch, in_height, in_width, in_channels, height, width, ..] = params(g, direction);
    let [pad_top, pad_left] = mirrored::padding(g, direction);
    let quads = in_channels / 4;
    let count = batch * height * width * g.kernel[0] * g.kernel[1] * quads;
    let columns = lower.scratch(4 * count);
    let kernel =
        Kernel::new(&IM2COL).with("KERNEL_H", g.kernel[0] as f64).with("KERNEL_W", g.kernel[1] as f64);
    let params = [count, in_height, in_width, quads, height, width, pad_top, pad_left].map(Word::from);
    lower.dispatch_items(kernel, &params, &[input, columns], count)?;
    Ok(columns)
}

//! 3×3 convolutions of stride 1 by Winograd's minimal filtering: four times fewer multiplications.
//!
//! Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016. F(4×4, 3×3) makes tiles of
//! 4×4 results: `Y = A' [Σ (G g G') ⊙ (B' d B)] A` over the input channels, with weights `g` and 6×6 inputs `d`. The
//! sums are 36 matrix products. The gradient of the weights is F(3×3, 4×4), with the tile's 4×4 gradients as `g` and
//! the same `B' d B`. All matrices interpolate at 0, ±1/√2, ±√2 and ∞, which keeps rounding errors at a quarter of those
//! of the usual 0, ±1, ±2 and ∞: over random data the largest is 5 to 18 units in the last place of the largest result
//! for 4 to 256 input channels, where `verify` allows 28 to 112.
//!
//! ```text
//!      1   0  −5/2  0   1  0        1    0    0          1   1   1   1   1   0
//!      0 −2p  −2    p   1  0      −2/3 −2p/3 −1/3        0   p  −p   q  −q   0
//! B' = 0  2p  −2   −p   1  0  G = −2/3  2p/3 −1/3   A' = 0  1/2 1/2  2   2   0    p = 1/√2, q = √2
//!      0 −q/2 −1/2  q   1  0       1/6  q/6   1/3        0  p³ −p³   q³ −q³  1
//!      0  q/2 −1/2 −q   1  0       1/6 −q/6   1/3
//!      0   1   0  −5/2  0  1        0    0    1
//! ```

use super::forms::Portion;
use super::geometry::Geometry;
use super::kernels::{Direction, params};
use super::matmul::{self, Product, lower_matmul};
use super::mirrored;
use crate::program::{Caps, Family, Kernel, Lower, LowerError, Operand, Shader, Word};
use crate::shader;

static INPUT: Shader = shader!("conv2d/winograd_input");
static WEIGHT: Shader = shader!("conv2d/winograd_weight");
static OUTPUT: Shader = shader!("conv2d/winograd_output");
static GRAD_OUTPUT: Shader = shader!("conv2d/winograd_grad_output");
static GRAD_WEIGHT: Shader = shader!("conv2d/winograd_grad_weight");

/// Side of a tile of results.
const TILE: usize = 4;
/// Numbers of a transformed tile.
const POINTS: usize = 36;
/// Numbers of the transformed tiles that are there at a time, the rule's first: as much as stays in a cache.
pub const SCRATCH: [usize; 5] = [1 << 18, 1 << 16, 1 << 17, 1 << 19, 1 << 20];
/// The same for the gradient of the weight: each portion reads and writes all sums.
pub const SCRATCH_GRAD_WEIGHT: [usize; 5] = [1 << 20, 1 << 16, 1 << 17, 1 << 18, 1 << 19];
/// Most portions of a convolution, so that its dispatches do not grow with the images.
const MOST_PORTIONS: usize = 64;
/// Fewer channels on either side, and the transforms cost more than they save.
const LEAST_CHANNELS: usize = 32;
/// The transformed weights serve too few tiles.
const FEW_TILES: usize = 16;
/// For the gradient of the weight: fewer channels on either side, or fewer pairs.
const LEAST_CHANNELS_GRAD_WEIGHT: usize = 16;
const LEAST_PAIRS_GRAD_WEIGHT: usize = 16 * 32;

/// Whether the transforms cost less than they save, as a rule, for a convolution or the gradient of its input of `size`.
pub fn pays(g: &Geometry, size: [usize; 2]) -> bool {
    g.in_channels.min(g.out_channels) >= LEAST_CHANNELS && Tiles::new(g.batch, size, 0).all() > FEW_TILES
}

/// The same for the gradient of its weight.
pub fn pays_grad_weight(g: &Geometry) -> bool {
    g.in_channels.min(g.out_channels) >= LEAST_CHANNELS_GRAD_WEIGHT
        && g.in_channels * g.out_channels >= LEAST_PAIRS_GRAD_WEIGHT
}

/// Tiles to transform at a time, the rule's number first; none where a convolution and its gradients cannot be
/// computed this way. `size` is that of the image in tiles, `scratch` the numbers to hold at a time. Transformed
/// weights, which are four times the weights, and transformed tiles must fit into a binding.
pub fn portions(caps: &Caps, g: &Geometry, size: [usize; 2], scratch: &[usize]) -> Vec<usize> {
    let channels = g.in_channels.max(g.out_channels);
    let fits = |numbers: usize| 4 * numbers as u64 <= caps.max_binding_bytes;
    // Of the larger of both images.
    let most = Tiles::at_once(g.batch, g.in_size.map(|size| size + 2), channels, SCRATCH[0]);
    let possible = caps.family == Family::Cpu
        && caps.subgroups
        && g.kernel == [3, 3]
        && g.stride == 1
        && g.padding <= 2
        && [g.in_channels, g.out_channels].iter().all(|n| n.is_multiple_of(4))
        && fits(POINTS * g.in_channels * g.out_channels)
        && fits(POINTS * most * channels);
    let all = scratch.iter().filter(|_| possible);
    let tiles = all.map(|scratch| Tiles::at_once(g.batch, size, channels, *scratch));
    tiles.filter(|tiles| fits(POINTS * tiles * channels)).collect()
}

/// The tiles of an image of `size`, and how many of them are there at a time.
struct Tiles {
    batch: usize,
    each_way: [usize; 2],
    at_once: usize,
}

impl Tiles {
    fn new(batch: usize, size: [usize; 2], at_once: usize) -> Tiles {
        Tiles { batch, each_way: size.map(|size| size.div_ceil(TILE)), at_once }
    }

    /// As many tiles as `scratch` numbers hold.
    fn at_once(batch: usize, size: [usize; 2], channels: usize, scratch: usize) -> usize {
        let all = Tiles::new(batch, size, 0).all();
        let at_once = (scratch / (POINTS * channels) / matmul::SIDE).max(1) * matmul::SIDE;
        at_once.max(all.div_ceil(MOST_PORTIONS)).min(all)
    }

    fn all(&self) -> usize {
        self.batch * self.each_way[0] * self.each_way[1]
    }

    /// First tile and number of each portion.
    fn portions(&self) -> impl Iterator<Item = (usize, usize)> {
        let (all, at_once) = (self.all(), self.at_once);
        (0..all).step_by(at_once).map(move |first| (first, at_once.min(all - first)))
    }
}

/// A convolution, or by `direction` the gradient of its input.
pub fn lower_conv(
    lower: &mut Lower,
    g: &Geometry,
    direction: Direction,
    Portion(at_once): Portion,
    [input, weight, output]: [Operand; 3],
    bias: Option<Operand>,
) -> Result<(), LowerError> {
    let [batch, in_height, in_width, in_channels, height, width, channels, ..] = params(g, direction);
    let pad = mirrored::padding(g, direction);
    let weight = mirrored::lower_weight(lower, g, direction, weight)?;
    let transformed = lower.scratch(POINTS * g.in_channels * g.out_channels);
    let quads = g.in_channels * g.out_channels / 4;
    lower.dispatch_items(Kernel::new(&WEIGHT), &[quads.into()], &[weight, transformed], quads)?;

    let tiles = Tiles::new(batch, [height, width], at_once);
    let read = lower.scratch(POINTS * tiles.at_once * in_channels);
    let made = lower.scratch(POINTS * tiles.at_once * channels);
    for (first, count) in tiles.portions() {
        let image = Image { batch, size: [in_height, in_width], channels: in_channels };
        lower_input(lower, &tiles, image, pad, (first, count), input, read)?;
        let product =
            Product { count: POINTS, sizes: [count, channels, in_channels], transposed: false, add: false };
        lower_matmul(lower, product, [read, transformed, made])?;
        let image = Image { batch, size: [height, width], channels };
        let kernel = Kernel::new(&OUTPUT).with("HAS_BIAS", f64::from(u8::from(bias.is_some())));
        let params = [image.params(&tiles), vec![first, count]].concat();
        // Without a bias its binding takes any buffer.
        let operands = [made, bias.unwrap_or(weight), output];
        lower.dispatch_items(kernel, &words(&params), &operands, count * channels / 4)?;
    }
    Ok(())
}

/// The gradient of the weight.
pub fn lower_grad_weight(
    lower: &mut Lower,
    g: &Geometry,
    Portion(at_once): Portion,
    input: Operand,
    grad_output: Operand,
    grad_weight: Operand,
) -> Result<(), LowerError> {
    let tiles = Tiles::new(g.batch, g.out_size, at_once);
    let of_input = lower.scratch(POINTS * tiles.at_once * g.in_channels);
    let of_grad = lower.scratch(POINTS * tiles.at_once * g.out_channels);
    let products = lower.scratch(POINTS * g.in_channels * g.out_channels);
    for (first, count) in tiles.portions() {
        let image = Image { batch: g.batch, size: g.in_size, channels: g.in_channels };
        lower_input(lower, &tiles, image, [g.padding; 2], (first, count), input, of_input)?;
        let image = Image { batch: g.batch, size: g.out_size, channels: g.out_channels };
        let params = [image.params(&tiles), vec![first, count]].concat();
        let kernel = Kernel::new(&GRAD_OUTPUT);
        lower.dispatch_items(kernel, &words(&params), &[grad_output, of_grad], count * g.out_channels / 4)?;
        let sizes = [g.in_channels, g.out_channels, count];
        let product = Product { count: POINTS, sizes, transposed: true, add: first > 0 };
        lower_matmul(lower, product, [of_input, of_grad, products])?;
    }
    let quads = g.in_channels * g.out_channels / 4;
    lower.dispatch_items(Kernel::new(&GRAD_WEIGHT), &[quads.into()], &[products, grad_weight], quads)
}

/// A batch of images that is read or written.
struct Image {
    batch: usize,
    size: [usize; 2],
    channels: usize,
}

impl Image {
    /// How the uniform block of a kernel that transforms its tiles begins.
    fn params(&self, tiles: &Tiles) -> Vec<usize> {
        let [height, width] = self.size;
        vec![self.batch, height, width, self.channels / 4, tiles.each_way[0], tiles.each_way[1]]
    }
}

fn lower_input(
    lower: &mut Lower,
    tiles: &Tiles,
    image: Image,
    [pad_top, pad_left]: [usize; 2],
    (first, count): (usize, usize),
    input: Operand,
    transformed: Operand,
) -> Result<(), LowerError> {
    let params = [image.params(tiles), vec![pad_top, pad_left, first, count]].concat();
    let items = count * image.channels / 4;
    lower.dispatch_items(Kernel::new(&INPUT), &words(&params), &[input, transformed], items)
}

fn words(params: &[usize]) -> Vec<Word> {
    params.iter().map(|n| Word::from(*n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_fit_into_a_binding_is_left_to_the_direct_kernels() {
        let caps = Caps { family: Family::Cpu, subgroups: true, ..Caps::default() };
        let of = |channels: usize| {
            let (input, weight) = ([2, 2, 2, channels].into(), [3, 3, channels, channels].into());
            let g = Geometry::forward(&input, &weight, 1, 1).unwrap();
            !portions(&caps, &g, g.out_size, &SCRATCH).is_empty()
        };
        assert!(of(32) && of(512));
        // 36 · 1024 · 1024 · 4 bytes are 144 MiB, of 128.
        assert!(!of(1024));
    }

    #[test]
    fn portions_cover_all_tiles_and_are_few() {
        for (batch, side, channels) in [(1, 1, 64), (8, 16, 512), (3, 7, 36), (16, 512, 64)] {
            for scratch in SCRATCH {
                let tiles = Tiles::new(batch, [side; 2], Tiles::at_once(batch, [side; 2], channels, scratch));
                let all = batch * usize::pow(usize::div_ceil(side, 4), 2);
                let portions: Vec<_> = tiles.portions().collect();
                assert!(portions.len() <= MOST_PORTIONS);
                let mut next = 0;
                for (first, count) in portions {
                    assert_eq!(first, next);
                    assert!((1..=tiles.at_once).contains(&count));
                    next = first + count;
                }
                assert_eq!(next, all);
            }
        }
    }
}

//! Which kernels compute a convolution and its gradients.
//!
//! The gradient of the input is itself a convolution, of the result's gradient with the mirrored
//! weights, so one kernel serves both directions by an `override`.

use super::geometry::Geometry;
use super::winograd;
use crate::ops::sum_rows::lower_sum_rows;
use crate::program::{Family, Kernel, Lower, LowerError, Operand, Shader, Word, spread};
use crate::shader;

static CONV_NAIVE: Shader = shader!("conv2d/conv_naive");
static CONV_TILED: Shader = shader!("conv2d/conv_tiled");
static CONV_TILED_ANY: Shader = shader!("conv2d/conv_tiled_any");
static CONV_CPU: Shader = shader!("conv2d/conv_cpu");
static CONV_CPU_PLAIN: Shader = shader!("conv2d/conv_cpu_plain");
static CONV_CPU_ANY: Shader = shader!("conv2d/conv_cpu_any");
static GRAD_WEIGHT_NAIVE: Shader = shader!("conv2d/grad_weight_naive");
static GRAD_WEIGHT_TILED: Shader = shader!("conv2d/grad_weight_tiled");
static GRAD_WEIGHT_TILED_ANY: Shader = shader!("conv2d/grad_weight_tiled_any");
static GRAD_WEIGHT_CPU: Shader = shader!("conv2d/grad_weight_cpu");
static GRAD_WEIGHT_CPU_PLAIN: Shader = shader!("conv2d/grad_weight_cpu_plain");
static GRAD_WEIGHT_CPU_ANY: Shader = shader!("conv2d/grad_weight_cpu_any");

/// Workgroups that the weight's gradient is split over, so that every core has work: a fixed
/// number, so that its sums have one order everywhere.
const SPLIT_GROUPS: usize = 64;
/// Workgroups that the kernels of a [`Tile`] aim at: their threads are fewer, and a GPU's cores are many.
const TILED_GROUPS: usize = 256;
/// Largest side of a kernel that the tiled convolutions take: they keep a bit for each of its rows, of 16,
/// and ask for rows past the last, up to 7 of them.
const TILED_KERNEL: usize = 9;

/// `output = bias + input ∗ weight`.
pub fn lower_forward(
    lower: &mut Lower,
    g: &Geometry,
    input: Operand,
    weight: Operand,
    bias: Option<Operand>,
    output: Operand,
) -> Result<(), LowerError> {
    lower_conv(lower, g, Direction::Forward, input, weight, bias, output)
}

/// The gradient of the input; with a bias, a transposed convolution.
pub fn lower_grad_input(
    lower: &mut Lower,
    g: &Geometry,
    grad_output: Operand,
    weight: Operand,
    bias: Option<Operand>,
    grad_input: Operand,
) -> Result<(), LowerError> {
    lower_conv(lower, g, Direction::GradInput, grad_output, weight, bias, grad_input)
}

/// Side of the patch of pixels that each pixel of the smaller image meets, where the kernel is as
/// large as the stride and no taps overlap, as in the U-Net's up-sampling.
fn patch(g: &Geometry) -> Option<usize> {
    let covers = g.in_size == g.out_size.map(|size| size * g.stride);
    (g.stride > 1 && g.kernel == [g.stride; 2] && g.padding == 0 && covers).then_some(g.stride)
}

/// Which way a convolution kernel is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    GradInput,
}

/// The uniform block of a convolution kernel, as seen from the kernel: what it reads is `in_*`.
pub fn params(g: &Geometry, direction: Direction) -> [usize; 9] {
    let [input, output] = [(g.in_size, g.in_channels), (g.out_size, g.out_channels)];
    let ((read, read_channels), (made, made_channels)) = match direction {
        Direction::Forward => (input, output),
        Direction::GradInput => (output, input),
    };
    [g.batch, read[0], read[1], read_channels, made[0], made[1], made_channels, g.padding, g.padding]
}

fn with_kernel_size(shader: &'static Shader, g: &Geometry) -> Kernel {
    Kernel::new(shader).with("KERNEL_H", g.kernel[0] as f64).with("KERNEL_W", g.kernel[1] as f64)
}

fn lower_conv(
    lower: &mut Lower,
    g: &Geometry,
    direction: Direction,
    input: Operand,
    weight: Operand,
    bias: Option<Operand>,
    output: Operand,
) -> Result<(), LowerError> {
    if winograd::suits(lower.caps(), g) {
        return winograd::lower_conv(lower, g, direction, input, weight, bias, output);
    }
    let params = params(g, direction);
    let [batch, _, _, _, height, width, channels, ..] = params;
    let pixels = batch * height * width;
    let quads = g.in_channels.is_multiple_of(4) && g.out_channels.is_multiple_of(4);
    let strided = g.stride != 1;
    let transposed = direction == Direction::GradInput;
    let small = g.kernel.iter().all(|k| *k <= 3);
    let tiled = g.kernel.iter().all(|k| *k <= TILED_KERNEL);

    let limit = lower.caps().max_workgroups;
    let grid = |groups: usize, z: usize| {
        let [x, y, _] = spread(groups as u64, limit);
        [x, y, z as u32]
    };
    let (shader, grid) = match lower.family() {
        Family::Tiled if quads && tiled => {
            let tile = Tile::of(pixels, channels);
            (&CONV_TILED, grid(pixels.div_ceil(tile.rows()), channels.div_ceil(tile.channels())))
        }
        Family::Tiled if tiled => {
            let columns = tile_columns(channels);
            (&CONV_TILED_ANY, grid(pixels.div_ceil(1024 / columns), channels.div_ceil(4 * columns)))
        }
        Family::Cpu if quads && lower.caps().subgroups && patch(g).is_some() => {
            let [height, width] = g.out_size;
            let blocks = batch * height.div_ceil(8) * width.div_ceil(8);
            let patch_pixels = if transposed { g.stride * g.stride } else { 1 };
            (&CONV_CPU, grid(blocks.div_ceil(2), channels.div_ceil(16) * patch_pixels))
        }
        Family::Cpu if quads && !strided && small && lower.caps().subgroups => {
            let blocks = batch * height.div_ceil(8) * width.div_ceil(8);
            (&CONV_CPU, grid(blocks.div_ceil(2), channels.div_ceil(16)))
        }
        Family::Cpu if quads && !(strided && transposed) => {
            let strips = batch * height * width.div_ceil(8);
            (&CONV_CPU_PLAIN, grid(strips.div_ceil(8), channels.div_ceil(8)))
        }
        Family::Cpu if !(strided && transposed) => {
            let strips = batch * height * width.div_ceil(4);
            (&CONV_CPU_ANY, grid(strips.div_ceil(8), channels.div_ceil(4)))
        }
        _ => (&CONV_NAIVE, grid((pixels * channels).div_ceil(64), 1)),
    };
    let is_cpu = std::ptr::eq(shader, &CONV_CPU);
    let mut kernel = match patch(g) {
        // Each pixel of a patch has 1×1 weights of its own.
        Some(patch) if is_cpu => {
            Kernel::new(shader).with("KERNEL_H", 1.0).with("KERNEL_W", 1.0).with("PATCH", patch as f64)
        }
        _ => with_kernel_size(shader, g),
    };
    kernel = kernel
        .with("TRANSPOSED", f64::from(u8::from(transposed)))
        .with("HAS_BIAS", f64::from(u8::from(bias.is_some())));
    if !is_cpu {
        kernel = kernel.with("STRIDE", g.stride as f64);
    }
    if std::ptr::eq(shader, &CONV_TILED) {
        kernel = Tile::of(pixels, channels).put(kernel);
    }
    if std::ptr::eq(shader, &CONV_TILED_ANY) {
        kernel = kernel.with("COLS", tile_columns(channels) as f64);
    }
    // Without a bias its binding takes any buffer.
    let operands = [input, weight, bias.unwrap_or(weight), output];
    lower.dispatch(kernel, &params.map(Word::from), &operands, grid)
}

/// What a workgroup of the tiled kernels computes of a matrix product: rows (pixels, or weights of one
/// output channel) by channels. Its 128 threads are `columns` wide and have 8 rows by `quads` vec4s each.
#[derive(Clone, Copy)]
struct Tile {
    columns: usize,
    quads: usize,
}

impl Tile {
    /// The smallest that holds all channels, at most 64.
    fn holding(channels: usize) -> Tile {
        match channels {
            ..=16 => Tile { columns: 4, quads: 1 },
            17..=32 => Tile { columns: 8, quads: 1 },
            _ => Tile { columns: 8, quads: 2 },
        }
    }

    /// That of `rows` by `channels`: half as wide where the device would have too few workgroups.
    fn of(rows: usize, channels: usize) -> Tile {
        let tile = Tile::holding(channels);
        let groups = rows.div_ceil(tile.rows()) * channels.div_ceil(tile.channels());
        if groups < TILED_GROUPS { Tile { quads: 1, ..tile } } else { tile }
    }

    fn rows(self) -> usize {
        8 * 128 / self.columns
    }

    fn channels(self) -> usize {
        4 * self.quads * self.columns
    }

    fn put(self, kernel: Kernel) -> Kernel {
        kernel.with("COLS", self.columns as f64).with("QUADS", self.quads as f64)
    }
}

/// Columns of four channels in a tile: the fewest that hold all channels, at most 16.
fn tile_columns(channels: usize) -> usize {
    channels.div_ceil(4).next_power_of_two().clamp(4, 16)
}

/// The gradient of the weight.
pub fn lower_grad_weight(
    lower: &mut Lower,
    g: &Geometry,
    input: Operand,
    grad_output: Operand,
    grad_weight: Operand,
) -> Result<(), LowerError> {
    if winograd::suits(lower.caps(), g) {
        return winograd::lower_grad_weight(lower, g, input, grad_output, grad_weight);
    }
    let mut params = params(g, Direction::Forward).to_vec();
    let quads = g.in_channels.is_multiple_of(4) && g.out_channels.is_multiple_of(4);
    let small = g.kernel.iter().all(|k| *k <= 3);
    let [kernel_h, kernel_w] = g.kernel;
    let [height, width] = g.out_size;
    let rows = g.batch * height;
    // Of one output channel.
    let weights = kernel_h * kernel_w * g.in_channels;
    // Splits make up for few workgroups.
    let tile = Tile::holding(g.out_channels);

    // Workgroups that one split takes, in x and y, and the most splits there are.
    let (shader, groups, most) = match lower.family() {
        Family::Tiled if quads => {
            let x = weights.div_ceil(tile.rows());
            (&GRAD_WEIGHT_TILED, [x, g.out_channels.div_ceil(tile.channels())], (rows * width).div_ceil(64))
        }
        Family::Tiled => {
            let columns = tile_columns(g.out_channels);
            let x = weights.div_ceil(1024 / columns);
            (&GRAD_WEIGHT_TILED_ANY, [x, g.out_channels.div_ceil(4 * columns)], (rows * width).div_ceil(32))
        }
        // A 1×1 kernel has too few sums for what it loads.
        Family::Cpu if quads && g.stride == 1 && small && g.kernel != [1, 1] && lower.caps().subgroups => {
            let pairs = (g.batch * width.div_ceil(8)).div_ceil(2);
            (&GRAD_WEIGHT_CPU, [g.in_channels / 4, g.out_channels.div_ceil(16)], pairs)
        }
        Family::Cpu if quads => {
            let threads = kernel_h * kernel_w * g.in_channels.div_ceil(8) * g.out_channels.div_ceil(8);
            (&GRAD_WEIGHT_CPU_PLAIN, [threads.div_ceil(8), 1], rows)
        }
        Family::Cpu if kernel_w <= 3 => {
            let threads = kernel_h * g.in_channels * g.out_channels.div_ceil(4);
            (&GRAD_WEIGHT_CPU_ANY, [threads.div_ceil(8), 1], rows)
        }
        _ => {
            let kernel = with_kernel_size(&GRAD_WEIGHT_NAIVE, g).with("STRIDE", g.stride as f64);
            let params: Vec<Word> = params.into_iter().map(Word::from).collect();
            let operands = [input, grad_output, grad_weight];
            return lower.dispatch_items(kernel, &params, &operands, g.weight().len());
        }
    };
    let is_tiled = std::ptr::eq(shader, &GRAD_WEIGHT_TILED);
    let wanted = if is_tiled { TILED_GROUPS } else { SPLIT_GROUPS };
    let splits =
        wanted.div_ceil(groups[0] * groups[1]).min(most).min(lower.caps().max_workgroups as usize).max(1);
    let mut kernel = with_kernel_size(shader, g);
    if !std::ptr::eq(shader, &GRAD_WEIGHT_CPU) {
        kernel = kernel.with("STRIDE", g.stride as f64);
    }
    if is_tiled {
        kernel = tile.put(kernel);
    }
    if std::ptr::eq(shader, &GRAD_WEIGHT_TILED_ANY) {
        kernel = kernel.with("COLS", tile_columns(g.out_channels) as f64);
    }
    let by_row = std::ptr::eq(shader, &GRAD_WEIGHT_CPU_PLAIN) || std::ptr::eq(shader, &GRAD_WEIGHT_CPU_ANY);
    let [x, y] = groups.map(|n| n as u32);
    let grid = if by_row { [x, splits as u32, 1] } else { [x, y, splits as u32] };
    params.push(splits);
    let params: Vec<Word> = params.into_iter().map(Word::from).collect();
    let count = g.weight().len();
    let partials = lower.scratch(splits * count);
    lower.dispatch(kernel, &params, &[input, grad_output, partials], grid)?;
    lower_sum_rows(lower, [1, splits, count], 1.0, partials, grad_weight)
}

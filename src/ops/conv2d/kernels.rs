//! Which kernels compute a convolution and its gradients.
//!
//! The gradient of the input is itself a convolution, of the result's gradient with the mirrored
//! weights, so one kernel serves both directions by an `override`.

use super::forms::{ConvForm, GradWeightForm, SplitKernel, Tile};
use super::geometry::Geometry;
use super::{im2col, mirrored, winograd};
use crate::ops::sum_rows::lower_sum_rows;
use crate::program::{BySide, Kernel, Lower, LowerError, Operand, Shader, Word, spread};
use crate::{shader, shader_by_side};

static CONV_NAIVE: Shader = shader!("conv2d/conv_naive");
static CONV_TILED: Shader = shader!("conv2d/conv_tiled");
static CONV_TILED_ANY: Shader = shader!("conv2d/conv_tiled_any");
static CONV_MATRIX: BySide = shader_by_side!("conv2d/conv_matrix");
static CONV_CPU: Shader = shader!("conv2d/conv_cpu");
static CONV_CPU_PLAIN: Shader = shader!("conv2d/conv_cpu_plain");
static CONV_CPU_ANY: Shader = shader!("conv2d/conv_cpu_any");
static GRAD_WEIGHT_NAIVE: Shader = shader!("conv2d/grad_weight_naive");
static GRAD_WEIGHT_TILED: Shader = shader!("conv2d/grad_weight_tiled");
static GRAD_WEIGHT_TILED_ANY: Shader = shader!("conv2d/grad_weight_tiled_any");
static GRAD_WEIGHT_MATRIX: BySide = shader_by_side!("conv2d/grad_weight_matrix");
static GRAD_WEIGHT_CPU: Shader = shader!("conv2d/grad_weight_cpu");
static GRAD_WEIGHT_CPU_PLAIN: Shader = shader!("conv2d/grad_weight_cpu_plain");
static GRAD_WEIGHT_CPU_ANY: Shader = shader!("conv2d/grad_weight_cpu_any");

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
pub fn patch(g: &Geometry) -> Option<usize> {
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
    let name = match direction {
        Direction::Forward => "conv2d",
        Direction::GradInput => "conv2d_grad_input",
    };
    let half = lower.is_half(input);
    let forms = ConvForm::all(lower.caps(), g, direction, half, bias.is_some());
    let form = lower.choose(&point(name, half), g, &forms);
    let mut params = params(g, direction);
    let [batch, _, _, _, height, width, channels, ..] = params;
    let pixels = batch * height * width;
    let mut transposed = direction == Direction::GradInput;

    let limit = lower.caps().max_workgroups;
    let grid = |groups: usize, z: usize| {
        let [x, y, _] = spread(groups as u64, limit);
        [x, y, z as u32]
    };
    let (shader, grid) = match form {
        ConvForm::Naive => (&CONV_NAIVE, grid((pixels * channels).div_ceil(64), 1)),
        ConvForm::Tiled(tile) => {
            (&CONV_TILED, grid(pixels.div_ceil(tile.rows()), channels.div_ceil(tile.channels())))
        }
        ConvForm::TiledAny(columns) => {
            (&CONV_TILED_ANY, grid(pixels.div_ceil(columns.rows()), channels.div_ceil(columns.channels())))
        }
        ConvForm::Matrix(tile) => (
            CONV_MATRIX.of(tile.matrices.side),
            grid(pixels.div_ceil(tile.rows()), channels.div_ceil(tile.channels())),
        ),
        ConvForm::Cpu(at_once) => {
            let [height, width] = if patch(g).is_some() { g.out_size } else { [height, width] };
            let blocks = batch * height.div_ceil(8) * width.div_ceil(8);
            let patch_pixels = if transposed { patch(g).map_or(1, |side| side * side) } else { 1 };
            (&CONV_CPU, grid(blocks.div_ceil(at_once), channels.div_ceil(16) * patch_pixels))
        }
        ConvForm::CpuPlain => {
            let strips = batch * height * width.div_ceil(8);
            (&CONV_CPU_PLAIN, grid(strips.div_ceil(8), channels.div_ceil(8)))
        }
        ConvForm::CpuAny => {
            let strips = batch * height * width.div_ceil(4);
            (&CONV_CPU_ANY, grid(strips.div_ceil(8), channels.div_ceil(4)))
        }
        ConvForm::Winograd(portion) => {
            return winograd::lower_conv(lower, g, direction, portion, [input, weight, output], bias);
        }
        ConvForm::Im2col => return im2col::lower_conv(lower, g, direction, [input, weight, output]),
    };
    let mut kernel = match patch(g) {
        // Each pixel of a patch has 1×1 weights of its own.
        Some(patch) if matches!(form, ConvForm::Cpu(_)) => {
            Kernel::new(shader).with("KERNEL_H", 1.0).with("KERNEL_W", 1.0).with("PATCH", patch as f64)
        }
        _ => with_kernel_size(shader, g),
    };
    let mut weight = weight;
    if matches!(form, ConvForm::Cpu(_)) && patch(g).is_none() {
        weight = mirrored::lower_weight(lower, g, direction, weight)?;
        [params[7], params[8]] = mirrored::padding(g, direction);
        transposed = false;
    }
    kernel = kernel
        .with("TRANSPOSED", f64::from(u8::from(transposed)))
        .with("HAS_BIAS", f64::from(u8::from(bias.is_some())));
    if !matches!(form, ConvForm::Cpu(_)) {
        kernel = kernel.with("STRIDE", g.stride as f64);
    }
    kernel = match form {
        ConvForm::Cpu(at_once) => kernel.with("BLOCKS", at_once as f64),
        ConvForm::Tiled(tile) => with_tile(kernel, tile),
        ConvForm::TiledAny(columns) => kernel.with("COLS", columns.0 as f64),
        ConvForm::Matrix(tile) => tile.kernel(kernel),
        _ => kernel,
    };
    // Without a bias its binding takes any buffer.
    let operands = [input, weight, bias.unwrap_or(weight), output];
    lower.dispatch(kernel, &params.map(Word::from), &operands, grid)
}

fn with_tile(kernel: Kernel, tile: Tile) -> Kernel {
    kernel.with("COLS", tile.columns as f64).with("QUADS", tile.quads as f64)
}

/// By what name the forms of a kernel are chosen: which is fastest depends on what its input is kept in.
fn point(name: &str, half: bool) -> String {
    if half { format!("{name} f16") } else { name.to_owned() }
}

/// The gradient of the weight.
pub fn lower_grad_weight(
    lower: &mut Lower,
    g: &Geometry,
    input: Operand,
    grad_output: Operand,
    grad_weight: Operand,
) -> Result<(), LowerError> {
    let mut params = params(g, Direction::Forward).to_vec();
    let half = lower.is_half(input) && lower.is_half(grad_output);
    let form =
        lower.choose(&point("conv2d_grad_weight", half), g, &GradWeightForm::all(lower.caps(), g, half));
    let (split, splits) = match form {
        GradWeightForm::Split(split, splits) => (split, splits),
        GradWeightForm::Winograd(portion) => {
            return winograd::lower_grad_weight(lower, g, portion, input, grad_output, grad_weight);
        }
        GradWeightForm::Im2col => {
            return im2col::lower_grad_weight(lower, g, [input, grad_output, grad_weight]);
        }
        GradWeightForm::Naive => {
            let kernel = with_kernel_size(&GRAD_WEIGHT_NAIVE, g).with("STRIDE", g.stride as f64);
            let params: Vec<Word> = params.into_iter().map(Word::from).collect();
            let operands = [input, grad_output, grad_weight];
            return lower.dispatch_items(kernel, &params, &operands, g.weight().len());
        }
    };
    let strided = |shader| with_kernel_size(shader, g).with("STRIDE", g.stride as f64);
    let kernel = match split {
        SplitKernel::Tiled(tile) => with_tile(strided(&GRAD_WEIGHT_TILED), tile),
        SplitKernel::TiledAny(columns) => strided(&GRAD_WEIGHT_TILED_ANY).with("COLS", columns.0 as f64),
        SplitKernel::Matrix(tile) => tile.kernel(strided(GRAD_WEIGHT_MATRIX.of(tile.matrices.side))),
        SplitKernel::Cpu => with_kernel_size(&GRAD_WEIGHT_CPU, g),
        SplitKernel::CpuPlain => strided(&GRAD_WEIGHT_CPU_PLAIN),
        SplitKernel::CpuAny => strided(&GRAD_WEIGHT_CPU_ANY),
    };
    let ([x, y], _) = split.groups(g);
    let [x, y, z] = [x, y, splits].map(|n| n as u32);
    let by_row = matches!(split, SplitKernel::CpuPlain | SplitKernel::CpuAny);
    let grid = if by_row { [x, z, 1] } else { [x, y, z] };
    params.push(splits);
    let params: Vec<Word> = params.into_iter().map(Word::from).collect();
    let count = g.weight().len();
    let partials = lower.scratch(splits * count);
    lower.dispatch(kernel, &params, &[input, grad_output, partials], grid)?;
    lower_sum_rows(lower, [1, splits, count], 1.0, partials, grad_weight)
}

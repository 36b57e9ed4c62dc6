//! Which kernels compute a convolution and its gradients.

use super::geometry::Geometry;
use crate::program::{Kernel, Lower, LowerError, Operand, Shader, Word};
use crate::shader;

static FORWARD_NAIVE: Shader = shader!("conv2d/forward_naive");
static GRAD_INPUT_NAIVE: Shader = shader!("conv2d/grad_input_naive");
static GRAD_WEIGHT_NAIVE: Shader = shader!("conv2d/grad_weight_naive");

/// The uniform block that all naive kernels share.
fn naive_params(g: &Geometry, has_bias: bool) -> [Word; 12] {
    [
        g.batch,
        g.in_size[0],
        g.in_size[1],
        g.in_channels,
        g.out_size[0],
        g.out_size[1],
        g.out_channels,
        g.kernel[0],
        g.kernel[1],
        g.stride,
        g.padding,
        usize::from(has_bias),
    ]
    .map(Word::from)
}

/// `output = bias + input ∗ weight`.
pub fn lower_forward(
    lower: &mut Lower,
    g: &Geometry,
    input: Operand,
    weight: Operand,
    bias: Option<Operand>,
    output: Operand,
) -> Result<(), LowerError> {
    let operands = [input, weight, bias.unwrap_or(weight), output];
    let params = naive_params(g, bias.is_some());
    lower.dispatch_items(Kernel::new(&FORWARD_NAIVE), &params, &operands, g.output().len())
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
    let operands = [grad_output, weight, bias.unwrap_or(weight), grad_input];
    let params = naive_params(g, bias.is_some());
    lower.dispatch_items(Kernel::new(&GRAD_INPUT_NAIVE), &params, &operands, g.input().len())
}

/// The gradient of the weight.
pub fn lower_grad_weight(
    lower: &mut Lower,
    g: &Geometry,
    input: Operand,
    grad_output: Operand,
    grad_weight: Operand,
) -> Result<(), LowerError> {
    let operands = [input, grad_output, grad_weight];
    lower.dispatch_items(
        Kernel::new(&GRAD_WEIGHT_NAIVE),
        &naive_params(g, false),
        &operands,
        g.weight().len(),
    )
}

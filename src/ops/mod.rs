//! The ops: one folder each, with its shape rule, backward, kernel choice, reference and cases.
//!
//! An op named `conv2d` is `src/ops/conv2d/`; its f64 loops are `reference.rs` there, its kernels
//! `shaders/conv2d/*.wgsl`. [`registry`] lists them all.

pub mod adam;
pub mod add;
pub mod bce_with_logits;
mod case;
pub mod channel_sum;
pub mod clip_scale;
pub mod concat;
pub mod conv2d;
pub mod conv_transpose2d;
pub mod cross_entropy;
mod elementwise;
pub mod fill;
pub mod global_average_pool;
pub mod global_norm;
pub mod kl_distillation;
pub mod kl_distillation_binary;
pub mod l1;
pub mod l2_normalize;
pub mod leaky_relu;
pub mod linear;
pub mod loss_scale_update;
pub mod max_pool2d;
pub mod mean;
pub mod mse;
pub mod mul;
pub mod norm;
mod optimizer;
pub mod pack;
mod pair_loss;
pub mod pair_similarity;
pub mod registry;
pub mod relu;
pub mod running_update;
pub mod scale;
pub mod sgd;
pub mod sigmoid;
pub mod slice;
pub mod soft_dice;
pub mod soft_dice_sums;
pub mod softmax;
pub mod sum;
mod sum_rows;
pub mod unscale;
mod upsample;
pub mod upsample_bilinear;
pub mod upsample_nearest;
pub mod weighted_sum;

use std::fmt::Debug;

pub(crate) use case::fill as fill_numbers;
pub use case::{Case, Fill, Made};
pub use optimizer::Hyper;

use crate::onnx::{Emit, OnnxError};
use crate::program::{Element, Lower, LowerError};
use crate::reference::Tensor;
use crate::tape::{Shape, Tape, TapeError, Value};

/// What an op's backward may use.
pub struct GradContext<'a> {
    /// The op's inputs.
    pub inputs: &'a [Value],
    /// The op's own result.
    pub output: Value,
    /// Gradient of the loss with respect to the result, of the result's shape.
    pub grad_output: Value,
    /// For each input, whether a gradient is asked for.
    pub needs: &'a [bool],
}

/// One operation: everything that the tape, the compiler and the checks need to know of it.
pub trait Op: Debug + Send + Sync {
    /// The one name it goes by: folder, shaders, tests.
    fn name(&self) -> &'static str;

    /// Shape of the result, or what is wrong with the inputs.
    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String>;

    /// Appends the nodes of its gradient; one entry an input, `None` where there is none.
    fn backward(&self, _tape: &mut Tape, _at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        Err(TapeError::NotDifferentiable { op: self.name(), reason: "it is part of a gradient or an update" })
    }

    /// Plain loops that accumulate in f64. One vector: the result; for an in-place op the new
    /// contents of the inputs named by [`Op::in_place`], in that order.
    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>>;

    /// Emits the dispatches that compute it.
    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError>;

    /// Inputs (states) that it rewrites. An op that rewrites makes no value of its own.
    fn in_place(&self) -> &'static [usize] {
        &[]
    }

    /// Costs so little beside what surrounds it that its result may be made again for a late use
    /// instead of being kept for it.
    fn is_cheap(&self) -> bool {
        false
    }

    /// Appends the ONNX nodes that compute it; an error where it is no part of an inference.
    fn onnx(&self, emit: &mut Emit) -> Result<(), OnnxError> {
        Err(emit.unsupported())
    }

    /// Whether input `index` may be f16: each kernel that reads it has an alias for the element type of its
    /// binding, see [`crate::program::Shader::with_half`].
    fn takes_half(&self, _index: usize) -> bool {
        false
    }

    /// Whether its result may be f16 when its inputs are `inputs`.
    fn gives_half(&self, _inputs: &[Element]) -> bool {
        false
    }

    /// Length of the longest sum in one element of the result; the error bound grows with it.
    fn terms(&self, _inputs: &[&Shape], _output: &Shape) -> usize {
        1
    }

    /// Size of the numbers that the result is a difference of, where they may cancel: the error
    /// bound is in proportion to it when the result is smaller.
    fn cancelling(&self, _inputs: &[&Tensor]) -> f64 {
        0.0
    }

    /// Which quantity element `index` of the result is, where a result holds several of different
    /// size (means and variances, say): each is judged in proportion to itself.
    fn quantity(&self, _output: &Shape, _index: usize) -> usize {
        0
    }

    /// Floating-point operations, a multiply-add counted as two.
    fn flops(&self, _inputs: &[&Shape], output: &Shape) -> u64 {
        output.len() as u64
    }
}

/// Checks the number of inputs.
pub(crate) fn expect_inputs(inputs: &[&Shape], expected: usize) -> Result<(), String> {
    if inputs.len() == expected {
        Ok(())
    } else {
        Err(format!("expected {expected} inputs, found {}", inputs.len()))
    }
}

/// Checks that two shapes are equal.
pub(crate) fn expect_same(a: &Shape, b: &Shape) -> Result<(), String> {
    if a == b { Ok(()) } else { Err(format!("expected equal shapes, found {a} and {b}")) }
}

/// Checks that a shape is `[length]`.
pub(crate) fn expect_vector(what: &str, shape: &Shape, length: usize) -> Result<(), String> {
    if shape.dims() == [length] { Ok(()) } else { Err(format!("expected {what} [{length}], found {shape}")) }
}

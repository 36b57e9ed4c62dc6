//! What the gradient of a scaled loss is multiplied by in the update, and whether there is one.

use super::registry::Entry;
use super::{Case, Fill, Op, expect_inputs, expect_vector};
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("unscale/forward");

pub const ENTRY: Entry =
    Entry { name: "unscale", parts: &[], no_backward: Some("it is part of an update"), cases };

/// Inputs: the global norm of the gradients `[1]`, the scale of the loss `[1]`.
#[derive(Debug)]
pub struct Unscale {
    /// Limit of the norm of the unscaled gradient, as in [`Tape::clip_scale`].
    pub max_norm: Option<f32>,
}

impl Unscale {
    /// Length of its result.
    pub const LEN: usize = 3;
    /// Where in it the norm is.
    pub const NORM: usize = 2;
}

impl Tape {
    /// Of `norm [1]`, the global norm of the gradients of a loss that was multiplied by `scale [1]`:
    /// `[factor, taken, norm / scale]`. `factor` is `1 / scale`, times `min(1, max_norm / (norm / scale + 1e-6))`
    /// with a `max_norm`; `taken` is 1. Where the norm is not finite both are 0. The optimisers take it
    /// as `gradient_scale`.
    pub fn unscale(&mut self, norm: Value, scale: Value, max_norm: Option<f32>) -> Result<Value, TapeError> {
        self.push(Unscale { max_norm }, &[norm, scale])
    }
}

impl Op for Unscale {
    fn name(&self) -> &'static str {
        "unscale"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        expect_vector("a norm", inputs[0], 1)?;
        expect_vector("a scale", inputs[1], 1)?;
        Ok([Unscale::LEN].into())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let (norm, scale) = (inputs[0].data[0], inputs[1].data[0]);
        let unscaled = norm / scale;
        let clip = self.max_norm.map_or(1.0, |max| (f64::from(max) / (unscaled + 1e-6)).min(1.0));
        match norm.is_finite() {
            true => vec![vec![clip / scale, 1.0, unscaled]],
            false => vec![vec![0.0, 0.0, unscaled]],
        }
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let clip = f64::from(u8::from(self.max_norm.is_some()));
        let operands = [lower.input(0), lower.input(1), lower.output()];
        let params = [self.max_norm.unwrap_or(0.0).into()];
        lower.dispatch_items(Kernel::new(&FORWARD).with("CLIP", clip), &params, &operands, 1)
    }

    fn quantity(&self, _output: &Shape, index: usize) -> usize {
        index
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, max_norm, norm, scale| {
        Case::new(name, why, Unscale { max_norm })
            .fixed([1], Fill::Constant(norm))
            .fixed([1], Fill::Constant(scale))
    };
    vec![
        case("3 of 1024", "no clipping", None, 3.0, 1024.0),
        case("700 of 1024, at most 1", "below the limit", Some(1.0), 700.0, 1024.0),
        case("70000 of 1024, at most 1", "above the limit", Some(1.0), 70_000.0, 1024.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_norm_that_is_not_finite_takes_no_update() {
        for norm in [f64::INFINITY, f64::NAN] {
            let [norm, scale] = [norm, 1024.0].map(|x| Tensor::new([1], vec![x]));
            let found = Unscale { max_norm: Some(1.0) }.reference(&[&norm, &scale], &[3].into());
            assert_eq!(found[0][..2], [0.0, 0.0]);
        }
    }
}

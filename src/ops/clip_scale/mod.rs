//! The factor that clips gradients by their global norm.

use super::registry::Entry;
use super::{Case, Fill, Op, expect_inputs, expect_vector};
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("clip_scale/forward");

pub const ENTRY: Entry =
    Entry { name: "clip_scale", parts: &[], no_backward: Some("it is part of an update"), cases };

impl Tape {
    /// `min(1, max_norm / (norm + 1e-6))` of `norm [1]`, of shape `[1]`. A norm that is NaN gives NaN.
    pub fn clip_scale(&mut self, norm: Value, max_norm: f32) -> Result<Value, TapeError> {
        self.push(ClipScale { max_norm }, &[norm])
    }

    /// The global norm of `gradients` and the factor, both `[1]`, that brings it down to `max_norm`
    /// where it is above. The optimisers take the factor as `gradient_scale`, so no gradient is
    /// rewritten. As `torch.nn.utils.clip_grad_norm_`.
    pub fn clip_by_global_norm(
        &mut self,
        gradients: &[Value],
        max_norm: f32,
    ) -> Result<(Value, Value), TapeError> {
        let norm = self.global_norm(gradients)?;
        Ok((norm, self.clip_scale(norm, max_norm)?))
    }
}

#[derive(Debug)]
pub struct ClipScale {
    pub max_norm: f32,
}

impl Op for ClipScale {
    fn name(&self) -> &'static str {
        "clip_scale"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        expect_vector("a norm", inputs[0], 1)?;
        Ok(Shape::scalar())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let ratio = f64::from(self.max_norm) / (inputs[0].data[0] + 1e-6);
        vec![vec![if ratio > 1.0 { 1.0 } else { ratio }]]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let operands = [lower.input(0), lower.output()];
        lower.dispatch_items(Kernel::new(&FORWARD), &[self.max_norm.into()], &operands, 1)
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, norm| {
        Case::new(name, why, ClipScale { max_norm: 0.5 }).fixed([1], Fill::Constant(norm))
    };
    vec![
        case("0", "no gradient", 0.0),
        case("0.3", "below the limit", 0.3),
        case("0.5", "at the limit", 0.5),
        case("7", "above the limit", 7.0),
    ]
}

//! The dynamic scale of a loss: halved where a gradient has left the range of f16, doubled after many that
//! have not. Micikevicius et al., "Mixed Precision Training" (2018); as `torch.amp.GradScaler`.

use super::registry::Entry;
use super::{Case, Fill, Op, expect_inputs, expect_vector};
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("loss_scale_update/forward");

pub const ENTRY: Entry =
    Entry { name: "loss_scale_update", parts: &[], no_backward: Some("it is an update"), cases };

/// Inputs: the global norm of the gradients, and the states scale and good steps, `[1]` each.
#[derive(Debug)]
pub struct LossScaleUpdate {
    /// Steps in line with a finite norm after which the scale doubles.
    pub growth_steps: usize,
}

impl Tape {
    /// Appends the update of the states `scale [1]` and `good_steps [1]` by `norm [1]`: a norm that is not
    /// finite halves the scale and sets the count to 0; after `growth_steps` others in line the scale doubles.
    pub fn loss_scale_update(
        &mut self,
        norm: Value,
        scale: Value,
        good_steps: Value,
        growth_steps: usize,
    ) -> Result<Value, TapeError> {
        self.push(LossScaleUpdate { growth_steps }, &[norm, scale, good_steps])
    }
}

impl Op for LossScaleUpdate {
    fn name(&self) -> &'static str {
        "loss_scale_update"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 3)?;
        inputs.iter().try_for_each(|input| expect_vector("one number", input, 1))?;
        Ok([0].into())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let [norm, scale, good] = [0, 1, 2].map(|i| inputs[i].data[0]);
        let (scale, good) = match (norm.is_finite(), good + 1.0) {
            (false, _) => (0.5 * scale, 0.0),
            (true, good) if good >= self.growth_steps as f64 => (2.0 * scale, 0.0),
            (true, good) => (scale, good),
        };
        vec![vec![scale], vec![good]]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let operands = [lower.input(0), lower.input(1), lower.input(2)];
        let params = [(self.growth_steps as f32).into()];
        lower.dispatch_items(Kernel::new(&FORWARD), &params, &operands, 1)
    }

    fn in_place(&self) -> &'static [usize] {
        &[1, 2]
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, norm, good| {
        Case::new(name, why, LossScaleUpdate { growth_steps: 5 })
            .fixed([1], Fill::Constant(norm))
            .fixed([1], Fill::Constant(1024.0))
            .fixed([1], Fill::Constant(good))
    };
    vec![
        case("good", "a good step among few", 3.0, 2.0),
        case("the fifth", "enough good steps to grow", 3.0, 4.0),
        case("infinite", "an overflow", f64::INFINITY, 3.0),
        case("NaN", "an overflow that met another", f64::NAN, 4.0),
    ]
}

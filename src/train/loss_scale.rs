//! Dynamic scaling of the loss, for gradients in f16.
//!
//! f16 keeps nothing below 6·10⁻⁸ and nothing above 65,504. The backward starts from the loss times a scale,
//! which lifts small gradients into that range, and the update divides by it. A step whose gradients leave the
//! range changes no parameter and no moment, and halves the scale; after many good ones it doubles. All of it is
//! on the device: nothing waits for the host, and the scale is saved with the other states.

use crate::nn::init::Init;
use crate::ops::unscale::Unscale;
use crate::tape::{Tape, TapeError, Value};

/// The scale, a state and an output, both `[1]`.
pub const LOSS_SCALE: &str = "loss_scale";
/// Good steps since it last changed, a state `[1]`.
const GOOD_STEPS: &str = "loss_scale.good_steps";

/// As in `torch.amp.GradScaler`.
const START: f32 = 65_536.0;
const GROWTH_STEPS: usize = 2_000;
/// Below this even a gradient of 65,504 would come from numbers that f32 training does not have: it is not the
/// scale that is wrong.
pub const LEAST: f64 = 1.0 / 16_777_216.0;

/// The states of a scaling.
#[derive(Clone, Copy, Debug)]
pub struct LossScale {
    /// `[1]`; the gradient that a backward starts from.
    pub scale: Value,
    good_steps: Value,
}

impl LossScale {
    /// Puts its states on the tape.
    pub fn new(tape: &mut Tape) -> Result<LossScale, TapeError> {
        let scale = tape.state(LOSS_SCALE, [1])?;
        tape.output(LOSS_SCALE, scale);
        Ok(LossScale { scale, good_steps: tape.state(GOOD_STEPS, [1])? })
    }

    /// Its states with what they start with.
    pub fn inits() -> Vec<(String, Init)> {
        vec![(LOSS_SCALE.to_owned(), Init::Constant(START)), (GOOD_STEPS.to_owned(), Init::Constant(0.0))]
    }

    /// Of scaled `gradients`: their unscaled norm `[1]`, and what the optimisers take as `gradient_scale`.
    /// Then updates the scale. `max_norm`: limit of the unscaled norm.
    pub fn unscale(
        self,
        tape: &mut Tape,
        gradients: &[Value],
        max_norm: Option<f32>,
    ) -> Result<(Value, Value), TapeError> {
        let scaled_norm = tape.global_norm(gradients)?;
        let factor = tape.unscale(scaled_norm, self.scale, max_norm)?;
        let norm = tape.slice(factor, Unscale::NORM, 1)?;
        tape.loss_scale_update(scaled_norm, self.scale, self.good_steps, GROWTH_STEPS)?;
        Ok((norm, factor))
    }
}

//! What the optimisers share: the numbers that change from step to step, and their last two inputs.

use super::expect_same;
use super::unscale::Unscale;
use crate::program::{Kernel, Lower, Operand, Shader, Word};
use crate::reference::Tensor;
use crate::tape::Shape;

/// The numbers of an update that change from step to step. The host writes them to the
/// optimisers' input `hyper` before each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    /// Number of the step, counted from 1.
    pub step: usize,
}

impl Hyper {
    /// With PyTorch's default betas, 0.9 and 0.999; SGD reads the learning rate only.
    pub fn adam_defaults(learning_rate: f64, step: usize) -> Hyper {
        Hyper { learning_rate, beta1: 0.9, beta2: 0.999, step }
    }

    /// Length of the input `hyper`.
    pub const LEN: usize = 4;

    /// `[learning_rate, 1 − beta1^step, 1 − beta2^step, 1]`, worked out in f64. The last is the
    /// factor of a gradient that is not clipped.
    pub fn to_array(&self) -> [f32; Self::LEN] {
        let correction = |beta: f64| (1.0 - beta.powf(self.step as f64)) as f32;
        [self.learning_rate as f32, correction(self.beta1), correction(self.beta2), 1.0]
    }
}

/// Checks an optimiser's inputs: `same` tensors of one shape, `hyper`, and a scale or none: `[1]`, or what
/// [`crate::tape::Tape::unscale`] makes, which may leave the update out.
/// An update makes no value of its own, so its shape is `[0]`.
pub(crate) fn update_shape(inputs: &[&Shape], same: usize) -> Result<Shape, String> {
    if inputs.len() != same + 1 && inputs.len() != same + 2 {
        return Err(format!("expected {} or {} inputs, found {}", same + 1, same + 2, inputs.len()));
    }
    inputs[1..same].iter().try_for_each(|s| expect_same(inputs[0], s))?;
    super::expect_vector("hyper", inputs[same], Hyper::LEN)?;
    if let Some(scale) = inputs.get(same + 1) {
        let length = if scale.len() == Unscale::LEN { Unscale::LEN } else { 1 };
        super::expect_vector("a gradient scale", scale, length)?;
    }
    Ok([0].into())
}

/// The factor of the gradient: the scale, or the last number of `hyper`.
pub(crate) fn reference_scale(inputs: &[&Tensor], same: usize) -> f64 {
    inputs.get(same + 1).map_or(inputs[same].data[Hyper::LEN - 1], |scale| scale.data[0])
}

/// Whether the update is left out.
pub(crate) fn reference_is_skipped(inputs: &[&Tensor], same: usize) -> bool {
    inputs.get(same + 1).is_some_and(|scale| scale.data.get(1) == Some(&0.0))
}

/// The kernel, in the form that can leave the update out where it is asked to.
pub(crate) fn kernel(lower: &Lower, same: usize, shader: &'static Shader) -> Kernel {
    let kernel = Kernel::new(shader);
    match lower.input_count() > same + 1 && lower.input_shape(same + 1).len() == Unscale::LEN {
        true => kernel.with("SKIPS", 1.0),
        false => kernel,
    }
}

/// The factor for a kernel: what it binds for `gradient_scale`, and the index there.
pub(crate) fn lower_scale(lower: &Lower, same: usize) -> (Operand, Word) {
    match lower.input_count() > same + 1 {
        true => (lower.input(same + 1), Word::from(0usize)),
        false => (lower.input(same), Word::from(Hyper::LEN - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyper_counts_steps_from_one() {
        let hyper = |step| Hyper::adam_defaults(0.5, step).to_array();
        assert_eq!(hyper(1), [0.5, 0.1, 0.001, 1.0]);
        assert_eq!(hyper(2), [0.5, 0.19, 0.001_999, 1.0]);
        assert_eq!(hyper(1_000_000), [0.5, 1.0, 1.0, 1.0]);
    }
}

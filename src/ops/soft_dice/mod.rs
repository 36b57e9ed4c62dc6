//! Soft Dice loss.

use super::registry::Entry;
use super::{Case, Fill, GradContext, Op, expect_inputs, expect_same};
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("soft_dice/forward");
static GRAD: Shader = shader!("soft_dice/grad");

pub const ENTRY: Entry = Entry { name: "soft_dice", parts: &["soft_dice_grad"], no_backward: None, cases };

/// A soft Dice loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftDice {
    /// Added to numerator and denominator; above 0.
    pub smooth: f32,
    pub per: Per,
}

/// What one Dice is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// Each sample; the loss is the mean of theirs.
    Sample,
    /// All pixels of the batch.
    Batch,
}

impl Tape {
    /// `1 − (2 Σ p · y + s) / (Σ p + Σ y + s)` with `p = sigmoid(logits)`, `y = target` and
    /// `s = smooth` above 0, of shape `[1]`: the mean over samples, or of the batch as a whole. Both
    /// inputs are `[batch, height, width, channels]`; the sums go over all channels. The target takes
    /// no gradient. Milletari et al., V-Net, 2016, with the sums of p and y not squared.
    ///
    /// The sums are a node of their own, which the backward reads.
    pub fn soft_dice(&mut self, logits: Value, target: Value, dice: SoftDice) -> Result<Value, TapeError> {
        let sums = self.soft_dice_sums(logits, target, dice.per)?;
        self.push(DiceOfSums { smooth: dice.smooth }, &[sums])
    }
}

/// Input: the sums `[samples, 3]` of [`Tape::soft_dice_sums`].
#[derive(Clone, Copy, Debug)]
pub struct DiceOfSums {
    pub smooth: f32,
}

impl Op for DiceOfSums {
    fn name(&self) -> &'static str {
        "soft_dice"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        match inputs[0].dims() {
            [samples, 3] if *samples > 0 => Ok(Shape::scalar()),
            _ => Err(format!("expected sums [samples, 3], found {}", inputs[0])),
        }
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        Ok(vec![Some(tape.push(SoftDiceGrad(*self), &[at.inputs[0], at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let smooth = f64::from(self.smooth);
        let samples = inputs[0].data.chunks_exact(3);
        let count = samples.len() as f64;
        let loss = samples.map(|s| 1.0 - (2.0 * s[0] + smooth) / (s[1] + s[2] + smooth)).sum::<f64>();
        vec![vec![loss / count]]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let samples = lower.input_shape(0).dims()[0];
        let (params, operands) = ([samples.into(), self.smooth.into()], [lower.input(0), lower.output()]);
        lower.dispatch_items(Kernel::new(&FORWARD), &params, &operands, 1)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].dims()[0]
    }
}

/// Inputs: the sums, the gradient of the loss. Result: the gradient of the sums.
#[derive(Debug)]
struct SoftDiceGrad(DiceOfSums);

impl Op for SoftDiceGrad {
    fn name(&self) -> &'static str {
        "soft_dice_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        expect_same(inputs[1], &Shape::scalar())?;
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let smooth = f64::from(self.0.smooth);
        let samples = inputs[0].data.chunks_exact(3);
        let grad_each = inputs[1].data[0] / samples.len() as f64;
        let grad = samples.flat_map(|s| {
            let size = s[1] + s[2] + smooth;
            let grad_size = grad_each * (2.0 * s[0] + smooth) / (size * size);
            [-2.0 * grad_each / size, grad_size, grad_size]
        });
        vec![grad.collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let samples = lower.input_shape(0).dims()[0];
        let params = [samples.into(), self.0.smooth.into()];
        let operands = [lower.input(0), lower.input(1), lower.output()];
        lower.dispatch_items(Kernel::new(&GRAD), &params, &operands, samples)
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, samples: usize, sums| {
        Case::new(name, why, DiceOfSums { smooth: 1.0 }).filled([samples, 3], sums)
    };
    let some = Fill::Uniform(2.0, 9.0);
    vec![
        case("1x3", "one sample", 1, some),
        case("3x3", "a few", 3, some),
        case("70x3", "more than a workgroup", 70, some),
        case("200x3 folded", "the path of more than 65,535 workgroups", 200, some).max_workgroups(2),
        case("empty", "no foreground, none predicted", 2, Fill::Constant(0.0)),
    ]
}

//! The three sums that a soft Dice is made of.

use super::registry::Entry;
use super::sigmoid::sigmoid;
use super::soft_dice::Per;
use super::sum_rows::{first_parts, lower_sum_rows};
use super::{Case, Fill, GradContext, Op, expect_inputs, expect_same};
use crate::program::{Kernel, Lower, LowerError, Shader, Word};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("soft_dice_sums/forward");
static GRAD: Shader = shader!("soft_dice_sums/grad");

pub const ENTRY: Entry =
    Entry { name: "soft_dice_sums", parts: &["soft_dice_sums_grad"], no_backward: None, cases };

impl Tape {
    /// `Σ p · y`, `Σ p` and `Σ y` with `p = sigmoid(logits)` and `y = target`, both
    /// `[batch, height, width, channels]`: over each sample, of shape `[batch, 3]`, or over the whole
    /// batch, of shape `[1, 3]`. The target takes no gradient.
    pub fn soft_dice_sums(&mut self, logits: Value, target: Value, per: Per) -> Result<Value, TapeError> {
        self.push(SoftDiceSums { per }, &[logits, target])
    }
}

#[derive(Clone, Copy, Debug)]
pub struct SoftDiceSums {
    pub per: Per,
}

impl SoftDiceSums {
    /// Number of sums of each kind.
    fn samples(&self, logits: &Shape) -> usize {
        match self.per {
            Per::Sample => logits.dims()[0],
            Per::Batch => 1,
        }
    }
}

impl Op for SoftDiceSums {
    fn name(&self) -> &'static str {
        "soft_dice_sums"
    }

    fn quantity(&self, output: &Shape, index: usize) -> usize {
        index % output.channels()
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        expect_same(inputs[0], inputs[1])?;
        inputs[0].nhwc()?;
        if inputs[0].is_empty() {
            return Err("the Dice of no elements".to_owned());
        }
        Ok([self.samples(inputs[0]), 3].into())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let grad = tape.push(SoftDiceSumsGrad, &[at.inputs[0], at.inputs[1], at.grad_output])?;
        Ok(vec![Some(grad), None])
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let count = inputs[0].data.len() / output.dims()[0];
        let samples = inputs[0].data.chunks_exact(count).zip(inputs[1].data.chunks_exact(count));
        let sums = samples.flat_map(|(logits, target)| {
            let mut sums = [0.0; 3];
            for (x, y) in logits.iter().zip(target) {
                let p = sigmoid(*x);
                sums[0] += p * y;
                sums[1] += p;
                sums[2] += y;
            }
            sums
        });
        vec![sums.collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let samples = lower.output_shape().dims()[0];
        let count = lower.input_shape(0).len() / samples;
        let parts = first_parts(count.div_ceil(4));
        let partial = lower.scratch(3 * samples * parts);
        let params = [samples, count, parts].map(Word::from);
        let operands = [lower.input(0), lower.input(1), partial];
        lower.dispatch_items(Kernel::new(&FORWARD), &params, &operands, samples * parts)?;
        let output = lower.output();
        lower_sum_rows(lower, [samples, parts, 3], 1.0, partial, output)
    }

    fn terms(&self, inputs: &[&Shape], output: &Shape) -> usize {
        inputs[0].len() / output.dims()[0]
    }
}

/// Inputs: logits, target, the gradient of the sums. Result: the gradient of the logits.
#[derive(Debug)]
struct SoftDiceSumsGrad;

impl Op for SoftDiceSumsGrad {
    fn name(&self) -> &'static str {
        "soft_dice_sums_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 3)?;
        expect_same(inputs[0], inputs[1])?;
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let count = output.len() / inputs[2].shape.dims()[0];
        let pairs = inputs[0].data.iter().zip(&inputs[1].data).enumerate();
        let grad = pairs.map(|(i, (x, y))| {
            let grad_sums = &inputs[2].data[3 * (i / count)..];
            let p = sigmoid(*x);
            (grad_sums[0] * y + grad_sums[1]) * p * (1.0 - p)
        });
        vec![grad.collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let samples = lower.input_shape(2).dims()[0];
        let elements = lower.output_shape().len();
        let vectors = elements.div_ceil(4);
        let params = [Word::from(vectors), samples.into(), (elements / samples).into()];
        let operands = [lower.input(0), lower.input(1), lower.input(2), lower.output()];
        lower.dispatch_items(Kernel::new(&GRAD), &params, &operands, vectors)
    }
}

fn cases() -> Vec<Case> {
    let filled = |name: &str, why, per, shape: [usize; 4], logits, target| {
        Case::new(name, why, SoftDiceSums { per }).filled(shape, logits).fixed(shape, target)
    };
    let case =
        |name: &str, why, per, shape| filled(name, why, per, shape, Fill::Uniform(-3.0, 3.0), Fill::Binary);
    let (sample, batch) = (Per::Sample, Per::Batch);
    let spread = Fill::Uniform(-3.0, 3.0);
    vec![
        case("1x1x1x1", "a single element", sample, [1, 1, 1, 1]),
        case("5x1x1x1", "several samples in one vec4", sample, [5, 1, 1, 1]),
        case("3x5x7x3", "a vec4 across two samples", sample, [3, 5, 7, 3]),
        case("3x5x7x3 batch", "one sum over all samples", batch, [3, 5, 7, 3]),
        case("1x41x47x5", "primes, one sample", sample, [1, 41, 47, 5]),
        case("3x61x64x4", "many partial sums", sample, [3, 61, 64, 4]),
        case("3x61x64x4 folded", "the path of more than 65,535 workgroups", sample, [3, 61, 64, 4])
            .max_workgroups(14),
        filled("±100", "no overflow far from 0", sample, [2, 3, 5, 1], Fill::Extreme(100.0), Fill::Binary),
        filled("no foreground", "an empty mask", sample, [2, 3, 5, 1], spread, Fill::Constant(0.0)),
        filled("all foreground", "a full mask", sample, [2, 3, 5, 1], spread, Fill::Constant(1.0)),
    ]
}

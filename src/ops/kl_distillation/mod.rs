//! Distillation over classes: the divergence of the student's softmax from the teacher's.

use super::registry::Entry;
use super::softmax::log_softmax;
use super::sum_rows::lower_sum_terms;
use super::{Case, Fill, GradContext, Op, expect_inputs, expect_same};
use crate::program::{Kernel, Lower, LowerError, Shader, Word};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("kl_distillation/forward");
static GRAD: Shader = shader!("kl_distillation/grad");

pub const ENTRY: Entry =
    Entry { name: "kl_distillation", parts: &["kl_distillation_grad"], no_backward: None, cases };

impl Tape {
    /// `T²` times the mean over pixels of `KL(softmax(teacher / T) ‖ softmax(student / T))` over the
    /// classes, of shape `[1]`. Both inputs are logits `[batch, height, width, classes]`. The teacher
    /// takes no gradient. The factor `T²` keeps the gradient's size where the temperature changes
    /// (Hinton et al., Distilling the Knowledge in a Neural Network, 2015).
    pub fn kl_distillation(
        &mut self,
        student: Value,
        teacher: Value,
        temperature: f32,
    ) -> Result<Value, TapeError> {
        self.push(KlDistillation { temperature }, &[student, teacher])
    }
}

#[derive(Clone, Copy, Debug)]
pub struct KlDistillation {
    pub temperature: f32,
}

/// Checks that a temperature can be divided by.
pub(super) fn expect_temperature(temperature: f32) -> Result<(), String> {
    if temperature > 0.0 && temperature.is_finite() {
        Ok(())
    } else {
        Err(format!("expected a temperature above 0, found {temperature}"))
    }
}

impl Op for KlDistillation {
    fn name(&self) -> &'static str {
        "kl_distillation"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_temperature(self.temperature)?;
        expect_inputs(inputs, 2)?;
        expect_same(inputs[0], inputs[1])?;
        inputs[0].nhwc()?;
        if inputs[0].is_empty() { Err("the mean of no pixels".to_owned()) } else { Ok(Shape::scalar()) }
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let grad = tape.push(KlDistillationGrad(*self), &[at.inputs[0], at.inputs[1], at.grad_output])?;
        Ok(vec![Some(grad), None])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let (classes, t) = (inputs[0].shape.channels(), f64::from(self.temperature));
        let pixels = inputs[0].data.chunks_exact(classes).zip(inputs[1].data.chunks_exact(classes));
        let count = pixels.len() as f64;
        let divergences = pixels.map(|(student, teacher)| {
            let (log_p, log_q) = (log_softmax(student, t), log_softmax(teacher, t));
            log_q.iter().zip(&log_p).map(|(q, p)| q.exp() * (q - p)).sum::<f64>()
        });
        vec![vec![t * t * divergences.sum::<f64>() / count]]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (pixels, classes) = (lower.input_shape(0).pixels(), lower.input_shape(0).channels());
        let extra = [classes.into(), (1.0 / self.temperature).into()];
        let factor = f64::from(self.temperature).powi(2) / pixels as f64;
        lower_sum_terms(lower, &FORWARD, pixels, &extra, factor)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].len()
    }
}

/// Inputs: student, teacher, the gradient of the loss. Result: the gradient of the student.
#[derive(Debug)]
struct KlDistillationGrad(KlDistillation);

impl Op for KlDistillationGrad {
    fn name(&self) -> &'static str {
        "kl_distillation_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 3)?;
        expect_same(inputs[0], inputs[1])?;
        expect_same(inputs[2], &Shape::scalar())?;
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let (classes, t) = (output.channels(), f64::from(self.0.temperature));
        let pixels = inputs[0].data.chunks_exact(classes).zip(inputs[1].data.chunks_exact(classes));
        let factor = t * inputs[2].data[0] / pixels.len() as f64;
        let grad = pixels.flat_map(|(student, teacher)| {
            let (log_p, log_q) = (log_softmax(student, t), log_softmax(teacher, t));
            log_p.into_iter().zip(log_q).map(move |(p, q)| factor * (p.exp() - q.exp()))
        });
        vec![grad.collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (pixels, classes) = (lower.output_shape().pixels(), lower.output_shape().channels());
        let factor = (f64::from(self.0.temperature) / pixels as f64) as f32;
        let params = [Word::from(pixels), classes.into(), factor.into(), (1.0 / self.0.temperature).into()];
        let operands = [lower.input(0), lower.input(1), lower.input(2), lower.output()];
        lower.dispatch_items(Kernel::new(&GRAD), &params, &operands, pixels)
    }

    fn terms(&self, _inputs: &[&Shape], output: &Shape) -> usize {
        output.channels()
    }
}

fn cases() -> Vec<Case> {
    let filled = |name: &str, why, temperature, shape: [usize; 4], fill| {
        Case::new(name, why, KlDistillation { temperature }).filled(shape, fill).fixed(shape, fill)
    };
    let case = |name: &str, why, shape| filled(name, why, 3.0, shape, Fill::Uniform(-3.0, 3.0));
    vec![
        case("1x1x1x1", "a single class: no divergence", [1, 1, 1, 1]),
        case("1x1x1x3", "one pixel", [1, 1, 1, 3]),
        case("3x5x7x2", "two classes", [3, 5, 7, 2]),
        case("1x41x47x5", "primes", [1, 41, 47, 5]),
        case("3x61x41x3", "three passes", [3, 61, 41, 3]),
        case("3x61x41x3 folded", "the path of more than 65,535 workgroups", [3, 61, 41, 3])
            .max_workgroups(11),
        filled("±100", "no overflow far from 0", 1.0, [2, 3, 5, 4], Fill::Extreme(100.0)),
        filled("equal", "no divergence, no gradient", 1.0, [2, 3, 5, 4], Fill::Constant(7.0)),
    ]
}

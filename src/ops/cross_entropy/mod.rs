//! Cross-entropy of class logits.

use super::registry::Entry;
use super::softmax::log_softmax;
use super::sum_rows::lower_sum_terms;
use super::{Case, Fill, GradContext, Op, expect_inputs, expect_same};
use crate::program::{Kernel, Lower, LowerError, Shader, Word};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("cross_entropy/forward");
static GRAD: Shader = shader!("cross_entropy/grad");

pub const ENTRY: Entry =
    Entry { name: "cross_entropy", parts: &["cross_entropy_grad"], no_backward: None, cases };

impl Tape {
    /// Mean over pixels of `−log softmax(logits)[label]`, of shape `[1]`: `logits
    /// [batch, height, width, classes]`, `labels [batch, height, width, 1]`, which are whole numbers in
    /// `0..classes` and take no gradient. As `torch.nn.CrossEntropyLoss`. Any other label makes the loss
    /// of its pixel, and so the mean, NaN, and the gradients of that pixel's logits too.
    pub fn cross_entropy(&mut self, logits: Value, labels: Value) -> Result<Value, TapeError> {
        self.push(CrossEntropy, &[logits, labels])
    }
}

#[derive(Debug)]
pub struct CrossEntropy;

/// The class that a label means, for the reference; none when there is no such class.
fn class(label: f64, classes: usize) -> Option<usize> {
    (0..classes).find(|c| *c as f64 == label)
}

/// Checks logits and labels.
fn expect_labels(logits: &Shape, labels: &Shape) -> Result<(), String> {
    let [batch, height, width, classes] = logits.nhwc()?;
    if logits.is_empty() {
        return Err(format!("no pixels or no classes in {logits}"));
    }
    if labels.dims() != [batch, height, width, 1] {
        return Err(format!(
            "expected labels [{batch}, {height}, {width}, 1] for {classes} classes, found {labels}"
        ));
    }
    Ok(())
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        expect_labels(inputs[0], inputs[1])?;
        Ok(Shape::scalar())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let grad = tape.push(CrossEntropyGrad, &[at.inputs[0], at.inputs[1], at.grad_output])?;
        Ok(vec![Some(grad), None])
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let pixels = inputs[0].data.chunks_exact(inputs[0].shape.channels()).zip(&inputs[1].data);
        let losses = pixels.map(|(logits, label)| {
            class(*label, logits.len()).map_or(f64::NAN, |c| -log_softmax(logits, 1.0)[c])
        });
        vec![vec![losses.sum::<f64>() / inputs[1].data.len() as f64]]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (pixels, classes) = (lower.input_shape(0).pixels(), lower.input_shape(0).channels());
        lower_sum_terms(lower, &FORWARD, pixels, &[classes.into(), f32::NAN.into()], 1.0 / pixels as f64)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].len()
    }
}

/// Inputs: logits, labels, the gradient of the loss. Result: the gradient of the logits.
#[derive(Debug)]
struct CrossEntropyGrad;

impl Op for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_grad"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 3)?;
        expect_labels(inputs[0], inputs[1])?;
        expect_same(inputs[2], &Shape::scalar())?;
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let pixels = inputs[0].data.chunks_exact(output.channels()).zip(&inputs[1].data);
        let factor = inputs[2].data[0] / inputs[1].data.len() as f64;
        let grad = pixels.flat_map(|(logits, label)| {
            let class = class(*label, logits.len());
            log_softmax(logits, 1.0).into_iter().enumerate().map(move |(c, log_p)| match class {
                Some(class) => factor * (log_p.exp() - f64::from(u8::from(c == class))),
                None => f64::NAN,
            })
        });
        vec![grad.collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (pixels, classes) = (lower.output_shape().pixels(), lower.output_shape().channels());
        let params =
            [Word::from(pixels), classes.into(), ((1.0 / pixels as f64) as f32).into(), f32::NAN.into()];
        let operands = [lower.input(0), lower.input(1), lower.input(2), lower.output()];
        lower.dispatch_items(Kernel::new(&GRAD), &params, &operands, pixels)
    }

    fn terms(&self, _inputs: &[&Shape], output: &Shape) -> usize {
        output.channels()
    }
}

fn cases() -> Vec<Case> {
    let filled = |name: &str, why, [batch, height, width, classes]: [usize; 4], logits| {
        Case::new(name, why, CrossEntropy)
            .filled([batch, height, width, classes], logits)
            .fixed([batch, height, width, 1], Fill::Labels(classes))
    };
    let case = |name: &str, why, shape| filled(name, why, shape, Fill::Uniform(-3.0, 3.0));
    vec![
        case("1x1x1x1", "a single class: no loss", [1, 1, 1, 1]),
        case("1x1x1x3", "one pixel", [1, 1, 1, 3]),
        case("3x5x7x2", "two classes", [3, 5, 7, 2]),
        case("1x41x47x5", "primes", [1, 41, 47, 5]),
        case("3x61x41x3", "three passes", [3, 61, 41, 3]),
        case("3x61x41x3 folded", "the path of more than 65,535 workgroups", [3, 61, 41, 3])
            .max_workgroups(11),
        filled("±100", "no overflow far from 0", [2, 3, 5, 4], Fill::Extreme(100.0)),
    ]
}

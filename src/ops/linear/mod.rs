//! Fully connected layer: `input · weight + bias`. It runs on the kernels of a 1×1 convolution.

use super::conv2d::{
    Geometry, backward, conv_inputs, lower_forward, lower_grad_input, lower_grad_weight, reference,
};
use super::registry::Entry;
use super::{Case, GradContext, Op, expect_same, expect_vector};
use crate::program::{Lower, LowerError};
use crate::reference::Tensor;
use crate::tape::{Shape, Tape, TapeError, Value};

pub const ENTRY: Entry =
    Entry { name: "linear", parts: &["linear_grad_input", "linear_grad_weight"], no_backward: None, cases };

impl Tape {
    /// `input [batch, in]` with `weight [in, out]` and `bias [out]`, to `[batch, out]`.
    pub fn linear(&mut self, input: Value, weight: Value, bias: Option<Value>) -> Result<Value, TapeError> {
        let inputs: Vec<Value> = [input, weight].into_iter().chain(bias).collect();
        self.push(Linear, &inputs)
    }
}

/// The convolution of one pixel that does the same.
fn geometry(input: &Shape, weight: &Shape) -> Result<Geometry, String> {
    let (&[batch, in_channels], &[weight_in, out_channels]) = (input.dims(), weight.dims()) else {
        return Err(format!(
            "expected an input [batch, in] and a weight [in, out], found {input} and {weight}"
        ));
    };
    if in_channels != weight_in {
        return Err(format!("the input has {in_channels} channels, the weight {weight} takes {weight_in}"));
    }
    Ok(Geometry {
        batch,
        in_size: [1, 1],
        out_size: [1, 1],
        in_channels,
        out_channels,
        kernel: [1, 1],
        stride: 1,
        padding: 0,
    })
}

fn output(g: &Geometry) -> Shape {
    [g.batch, g.out_channels].into()
}

#[derive(Debug)]
pub struct Linear;

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let (input, weight, bias) = conv_inputs(inputs)?;
        let g = geometry(input, weight)?;
        if let Some(bias) = bias {
            expect_vector("a bias", bias, g.out_channels)?;
        }
        Ok(output(&g))
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let [input, weight] = [at.inputs[0], at.inputs[1]];
        let grad_input = (LinearGradInput, [at.grad_output, weight]);
        let grad_weight = (LinearGradWeight, [input, at.grad_output]);
        backward(tape, at, grad_input, grad_weight)
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let bias = inputs.get(2).map(|b| b.data.as_slice());
        let g = geometry(&inputs[0].shape, &inputs[1].shape);
        vec![g.map_or(vec![], |g| reference::forward(&g, &inputs[0].data, &inputs[1].data, bias))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let g = geometry(lower.input_shape(0), lower.input_shape(1)).map_err(LowerError::Shader)?;
        let bias = (lower.input_count() == 3).then(|| lower.input(2));
        let (input, weight, output) = (lower.input(0), lower.input(1), lower.output());
        lower_forward(lower, &g, input, weight, bias, output)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].channels()
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        geometry(inputs[0], inputs[1]).map_or(0, |g| g.flops())
    }
}

/// Inputs: gradient of the result, weight.
#[derive(Debug)]
struct LinearGradInput;

impl LinearGradInput {
    fn geometry(&self, grad_output: &Shape, weight: &Shape) -> Result<Geometry, String> {
        let (&[batch, _], &[in_channels, _]) = (grad_output.dims(), weight.dims()) else {
            return Err(format!("expected [batch, out] and [in, out], found {grad_output} and {weight}"));
        };
        let g = geometry(&[batch, in_channels].into(), weight)?;
        expect_same(grad_output, &output(&g))?;
        Ok(g)
    }
}

impl Op for LinearGradInput {
    fn name(&self) -> &'static str {
        "linear_grad_input"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let g = self.geometry(inputs[0], inputs[1])?;
        Ok([g.batch, g.in_channels].into())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let g = self.geometry(&inputs[0].shape, &inputs[1].shape);
        vec![g.map_or(vec![], |g| reference::grad_input(&g, &inputs[0].data, &inputs[1].data, None))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let g = self.geometry(lower.input_shape(0), lower.input_shape(1)).map_err(LowerError::Shader)?;
        let (grad_output, weight, grad_input) = (lower.input(0), lower.input(1), lower.output());
        lower_grad_input(lower, &g, grad_output, weight, None, grad_input)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].channels()
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        self.geometry(inputs[0], inputs[1]).map_or(0, |g| g.flops())
    }
}

/// Inputs: the layer's input, gradient of its result.
#[derive(Debug)]
struct LinearGradWeight;

impl LinearGradWeight {
    fn geometry(&self, input: &Shape, grad_output: &Shape) -> Result<Geometry, String> {
        let g = geometry(input, &[input.channels(), grad_output.channels()].into())?;
        expect_same(grad_output, &output(&g))?;
        Ok(g)
    }
}

impl Op for LinearGradWeight {
    fn name(&self) -> &'static str {
        "linear_grad_weight"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let g = self.geometry(inputs[0], inputs[1])?;
        Ok([g.in_channels, g.out_channels].into())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let g = self.geometry(&inputs[0].shape, &inputs[1].shape);
        vec![g.map_or(vec![], |g| reference::grad_weight(&g, &inputs[0].data, &inputs[1].data))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let g = self.geometry(lower.input_shape(0), lower.input_shape(1)).map_err(LowerError::Shader)?;
        let (input, grad_output, grad_weight) = (lower.input(0), lower.input(1), lower.output());
        lower_grad_weight(lower, &g, input, grad_output, grad_weight)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs[0].pixels()
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        self.geometry(inputs[0], inputs[1]).map_or(0, |g| g.flops())
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, batch: usize, channels: usize, out: usize, bias: bool| {
        let case = Case::new(name, why, Linear).input([batch, channels]).input([channels, out]);
        if bias { case.input([out]) } else { case }
    };
    vec![
        case("1x1→1", "a single product", 1, 1, 1, true),
        case("3x5→3", "channels that are no multiple of 4", 3, 5, 3, true),
        case("1x41→47", "primes, batch 1", 1, 41, 47, false),
        case("5x64→12", "vec4s, a batch that is none", 5, 64, 12, true),
        case("61x8→20", "a prime batch", 61, 8, 20, true),
    ]
}

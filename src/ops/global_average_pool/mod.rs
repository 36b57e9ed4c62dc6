//! Mean of each channel of each image.

use super::registry::Entry;
use super::sum_rows::lower_sum_rows;
use super::{Case, Fill, GradContext, Op, expect_inputs};
use crate::program::{ByWidth, Element, Kernel, Lower, LowerError, Word};
use crate::reference::Tensor;
use crate::shader_by_width;
use crate::tape::{Shape, Tape, TapeError, Value};

static GRAD: ByWidth = shader_by_width!("global_average_pool/grad");

/// Pixels that one invocation of the gradient writes.
const PIXELS: usize = 8;

pub const ENTRY: Entry =
    Entry { name: "global_average_pool", parts: &["global_average_pool_grad"], no_backward: None, cases };

impl Tape {
    /// `[batch, height, width, channels]` to `[batch, 1, 1, channels]`.
    pub fn global_average_pool(&mut self, input: Value) -> Result<Value, TapeError> {
        self.push(GlobalAveragePool, &[input])
    }
}

#[derive(Debug)]
pub struct GlobalAveragePool;

impl Op for GlobalAveragePool {
    fn name(&self) -> &'static str {
        "global_average_pool"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        let [batch, _, _, channels] = inputs[0].nhwc()?;
        Ok([batch, 1, 1, channels].into())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        let shape = tape.shape(at.inputs[0]).clone();
        Ok(vec![Some(tape.push(GlobalAveragePoolGrad { shape }, &[at.grad_output])?)])
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let (total, channels) = (inputs[0].data.len(), output.channels());
        let image = total / output.pixels();
        let mut means = vec![0.0; output.len()];
        for (i, x) in inputs[0].data.iter().enumerate() {
            means[i / image * channels + i % channels] += x * channels as f64 / image as f64;
        }
        vec![means]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let [batch, height, width, channels] = lower.input_shape(0).nhwc().map_err(LowerError::Shader)?;
        let pixels = height * width;
        let (input, output) = (lower.input(0), lower.output());
        lower_sum_rows(lower, [batch, pixels, channels], (1.0 / pixels as f64) as f32, input, output)
    }

    fn terms(&self, inputs: &[&Shape], output: &Shape) -> usize {
        inputs[0].len() / output.len()
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        inputs[0].len() as u64
    }
}

/// Input: gradient of the mean.
#[derive(Debug)]
struct GlobalAveragePoolGrad {
    /// Shape of the pool's input.
    shape: Shape,
}

impl Op for GlobalAveragePoolGrad {
    fn name(&self) -> &'static str {
        "global_average_pool_grad"
    }

    fn gives_half(&self, _inputs: &[Element]) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        Ok(self.shape.clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let channels = output.channels();
        let image = output.len() / inputs[0].shape.pixels();
        let gradient = |i: usize| inputs[0].data[i / image * channels + i % channels];
        vec![(0..output.len()).map(|i| gradient(i) * channels as f64 / image as f64).collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let [batch, height, columns, channels] = self.shape.nhwc().map_err(LowerError::Shader)?;
        let (shader, width) = GRAD.of(channels);
        let pixels = height * columns;
        let threads = pixels.div_ceil(PIXELS);
        let extents = [batch, pixels, channels / width, threads].map(Word::from);
        let params = [&extents[..], &[((1.0 / pixels as f64) as f32).into()]].concat();
        let operands = [lower.input(0), lower.output()];
        lower.dispatch_items(Kernel::new(shader), &params, &operands, batch * threads * channels / width)
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, shape: [usize; 4]| Case::new(name, why, GlobalAveragePool).input(shape);
    vec![
        case("1 pixel", "the mean of a single number", [1, 1, 1, 1]),
        case("2x7x9x3", "channels that are no multiple of 4", [2, 7, 9, 3]),
        case("2x41x47x12", "primes, two passes", [2, 41, 47, 12]),
        case("1x61x70x5", "three passes, scalar", [1, 61, 70, 5]),
        case("3x16x16x20 folded", "the path of more than 65,535 workgroups", [3, 16, 16, 20])
            .max_workgroups(4),
        Case::new("mean 100", "no loss by size", GlobalAveragePool)
            .filled([2, 8, 9, 4], Fill::Uniform(99.0, 101.0)),
    ]
}

//! The gradient of a norm.
//!
//! With `x̂ = (x − mean) / sqrt(variance + eps)`, `g` the gradient that passes the ReLU and `w` the
//! weight, Ioffe and Szegedy (2015), section 3, gives
//! `grad_bias = Σ g`, `grad_weight = Σ g·x̂` and
//! `grad_x = (w·g − mean(w·g) − x̂ · mean(w·g·x̂)) / sqrt(variance + eps)`
//! where the means are over the elements that share their statistics. So one pass over the input
//! makes the sums, which are the gradients of weight and bias too, and a second one `grad_x`.

use super::geometry::Geometry;
use super::{Norm, reference};
use crate::ops::sum_rows::{first_parts, lower_sum_rows};
use crate::ops::{GradContext, Op, expect_inputs, expect_same};
use crate::program::{ByWidth, Element, Kernel, Lower, LowerError, Shader, Word};
use crate::reference::Tensor;
use crate::tape::{Shape, Tape, TapeError, Value};
use crate::{shader, shader_by_width};

static GRAD_SUMS: ByWidth = shader_by_width!("norm/grad_sums");
static GRAD_AFFINE: Shader = shader!("norm/grad_affine");
static GRAD_TERMS: Shader = shader!("norm/grad_terms");
static GRAD_INPUT: ByWidth = shader_by_width!("norm/grad_input");

pub(super) fn backward(
    norm: &Norm,
    tape: &mut Tape,
    at: &GradContext,
) -> Result<Vec<Option<Value>>, TapeError> {
    let [input, weight, bias, stats] = [0, 1, 2, 3].map(|i| at.inputs[i]);
    let mut gradients = vec![None; 4];
    let through_stats = at.needs[0] && !norm.constant_stats;
    let mut sums = None;
    if through_stats || at.needs[1] || at.needs[2] {
        let value = tape.push(NormGradSums { norm: *norm }, &[input, weight, bias, stats, at.grad_output])?;
        sums = Some(value);
        for (index, row) in [(1, 1), (2, 0)] {
            if at.needs[index] {
                gradients[index] = Some(tape.push(NormGradAffine { row }, &[value])?);
            }
        }
    }
    if at.needs[0] {
        let op = NormGradTerms { norm: *norm, input: tape.shape(input).clone() };
        let inputs: Vec<Value> = [weight, stats].into_iter().chain(sums.filter(|_| through_stats)).collect();
        let terms = tape.push(op, &inputs)?;
        let op = NormGradInput { norm: *norm };
        gradients[0] = Some(tape.push(op, &[input, bias, terms, at.grad_output])?);
    }
    Ok(gradients)
}

/// Inputs: those of the norm, gradient of its result. Result `[sets, 2, channels]`: `Σ g` and
/// `Σ g·x̂` over the pixels.
#[derive(Debug)]
struct NormGradSums {
    norm: Norm,
}

impl Op for NormGradSums {
    fn name(&self) -> &'static str {
        "norm_grad_sums"
    }

    fn takes_half(&self, index: usize) -> bool {
        index == 0 || index == 4
    }

    fn quantity(&self, output: &Shape, index: usize) -> usize {
        Geometry::row_of(output, index)
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 5)?;
        expect_same(inputs[0], inputs[4])?;
        Ok(self.norm.geometry(inputs[0])?.rows(2))
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let g = self.norm.geometry(&inputs[0].shape);
        vec![g.map_or(vec![], |g| reference::grad_sums(&g, &self.norm, inputs))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let g = self.norm.geometry(lower.input_shape(0)).map_err(LowerError::Shader)?;
        let parts = first_parts(g.pixels);
        let (shader, width) = GRAD_SUMS.of(g.channels);
        let (params, items) = g.spread_over(parts, width);
        let params = [&params[..], &[self.norm.eps.into(), Word(self.norm.relu.into())]].concat();
        let single = parts == 1;
        let partial = if single { lower.output() } else { lower.scratch(g.sets * parts * 2 * g.channels) };
        let mut operands: Vec<_> = (0..5).map(|i| lower.input(i)).collect();
        operands.push(partial);
        lower.dispatch_items(Kernel::new(shader), &params, &operands, items)?;
        if single {
            return Ok(());
        }
        let output = lower.output();
        lower_sum_rows(lower, [g.sets, parts, 2 * g.channels], 1.0, partial, output)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        self.norm.geometry(inputs[0]).map_or(1, |g| g.pixels)
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        6 * inputs[0].len() as u64
    }
}

/// Input: the sums. Result `[channels]`: one of their rows, added up over the sets.
#[derive(Debug)]
struct NormGradAffine {
    /// 0: gradient of the bias. 1: of the weight.
    row: usize,
}

impl Op for NormGradAffine {
    fn name(&self) -> &'static str {
        "norm_grad_affine"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        Ok([inputs[0].channels()].into())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let channels = output.len();
        let mut sum = vec![0.0; channels];
        for set in inputs[0].data.chunks_exact(2 * channels) {
            for (sum, x) in sum.iter_mut().zip(&set[self.row * channels..]) {
                *sum += x;
            }
        }
        vec![sum]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let channels = lower.output_shape().len();
        let sets = lower.input_shape(0).len() / (2 * channels);
        let params = [sets, channels, self.row].map(Word::from);
        let operands = [lower.input(0), lower.output()];
        lower.dispatch_items(Kernel::new(&GRAD_AFFINE), &params, &operands, channels)
    }

    fn terms(&self, inputs: &[&Shape], output: &Shape) -> usize {
        inputs[0].len() / (2 * output.len())
    }
}

/// Inputs: weight, statistics and, where the gradient goes through them, the sums.
/// Result `[sets, 4, channels]`: mean, scale, offset, slope, such that
/// `grad_x = scale · g − offset − (x − mean) · slope`.
#[derive(Debug)]
struct NormGradTerms {
    norm: Norm,
    /// Shape of the norm's input.
    input: Shape,
}

impl Op for NormGradTerms {
    fn name(&self) -> &'static str {
        "norm_grad_terms"
    }

    fn quantity(&self, output: &Shape, index: usize) -> usize {
        Geometry::row_of(output, index)
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, if self.norm.constant_stats { 2 } else { 3 })?;
        Ok(self.norm.geometry(&self.input)?.rows(4))
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let g = self.norm.geometry(&self.input);
        vec![g.map_or(vec![], |g| reference::grad_terms(&g, &self.norm, inputs))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let g = self.norm.geometry(&self.input).map_err(LowerError::Shader)?;
        let extents = [g.sets, g.pixels, g.channels, self.norm.coupled_channels(&g)].map(Word::from);
        let params = [&extents[..], &[self.norm.eps.into()]].concat();
        let sums = lower.input(lower.input_count() - 1);
        let operands = [lower.input(0), lower.input(1), sums, lower.output()];
        lower.dispatch_items(Kernel::new(&GRAD_TERMS), &params, &operands, g.sets * g.channels)
    }

    fn terms(&self, _inputs: &[&Shape], _output: &Shape) -> usize {
        self.norm.geometry(&self.input).map_or(1, |g| g.group_size)
    }
}

/// Inputs: the norm's input, its bias, the terms, gradient of the result.
#[derive(Debug)]
struct NormGradInput {
    norm: Norm,
}

impl Op for NormGradInput {
    fn name(&self) -> &'static str {
        "norm_grad_input"
    }

    fn takes_half(&self, index: usize) -> bool {
        index == 0 || index == 3
    }

    fn gives_half(&self, _inputs: &[Element]) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 4)?;
        expect_same(inputs[0], inputs[3])?;
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let g = self.norm.geometry(&inputs[0].shape);
        vec![g.map_or(vec![], |g| reference::grad_input(&g, &self.norm, inputs))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let g = self.norm.geometry(lower.input_shape(0)).map_err(LowerError::Shader)?;
        let (shader, width) = GRAD_INPUT.of(g.channels);
        let (params, items) = g.spread(width);
        let params = [&params[..], &[Word(self.norm.relu.into())]].concat();
        let operands = [lower.input(0), lower.input(1), lower.input(2), lower.input(3), lower.output()];
        lower.dispatch_items(Kernel::new(shader), &params, &operands, items)
    }

    /// With few pixels a set the gradient cancels: of one pixel it is 0.
    fn cancelling(&self, inputs: &[&Tensor]) -> f64 {
        let largest = |numbers: &[f64]| numbers.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let channels = inputs[0].shape.channels();
        // Row 1 of the four rows of terms is the factor of the gradient.
        let factor = inputs[2].data.chunks(4 * channels).map(|rows| largest(&rows[channels..2 * channels]));
        factor.fold(0.0, f64::max) * largest(&inputs[3].data)
    }

    fn flops(&self, _inputs: &[&Shape], output: &Shape) -> u64 {
        6 * output.len() as u64
    }
}

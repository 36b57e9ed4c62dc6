//! Batch, instance and group norm: `(input − mean) / sqrt(variance + eps) · weight + bias`, with a
//! ReLU after it if wanted. Ioffe and Szegedy, "Batch Normalization" (2015); Ulyanov et al.,
//! "Instance Normalization" (2016); Wu and He, "Group Normalization" (2018); as PyTorch has them.
//!
//! The three differ only in which elements share a mean and a variance ([`Over`]), so they are one
//! op. Two nodes make a norm: [`NormStats`] makes the statistics, which the running ones and the
//! backward use too, and [`Norm`] applies them. The backward of `Norm` is the gradient with respect
//! to its input through the statistics as well: a gradient that goes through `NormStats` step by
//! step would read and write the whole input once more. So `NormStats` takes no gradient itself,
//! and the checks differentiate the two nodes together ([`Case::made`]).

mod backward;
mod geometry;
mod reference;

use super::registry::Entry;
use super::sum_rows::passes;
use super::{Case, Fill, GradContext, Op, expect_inputs, expect_vector};
use crate::onnx::{Emit, OnnxError, float};
use crate::program::{ByWidth, Element, Kernel, Lower, LowerError, Shader, Word};
use crate::reference::Tensor;
use crate::tape::{Shape, Tape, TapeError, Value};
use crate::{shader, shader_by_width};
use geometry::Geometry;

static STATS: ByWidth = shader_by_width!("norm/stats");
static STATS_MERGE: ByWidth = shader_by_width!("norm/stats_merge");
static STATS_FINISH: Shader = shader!("norm/stats_finish");
static RUNNING_STATS: Shader = shader!("norm/running_stats");
static FORWARD: ByWidth = shader_by_width!("norm/forward");

pub const ENTRY: Entry = Entry {
    name: "norm",
    parts: &[
        "norm_stats",
        "norm_running_stats",
        "norm_grad_sums",
        "norm_grad_affine",
        "norm_grad_terms",
        "norm_grad_input",
    ],
    no_backward: None,
    cases,
};

/// Which elements share a mean and a variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// All of a channel: batch norm.
    Batch,
    /// All of a group of channels of one image, with this many groups. As many groups as
    /// channels: instance norm.
    Groups(usize),
}

/// Inputs: input, weight `[channels]`, bias `[channels]`, statistics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    pub over: Over,
    pub eps: f32,
    /// Follow with a ReLU.
    pub relu: bool,
    /// The statistics do not depend on the input: no gradient goes through them.
    pub constant_stats: bool,
}

impl Tape {
    /// Batch norm in training. `input [batch, …, channels]`, `weight` and `bias` `[channels]`;
    /// returns the result, of the input's shape, and the statistics `[1, 2, channels]`: the mean
    /// and the biased variance of each channel, for [`Tape::running_update`].
    pub fn batch_norm_train(
        &mut self,
        input: Value,
        weight: Value,
        bias: Value,
        eps: f32,
        relu: bool,
    ) -> Result<(Value, Value), TapeError> {
        self.norm(Over::Batch, input, weight, bias, eps, relu)
    }

    /// Batch norm with statistics from elsewhere: `running_mean` and `running_var` `[channels]`.
    #[expect(clippy::too_many_arguments, reason = "they are what a batch norm consists of")]
    pub fn batch_norm_inference(
        &mut self,
        input: Value,
        weight: Value,
        bias: Value,
        running_mean: Value,
        running_var: Value,
        eps: f32,
        relu: bool,
    ) -> Result<Value, TapeError> {
        let stats = self.push(RunningStats, &[running_mean, running_var])?;
        let norm = Norm { over: Over::Batch, eps, relu, constant_stats: true };
        self.push(norm, &[input, weight, bias, stats])
    }

    /// Norm over each channel of each image. `input [batch, height, width, channels]`, `weight` and
    /// `bias` `[channels]`.
    pub fn instance_norm(
        &mut self,
        input: Value,
        weight: Value,
        bias: Value,
        eps: f32,
        relu: bool,
    ) -> Result<Value, TapeError> {
        let groups = self.shape(input).channels();
        self.group_norm(input, weight, bias, groups, eps, relu)
    }

    /// Norm over each of `groups` groups of neighbouring channels of each image.
    /// `input [batch, height, width, channels]`, `weight` and `bias` `[channels]`.
    pub fn group_norm(
        &mut self,
        input: Value,
        weight: Value,
        bias: Value,
        groups: usize,
        eps: f32,
        relu: bool,
    ) -> Result<Value, TapeError> {
        Ok(self.norm(Over::Groups(groups), input, weight, bias, eps, relu)?.0)
    }

    fn norm(
        &mut self,
        over: Over,
        input: Value,
        weight: Value,
        bias: Value,
        eps: f32,
        relu: bool,
    ) -> Result<(Value, Value), TapeError> {
        let stats = self.push(NormStats { over }, &[input])?;
        let norm = Norm { over, eps, relu, constant_stats: false };
        Ok((self.push(norm, &[input, weight, bias, stats])?, stats))
    }
}

impl Norm {
    fn geometry(&self, input: &Shape) -> Result<Geometry, String> {
        Geometry::new(self.over, input)
    }

    /// Group norm, as an instance norm of images that have a channel a group: the operator of its own has weights a
    /// channel only from opset 21 on.
    fn onnx_groups(&self, emit: &mut Emit, groups: usize) -> Result<(), OnnxError> {
        let [_, height, width, channels] =
            emit.input_shape(0).nhwc().map_err(|_| emit.unsupported())?.map(|extent| extent as i64);
        let inputs = emit.inputs();
        let grouped = emit.reshape("grouped", inputs[0], &[0, groups as i64, -1]);
        let (ones, zeros) =
            (emit.floats("ones", &vec![1.0; groups]), emit.floats("zeros", &vec![0.0; groups]));
        let eps = vec![float("epsilon", self.eps)];
        let normalised = emit.step("InstanceNormalization", "normalised", &[&grouped, &ones, &zeros], eps);
        let image = emit.reshape("image", &normalised, &[0, channels, height, width]);
        let weight = emit.reshape("weight", inputs[1], &[channels, 1, 1]);
        let bias = emit.reshape("bias", inputs[2], &[channels, 1, 1]);
        let scaled = emit.step("Mul", "scaled", &[&image, &weight], vec![]);
        match self.relu {
            false => emit.result("Add", &[&scaled, &bias], vec![]),
            true => {
                let moved = emit.step("Add", "norm", &[&scaled, &bias], vec![]);
                emit.result("Relu", &[&moved], vec![]);
            }
        }
        Ok(())
    }

    /// Channels of a group, or 0 where the gradient does not go through the statistics.
    fn coupled_channels(&self, g: &Geometry) -> usize {
        if self.constant_stats { 0 } else { g.group_size }
    }
}

impl Op for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn takes_half(&self, index: usize) -> bool {
        index == 0
    }

    fn gives_half(&self, _inputs: &[Element]) -> bool {
        true
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 4)?;
        let g = self.geometry(inputs[0])?;
        expect_vector("a weight", inputs[1], g.channels)?;
        expect_vector("a bias", inputs[2], g.channels)?;
        g.expect_rows("statistics", inputs[3], 2)?;
        Ok(inputs[0].clone())
    }

    fn backward(&self, tape: &mut Tape, at: &GradContext) -> Result<Vec<Option<Value>>, TapeError> {
        backward::backward(self, tape, at)
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let g = self.geometry(&inputs[0].shape);
        vec![g.map_or(vec![], |g| reference::forward(&g, self, inputs))]
    }

    fn onnx(&self, emit: &mut Emit) -> Result<(), OnnxError> {
        let (inputs, stats) = (emit.inputs(), emit.inputs_of(3));
        let [x, weight, bias] = [inputs[0], inputs[1], inputs[2]];
        let channels = emit.input_shape(0).channels();
        let eps = || vec![float("epsilon", self.eps)];
        let (op, operands) = match (self.over, self.constant_stats, &stats[..]) {
            (Over::Batch, true, &[mean, variance]) => {
                ("BatchNormalization", vec![x, weight, bias, mean, variance])
            }
            (Over::Groups(groups), false, _) if groups == channels => {
                ("InstanceNormalization", vec![x, weight, bias])
            }
            (Over::Groups(groups), false, _) => return self.onnx_groups(emit, groups),
            _ => return Err(emit.unsupported()),
        };
        match self.relu {
            false => emit.result(op, &operands, eps()),
            true => {
                let normalised = emit.step(op, "norm", &operands, eps());
                emit.result("Relu", &[&normalised], vec![]);
            }
        }
        Ok(())
    }

    fn is_cheap(&self) -> bool {
        true
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let g = self.geometry(lower.input_shape(0)).map_err(LowerError::Shader)?;
        let (shader, width) = FORWARD.of(g.channels);
        let (params, items) = g.spread(width);
        let params = [&params[..], &[self.eps.into(), Word(self.relu.into())]].concat();
        let operands = [lower.input(0), lower.input(1), lower.input(2), lower.input(3), lower.output()];
        lower.dispatch_items(Kernel::new(shader), &params, &operands, items)
    }

    fn flops(&self, _inputs: &[&Shape], output: &Shape) -> u64 {
        3 * output.len() as u64
    }
}

/// Input: what is to be normalised. Result: mean and biased variance of each channel's group,
/// `[sets, 2, channels]`; there is one set for batch norm, otherwise one for each image.
#[derive(Debug)]
pub struct NormStats {
    pub over: Over,
}

impl Op for NormStats {
    fn name(&self) -> &'static str {
        "norm_stats"
    }

    fn takes_half(&self, _index: usize) -> bool {
        true
    }

    /// A variance of 0 is known as well as the mean can be rounded, squared.
    fn cancelling(&self, inputs: &[&Tensor]) -> f64 {
        let largest = inputs[0].data.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        f64::from(f32::EPSILON) * largest * largest
    }

    fn quantity(&self, output: &Shape, index: usize) -> usize {
        Geometry::row_of(output, index)
    }

    /// A part of the norm that takes it.
    fn onnx(&self, _emit: &mut Emit) -> Result<(), OnnxError> {
        Ok(())
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 1)?;
        Ok(Geometry::new(self.over, inputs[0])?.rows(2))
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let g = Geometry::new(self.over, &inputs[0].shape);
        vec![g.map_or(vec![], |g| reference::stats(&g, &inputs[0].data))]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let g = Geometry::new(self.over, lower.input_shape(0)).map_err(LowerError::Shader)?;
        let (first, width) = STATS.of(g.channels);
        let (merge, _) = STATS_MERGE.of(g.channels);
        let columns = g.channels / width;
        let mut from = lower.input(0);
        let mut rows = None;
        for parts in passes(g.pixels) {
            let to = lower.scratch(g.sets * parts * 2 * g.channels);
            let shader = if rows.is_none() { first } else { merge };
            let params: Vec<Word> = [Some(g.sets), Some(g.pixels), Some(columns), rows, Some(parts)]
                .into_iter()
                .flatten()
                .map(Word::from)
                .collect();
            lower.dispatch_items(Kernel::new(shader), &params, &[from, to], g.sets * parts * columns)?;
            (from, rows) = (to, Some(parts));
        }
        let params = [g.sets, g.pixels, g.channels, g.group_size].map(Word::from);
        let operands = [from, lower.output()];
        lower.dispatch_items(Kernel::new(&STATS_FINISH), &params, &operands, g.sets * g.channels)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        Geometry::new(self.over, inputs[0]).map_or(1, |g| g.pixels * g.group_size)
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        4 * inputs[0].len() as u64
    }
}

/// Inputs: a mean and a variance, `[channels]` each. Result: the same as `[1, 2, channels]`.
#[derive(Debug)]
struct RunningStats;

impl Op for RunningStats {
    fn name(&self) -> &'static str {
        "norm_running_stats"
    }

    fn quantity(&self, output: &Shape, index: usize) -> usize {
        Geometry::row_of(output, index)
    }

    /// A part of the norm that takes it.
    fn onnx(&self, _emit: &mut Emit) -> Result<(), OnnxError> {
        Ok(())
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 2)?;
        let channels = inputs[0].channels();
        expect_vector("a mean", inputs[0], channels)?;
        expect_vector("a variance", inputs[1], channels)?;
        Ok([1, 2, channels].into())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        vec![[&inputs[0].data[..], &inputs[1].data].concat()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let channels = lower.input_shape(0).len();
        let operands = [lower.input(0), lower.input(1), lower.output()];
        lower.dispatch_items(Kernel::new(&RUNNING_STATS), &[channels.into()], &operands, channels)
    }
}

fn cases() -> Vec<Case> {
    let filled = |name: &str, why, over, relu, shape: [usize; 4], fill: Fill| {
        let channels = shape[3];
        Case::new(name, why, Norm { over, eps: 1e-5, relu, constant_stats: false })
            .filled(shape, fill)
            .filled([channels], Fill::Uniform(0.5, 1.5))
            .input([channels])
            .made(NormStats { over }, &[0])
    };
    let case =
        |name: &str, why, over, relu, shape| filled(name, why, over, relu, shape, Fill::Uniform(-1.0, 1.0));
    let inference = |name: &str, why, relu, shape: [usize; 4]| {
        let channels = shape[3];
        Case::new(name, why, Norm { over: Over::Batch, eps: 1e-5, relu, constant_stats: true })
            .input(shape)
            .filled([channels], Fill::Uniform(0.5, 1.5))
            .input([channels])
            .indirect([channels], Fill::Uniform(-0.5, 0.5))
            .indirect([channels], Fill::Uniform(0.5, 2.0))
            .made(RunningStats, &[3, 4])
    };
    let (batch, instance) = (Over::Batch, Over::Groups);
    let large = Fill::Uniform(99.0, 101.0);
    vec![
        case("batch 1 pixel", "a variance of 0 from a single number", batch, false, [1, 1, 1, 1]),
        case("batch 2x7x9x3", "channels that are no multiple of 4", batch, true, [2, 7, 9, 3]),
        case("batch 2x11x13x16", "the shape that most time goes to", batch, true, [2, 11, 13, 16]),
        case("batch 1x41x47x8", "primes, two passes of the sums", batch, false, [1, 41, 47, 8]),
        case("batch 3x61x5x20", "several images, a prime extent", batch, false, [3, 61, 5, 20]),
        case("batch 2x41x61x5", "three passes of the sums, scalar", batch, true, [2, 41, 61, 5]),
        case(
            "batch 1x41x47x8 folded",
            "the path of more than 65,535 workgroups",
            batch,
            true,
            [1, 41, 47, 8],
        )
        .max_workgroups(3),
        filled(
            "batch mean 100",
            "a mean much larger than the deviation",
            batch,
            false,
            [2, 17, 11, 4],
            large,
        ),
        filled("batch constant", "a variance of 0", batch, false, [2, 9, 7, 4], Fill::Constant(3.7)),
        case("instance 1 pixel", "nothing to share a mean with", instance(4), false, [2, 1, 1, 4]),
        case("instance 2x7x9x3", "channels that are no multiple of 4", instance(3), true, [2, 7, 9, 3]),
        case("instance 3x41x47x4", "primes, batch, two passes", instance(4), false, [3, 41, 47, 4]),
        filled(
            "instance mean 100",
            "a mean much larger than the deviation",
            instance(12),
            true,
            [2, 5, 11, 12],
            large,
        ),
        case("group 2 of 6", "a group that is no vec4", instance(2), true, [2, 5, 7, 6]),
        case("group 1 of 5", "all channels in one group", instance(1), false, [1, 11, 9, 5]),
        case("group 4 of 16", "groups of a vec4", instance(4), true, [2, 13, 11, 16]),
        case("group 3 of 12 61x2", "a prime extent", instance(3), false, [1, 61, 2, 12]),
        filled(
            "group mean 100",
            "a mean much larger than the deviation",
            instance(2),
            false,
            [2, 9, 11, 8],
            large,
        ),
        inference("batch inference 2x7x9x3", "constant statistics, no vec4", false, [2, 7, 9, 3]),
        inference("batch inference 1x41x5x12", "constant statistics, ReLU", true, [1, 41, 5, 12]),
    ]
}

//! Moves the running statistics of a batch norm towards those of a batch, as PyTorch does:
//! `running = (1 − momentum) · running + momentum · new`, with the unbiased variance.

use super::registry::Entry;
use super::{Case, Fill, Op, expect_inputs, expect_vector};
use crate::program::{Kernel, Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("running_update/forward");

pub const ENTRY: Entry = Entry {
    name: "running_update",
    parts: &[],
    no_backward: Some("it rewrites states that take no gradient"),
    cases,
};

/// Inputs: running mean and running variance `[channels]`, which it rewrites, and the statistics of
/// the batch.
#[derive(Debug)]
pub struct RunningUpdate {
    /// Elements that each new mean and variance was made of.
    pub count: usize,
    /// Share of the new statistics.
    pub momentum: f32,
}

impl Tape {
    /// Updates the states `mean` and `variance` `[channels]` with `stats [1, 2, channels]`, the mean
    /// and biased variance of `count` pixels, as [`Tape::batch_norm_train`] returns them.
    pub fn running_update(
        &mut self,
        mean: Value,
        variance: Value,
        stats: Value,
        count: usize,
        momentum: f32,
    ) -> Result<Value, TapeError> {
        self.push(RunningUpdate { count, momentum }, &[mean, variance, stats])
    }
}

impl RunningUpdate {
    /// What makes a biased variance unbiased. A single element has no unbiased variance; PyTorch
    /// refuses it, and here it counts as it is.
    fn unbiased(&self) -> f64 {
        self.count as f64 / self.count.saturating_sub(1).max(1) as f64
    }
}

impl Op for RunningUpdate {
    fn name(&self) -> &'static str {
        "running_update"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 3)?;
        let channels = inputs[0].channels();
        expect_vector("a running mean", inputs[0], channels)?;
        expect_vector("a running variance", inputs[1], channels)?;
        if inputs[2].dims() != [1, 2, channels] {
            return Err(format!("expected statistics [1, 2, {channels}], found {}", inputs[2]));
        }
        // An update makes no value of its own.
        Ok([0].into())
    }

    fn in_place(&self) -> &'static [usize] {
        &[0, 1]
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        let momentum = f64::from(self.momentum);
        let (mean, variance) = inputs[2].data.split_at(inputs[0].data.len());
        let moved = |old: &[f64], new: &[f64], factor: f64| -> Vec<f64> {
            old.iter().zip(new).map(|(o, n)| (1.0 - momentum) * o + momentum * factor * n).collect()
        };
        vec![moved(&inputs[0].data, mean, 1.0), moved(&inputs[1].data, variance, self.unbiased())]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let channels = lower.input_shape(0).len();
        let params = [channels.into(), self.momentum.into(), (self.unbiased() as f32).into()];
        let operands = [lower.input(0), lower.input(1), lower.input(2)];
        lower.dispatch_items(Kernel::new(&FORWARD), &params, &operands, channels)
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, channels: usize, count| {
        Case::new(name, why, RunningUpdate { count, momentum: 0.1 })
            .fixed([channels], Fill::Uniform(-1.0, 1.0))
            .fixed([channels], Fill::Uniform(0.5, 2.0))
            .fixed([1, 2, channels], Fill::Uniform(0.1, 3.0))
    };
    vec![
        case("1 channel, 1 element", "no unbiased variance", 1, 1),
        case("5 channels, 2 elements", "the largest correction", 5, 2),
        case("61 channels", "a prime", 61, 1_927),
        case("200 channels folded", "the path of more than 65,535 workgroups", 200, 128).max_workgroups(2),
    ]
}

//! Layers with their parameters, by name. A name that was made before gives the same parameter
//! again, so that two branches of one tape share weights.

use std::collections::BTreeMap;

use super::init::Init;
use crate::config::schema::{ModelConfig, Norm};
use crate::ops::conv2d::Conv2d;
use crate::tape::{Shape, Tape, TapeError, Value};

/// Added to variances; PyTorch's default.
const EPS: f32 = 1e-5;

/// Share of a new batch's statistics in the running ones; PyTorch's default.
const MOMENTUM: f32 = 0.1;

/// How batch norm takes its statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From the batch; the running ones are updated.
    Train,
    /// The running ones.
    Inference,
}

/// Makes layers on one tape and keeps what they are made of.
pub struct Layers {
    config: ModelConfig,
    mode: Mode,
    /// Before the names of running statistics: each branch has its own, because a task's images
    /// (turned, masked, shuffled) are of another distribution than those of the target.
    statistics: String,
    known: BTreeMap<String, Value>,
    inits: Vec<(String, Shape, Init)>,
}

impl Layers {
    pub fn new(config: &ModelConfig, mode: Mode) -> Layers {
        Layers {
            config: config.clone(),
            mode,
            statistics: String::new(),
            known: BTreeMap::new(),
            inits: vec![],
        }
    }

    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Running statistics of the layers made from now on are kept under `branch.`; the empty name
    /// is the target's.
    pub fn set_branch(&mut self, branch: &str) {
        self.statistics = if branch.is_empty() { String::new() } else { format!("{branch}.") };
    }

    /// All states made so far with their shape and what they start with, parameters and statistics.
    pub fn into_inits(self) -> Vec<(String, Shape, Init)> {
        self.inits
    }

    /// A convolution of stride 1 that keeps the size, `kernel` odd. A bias stands where no norm and
    /// ReLU follow.
    pub fn conv(
        &mut self,
        tape: &mut Tape,
        x: Value,
        name: &str,
        out_channels: usize,
        kernel: usize,
        bias: bool,
    ) -> Result<Value, TapeError> {
        let in_channels = tape.shape(x).channels();
        let fan_in = kernel * kernel * in_channels;
        let init = if bias { Init::HeLinear { fan_in } } else { Init::He { fan_in } };
        let shape = [kernel, kernel, in_channels, out_channels];
        let weight = self.parameter(tape, &format!("{name}.weight"), shape, init)?;
        let bias = match bias {
            true => Some(self.bias(tape, name, out_channels)?),
            false => None,
        };
        tape.conv2d(x, weight, bias, Conv2d { stride: 1, padding: kernel / 2 })
    }

    /// The bias of a layer: it starts as 0.
    pub fn bias(&mut self, tape: &mut Tape, name: &str, channels: usize) -> Result<Value, TapeError> {
        self.parameter(tape, &format!("{name}.bias"), [channels], Init::Constant(0.0))
    }

    /// The norm that the config asks for, then a ReLU.
    pub fn norm_relu(&mut self, tape: &mut Tape, x: Value, name: &str) -> Result<Value, TapeError> {
        let channels = tape.shape(x).channels();
        let weight = self.parameter(tape, &format!("{name}.weight"), [channels], Init::Constant(1.0))?;
        let bias = self.bias(tape, name, channels)?;
        match self.config.norm {
            Norm::Instance => tape.instance_norm(x, weight, bias, EPS, true),
            Norm::Group => tape.group_norm(x, weight, bias, self.config.groups, EPS, true),
            Norm::Batch => {
                let mean = self.statistic(tape, &format!("{name}.running_mean"), channels, 0.0)?;
                let variance = self.statistic(tape, &format!("{name}.running_var"), channels, 1.0)?;
                match self.mode {
                    Mode::Inference => tape.batch_norm_inference(x, weight, bias, mean, variance, EPS, true),
                    Mode::Train => {
                        let (y, stats) = tape.batch_norm_train(x, weight, bias, EPS, true)?;
                        let count = tape.shape(x).pixels();
                        tape.running_update(mean, variance, stats, count, MOMENTUM)?;
                        Ok(y)
                    }
                }
            }
        }
    }

    /// A trained state, or that of the same name made before.
    pub fn parameter(
        &mut self,
        tape: &mut Tape,
        name: &str,
        shape: impl Into<Shape>,
        init: Init,
    ) -> Result<Value, TapeError> {
        self.state(tape, name.to_owned(), shape.into(), init, self.mode == Mode::Train)
    }

    fn statistic(&mut self, tape: &mut Tape, name: &str, len: usize, value: f32) -> Result<Value, TapeError> {
        let name = format!("{}{name}", self.statistics);
        self.state(tape, name, [len].into(), Init::Constant(value), false)
    }

    fn state(
        &mut self,
        tape: &mut Tape,
        name: String,
        shape: Shape,
        init: Init,
        trained: bool,
    ) -> Result<Value, TapeError> {
        if let Some(value) = self.known.get(&name) {
            return Ok(*value);
        }
        let value =
            if trained { tape.parameter(&name, shape.clone())? } else { tape.state(&name, shape.clone())? };
        self.inits.push((name.clone(), shape, init));
        self.known.insert(name, value);
        Ok(value)
    }
}

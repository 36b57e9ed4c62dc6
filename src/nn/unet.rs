//! The U-Net (Ronneberger et al., 2015) with batch norm, as it is common in PyTorch.
//!
//! Each stage: two 3×3 convolutions with norm and ReLU. Down: 2×2 max pool. Up: 2×2 transposed
//! convolution (or bilinear and a 1×1 convolution), then concatenation with the skip connection.
//! A 1×1 convolution makes the logits. Parameters carry the names they have in the PyTorch
//! module `down.N`, `up.N`, `dec.N`, `head` (see the README).

use super::init::Init;
use crate::config::schema::{ModelConfig, Norm, Upsample};
use crate::ops::conv_transpose2d::ConvTranspose2d;
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

/// A U-Net being put on a tape.
pub struct UNet<'a> {
    config: &'a ModelConfig,
    mode: Mode,
    inits: Vec<(String, Shape, Init)>,
}

/// A network on a tape.
pub struct Network {
    /// `[batch, height, width, out_channels]`.
    pub logits: Value,
    /// Its states with their shape and what they start with, parameters and statistics.
    pub inits: Vec<(String, Shape, Init)>,
}

impl<'a> UNet<'a> {
    /// Puts the network on `tape` and applies it to `input [batch, height, width, in_channels]`,
    /// whose height and width are divisible by `2^depth`.
    pub fn build(
        config: &'a ModelConfig,
        tape: &mut Tape,
        input: Value,
        mode: Mode,
    ) -> Result<Network, TapeError> {
        let mut net = UNet { config, mode, inits: vec![] };
        let logits = net.forward(tape, input)?;
        Ok(Network { logits, inits: net.inits })
    }

    fn forward(&mut self, tape: &mut Tape, input: Value) -> Result<Value, TapeError> {
        let depth = self.config.depth;
        let width = |stage: usize| self.config.base_channels << stage;
        let mut skips = vec![];
        let mut x = input;
        for stage in 0..=depth {
            x = self.scope(tape, &format!("down.{stage}"), |net, tape, name| {
                let x = if stage == 0 { x } else { tape.max_pool2d(x, 2, 2, 0)? };
                net.block(tape, x, name, width(stage))
            })?;
            skips.push(x);
        }
        skips.pop();
        for (i, stage) in (0..depth).rev().enumerate() {
            let up =
                self.scope(tape, &format!("up.{i}"), |net, tape, name| net.up(tape, x, name, width(stage)))?;
            x = self.scope(tape, &format!("dec.{i}"), |net, tape, name| {
                let skip = skips.pop().unwrap_or(up);
                let joined = tape.concat(&[skip, up])?;
                net.block(tape, joined, name, width(stage))
            })?;
        }
        let out_channels = self.config.out_channels;
        self.scope(tape, "head", |net, tape, name| net.conv(tape, x, name, out_channels, 1, true))
    }

    fn scope<T>(
        &mut self,
        tape: &mut Tape,
        name: &str,
        build: impl FnOnce(&mut Self, &mut Tape, &str) -> T,
    ) -> T {
        tape.scoped(name, |tape| build(self, tape, name))
    }

    /// Two times convolution, norm, ReLU: `name.0 .1 (.2)` and `name.3 .4 (.5)`.
    fn block(&mut self, tape: &mut Tape, x: Value, name: &str, channels: usize) -> Result<Value, TapeError> {
        let x = self.conv(tape, x, &format!("{name}.0"), channels, 3, false)?;
        let x = self.norm_relu(tape, x, &format!("{name}.1"))?;
        let x = self.conv(tape, x, &format!("{name}.3"), channels, 3, false)?;
        self.norm_relu(tape, x, &format!("{name}.4"))
    }

    /// A convolution of stride 1 that keeps the size.
    fn conv(
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
        // A bias stands where no norm and ReLU follow.
        let init = if bias { Init::HeLinear { fan_in } } else { Init::He { fan_in } };
        let weight = self.parameter(
            tape,
            &format!("{name}.weight"),
            [kernel, kernel, in_channels, out_channels],
            init,
        )?;
        let bias = if bias {
            Some(self.parameter(tape, &format!("{name}.bias"), [out_channels], Init::Constant(0.0))?)
        } else {
            None
        };
        tape.conv2d(x, weight, bias, Conv2d { stride: 1, padding: kernel / 2 })
    }

    fn norm_relu(&mut self, tape: &mut Tape, x: Value, name: &str) -> Result<Value, TapeError> {
        let channels = tape.shape(x).channels();
        let weight = self.parameter(tape, &format!("{name}.weight"), [channels], Init::Constant(1.0))?;
        let bias = self.parameter(tape, &format!("{name}.bias"), [channels], Init::Constant(0.0))?;
        match self.config.norm {
            Norm::Instance => tape.instance_norm(x, weight, bias, EPS, true),
            Norm::Group => tape.group_norm(x, weight, bias, self.config.groups, EPS, true),
            Norm::Batch => {
                let mean = self.state(tape, &format!("{name}.running_mean"), channels, 0.0)?;
                let variance = self.state(tape, &format!("{name}.running_var"), channels, 1.0)?;
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

    fn up(&mut self, tape: &mut Tape, x: Value, name: &str, out_channels: usize) -> Result<Value, TapeError> {
        let in_channels = tape.shape(x).channels();
        match self.config.upsample {
            Upsample::Bilinear => {
                let x = tape.upsample_bilinear(x, 2)?;
                self.conv(tape, x, &format!("{name}.1"), out_channels, 1, true)
            }
            Upsample::Transposed => {
                // With stride 2 a 2×2 kernel gives each result one tap. No ReLU follows.
                let init = Init::HeLinear { fan_in: in_channels };
                let weight =
                    self.parameter(tape, &format!("{name}.weight"), [2, 2, out_channels, in_channels], init)?;
                let bias =
                    self.parameter(tape, &format!("{name}.bias"), [out_channels], Init::Constant(0.0))?;
                tape.conv_transpose2d(x, weight, Some(bias), ConvTranspose2d { stride: 2, padding: 0 })
            }
        }
    }

    fn parameter(
        &mut self,
        tape: &mut Tape,
        name: &str,
        shape: impl Into<Shape>,
        init: Init,
    ) -> Result<Value, TapeError> {
        let shape = shape.into();
        self.inits.push((name.to_owned(), shape.clone(), init));
        match self.mode {
            Mode::Train => tape.parameter(name, shape),
            Mode::Inference => tape.state(name, shape),
        }
    }

    fn state(&mut self, tape: &mut Tape, name: &str, len: usize, value: f32) -> Result<Value, TapeError> {
        self.inits.push((name.to_owned(), [len].into(), Init::Constant(value)));
        tape.state(name, [len])
    }
}

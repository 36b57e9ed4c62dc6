//! The U-Net (Ronneberger et al., 2015) with batch norm, as it is common in PyTorch.
//!
//! Each stage: two 3×3 convolutions with norm and ReLU. Down: 2×2 max pool. Up: 2×2 transposed
//! convolution (or bilinear and a 1×1 convolution), then concatenation with the skip connection.
//! A 1×1 convolution makes the logits. Parameters carry the names they have in the PyTorch
//! module `down.N`, `up.N`, `dec.N`, `head` (see the README).

use super::init::Init;
use super::layers::{Layers, Mode};
use crate::config::schema::{ModelConfig, Upsample};
use crate::ops::conv_transpose2d::ConvTranspose2d;
use crate::tape::{Shape, Tape, TapeError, Value};

/// A network on a tape.
pub struct Network {
    /// `[batch, height, width, out_channels]`.
    pub logits: Value,
    /// Its states with their shape and what they start with, parameters and statistics.
    pub inits: Vec<(String, Shape, Init)>,
}

/// What the encoder makes of an image.
pub struct Encoded {
    /// `[batch, height / 2^i, width / 2^i, base_channels · 2^i]` for i in `0..depth`.
    pub skips: Vec<Value>,
    /// The same for i = depth.
    pub bottleneck: Value,
}

/// Puts the network on `tape` and applies it to `input [batch, height, width, in_channels]`,
/// whose height and width are divisible by `2^depth`.
pub fn unet(config: &ModelConfig, tape: &mut Tape, input: Value, mode: Mode) -> Result<Network, TapeError> {
    let mut layers = Layers::new(config, mode);
    let encoded = encode(&mut layers, tape, input)?;
    let features = decode(&mut layers, tape, encoded)?;
    let logits = head(&mut layers, tape, features)?;
    Ok(Network { logits, inits: layers.into_inits() })
}

/// The way down: parameters `down.0` to `down.{depth}`.
pub fn encode(layers: &mut Layers, tape: &mut Tape, input: Value) -> Result<Encoded, TapeError> {
    let (depth, base) = (layers.config().depth, layers.config().base_channels);
    let mut skips = vec![];
    let mut x = input;
    for stage in 0..=depth {
        let name = format!("down.{stage}");
        x = tape.scoped(&name, |tape| {
            let x = if stage == 0 { x } else { tape.max_pool2d(x, 2, 2, 0)? };
            block(layers, tape, x, &name, base << stage)
        })?;
        skips.push(x);
    }
    skips.pop();
    Ok(Encoded { skips, bottleneck: x })
}

/// The way up: parameters `up.i` and `dec.i`. Gives `[batch, height, width, base_channels]`.
pub fn decode(layers: &mut Layers, tape: &mut Tape, encoded: Encoded) -> Result<Value, TapeError> {
    let base = layers.config().base_channels;
    let mut x = encoded.bottleneck;
    for (i, (stage, skip)) in encoded.skips.into_iter().enumerate().rev().enumerate() {
        let name = format!("up.{i}");
        let raised = tape.scoped(&name, |tape| up(layers, tape, x, &name, base << stage))?;
        let name = format!("dec.{i}");
        x = tape.scoped(&name, |tape| {
            let joined = tape.concat(&[skip, raised])?;
            block(layers, tape, joined, &name, base << stage)
        })?;
    }
    Ok(x)
}

/// Logits `[batch, height, width, out_channels]` of the decoder's features: parameters `head`.
pub fn head(layers: &mut Layers, tape: &mut Tape, features: Value) -> Result<Value, TapeError> {
    let out_channels = layers.config().out_channels;
    tape.scoped("head", |tape| layers.conv(tape, features, "head", out_channels, 1, true))
}

/// Two times convolution, norm, ReLU: `name.0 .1 (.2)` and `name.3 .4 (.5)`.
fn block(
    layers: &mut Layers,
    tape: &mut Tape,
    x: Value,
    name: &str,
    channels: usize,
) -> Result<Value, TapeError> {
    let x = layers.conv(tape, x, &format!("{name}.0"), channels, 3, false)?;
    let x = layers.norm_relu(tape, x, &format!("{name}.1"))?;
    let x = layers.conv(tape, x, &format!("{name}.3"), channels, 3, false)?;
    layers.norm_relu(tape, x, &format!("{name}.4"))
}

fn up(
    layers: &mut Layers,
    tape: &mut Tape,
    x: Value,
    name: &str,
    out_channels: usize,
) -> Result<Value, TapeError> {
    let in_channels = tape.shape(x).channels();
    match layers.config().upsample {
        Upsample::Bilinear => {
            let x = tape.upsample_bilinear(x, 2)?;
            layers.conv(tape, x, &format!("{name}.1"), out_channels, 1, true)
        }
        Upsample::Transposed => {
            // With stride 2 a 2×2 kernel gives each result one tap. No ReLU follows.
            let init = Init::HeLinear { fan_in: in_channels };
            let shape = [2, 2, out_channels, in_channels];
            let weight = layers.parameter(tape, &format!("{name}.weight"), shape, init)?;
            let bias = layers.bias(tape, name, out_channels)?;
            tape.conv_transpose2d(x, weight, Some(bias), ConvTranspose2d { stride: 2, padding: 0 })
        }
    }
}

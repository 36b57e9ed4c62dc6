//! A training step as one tape: forward, loss, backward, clipping, update.

use crate::config::schema::{Config, DiceOver, LossConfig, OptimizerKind, TrainConfig};
use crate::nn::Mode;
use crate::nn::unet::{Network, unet};
use crate::ops::adam::Adam;
use crate::ops::sgd::Sgd;
use crate::ops::soft_dice::{Per, SoftDice};
use crate::tape::{Gradients, Tape, TapeError, Value};

/// Names of a step's inputs and outputs.
pub const IMAGES: &str = "images";
pub const MASKS: &str = "masks";
/// The optimiser's numbers of this step; see [`crate::ops::Hyper`].
pub const HYPER: &str = "hyper";
pub const LOSS: &str = "loss";
/// Global norm of the gradient, before clipping; only with `train.clip_norm`.
pub const GRAD_NORM: &str = "grad_norm";
pub const PROBABILITIES: &str = "probabilities";

/// A training step on a tape.
pub struct TrainStep {
    pub tape: Tape,
    pub network: Network,
    pub loss: Value,
    pub gradients: Gradients,
    /// States of the optimiser: they start as zeros.
    pub moments: Vec<String>,
}

/// Builds the step of `config` for batches of `batch` images of `size × size`.
///
/// Inputs: `images [batch, size, size, in_channels]`, `masks [batch, size, size, out_channels]`,
/// `hyper`. Outputs: `loss [1]`, and `grad_norm [1]` where gradients are clipped.
pub fn train_step(config: &Config, batch: usize, size: usize) -> Result<TrainStep, TapeError> {
    let mut tape = Tape::new();
    let images = tape.input(IMAGES, [batch, size, size, config.model.in_channels])?;
    let masks = tape.input(MASKS, [batch, size, size, config.model.out_channels])?;
    let network = unet(&config.model, &mut tape, images, Mode::Train)?;
    let loss = segmentation_loss(&mut tape, network.logits, masks, &config.loss)?;
    tape.output(LOSS, loss);
    let gradients = tape.backward(loss)?;
    let moments = update(&mut tape, &gradients, &config.train)?;
    Ok(TrainStep { tape, network, loss, gradients, moments })
}

/// `bce · BCE + dice · soft Dice`, a term of weight 0 left out.
pub fn segmentation_loss(
    tape: &mut Tape,
    logits: Value,
    masks: Value,
    config: &LossConfig,
) -> Result<Value, TapeError> {
    let mut terms = vec![];
    if config.bce != 0.0 {
        let bce = tape.bce_with_logits(logits, masks, config.positive_weight as f32)?;
        terms.push((bce, config.bce));
    }
    if config.dice != 0.0 {
        let per = match config.dice_over {
            DiceOver::Sample => Per::Sample,
            DiceOver::Batch => Per::Batch,
        };
        let dice = tape.soft_dice(logits, masks, SoftDice { smooth: config.dice_smooth as f32, per })?;
        terms.push((dice, config.dice));
    }
    let mut total = None;
    for (term, weight) in terms {
        let term = if weight == 1.0 { term } else { tape.scale(term, weight as f32)? };
        total = Some(match total {
            None => term,
            Some(sum) => tape.add(sum, term)?,
        });
    }
    match total {
        Some(total) => Ok(total),
        // The config's check refuses this; a loss of 0 has no gradient and says so.
        None => tape.fill([1], 0.0),
    }
}

/// Appends the optimiser's update of every parameter that has a gradient.
fn update(tape: &mut Tape, gradients: &Gradients, config: &TrainConfig) -> Result<Vec<String>, TapeError> {
    let hyper = tape.input(HYPER, [crate::ops::Hyper::LEN])?;
    let trained: Vec<(String, Value, Value)> = tape
        .parameters()
        .into_iter()
        .filter_map(|(name, parameter)| Some((name, parameter, gradients.of(parameter)?)))
        .collect();
    let mut grad_scale = None;
    if config.clip_norm > 0.0 {
        let all: Vec<Value> = trained.iter().map(|(_, _, gradient)| *gradient).collect();
        let (norm, scale) = tape.clip_by_global_norm(&all, config.clip_norm as f32)?;
        tape.output(GRAD_NORM, norm);
        grad_scale = Some(scale);
    }
    let mut moments = vec![];
    for (name, parameter, gradient) in trained {
        let shape = tape.shape(parameter).clone();
        let mut moment = |tape: &mut Tape, kind: &str| {
            let name = format!("{name}.{kind}");
            let value = tape.state(&name, shape.clone())?;
            moments.push(name);
            Ok::<Value, TapeError>(value)
        };
        match config.optimizer {
            OptimizerKind::Sgd => {
                let velocity = moment(tape, "velocity")?;
                let sgd = Sgd { momentum: config.momentum as f32, weight_decay: config.weight_decay as f32 };
                tape.sgd(sgd, parameter, gradient, velocity, hyper, grad_scale)?;
            }
            OptimizerKind::AdamW => {
                let first = moment(tape, "first_moment")?;
                let second = moment(tape, "second_moment")?;
                let adamw = Adam::adamw(config.weight_decay as f32);
                tape.adam(adamw, parameter, gradient, first, second, hyper, grad_scale)?;
            }
        }
    }
    Ok(moments)
}

/// Inference as a tape: `images` → `probabilities [batch, size, size, out_channels]`.
pub fn inference(config: &Config, batch: usize, size: usize) -> Result<(Tape, Network), TapeError> {
    let mut tape = Tape::new();
    let images = tape.input(IMAGES, [batch, size, size, config.model.in_channels])?;
    let network = unet(&config.model, &mut tape, images, Mode::Inference)?;
    let probabilities = tape.sigmoid(network.logits)?;
    tape.output(PROBABILITIES, probabilities);
    Ok((tape, network))
}

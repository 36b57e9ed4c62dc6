//! A training step as one tape: forward, loss, backward, clipping, update.

use super::branch::segment;
pub use super::branch::{IMAGES, MASKS};
use super::coupled::coupled_gradients;
use super::loss_scale::LossScale;
use crate::config::schema::{Config, DiceOver, LossConfig, OptimizerKind, TrainConfig};
use crate::nn::init::Init;
use crate::nn::unet::{Network, unet};
use crate::nn::{Layers, Mode};
use crate::ops::Hyper;
use crate::ops::adam::Adam;
use crate::ops::sgd::Sgd;
use crate::ops::soft_dice::{Per, SoftDice};
use crate::program::Precision;
use crate::tape::{Gradients, Shape, Tape, TapeError, Value};

/// The optimiser's numbers of this step, an input; see [`Hyper`].
pub const HYPER: &str = "hyper";
/// The same for parameters that are held, an input; its learning rate is 0 while they are.
pub const HELD_HYPER: &str = "held_hyper";
/// Sum of the weighted losses, an output.
pub const LOSS: &str = "loss";
/// Global norm of the gradient, before clipping; only with `train.clip_norm`.
pub const GRAD_NORM: &str = "grad_norm";
pub const PROBABILITIES: &str = "probabilities";

/// A training step on a tape.
pub struct TrainStep {
    pub tape: Tape,
    /// Sum of the weighted losses; the weights of coupled branches are not known on the tape, and
    /// this is their plain sum then.
    pub loss: Value,
    /// What the update takes: in mixed precision the gradients of the loss times its scale.
    pub gradients: Gradients,
    /// States of the network and of the heads of its branches, with what they start with.
    pub inits: Vec<(String, Shape, Init)>,
    /// States of the optimiser: they start as zeros.
    pub moments: Vec<(String, Shape)>,
    /// States of the loss's scaling in mixed precision, `[1]` each, with what they start with.
    pub scaling: Vec<(String, Init)>,
}

impl TrainStep {
    /// All states that start with something else than zeros.
    pub fn starts(&self) -> impl Iterator<Item = (&str, Shape, Init)> {
        let inits = self.inits.iter().map(|(name, shape, init)| (name.as_str(), shape.clone(), *init));
        inits.chain(self.scaling.iter().map(|(name, init)| (name.as_str(), Shape::scalar(), *init)))
    }
}

/// How the losses of a step are put together.
#[derive(Clone, Copy, Debug)]
pub enum Mix<'a> {
    /// `Σ weight · loss`: one backward.
    Sum(&'a [f64]),
    /// A backward for each loss; the host weighs the gradients when it has seen how they lie to each
    /// other. See [`super::coupled`].
    Coupled,
}

/// Appends a branch to a tape and gives its loss; see [`super::branch::Branch::build`].
pub type Build<'a> = &'a dyn Fn(&mut Layers, &mut Tape) -> Result<Value, TapeError>;

/// Builds the step of `config` for batches of `batch` labelled images of `size × size`.
///
/// Inputs: `images [batch, size, size, in_channels]`, `masks [batch, size, size, out_channels]`,
/// `hyper`. Outputs: `loss [1]`, `grad_norm [1]` where gradients are clipped, `loss_scale [1]` in mixed precision.
pub fn train_step(config: &Config, batch: usize, size: usize) -> Result<TrainStep, TapeError> {
    let target = |layers: &mut Layers, tape: &mut Tape| {
        let (logits, masks) = segment(layers, tape, batch, size)?;
        segmentation_loss(tape, logits, masks, &config.loss)
    };
    step_of_branches(config, &[("", &target)], Mix::Sum(&[1.0]), &|_| false)
}

/// Builds a step of several branches, each with its name. The parameters whose names `held` holds for
/// take the optimiser's numbers from an input of their own, `held_hyper`.
///
/// Inputs: those of the branches, `hyper`, and `held_hyper` where a parameter is held. Outputs: of a sum `loss
/// [1]`, and with several branches `loss.NAME [1]`; of coupled branches those of [`super::coupled`]; `grad_norm [1]` where gradients
/// are clipped; `loss_scale [1]` in mixed precision.
pub fn step_of_branches(
    config: &Config,
    branches: &[(&str, Build)],
    mix: Mix,
    held: &dyn Fn(&str) -> bool,
) -> Result<TrainStep, TapeError> {
    let mut tape = Tape::new();
    let mut layers = Layers::new(&config.model, Mode::Train);
    let mut losses = vec![];
    for (name, build) in branches {
        let loss = match branches.len() {
            1 => build(&mut layers, &mut tape)?,
            _ => tape.scoped(name, |tape| build(&mut layers, tape))?,
        };
        losses.push((*name, loss));
    }
    let inits = layers.into_inits();
    let weights = match mix {
        Mix::Sum(weights) => weights.to_vec(),
        Mix::Coupled => vec![1.0; losses.len()],
    };
    let loss = weighted_loss(&mut tape, losses.iter().map(|(_, loss)| *loss).zip(weights))?;
    let scaling = match config.train.precision {
        Precision::F32 => None,
        Precision::Mixed | Precision::MixedMatrices => Some(LossScale::new(&mut tape)?),
    };
    let gradients = match mix {
        Mix::Sum(_) => {
            tape.output(LOSS, loss);
            if losses.len() > 1 {
                losses.iter().for_each(|(name, loss)| tape.output(&loss_of(name), *loss));
            }
            match scaling {
                None => tape.backward(loss)?,
                Some(scaling) => tape.backward_scaled(loss, scaling.scale)?,
            }
        }
        Mix::Coupled => coupled_gradients(&mut tape, &losses, scaling.map(|s| s.scale))?,
    };
    let moments = update(&mut tape, &gradients, scaling, &config.train, held)?;
    let scaling = scaling.map_or(vec![], |_| LossScale::inits());
    Ok(TrainStep { tape, loss, gradients, inits, moments, scaling })
}

/// Name of the output that holds a branch's loss.
pub fn loss_of(branch: &str) -> String {
    format!("{LOSS}.{branch}")
}

/// `Σ weight · term` over the terms whose weight is not 0.
fn weighted_loss(tape: &mut Tape, terms: impl IntoIterator<Item = (Value, f64)>) -> Result<Value, TapeError> {
    let mut total = None;
    for (term, weight) in terms.into_iter().filter(|(_, weight)| *weight != 0.0) {
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
    weighted_loss(tape, terms)
}

/// Appends the optimiser's update of every parameter that has a gradient. Gives its moments.
fn update(
    tape: &mut Tape,
    gradients: &Gradients,
    scaling: Option<LossScale>,
    config: &TrainConfig,
    held: &dyn Fn(&str) -> bool,
) -> Result<Vec<(String, Shape)>, TapeError> {
    let trained: Vec<(String, Value, Value)> = tape
        .parameters()
        .into_iter()
        .filter_map(|(name, parameter)| Some((name, parameter, gradients.of(parameter)?)))
        .collect();
    let free_hyper = tape.input(HYPER, [Hyper::LEN])?;
    let held_hyper = match trained.iter().any(|(name, ..)| held(name)) {
        true => Some(tape.input(HELD_HYPER, [Hyper::LEN])?),
        false => None,
    };
    let mut grad_scale = None;
    let max_norm = (config.clip_norm > 0.0).then_some(config.clip_norm as f32);
    let all: Vec<Value> = trained.iter().map(|(_, _, gradient)| *gradient).collect();
    let norm_and_scale = match (scaling, max_norm) {
        (Some(scaling), _) => Some(scaling.unscale(tape, &all, max_norm)?),
        (None, Some(max_norm)) => Some(tape.clip_by_global_norm(&all, max_norm)?),
        (None, None) => None,
    };
    if let Some((norm, scale)) = norm_and_scale {
        if max_norm.is_some() {
            tape.output(GRAD_NORM, norm);
        }
        grad_scale = Some(scale);
    }
    let mut moments = vec![];
    for (name, parameter, gradient) in trained {
        let shape = tape.shape(parameter).clone();
        let mut moment = |tape: &mut Tape, kind: &str| {
            let name = format!("{name}.{kind}");
            let value = tape.state(&name, shape.clone())?;
            moments.push((name, shape.clone()));
            Ok::<Value, TapeError>(value)
        };
        let hyper = held_hyper.filter(|_| held(&name)).unwrap_or(free_hyper);
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

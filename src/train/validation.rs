//! A model's scores on a set of images.

use super::TrainError;
use super::mask_rule::MaskRule;
use super::metrics::{Evaluation, Evaluator, ThresholdScore, ThresholdSweep};
use super::predictor::Predictor;
use crate::config::schema::LossConfig;
use crate::data::Cache;
use crate::gpu::States;

/// What is told of an image: its position, its probabilities, its mask.
pub type Visit<'a> = dyn FnMut(usize, &[f32], &[f32]) -> Result<(), TrainError> + 'a;

/// What gives a probability to each pixel: one model, or several together.
pub trait Segmenter {
    /// Tells `visit` of every image of `cache`, in their order.
    fn segment(&mut self, cache: &Cache, visit: &mut Visit) -> Result<(), TrainError>;
}

/// A network with the states that it reads, `batch` images at once.
pub struct Network<'a> {
    pub predictor: &'a mut Predictor,
    pub states: &'a mut States,
    pub batch: usize,
}

impl Segmenter for Network<'_> {
    fn segment(&mut self, cache: &Cache, visit: &mut Visit) -> Result<(), TrainError> {
        let pixels = cache.size() * cache.size();
        let positions: Vec<usize> = (0..cache.len()).collect();
        for chunk in positions.chunks(self.batch) {
            // The last batch is filled up with its first image, so that one program serves all.
            let filled: Vec<usize> = (0..self.batch).map(|i| *chunk.get(i).unwrap_or(&chunk[0])).collect();
            let data = cache.batch(0, &filled);
            let probabilities = self.predictor.predict(self.states, self.batch, &data.images)?;
            for ((position, p), mask) in
                chunk.iter().zip(probabilities.chunks_exact(pixels)).zip(data.masks.chunks_exact(pixels))
            {
                visit(*position, p, mask)?;
            }
        }
        Ok(())
    }
}

/// What validation after an epoch finds.
pub struct Validation {
    /// Mean loss of the images, each taken as a batch of one.
    pub loss: f64,
    /// At the threshold with the highest mean Dice.
    pub best: ThresholdScore,
}

/// Scores the validation images and chooses the threshold, and the smallest area that goes with it.
pub fn validate(
    model: &mut impl Segmenter,
    cache: &Cache,
    loss: &LossConfig,
) -> Result<Validation, TrainError> {
    let mut sweep = ThresholdSweep::new();
    let mut total = 0.0;
    model.segment(cache, &mut |_, probabilities, mask| {
        total += image_loss(probabilities, mask, loss);
        Ok(sweep.add(probabilities, mask)?)
    })?;
    Ok(Validation { loss: total / cache.len().max(1) as f64, best: sweep.best()? })
}

/// The masks that a model predicts of the images of a cache, and their scores.
pub struct Predicted {
    pub evaluation: Evaluation,
    /// `[size, size]` each, in the order of the cache.
    pub masks: Vec<Vec<bool>>,
}

/// Predicts the images of `cache` and scores the masks that `rule` makes; a threshold alone empties none.
pub fn evaluate(
    model: &mut impl Segmenter,
    cache: &Cache,
    rule: impl Into<MaskRule>,
) -> Result<Predicted, TrainError> {
    let rule = rule.into();
    let mut evaluator = Evaluator::new(rule);
    let mut masks = Vec::with_capacity(cache.len());
    model.segment(cache, &mut |position, probabilities, mask| {
        evaluator.add(&cache.ids()[position], probabilities, mask)?;
        masks.push(rule.mask(probabilities).pixels);
        Ok(())
    })?;
    Ok(Predicted { evaluation: evaluator.finish()?, masks })
}

/// The training loss of one image, from probabilities; of one image, Dice over samples and over
/// the batch are the same. The logits are not
/// read back, so a probability counts as at least 1e-7 away from 0 and 1, where f32 ends.
fn image_loss(probabilities: &[f32], mask: &[f32], config: &LossConfig) -> f64 {
    let (mut bce, mut intersection, mut sum_p, mut sum_y) = (0.0, 0.0, 0.0, 0.0);
    for (p, y) in probabilities.iter().zip(mask) {
        let (p, y) = (f64::from(*p), f64::from(*y));
        let safe = p.clamp(1e-7, 1.0 - 1e-7);
        bce -= config.positive_weight * y * safe.ln() + (1.0 - y) * (1.0 - safe).ln();
        intersection += p * y;
        sum_p += p;
        sum_y += y;
    }
    bce /= probabilities.len().max(1) as f64;
    let dice = 1.0 - (2.0 * intersection + config.dice_smooth) / (sum_p + sum_y + config.dice_smooth);
    config.bce * bce + config.dice * dice
}

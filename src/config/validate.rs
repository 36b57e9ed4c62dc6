//! Which values of the right type can work: the one place that says so. Code that takes a value on
//! its own, without a checked [`Config`], calls the check of that value here.

use super::schema::{AugmentConfig, DataConfig, Lambda, Norm, StudentStart};
use super::{BadValue, Config};
use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::RangeInclusive;

/// Largest side in pixels; more would overflow buffers long before it trained.
pub(crate) const MAX_SIZE: usize = 8192;
const MAX_DEPTH: usize = 8;
const MAX_CHANNELS: usize = 1024;
/// Largest epochs and steps in an epoch, so that their product cannot overflow.
const MAX_COUNT: usize = 1_000_000;
const MAX_BATCH: usize = 4096;
/// The models of a seed ensemble have training seeds that are this far apart, so that none has that of
/// another seed of the experiment.
pub(crate) const MAX_SEEDS: usize = 1000;

impl Config {
    /// Checks that the values can work, alone and together.
    ///
    /// # Errors
    /// The first key that cannot, with what was found and what was expected.
    pub fn validate(&self) -> Result<(), BadValue> {
        self.validate_model()?;
        self.validate_data()?;
        self.validate_train()?;
        self.validate_loss()?;
        self.augment.validate()?;
        self.validate_method()?;
        self.validate_lambda()?;
        self.validate_pretrain()?;
        self.validate_distillation()
    }

    fn validate_model(&self) -> Result<(), BadValue> {
        let model = &self.model;
        within("model.base_channels", model.base_channels, 1..=MAX_CHANNELS)?;
        within("model.depth", model.depth, 1..=MAX_DEPTH)?;
        in_channels(model.in_channels)?;
        if model.out_channels != 1 {
            return bad("model.out_channels", model.out_channels, "1: only binary masks are supported");
        }
        self.validate_groups("model.base_channels", model.base_channels)
    }

    /// Whether `channels`, the value of `key`, fall into the groups of the normalisation.
    fn validate_groups(&self, key: &str, channels: usize) -> Result<(), BadValue> {
        let model = &self.model;
        if model.norm != Norm::Group || (model.groups != 0 && channels.is_multiple_of(model.groups)) {
            return Ok(());
        }
        let divisors: Vec<_> =
            (1..=channels).filter(|n| channels.is_multiple_of(*n)).map(|n| n.to_string()).collect();
        let expected = format!("a divisor of {key} = {channels}, one of {}", divisors.join(", "));
        bad("model.groups", model.groups, expected)
    }

    /// Needs a depth that has been checked.
    fn validate_data(&self) -> Result<(), BadValue> {
        let data = &self.data;
        data.validate()?;
        let multiple = 1usize << self.model.depth;
        if !data.size.is_multiple_of(multiple) {
            let (below, above) = (data.size / multiple * multiple, data.size.next_multiple_of(multiple));
            let nearest =
                if below == 0 { format!("such as {above}") } else { format!("such as {below} or {above}") };
            let expected = format!(
                "a multiple of 2^model.depth = {multiple} ({nearest}), because {} stages halve the image",
                self.model.depth
            );
            return bad("data.size", data.size, expected);
        }
        if self.model.norm == Norm::Instance && data.size == multiple {
            let expected = format!(
                "{} or more with model.norm = \"instance\", which cannot normalise a stage of one pixel",
                2 * multiple
            );
            return bad("data.size", data.size, expected);
        }
        Ok(())
    }

    fn validate_train(&self) -> Result<(), BadValue> {
        let train = &self.train;
        within("train.epochs", train.epochs, 1..=MAX_COUNT)?;
        if let Some(steps) = train.steps_per_epoch {
            within("train.steps_per_epoch", steps, 1..=MAX_COUNT)?;
        }
        batch_size(train.batch_size)?;
        seed("train.seed", train.seed)?;
        if train.labelled == Some(0) {
            return bad("train.labelled", 0, "1 or more, or leave it unset to use all images");
        }
        positive_fraction(train.positive_fraction)?;
        positive("train.learning_rate", train.learning_rate)?;
        not_negative("train.weight_decay", train.weight_decay)?;
        fraction_below_one("train.momentum", train.momentum)?;
        positive("train.polynomial_power", train.polynomial_power)?;
        not_negative("train.clip_norm", train.clip_norm)
    }

    fn validate_loss(&self) -> Result<(), BadValue> {
        let loss = &self.loss;
        not_negative("loss.bce", loss.bce)?;
        not_negative("loss.dice", loss.dice)?;
        if loss.bce == 0.0 && loss.dice == 0.0 {
            return bad(
                "loss.bce",
                loss.bce,
                "above 0 when loss.dice is 0: there would be nothing to train on",
            );
        }
        positive("loss.positive_weight", loss.positive_weight)?;
        // At 0 the soft Dice of an empty mask and an empty prediction would be 0/0.
        positive("loss.dice_smooth", loss.dice_smooth)
    }

    /// Names of tasks and rivals are checked where they are used: `train` needs none.
    fn validate_method(&self) -> Result<(), BadValue> {
        let method = &self.method;
        within("method.seeds", method.seeds, 1..=MAX_SEEDS)?;
        if let Some(batch) = method.task_batch_size {
            within("method.task_batch_size", batch, 1..=MAX_BATCH)?;
        }
        // The tasks are measured on the part held out, and trained on the other.
        part_of_split("method.held_out", method.held_out)?;
        not_negative("method.lambda", method.lambda)?;
        let candidates = &method.lambda_candidates;
        for (i, candidate) in candidates.iter().enumerate() {
            not_negative("method.lambda_candidates", *candidate)?;
            if candidates[..i].contains(candidate) {
                return bad("method.lambda_candidates", candidates, "each number once");
            }
        }
        Ok(())
    }

    fn validate_lambda(&self) -> Result<(), BadValue> {
        for (task, lambda) in &self.lambda {
            match lambda {
                Lambda::Fixed(value) => not_negative(format!("lambda.{task}"), *value)?,
                Lambda::Search if self.method.lambda_candidates.is_empty() => {
                    let expected =
                        format!("one number at least, because lambda.{task} is \"{}\"", Lambda::SEARCH);
                    return bad("method.lambda_candidates", &self.method.lambda_candidates, expected);
                }
                Lambda::Search => {}
            }
        }
        Ok(())
    }

    fn validate_pretrain(&self) -> Result<(), BadValue> {
        let pretrain = &self.pretrain;
        if let Some(steps) = pretrain.steps {
            within("pretrain.steps", steps, 1..=MAX_COUNT)?;
        }
        positive("pretrain.learning_rate", pretrain.learning_rate)?;
        if let Some(rate) = pretrain.finetune_learning_rate {
            positive("pretrain.finetune_learning_rate", rate)?;
        }
        Ok(())
    }

    fn validate_distillation(&self) -> Result<(), BadValue> {
        let distillation = &self.distillation;
        share("distillation.alpha", distillation.alpha)?;
        // Outside, f32 leaves nothing of the divergence: beyond 100 both sides are 0.5 but for rounding.
        between("distillation.temperature", distillation.temperature, 0.01..=100.0, "0.01 to 100")?;
        let Some(channels) = distillation.base_channels else { return Ok(()) };
        within("distillation.base_channels", channels, 1..=MAX_CHANNELS)?;
        if distillation.student == StudentStart::BestElite && channels != self.model.base_channels {
            let expected = format!(
                "model.base_channels = {}, or unset, with distillation.student = \"best_elite\", as the student starts \
                 with a teacher's weights; or distillation.student = \"scratch\"",
                self.model.base_channels
            );
            return bad("distillation.base_channels", channels, expected);
        }
        self.validate_groups("distillation.base_channels", channels)
    }
}

impl DataConfig {
    /// Checks what can be checked without knowing the model.
    ///
    /// # Errors
    /// As [`Config::validate`].
    pub fn validate(&self) -> Result<(), BadValue> {
        within("data.size", self.size, 1..=MAX_SIZE)?;
        seed("data.seed", self.seed)?;
        part_of_split("data.val_fraction", self.val_fraction)?;
        part_of_split("data.test_fraction", self.test_fraction)?;
        if self.val_fraction + self.test_fraction >= 1.0 {
            let expected = format!(
                "a sum with data.test_fraction = {} below 1, so that images are left to train on",
                self.test_fraction
            );
            return bad("data.val_fraction", self.val_fraction, expected);
        }
        if let Some(threshold) = self.mask_threshold {
            not_negative("data.mask_threshold", threshold)?;
        }
        within("data.workers", self.workers, 1..=1024)
    }
}

impl AugmentConfig {
    /// Checks all values.
    ///
    /// # Errors
    /// As [`Config::validate`].
    pub fn validate(&self) -> Result<(), BadValue> {
        share("augment.flip", self.flip)?;
        fraction_below_one("augment.shift", self.shift)?;
        // More would leave less than a tenth of the side of what is in the image.
        between("augment.scale", self.scale, 0.0..=0.9, "0 to 0.9")?;
        between("augment.rotate", self.rotate, 0.0..=180.0, "degrees from 0 to 180")?;
        not_negative("augment.brightness", self.brightness)?;
        share("augment.contrast", self.contrast)?;
        between("augment.gamma", self.gamma, 0.0..=5.0, "0 to 5")?;
        not_negative("augment.noise", self.noise)
    }
}

/// Checks `model.in_channels`.
pub(crate) fn in_channels(value: usize) -> Result<(), BadValue> {
    if value == 1 || value == 3 {
        return Ok(());
    }
    bad("model.in_channels", value, "1 (grey) or 3 (colour)")
}

/// Checks `train.batch_size`.
pub(crate) fn batch_size(value: usize) -> Result<(), BadValue> {
    within("train.batch_size", value, 1..=MAX_BATCH)
}

/// Checks `train.positive_fraction`.
pub(crate) fn positive_fraction(value: Option<f64>) -> Result<(), BadValue> {
    value.map_or(Ok(()), |value| share("train.positive_fraction", value))
}

fn bad<T>(
    key: impl Into<Cow<'static, str>>,
    found: impl Debug,
    expected: impl Into<String>,
) -> Result<T, BadValue> {
    Err(BadValue { key: key.into(), found: format!("{found:?}"), expected: expected.into() })
}

fn within(
    key: impl Into<Cow<'static, str>>,
    value: usize,
    range: RangeInclusive<usize>,
) -> Result<(), BadValue> {
    if range.contains(&value) {
        return Ok(());
    }
    bad(key, value, format!("a whole number from {} to {}", range.start(), range.end()))
}

/// TOML has no whole numbers above `i64::MAX`, so such a seed could not be written to the run folder.
fn seed(key: impl Into<Cow<'static, str>>, value: u64) -> Result<(), BadValue> {
    if i64::try_from(value).is_ok() { Ok(()) } else { bad(key, value, format!("at most {}", i64::MAX)) }
}

/// False for NaN, like every check below.
fn between(
    key: impl Into<Cow<'static, str>>,
    value: f64,
    range: RangeInclusive<f64>,
    expected: &str,
) -> Result<(), BadValue> {
    if range.contains(&value) { Ok(()) } else { bad(key, value, expected) }
}

fn share(key: impl Into<Cow<'static, str>>, value: f64) -> Result<(), BadValue> {
    between(key, value, 0.0..=1.0, "a share from 0 to 1")
}

fn fraction_below_one(key: impl Into<Cow<'static, str>>, value: f64) -> Result<(), BadValue> {
    if (0.0..1.0).contains(&value) { Ok(()) } else { bad(key, value, "0 or more and below 1") }
}

/// No part of a split may be empty.
fn part_of_split(key: impl Into<Cow<'static, str>>, value: f64) -> Result<(), BadValue> {
    if value > 0.0 && value < 1.0 { Ok(()) } else { bad(key, value, "above 0 and below 1") }
}

fn positive(key: impl Into<Cow<'static, str>>, value: f64) -> Result<(), BadValue> {
    if finite(value) && value > 0.0 { Ok(()) } else { bad(key, value, "a finite number above 0") }
}

fn not_negative(key: impl Into<Cow<'static, str>>, value: f64) -> Result<(), BadValue> {
    if finite(value) && value >= 0.0 { Ok(()) } else { bad(key, value, "a finite number, 0 or more") }
}

/// Also as f32, which is what it is computed with.
fn finite(value: f64) -> bool {
    (value as f32).is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of tasks that a file could not name where there are none.
    #[test]
    fn lambdas_of_tasks() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        let text = refused(|c| c.lambda = [("edges".into(), Lambda::Fixed(-1.0))].into());
        assert!(text.contains("`lambda.edges` is -1.0") && text.contains("0 or more"), "{text}");
        let text = refused(|c| c.lambda = [("edges".into(), Lambda::Fixed(f64::NAN))].into());
        assert!(text.contains("`lambda.edges` is NaN"), "{text}");
        let text = refused(|c| {
            c.lambda = [("edges".into(), Lambda::Search)].into();
            c.method.lambda_candidates.clear();
        });
        assert!(text.contains("`method.lambda_candidates` is []") && text.contains("lambda.edges"), "{text}");
    }
}

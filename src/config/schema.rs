//! The keys of a config file, their defaults and their meaning.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::program::Precision;

/// A whole config. Every key is optional; unknown keys are errors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub data: DataConfig,
    pub model: ModelConfig,
    pub train: TrainConfig,
    pub loss: LossConfig,
    pub augment: AugmentConfig,
    pub method: MethodConfig,
    /// Weight of a task's loss beside the target's in a joint training: a number, or `"search"`,
    /// which tries `method.lambda_candidates` by validation. A task not named has `method.lambda`.
    pub lambda: BTreeMap<String, Lambda>,
    pub pretrain: PretrainConfig,
    pub distillation: DistillationConfig,
}

impl Config {
    /// Images in a batch of unlabelled images.
    pub fn task_batch(&self) -> usize {
        self.method.task_batch_size.unwrap_or(self.train.batch_size)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Side in pixels that images and masks are resized to; divisible by `2^model.depth`.
    pub size: usize,
    /// Seed of the split and of the draw of labelled images.
    pub seed: u64,
    /// A `split.csv` to use instead of the one in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_file: Option<std::path::PathBuf>,
    /// The fold of `split.csv`'s column `fold` to validate on, from 0. Unset: the column `split` counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<usize>,
    /// Share of images for validation when there is no `split.csv`.
    pub val_fraction: f64,
    /// Share of images for testing when there is no `split.csv`.
    pub test_fraction: f64,
    /// Mask values above this are foreground. Unset: masks must be 0/1 or 0/255.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_threshold: Option<f64>,
    /// Threads that decode and augment.
    pub workers: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            size: 128,
            seed: 0,
            split_file: None,
            fold: None,
            val_fraction: 0.15,
            test_fraction: 0.15,
            mask_threshold: None,
            workers: 2,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    Batch,
    Instance,
    Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upsample {
    /// 2×2 transposed convolution, stride 2.
    Transposed,
    /// Bilinear by 2, then a 1×1 convolution that halves the channels.
    Bilinear,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Channels of the first stage; they double at each stage down.
    pub base_channels: usize,
    /// How many times the image is halved.
    pub depth: usize,
    /// 1 (grey) or 3 (colour).
    pub in_channels: usize,
    pub out_channels: usize,
    pub norm: Norm,
    /// Groups of `norm = "group"`.
    pub groups: usize,
    pub upsample: Upsample,
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            base_channels: 16,
            depth: 4,
            in_channels: 1,
            out_channels: 1,
            norm: Norm::Batch,
            groups: 8,
            upsample: Upsample::Transposed,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    #[serde(rename = "adamw")]
    AdamW,
    Sgd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    Constant,
    Cosine,
    Polynomial,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    pub epochs: usize,
    /// Steps in an epoch. Unset: once through the labelled images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps_per_epoch: Option<usize>,
    pub batch_size: usize,
    /// Seed of initial weights, order of images and augmentation.
    pub seed: u64,
    /// How many labelled training images to use, drawn by `data.seed`. Unset: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labelled: Option<usize>,
    /// Share of each batch that is drawn from images with a non-empty mask. Unset: as they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive_fraction: Option<f64>,
    pub optimizer: OptimizerKind,
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// Momentum of `optimizer = "sgd"`.
    pub momentum: f64,
    pub schedule: Schedule,
    /// Steps over which the learning rate rises from 0 to `learning_rate`.
    pub warmup_steps: usize,
    /// Power of `schedule = "polynomial"`.
    pub polynomial_power: f64,
    /// Gradients are scaled down to this global norm. 0: no clipping.
    pub clip_norm: f64,
    /// What a training step keeps its values in.
    pub precision: Precision,
    /// Stop after this many epochs without a better validation Dice. 0: never.
    pub early_stop: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            epochs: 20,
            steps_per_epoch: None,
            batch_size: 8,
            seed: 0,
            labelled: None,
            positive_fraction: None,
            optimizer: OptimizerKind::AdamW,
            learning_rate: 1e-3,
            weight_decay: 1e-2,
            momentum: 0.9,
            schedule: Schedule::Cosine,
            warmup_steps: 0,
            polynomial_power: 0.9,
            clip_norm: 0.0,
            precision: Precision::F32,
            early_stop: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiceOver {
    /// Dice of each image, then the mean.
    Sample,
    /// One Dice over all pixels of the batch.
    Batch,
}

/// `L = bce · BCE(logits, mask) + dice · (1 − softDice(sigmoid(logits), mask))`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    pub bce: f64,
    pub dice: f64,
    /// Weight of foreground pixels in the BCE.
    pub positive_weight: f64,
    /// Added to numerator and denominator of the soft Dice.
    pub dice_smooth: f64,
    pub dice_over: DiceOver,
}

impl Default for LossConfig {
    fn default() -> Self {
        LossConfig {
            bce: 1.0,
            dice: 1.0,
            positive_weight: 1.0,
            dice_smooth: 1.0,
            dice_over: DiceOver::Sample,
        }
    }
}

/// Each is the largest change; 0 turns it off. Drawn uniformly for each image and step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Probability of a horizontal flip.
    pub flip: f64,
    /// Shift as a share of the side, each axis, in whole pixels.
    pub shift: f64,
    /// Zoom by a factor in `1 ± scale`.
    pub scale: f64,
    /// Rotation in degrees, `± rotate`.
    pub rotate: f64,
    /// Added to the standardised image, `± brightness`.
    pub brightness: f64,
    /// Multiplies the standardised image, `1 ± contrast`.
    pub contrast: f64,
    /// Exponent on the image rescaled to 0..1, `exp(± gamma)`.
    pub gamma: f64,
    /// Standard deviation of Gaussian noise, drawn in `0..noise`.
    pub noise: f64,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        AugmentConfig {
            flip: 0.5,
            shift: 0.0625,
            scale: 0.1,
            rotate: 10.0,
            brightness: 0.2,
            contrast: 0.2,
            gamma: 0.2,
            noise: 0.05,
        }
    }
}

/// What `two-stage` and `compare` train. `train` reads none of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MethodConfig {
    /// The auxiliary tasks; see `wgseg plan --tasks`.
    pub tasks: Vec<String>,
    /// Methods that `compare` trains beside the two-stage method. Empty: all of them; `target_only_longer` always is.
    pub rivals: Vec<String>,
    /// Trainings of every method, with seeds `train.seed`, `train.seed + 1`, …
    pub seeds: usize,
    /// Images in a batch of an auxiliary task. Unset: `train.batch_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_batch_size: Option<usize>,
    /// Share of the unlabelled images that no task is trained on, to measure the tasks on.
    pub held_out: f64,
    /// λ of the tasks that `[lambda]` does not name.
    pub lambda: f64,
    /// Tried for a λ of `"search"`.
    pub lambda_candidates: Vec<f64>,
}

impl Default for MethodConfig {
    fn default() -> Self {
        let tasks = ["rotation", "jigsaw", "inpainting", "restoration", "contrastive"];
        MethodConfig {
            tasks: tasks.map(str::to_owned).to_vec(),
            rivals: vec![],
            seeds: 3,
            task_batch_size: None,
            held_out: 0.1,
            lambda: 0.03,
            lambda_candidates: vec![0.01, 0.03, 0.1],
        }
    }
}

/// A weight, or the wish to search for one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lambda {
    Fixed(f64),
    Search,
}

impl Lambda {
    /// How a search is asked for.
    pub const SEARCH: &'static str = "search";
    /// Name of the type towards serde; the list of keys knows it by this.
    pub(super) const TYPE: &'static str = "Lambda";
}

impl Serialize for Lambda {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Lambda::Fixed(value) => serializer.serialize_f64(*value),
            Lambda::Search => serializer.serialize_str(Lambda::SEARCH),
        }
    }
}

impl<'de> Deserialize<'de> for Lambda {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lambda, D::Error> {
        deserializer.deserialize_newtype_struct(Lambda::TYPE, LambdaVisitor)
    }
}

struct LambdaVisitor;

impl<'de> Visitor<'de> for LambdaVisitor {
    type Value = Lambda;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "a number or \"{}\"", Lambda::SEARCH)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Lambda, E> {
        Ok(Lambda::Fixed(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Lambda, E> {
        Ok(Lambda::Fixed(value as f64))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Lambda, E> {
        match value {
            Lambda::SEARCH => Ok(Lambda::Search),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Lambda, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Pre-training on a task, and the segmentation training that starts from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainConfig {
    /// Steps of the task alone, rounded up to whole epochs. Unset: as many as the segmentation training has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    pub learning_rate: f64,
    /// Learning rate of the segmentation training that follows. Unset: `train.learning_rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finetune_learning_rate: Option<f64>,
    /// First steps of the segmentation training in which the pre-trained part stays as it is.
    pub freeze_steps: usize,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        PretrainConfig { steps: None, learning_rate: 1e-3, finetune_learning_rate: None, freeze_steps: 0 }
    }
}

/// How the teachers' answers are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Teachers {
    /// The mean of their probabilities.
    Uniform,
    /// The mean weighted by validation Dice.
    Weighted,
    /// One teacher, drawn anew for each step.
    OnePerStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StudentStart {
    Scratch,
    /// The weights of the elite model of the best validation Dice.
    BestElite,
}

/// When the teachers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeacherOutputs {
    /// Once where `[augment]` only moves whole pixels, else at every step.
    Auto,
    /// Once for each image; the answer is moved along with the image.
    Once,
    /// At every step, on the images as the student sees them.
    EveryStep,
}

/// `(1 − alpha) · L_seg + alpha · T² · KL(teacher ‖ student)` on labelled images, and
/// `alpha · T² · KL` on unlabelled ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistillationConfig {
    pub alpha: f64,
    /// T, 0.01 to 100. Probabilities are softened by it; 1 leaves them as they are.
    pub temperature: f64,
    pub teachers: Teachers,
    pub student: StudentStart,
    /// `model.base_channels` of the student. Unset: that of the teachers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_channels: Option<usize>,
    pub teacher_outputs: TeacherOutputs,
}

impl Default for DistillationConfig {
    fn default() -> Self {
        DistillationConfig {
            alpha: 0.5,
            temperature: 1.0,
            teachers: Teachers::Uniform,
            student: StudentStart::BestElite,
            base_channels: None,
            teacher_outputs: TeacherOutputs::Auto,
        }
    }
}

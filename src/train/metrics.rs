//! How well predicted masks agree with the truth.
//!
//! A pixel is predicted as foreground when its probability is above the threshold.
//! With `tp`, `fp`, `fn` and `tn` the numbers of pixels that are true positives,
//! false positives, false negatives and true negatives:
//!
//! * Dice: `2·tp / (2·tp + fp + fn)`; Dice, "Measures of the amount of ecologic
//!   association between species", 1945. When truth and prediction are both empty
//!   it is 1, as in the SIIM-ACR pneumothorax challenge; when one is, it is 0.
//! * IoU: `tp / (tp + fp + fn)`; Jaccard, 1912. The same rule for empty masks.
//! * Precision: `tp / (tp + fp)`. Undefined (`None`) when nothing is predicted.
//! * Recall: `tp / (tp + fn)`. Undefined (`None`) when the truth is empty.
//!
//! Dice and IoU are means over images. Precision and recall of a data set are
//! pooled: computed once from the counts of all its pixels.

use super::mask_rule::MaskRule;
use super::min_area::{AREAS, MinArea};
use super::threshold::Threshold;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Why images could not be scored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricsError {
    #[error("there are {probabilities} probabilities for {truth} pixels of truth")]
    Length { probabilities: usize, truth: usize },
    #[error("the image has no pixels")]
    NoPixels,
    #[error(
        "the probability of pixel {index} is {value}, expected 0 to 1; the network has diverged, so train it by a \
         smaller learning rate"
    )]
    Probability { index: usize, value: f32 },
    #[error("the truth of pixel {index} is {value}, expected 0 or 1")]
    Truth { index: usize, value: f32 },
    #[error("there are no images to score")]
    NoImages,
}

/// Numbers of pixels by truth and prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub true_positive: u64,
    pub false_positive: u64,
    pub false_negative: u64,
    pub true_negative: u64,
}

impl Counts {
    /// Counts the pixels of one image. Both slices have one value per pixel, in
    /// the same order; a pixel is predicted when its probability is above `threshold`.
    ///
    /// # Errors
    /// Slices that differ in length or are empty, a probability outside 0..=1 or
    /// NaN, a truth other than 0 or 1.
    pub fn of(probabilities: &[f32], truth: &[f32], threshold: Threshold) -> Result<Counts, MetricsError> {
        check_pixels(probabilities, truth)?;
        let mut counts = Counts::default();
        for (&probability, &truth) in probabilities.iter().zip(truth) {
            let count = match (threshold.is_foreground(probability), truth == 1.0) {
                (true, true) => &mut counts.true_positive,
                (true, false) => &mut counts.false_positive,
                (false, true) => &mut counts.false_negative,
                (false, false) => &mut counts.true_negative,
            };
            *count += 1;
        }
        Ok(counts)
    }

    /// The same image with nothing predicted.
    pub fn emptied(self) -> Counts {
        Counts {
            true_positive: 0,
            false_positive: 0,
            false_negative: self.truth_pixels(),
            true_negative: self.true_negative + self.false_positive,
        }
    }

    /// All pixels.
    pub fn pixels(&self) -> u64 {
        self.truth_pixels() + self.false_positive + self.true_negative
    }

    /// Foreground pixels of the truth.
    pub fn truth_pixels(&self) -> u64 {
        self.true_positive + self.false_negative
    }

    /// Foreground pixels of the prediction.
    pub fn predicted_pixels(&self) -> u64 {
        self.true_positive + self.false_positive
    }

    /// `2·tp / (2·tp + fp + fn)`, in 0..=1; 1 when truth and prediction are empty.
    pub fn dice(&self) -> f64 {
        let both = self.truth_pixels() + self.predicted_pixels();
        ratio(2 * self.true_positive, both).unwrap_or(1.0)
    }

    /// `tp / (tp + fp + fn)`, in 0..=1; 1 when truth and prediction are empty.
    pub fn iou(&self) -> f64 {
        let either = self.truth_pixels() + self.false_positive;
        ratio(self.true_positive, either).unwrap_or(1.0)
    }

    /// `tp / (tp + fp)`, in 0..=1; none when nothing is predicted.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positive, self.predicted_pixels())
    }

    /// `tp / (tp + fn)`, in 0..=1; none when the truth is empty.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positive, self.truth_pixels())
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.true_positive += other.true_positive;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
        self.true_negative += other.true_negative;
    }
}

/// Scores of one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageScore {
    pub id: String,
    pub dice: f64,
    pub iou: f64,
    /// None when nothing is predicted.
    pub precision: Option<f64>,
    /// None when the truth is empty.
    pub recall: Option<f64>,
    pub truth_pixels: u64,
    pub predicted_pixels: u64,
}

/// Dice over a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiceSummary {
    /// Mean over all images.
    pub mean: f64,
    /// Mean over the images whose truth is not empty; none when there are none.
    pub positives_only: Option<f64>,
}

/// IoU over a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IouSummary {
    /// Mean over all images.
    pub mean: f64,
}

/// Scores of a data set and of each of its images, as written to `evaluation.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub dice: DiceSummary,
    pub iou: IouSummary,
    /// Over the pixels of all images; none when nothing is predicted in any.
    pub precision: Option<f64>,
    /// Over the pixels of all images; none when every truth is empty.
    pub recall: Option<f64>,
    /// Pixels with a probability above this are predicted.
    pub threshold: Threshold,
    /// Masks of less than this share of the image are emptied; 0 is none.
    #[serde(default)]
    pub min_area: MinArea,
    /// In the order in which they were added.
    pub images: Vec<ImageScore>,
}

/// Collects images into an [`Evaluation`].
#[derive(Clone, Debug)]
pub struct Evaluator {
    rule: MaskRule,
    pooled: Counts,
    means: Means,
    images: Vec<ImageScore>,
}

impl Evaluator {
    /// Scores masks made by `rule`; of a threshold alone, none is emptied.
    pub fn new(rule: impl Into<MaskRule>) -> Evaluator {
        let (pooled, means) = (Counts::default(), Means::default());
        Evaluator { rule: rule.into(), pooled, means, images: Vec::new() }
    }

    /// Scores one image and keeps the score. Slices as in [`Counts::of`].
    ///
    /// # Errors
    /// As [`Counts::of`]; the image is then left out.
    pub fn add(
        &mut self,
        id: &str,
        probabilities: &[f32],
        truth: &[f32],
    ) -> Result<&ImageScore, MetricsError> {
        let mut counts = Counts::of(probabilities, truth, self.rule.threshold)?;
        if self.rule.min_area.empties(counts.predicted_pixels(), counts.pixels()) {
            counts = counts.emptied();
        }
        self.pooled += counts;
        self.means.add(&counts);
        let index = self.images.len();
        self.images.push(ImageScore {
            id: id.into(),
            dice: counts.dice(),
            iou: counts.iou(),
            precision: counts.precision(),
            recall: counts.recall(),
            truth_pixels: counts.truth_pixels(),
            predicted_pixels: counts.predicted_pixels(),
        });
        Ok(&self.images[index])
    }

    /// # Errors
    /// No image was added.
    pub fn finish(self) -> Result<Evaluation, MetricsError> {
        let dice = DiceSummary {
            mean: self.means.dice().ok_or(MetricsError::NoImages)?,
            positives_only: self.means.dice_positives_only(),
        };
        let iou = IouSummary { mean: self.means.iou().ok_or(MetricsError::NoImages)? };
        Ok(Evaluation {
            dice,
            iou,
            precision: self.pooled.precision(),
            recall: self.pooled.recall(),
            threshold: self.rule.threshold,
            min_area: self.rule.min_area,
            images: self.images,
        })
    }
}

/// Number of thresholds of a [`ThresholdSweep`]: 0.05, 0.10, …, 0.95.
const THRESHOLDS: usize = 19;

/// Scores of a data set at one threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThresholdScore {
    pub threshold: Threshold,
    /// Of [`MinArea::TRIED`] the one that gives the highest mean Dice at this threshold; of equal ones the smallest. The
    /// scores here are without it.
    pub min_area: MinArea,
    /// Mean over all images.
    pub dice: f64,
    /// Mean over the images whose truth is not empty; none when there are none.
    pub dice_positives_only: Option<f64>,
    /// Mean over all images.
    pub iou: f64,
}

/// Mean scores over images at the thresholds 0.05, 0.10, …, 0.95, in one pass.
///
/// It keeps sums for each threshold, and for each with each smallest area, and nothing of the images.
#[derive(Clone, Debug, Default)]
pub struct ThresholdSweep {
    means: [Means; THRESHOLDS],
    /// Sums of Dice with masks emptied by [`MinArea::TRIED`].
    dice_by_area: [[f64; AREAS]; THRESHOLDS],
}

impl ThresholdSweep {
    pub fn new() -> ThresholdSweep {
        ThresholdSweep::default()
    }

    /// The thresholds, rising.
    pub fn thresholds() -> [Threshold; THRESHOLDS] {
        std::array::from_fn(|index| Threshold::percent(5 * (index + 1) as u8))
    }

    /// Adds one image. Slices as in [`Counts::of`].
    ///
    /// # Errors
    /// As [`Counts::of`]; the image is then left out.
    pub fn add(&mut self, probabilities: &[f32], truth: &[f32]) -> Result<(), MetricsError> {
        check_pixels(probabilities, truth)?;
        let thresholds = Self::thresholds();
        // Pixels by the number of thresholds that their probability is above.
        let mut foreground = [0u64; THRESHOLDS + 1];
        let mut background = [0u64; THRESHOLDS + 1];
        for (&probability, &truth) in probabilities.iter().zip(truth) {
            let above = thresholds.partition_point(|threshold| threshold.is_foreground(probability));
            if truth == 1.0 { foreground[above] += 1 } else { background[above] += 1 }
        }
        // At the first threshold all pixels above it are predicted; each further one loses some.
        let mut counts = Counts {
            true_positive: foreground.iter().sum(),
            false_positive: background.iter().sum(),
            ..Counts::default()
        };
        for (index, (means, by_area)) in self.means.iter_mut().zip(&mut self.dice_by_area).enumerate() {
            counts.true_positive -= foreground[index];
            counts.false_negative += foreground[index];
            counts.false_positive -= background[index];
            counts.true_negative += background[index];
            means.add(&counts);
            for (sum, area) in by_area.iter_mut().zip(MinArea::TRIED) {
                let empties = area.empties(counts.predicted_pixels(), counts.pixels());
                *sum += if empties { counts.emptied().dice() } else { counts.dice() };
            }
        }
        Ok(())
    }

    /// Images added so far.
    pub fn images(&self) -> u64 {
        self.means[0].images
    }

    /// The scores at each threshold, rising.
    ///
    /// # Errors
    /// No image was added.
    pub fn scores(&self) -> Result<Vec<ThresholdScore>, MetricsError> {
        let score = |((threshold, means), by_area): ((Threshold, &Means), &[f64; AREAS])| {
            Some(ThresholdScore {
                threshold,
                min_area: best_area(by_area),
                dice: means.dice()?,
                dice_positives_only: means.dice_positives_only(),
                iou: means.iou()?,
            })
        };
        let means = Self::thresholds().into_iter().zip(&self.means);
        let scores: Option<Vec<_>> = means.zip(&self.dice_by_area).map(score).collect();
        scores.ok_or(MetricsError::NoImages)
    }

    /// The scores at the threshold with the highest mean Dice. Of equal ones the
    /// nearest to 0.5 is taken, and of two equally near ones the lower.
    ///
    /// # Errors
    /// No image was added.
    pub fn best(&self) -> Result<ThresholdScore, MetricsError> {
        // Counted in steps of 0.05 the distances are exact.
        let from_half = |index: usize| index.abs_diff(THRESHOLDS / 2);
        let better = |(i, a): &(usize, ThresholdScore), (j, b): &(usize, ThresholdScore)| {
            a.dice.total_cmp(&b.dice).then(from_half(*j).cmp(&from_half(*i))).then(j.cmp(i))
        };
        let best = self.scores()?.into_iter().enumerate().max_by(better);
        best.map(|(_, score)| score).ok_or(MetricsError::NoImages)
    }
}

/// The smallest of the areas with the largest sum of Dice.
fn best_area(by_area: &[f64; AREAS]) -> MinArea {
    let mut best = (MinArea::default(), f64::NEG_INFINITY);
    for (area, sum) in MinArea::TRIED.into_iter().zip(by_area) {
        if *sum > best.1 {
            best = (area, *sum);
        }
    }
    best.0
}

/// Sums over images, for means.
#[derive(Clone, Copy, Debug, Default)]
struct Means {
    images: u64,
    positives: u64,
    dice: f64,
    dice_positives_only: f64,
    iou: f64,
}

impl Means {
    fn add(&mut self, counts: &Counts) {
        let dice = counts.dice();
        self.images += 1;
        self.dice += dice;
        self.iou += counts.iou();
        if counts.truth_pixels() > 0 {
            self.positives += 1;
            self.dice_positives_only += dice;
        }
    }

    fn dice(&self) -> Option<f64> {
        mean(self.dice, self.images)
    }

    fn dice_positives_only(&self) -> Option<f64> {
        mean(self.dice_positives_only, self.positives)
    }

    fn iou(&self) -> Option<f64> {
        mean(self.iou, self.images)
    }
}

fn mean(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    mean(part as f64, whole)
}

fn check_pixels(probabilities: &[f32], truth: &[f32]) -> Result<(), MetricsError> {
    if probabilities.len() != truth.len() {
        return Err(MetricsError::Length { probabilities: probabilities.len(), truth: truth.len() });
    }
    if truth.is_empty() {
        return Err(MetricsError::NoPixels);
    }
    if let Some(index) = probabilities.iter().position(|value| !(0.0..=1.0).contains(value)) {
        return Err(MetricsError::Probability { index, value: probabilities[index] });
    }
    if let Some(index) = truth.iter().position(|&value| value != 0.0 && value != 1.0) {
        return Err(MetricsError::Truth { index, value: truth[index] });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, rng};
    use rand::RngExt;

    const HALF: Threshold = Threshold::percent(50);
    const EMPTY: [f32; 4] = [0.0; 4];
    const FULL: [f32; 4] = [1.0; 4];

    #[test]
    fn a_hand_computed_image() {
        let truth = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let probabilities = [0.9, 0.6, 0.5, 0.7, 0.2, 0.1, 0.0, 0.4];
        let counts = Counts::of(&probabilities, &truth, HALF).unwrap();
        let expected = Counts { true_positive: 2, false_positive: 1, false_negative: 1, true_negative: 4 };
        assert_eq!(counts, expected);
        assert_eq!(counts.dice(), 4.0 / 6.0);
        assert_eq!(counts.iou(), 2.0 / 4.0);
        assert_eq!(counts.precision(), Some(2.0 / 3.0));
        assert_eq!(counts.recall(), Some(2.0 / 3.0));
        assert_eq!((counts.truth_pixels(), counts.predicted_pixels()), (3, 3));
    }

    #[test]
    fn empty_and_full_masks() {
        let scores = |probabilities: &[f32], truth: &[f32]| {
            let counts = Counts::of(probabilities, truth, HALF).unwrap();
            (counts.dice(), counts.iou(), counts.precision(), counts.recall())
        };
        assert_eq!(scores(&EMPTY, &EMPTY), (1.0, 1.0, None, None));
        assert_eq!(scores(&FULL, &EMPTY), (0.0, 0.0, Some(0.0), None));
        assert_eq!(scores(&EMPTY, &FULL), (0.0, 0.0, None, Some(0.0)));
        assert_eq!(scores(&FULL, &FULL), (1.0, 1.0, Some(1.0), Some(1.0)));
    }

    #[test]
    fn bad_input_is_an_error_and_is_not_counted() {
        let nan = [0.1, f32::NAN, 0.2, 0.3];
        let mut evaluator = Evaluator::new(HALF);
        let mut sweep = ThresholdSweep::new();
        let error = evaluator.add("a", &nan, &FULL).unwrap_err();
        assert!(matches!(error, MetricsError::Probability { index: 1, value } if value.is_nan()));
        assert!(matches!(sweep.add(&nan, &FULL), Err(MetricsError::Probability { index: 1, .. })));
        assert_eq!(sweep.images(), 0);
        assert_eq!(sweep.best(), Err(MetricsError::NoImages));
        assert_eq!(evaluator.finish(), Err(MetricsError::NoImages));

        let of = |probabilities: &[f32], truth: &[f32]| Counts::of(probabilities, truth, HALF);
        assert!(matches!(of(&[f32::INFINITY; 4], &FULL), Err(MetricsError::Probability { .. })));
        assert_eq!(of(&[-0.1], &[1.0]), Err(MetricsError::Probability { index: 0, value: -0.1 }));
        assert_eq!(of(&EMPTY, &[1.0]), Err(MetricsError::Length { probabilities: 4, truth: 1 }));
        assert_eq!(of(&[], &[]), Err(MetricsError::NoPixels));
        assert_eq!(of(&[0.5], &[0.5]), Err(MetricsError::Truth { index: 0, value: 0.5 }));
        assert!(matches!(of(&[0.5], &[f32::NAN]), Err(MetricsError::Truth { .. })));
    }

    #[test]
    fn an_evaluation_of_three_images_is_written_as_documented() {
        let mut evaluator = Evaluator::new(HALF);
        evaluator.add("half", &[0.9, 0.1, 0.1, 0.1], &[1.0, 1.0, 0.0, 0.0]).unwrap();
        evaluator.add("empty", &EMPTY, &EMPTY).unwrap();
        evaluator.add("false alarm", &[0.9, 0.0, 0.0, 0.0], &EMPTY).unwrap();
        let evaluation = evaluator.finish().unwrap();
        // Dice 2/3, 1 and 0; pooled tp 1, fp 1, fn 1.
        let dice = 2.0 / 3.0;
        let expected = serde_json::json!({
            "dice": {"mean": (dice + 1.0) / 3.0, "positives_only": dice},
            "iou": {"mean": 0.5},
            "precision": 0.5,
            "recall": 0.5,
            "threshold": 0.5,
            "min_area": 0.0,
            "images": [
                {"id": "half", "dice": dice, "iou": 0.5, "precision": 1.0, "recall": 0.5,
                 "truth_pixels": 2, "predicted_pixels": 1},
                {"id": "empty", "dice": 1.0, "iou": 1.0, "precision": null, "recall": null,
                 "truth_pixels": 0, "predicted_pixels": 0},
                {"id": "false alarm", "dice": 0.0, "iou": 0.0, "precision": 0.0, "recall": null,
                 "truth_pixels": 0, "predicted_pixels": 1},
            ],
        });
        // As text, so that the order of the keys is checked too.
        assert_eq!(serde_json::to_string(&evaluation).unwrap(), expected.to_string());
    }

    #[test]
    fn a_mask_below_the_smallest_area_counts_as_empty() {
        let rule = MaskRule { min_area: "0.5".parse().unwrap(), ..HALF.into() };
        let mut evaluator = Evaluator::new(rule);
        let mut add = |id, p: &[f32; 4], truth: &[f32; 4]| evaluator.add(id, p, truth).unwrap().dice;
        let one = [0.9, 0.1, 0.1, 0.1];
        assert_eq!(add("false alarm", &one, &EMPTY), 1.0);
        assert_eq!(add("find", &one, &[1.0, 0.0, 0.0, 0.0]), 0.0);
        assert_eq!(add("large", &[0.9, 0.9, 0.1, 0.1], &[1.0, 1.0, 0.0, 0.0]), 1.0);
        let evaluation = evaluator.finish().unwrap();
        assert_eq!((evaluation.precision, evaluation.recall), (Some(1.0), Some(2.0 / 3.0)));
        assert_eq!(evaluation.images[0].predicted_pixels, 0);
        assert_eq!(evaluation.min_area, rule.min_area);
    }

    /// Images of 1,000 pixels, of which the first `found` are sure and `true_pixels` true.
    fn image(found: usize, true_pixels: usize) -> (Vec<f32>, Vec<f32>) {
        let first = |n: usize, on: f32| (0..1000).map(|i| if i < n { on } else { 0.0 }).collect();
        (first(found, 0.9), first(true_pixels, 1.0))
    }

    fn best_of(images: &[(Vec<f32>, Vec<f32>)]) -> ThresholdScore {
        let mut sweep = ThresholdSweep::new();
        images.iter().for_each(|(probabilities, truth)| sweep.add(probabilities, truth).unwrap());
        sweep.best().unwrap()
    }

    #[test]
    fn the_smallest_area_is_the_one_with_the_best_mean_dice() {
        // A false alarm of 4 pixels; a right mask of 30, which the largest area, 20 pixels, leaves.
        let best = best_of(&[image(4, 0), image(30, 30)]);
        // 0.002 would keep the alarm, 0.005 and all above do as well.
        assert_eq!(best.min_area.to_string(), "0.005");
        // The Dice is without the rule, so that epochs are compared as before.
        assert_eq!(best.dice, 0.5);
        // A find as small as the alarm is worth as much: nothing is gained.
        assert_eq!(best_of(&[image(4, 0), image(4, 4)]).min_area, MinArea::default());
        assert_eq!(best_of(&[image(30, 30)]).min_area, MinArea::default());
        assert_eq!(best_of(&[image(0, 0)]).min_area, MinArea::default());
    }

    #[test]
    fn the_sweep_agrees_with_the_evaluation_by_the_same_rule() {
        let images = [image(4, 0), image(30, 25), image(9, 0), image(0, 7), image(12, 12), image(40, 40)];
        let best = best_of(&images);
        let mean = |min_area| {
            let mut evaluator = Evaluator::new(MaskRule { threshold: best.threshold, min_area });
            for (p, truth) in &images {
                evaluator.add("x", p, truth).unwrap();
            }
            evaluator.finish().unwrap().dice.mean
        };
        let most = MinArea::TRIED.into_iter().map(mean).fold(0.0, f64::max);
        assert_eq!(mean(best.min_area), most);
        assert_eq!(mean(MinArea::default()), best.dice);
        assert!(most > best.dice);
    }

    #[test]
    fn without_positive_images_positives_only_is_null() {
        let mut evaluator = Evaluator::new(HALF);
        evaluator.add("a", &EMPTY, &EMPTY).unwrap();
        let json = serde_json::to_value(evaluator.finish().unwrap()).unwrap();
        assert_eq!(json["dice"], serde_json::json!({"mean": 1.0, "positives_only": null}));
        assert!(json["precision"].is_null() && json["recall"].is_null());
    }

    /// Dice and IoU from sets of pixel numbers, written without the code above.
    fn brute_force(probabilities: &[f32], truth: &[f32], threshold: f32) -> (f64, f64) {
        use std::collections::HashSet;
        let predicted: HashSet<_> =
            (0..truth.len()).filter(|&pixel| probabilities[pixel] > threshold).collect();
        let real: HashSet<_> = (0..truth.len()).filter(|&pixel| truth[pixel] > 0.5).collect();
        if predicted.is_empty() && real.is_empty() {
            return (1.0, 1.0);
        }
        let shared = predicted.intersection(&real).count() as f64;
        let union = predicted.union(&real).count() as f64;
        (2.0 * shared / (predicted.len() + real.len()) as f64, shared / union)
    }

    #[test]
    fn the_sweep_agrees_with_brute_force_at_every_threshold() {
        let mut random = rng(1, Purpose::Case, 0);
        let images: Vec<(Vec<f32>, Vec<f32>)> = (0..40)
            .map(|image| {
                let share = (image % 5) as f32 / 5.0;
                // Hundredths, so that many probabilities lie on a threshold.
                let probabilities = (0..30).map(|_| random.random_range(0..=100) as f32 / 100.0).collect();
                let truth = (0..30).map(|_| if random.random::<f32>() < share { 1.0 } else { 0.0 }).collect();
                (probabilities, truth)
            })
            .collect();
        let mut sweep = ThresholdSweep::new();
        for (probabilities, truth) in &images {
            sweep.add(probabilities, truth).unwrap();
        }
        assert_eq!(sweep.images(), 40);
        let scores = sweep.scores().unwrap();
        for (score, hundredths) in scores.iter().zip((5..100u8).step_by(5)) {
            let threshold = f32::from(hundredths) / 100.0;
            let mut evaluator = Evaluator::new(score.threshold);
            let mut sums = (0.0, 0.0, 0.0, 0);
            for (probabilities, truth) in &images {
                let (dice, iou) = brute_force(probabilities, truth, threshold);
                sums.0 += dice;
                sums.1 += iou;
                if truth.contains(&1.0) {
                    sums.2 += dice;
                    sums.3 += 1;
                }
                let image = evaluator.add("", probabilities, truth).unwrap();
                assert!((image.dice - dice).abs() < 1e-12 && (image.iou - iou).abs() < 1e-12);
            }
            let evaluation = evaluator.finish().unwrap();
            let positives_only = score.dice_positives_only.unwrap();
            assert!((score.dice - sums.0 / 40.0).abs() < 1e-12);
            assert!((score.iou - sums.1 / 40.0).abs() < 1e-12);
            assert!((positives_only - sums.2 / sums.3 as f64).abs() < 1e-12);
            assert_eq!(score.dice, evaluation.dice.mean);
            assert_eq!(score.dice_positives_only, evaluation.dice.positives_only);
            assert_eq!(score.iou, evaluation.iou.mean);
        }
        let highest = scores.iter().map(|score| score.dice).fold(0.0, f64::max);
        assert_eq!(sweep.best().unwrap().dice, highest);
    }

    #[test]
    fn thresholds_are_the_written_numbers() {
        let thresholds = ThresholdSweep::thresholds().map(|threshold| threshold.to_string());
        assert_eq!(thresholds[..4], ["0.05", "0.1", "0.15", "0.2"]);
        assert_eq!(thresholds[6..8], ["0.35", "0.4"]);
        assert_eq!(thresholds[18], "0.95");
    }

    #[test]
    fn ties_go_to_the_threshold_nearest_to_one_half() {
        let best = |probabilities: &[f32], truth: &[f32]| {
            let mut sweep = ThresholdSweep::new();
            sweep.add(probabilities, truth).unwrap();
            sweep.best().unwrap().threshold.to_string()
        };
        // Every threshold is perfect.
        assert_eq!(best(&[1.0, 0.0], &[1.0, 0.0]), "0.5");
        // Perfect from 0.70 up, and up to 0.30.
        assert_eq!(best(&[1.0, 0.68], &[1.0, 0.0]), "0.7");
        assert_eq!(best(&[0.32, 0.0], &[1.0, 0.0]), "0.3");
        // 2/3 below 0.46 and above 0.54, less between: 0.45 and 0.55 are equally near.
        let mut sweep = ThresholdSweep::new();
        sweep.add(&[0.46, 0.0], &[1.0, 0.0]).unwrap();
        sweep.add(&[0.54, 0.0], &[0.0, 0.0]).unwrap();
        let scores = sweep.scores().unwrap();
        assert_eq!((scores[8].dice, scores[9].dice, scores[10].dice), (0.5, 0.0, 0.5));
        assert_eq!(sweep.best().unwrap().threshold, Threshold::percent(45));
    }
}

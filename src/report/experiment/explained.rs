//! How the numbers of a report were made, in words.

use std::collections::BTreeSet;

use serde::Serialize;

use super::units::Units;
use crate::method::plan::Plan;

/// How the numbers were made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// What intervals and tests count, and how many.
    pub unit: String,
    pub dice_sd: &'static str,
    pub interval: &'static str,
    pub test: &'static str,
    pub correction: &'static str,
    pub best_rival: &'static str,
    pub train_seconds: &'static str,
    pub steps_in_line: &'static str,
    pub learnt: &'static str,
}

impl Explained {
    pub fn of(plan: &Plan) -> Explained {
        let named = plan.patients.values().collect::<BTreeSet<_>>().len();
        let units = Units {
            images: plan.images.test,
            patients: named,
            images_without_patient: plan.images.test.saturating_sub(plan.patients.len()),
        };
        let unit = match named {
            0 => format!("{}, each a unit: the data name no patients.", units.text()),
            _ => format!(
                "{}, each a unit: images of one patient are alike, so differences and tests take their mean first. \
                 The mean Dice of a method is over images, and so is its interval, for which patients are drawn.",
                units.text()
            ),
        };
        Explained { unit, ..EXPLAINED }
    }
}

const EXPLAINED: Explained = Explained {
    unit: String::new(),
    dice_sd: "Sample standard deviation (n − 1) of the test Dice over seeds. The split and the draw of the labelled \
              images are the same for all seeds, so it does not tell how much these matter.",
    interval: "95 % percentile bootstrap of the mean Dice, 10,000 resamples of units with all their images; each image's Dice is its mean \
               over seeds first. It tells how much the choice of test images matters, not that of seeds.",
    test: "Paired two-sided Wilcoxon signed-rank test over units, each image's Dice its mean over the seeds that both \
           methods have; differences are means over units too. Units without a difference are left out, ties share \
           their mean rank; exact up to 50 units that differ, above that the normal approximation, tie- and \
           continuity-corrected. They count units, not trainings: of how much a training varies by \
           chance only the differences by seed tell.",
    correction: "Holm. One family: the student against each rival and target_only. Another: each other method \
                 against target_only. The student's p against the ceiling, teacher_ensemble, stands uncorrected: its teachers are no \
                 rival, and that test belongs to no family.",
    best_rival: "Picked by its mean test Dice over the student's seeds, which favours it; the correction covers that, as the student's tests \
                 against all rivals are one family.",
    train_seconds: "Wall time of the training of a method and of all that it needs, mean over seeds; \
                    the last training alone is counted beside it. Runs that are done at the same time share \
                    the machine, so each takes longer than it would alone. A joint training also measures the \
                    cosines of the gradients: inner products over the shared weights, and a wait a step.",
    steps_in_line: "Training steps spent on a method's model one after the other, mean over seeds: those of its last \
                    training and of the trainings that it starts from, each to its end, though what is kept of each \
                    are the weights of its best epoch. None for an ensemble, whose models have a line each.",
    learnt: "A task counts as learnt if on held-out images its accuracy is above that of guessing by more than two standard \
             deviations of a guesser's, or its error below that of the trivial answer by more than a twentieth.",
};

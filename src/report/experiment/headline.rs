//! What came out, in plain sentences made from the numbers.

use super::compare::Comparison;
use super::format::{count, difference, interval, p, score};
use super::results::{MethodRow, Results};
use crate::method::plan::Role;

/// A corrected p below this is called a difference.
const LEVEL: f64 = 0.05;

/// One sentence for each thing that can be said so far, the most important first.
pub fn sentences(results: &Results) -> Vec<String> {
    let mut sentences = Vec::new();
    let student = results.of_role(Role::Method).filter(|method| method.dice_mean.is_some());
    let baseline = results.of_role(Role::Baseline).filter(|method| method.dice_mean.is_some());
    if !results.complete {
        sentences.push(format!(
            "Preliminary: {} of {} runs are complete; what is missing is listed below.",
            results.runs_complete, results.runs
        ));
    }
    match (student, baseline) {
        (Some(student), Some(baseline)) => {
            if let Some(comparison) = &student.against_target_only {
                sentences.push(against("the target-only baseline", student, baseline, comparison));
            }
        }
        (None, _) => {
            sentences.push("No student is trained yet, so nothing can be said of the method.".into())
        }
        (_, None) => {
            sentences.push("No target-only model is trained yet to compare the student with.".into())
        }
    }
    if let (Some(student), Some(rival)) = (student, results.rival())
        && rival.role == Role::Rival
        && let Some(comparison) = &rival.student_against_it
    {
        sentences.push(against(&format!("the best rival, {}", rival.name), student, rival, comparison));
    }
    if let (Some(student), Some(baseline), Some(ceiling)) =
        (student, baseline, results.of_role(Role::Ceiling))
    {
        sentences.extend(kept(student, baseline, ceiling));
    }
    sentences
}

fn against(other: &str, student: &MethodRow, row: &MethodRow, comparison: &Comparison) -> String {
    let significant = comparison.p_adjusted < LEVEL;
    let opposed = comparison.difference * comparison.rank_difference < 0.0;
    let verdict = match (significant, comparison.difference) {
        (_, 0.0) => "is as good as",
        (true, _) if opposed => "differs, but not in one direction, from",
        (true, 0.0..) => "is better than",
        (true, _) => "is worse than",
        (false, 0.0..) => "is not significantly better than",
        (false, _) => "is not better than",
    };
    format!(
        "The student {verdict} {other}: mean test Dice {} against {}, a difference of {} (95 % interval {} over {}), \
         Wilcoxon p {}, corrected {}, {}.",
        score(student.dice_mean),
        score(row.dice_mean),
        difference(comparison.difference),
        interval(Some(comparison.interval)).replace('-', "−"),
        count(comparison.images, "test image"),
        relation(comparison.p),
        relation(comparison.p_adjusted),
        count(comparison.seeds, "seed"),
    )
}

fn relation(value: f64) -> String {
    let text = p(value);
    if text.starts_with('<') { text } else { format!("= {text}") }
}

/// How much of the ensemble's gain the student keeps.
fn kept(student: &MethodRow, baseline: &MethodRow, ceiling: &MethodRow) -> Option<String> {
    let (student, baseline, ceiling) = (student.dice_mean?, baseline.dice_mean?, ceiling.dice_mean?);
    let gain = ceiling - baseline;
    let size = format!("{} ({ceiling:.4})", difference(gain));
    Some(if gain > 0.0 {
        format!(
            "The teachers together gain {size} over the baseline, and the student, at the cost of one model, keeps \
             {:.0} % of that gain.",
            100.0 * (student - baseline) / gain
        )
        .replace('-', "−")
    } else {
        format!("The teachers together gain nothing over the baseline: {size}.")
    })
}

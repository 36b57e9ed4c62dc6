//! What came out, in plain sentences made from the numbers.

use std::collections::BTreeSet;

use super::compare::Comparison;
use super::format::{difference, interval, p, score};
use super::results::{MethodRow, Results};
use crate::method::graph::TARGET_LONGER;
use crate::method::plan::Role;
use crate::report::words::count;

/// A corrected p below this is called a difference.
const LEVEL: f64 = 0.05;
/// Fewer say too little of chance.
const ENOUGH_SEEDS: usize = 3;

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
        (Some(student), Some(_)) => {
            if let Some(comparison) = &student.against_target_only {
                sentences.push(against("the target-only baseline", comparison));
                sentences.extend(too_little(comparison, student, in_family(results)));
            }
        }
        (None, _) => {
            sentences.push("No student is trained yet, so nothing can be said of the method.".into())
        }
        (_, None) => {
            sentences.push("No target-only model is trained yet to compare the student with.".into())
        }
    }
    if let (Some(student), Some(baseline)) = (student, baseline) {
        sentences.extend(at_equal_steps(results, student, baseline));
    }
    if let Some(rival) = results.rival()
        && rival.role == Role::Rival
        && rival.name != TARGET_LONGER
        && let Some(comparison) = &rival.student_against_it
    {
        let lines = match (rival.steps_in_line, student.and_then(|student| student.steps_in_line)) {
            (Some(of_rival), Some(of_student)) if of_rival < of_student => {
                format!(" It has {of_rival:.0} training steps in line, the student {of_student:.0}.")
            }
            _ => String::new(),
        };
        sentences.push(against(&format!("the best rival, {}", rival.name), comparison) + &lines);
    }
    if let (Some(student), Some(baseline), Some(ceiling)) =
        (student, baseline, results.of_role(Role::Ceiling))
    {
        sentences.extend(kept(student, baseline, ceiling));
    }
    sentences.extend(collapsed(results));
    if results.adapters.len() > 1 {
        let adapters: Vec<&str> = results.adapters.iter().map(String::as_str).collect();
        sentences.push(format!(
            "The runs were made on different adapters or drivers ({}): their times cannot be compared, nor small \
             differences of Dice.",
            adapters.join("; ")
        ));
    }
    if student.is_some() && results.seeds.len() < ENOUGH_SEEDS {
        sentences.push(format!(
            "This is of {}: the tests compare these models by their images, and say nothing of how much a training \
             varies by chance. Do {ENOUGH_SEEDS} seeds or more (--seeds).",
            count(results.seeds.len(), "seed")
        ));
    }
    sentences
}

/// A student has more trainings behind it than its baseline: is it only that?
fn at_equal_steps(results: &Results, student: &MethodRow, baseline: &MethodRow) -> Option<String> {
    let longer = results.methods.iter().find(|method| method.name == TARGET_LONGER);
    if let Some(comparison) = longer.and_then(|method| method.student_against_it.as_ref()) {
        return Some(against(
            "the target alone with several trainings in line, target_only_longer",
            comparison,
        ));
    }
    let (of_student, of_baseline) = (student.steps_in_line?, baseline.steps_in_line?);
    (of_student > of_baseline).then(|| {
        format!(
            "The student has {of_student:.0} training steps behind it, the baseline {of_baseline:.0}, and that alone \
             may be the difference: the rival {TARGET_LONGER} in method.rivals tells."
        )
    })
}

/// Tests that the student's are corrected for.
fn in_family(results: &Results) -> usize {
    let tested = results.methods.iter().filter(|method| method.student_against_it.is_some());
    tested.filter(|method| matches!(method.role, Role::Rival | Role::Baseline)).count()
}

/// What keeps the test images from deciding anything, by `tests` tests.
fn too_little(comparison: &Comparison, student: &MethodRow, tests: usize) -> Option<String> {
    let units = comparison.units.patients + comparison.units.images_without_patient;
    // The least p of the exact signed-rank test of n pairs is 2^(1 − n), and Holm counts it `tests` times.
    let least = tests as f64 * 2f64.powi(1 - i32::try_from(units).unwrap_or(i32::MAX));
    if student.dice_positives_only_mean.is_none() {
        Some("No test image has a mask with foreground, so Dice says only whether nothing was found.".into())
    } else if least >= LEVEL {
        Some(format!(
            "{} cannot decide anything: corrected for {}, no p below {LEVEL} is possible.",
            comparison.units.text(),
            count(tests, "test")
        ))
    } else {
        None
    }
}

/// The means are those over units and over the seeds that both have, as everything of a comparison is.
fn against(other: &str, comparison: &Comparison) -> String {
    let corrected = comparison.p_adjusted.unwrap_or(comparison.p);
    let significant = corrected < LEVEL;
    let opposed = comparison.difference * comparison.rank_difference < 0.0;
    let agree = comparison.difference_by_seed.iter().all(|one| one * comparison.difference > 0.0);
    let verdict = match (significant, comparison.difference) {
        (_, 0.0) => "is as good as",
        (true, _) if opposed => "differs, but not in one direction, from",
        (true, 0.0..) if !agree => "is better on the whole, but not in every seed, than",
        (true, _) if !agree => "is worse on the whole, but not in every seed, than",
        (true, 0.0..) => "is better than",
        (true, _) => "is worse than",
        (false, 0.0..) => "is not significantly better than",
        (false, _) => "is not better than",
    };
    format!(
        "The student {verdict} {other}: mean test Dice {} against {}, a difference of {} (95 % interval {} over {}), \
         Wilcoxon p {}, corrected {}; by seed {}.",
        score(Some(comparison.means[0])),
        score(Some(comparison.means[1])),
        difference(comparison.difference),
        interval(comparison.interval).replace('-', "−"),
        comparison.units.text(),
        relation(comparison.p),
        relation(corrected),
        comparison.difference_by_seed.iter().map(|one| difference(*one)).collect::<Vec<_>>().join(", "),
    )
}

fn relation(value: f64) -> String {
    let text = p(value);
    if text.starts_with('<') { text } else { format!("=\u{a0}{text}") }
}

/// Models that tell no image from another.
fn collapsed(results: &Results) -> Option<String> {
    let rows = results.methods.iter().flat_map(|method| &method.seeds);
    let runs: BTreeSet<String> =
        rows.filter(|row| row.collapsed).map(|row| format!("{} of seed {}", row.run, row.seed)).collect();
    let first = runs.first()?;
    Some(format!(
        "{} every pixel of every test image alike, such as {first}: nothing was learnt, and what is said above rests on \
         it. Train for more steps or by another learning rate.",
        match runs.len() {
            1 => "1 model marks".to_owned(),
            more => format!("{more} models mark"),
        }
    ))
}

/// How much of the ensemble's gain the student keeps, over the seeds that all three have.
fn kept(student: &MethodRow, baseline: &MethodRow, ceiling: &MethodRow) -> Option<String> {
    let has = |method: &MethodRow, seed| method.seeds.iter().any(|row| row.seed == seed);
    let seeds: Vec<u64> = student.seeds.iter().map(|row| row.seed).collect();
    let seeds: Vec<u64> =
        seeds.into_iter().filter(|seed| has(baseline, *seed) && has(ceiling, *seed)).collect();
    let [student, baseline, ceiling] = [student, baseline, ceiling].map(|method| method.dice_over(&seeds));
    let (student, baseline, ceiling) = (student?, baseline?, ceiling?);
    let of_seeds = count(seeds.len(), "seed");
    let gain = ceiling - baseline;
    let size = format!("{} ({ceiling:.4})", difference(gain));
    // A share of a gain that the fourth digit could undo means nothing.
    Some(if gain >= 0.001 {
        format!(
            "The teachers together gain {size} over the baseline; the student, at the cost of one model in use, gains \
             {}, {} ({of_seeds} that all three have).",
            difference(student - baseline),
            match 100.0 * (student - baseline) / gain {
                share if share > 100.0 => "more than they".to_owned(),
                share => format!("{share:.0} % of that").replace('-', "−"),
            }
        )
    } else {
        format!(
            "The teachers together gain next to nothing over the baseline: {size} ({of_seeds} that all three have)."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::source::Experiment;
    use super::super::testing;
    use super::super::units::Units;
    use super::*;

    fn sentence(difference: f64, rank_difference: f64, p: f64, other_seed: f64) -> String {
        let interval = [difference - 0.1, difference + 0.1];
        against(
            "X",
            &Comparison {
                seeds: 2,
                units: Units { images: 4, patients: 2, images_without_patient: 1 },
                means: [0.5 + difference, 0.5],
                difference,
                difference_by_seed: vec![difference, other_seed],
                interval: Some(interval),
                rank_difference,
                p,
                p_adjusted: Some(p),
                pairs: vec![],
            },
        )
    }

    fn results() -> Results {
        let root = tempfile::tempdir().unwrap();
        testing::experiment(root.path());
        Results::of(&Experiment::read(root.path()).unwrap())
    }

    fn said(results: &Results, part: &str) -> bool {
        sentences(results).iter().any(|sentence| sentence.contains(part))
    }

    #[test]
    fn more_steps_are_told_until_the_target_has_as_many() {
        let mut results = results();
        assert!(!said(&results, "training steps behind it"), "{:?}", sentences(&results));
        let student = results.methods.iter_mut().find(|method| method.role == Role::Method).unwrap();
        student.steps_in_line = Some(60.0);
        assert!(said(&results, "60 training steps behind it, the baseline 20"), "{:?}", sentences(&results));
        let rival =
            results.methods.iter_mut().find(|m| m.student_against_it.is_some() && m.role == Role::Rival);
        rival.unwrap().name = TARGET_LONGER.into();
        assert!(!said(&results, "training steps behind it"), "{:?}", sentences(&results));
        assert!(
            said(&results, "the target alone with several trainings in line"),
            "{:?}",
            sentences(&results)
        );
    }

    #[test]
    fn other_adapters_and_a_rival_of_fewer_steps_are_told() {
        let mut results = results();
        assert!(!said(&results, "different adapters") && !said(&results, "steps in line"));
        results.adapters = ["GPU A", "GPU B"].map(str::to_owned).into();
        assert!(said(&results, "different adapters or drivers (GPU A; GPU B)"));
        let student = results.methods.iter_mut().find(|method| method.role == Role::Method).unwrap();
        student.steps_in_line = Some(60.0);
        assert!(said(&results, "It has 20 training steps in line, the student 60."));
    }

    #[test]
    fn models_that_mark_all_alike_are_told() {
        let mut results = results();
        assert!(!said(&results, "alike, such as"));
        results.methods[1].seeds[2].collapsed = true;
        assert!(said(
            &results,
            "1 model marks every pixel of every test image alike, such as target_only of seed 2"
        ));
    }

    #[test]
    fn images_that_decide_nothing_are_told() {
        let mut results = results();
        assert!(!said(&results, "cannot decide anything"));
        let student = results.methods.iter_mut().find(|method| method.role == Role::Method).unwrap();
        let comparison = student.against_target_only.as_mut().unwrap();
        comparison.units = Units { images: 9, patients: 2, images_without_patient: 3 };
        assert!(said(
            &results,
            "2 patients of 6 images and 3 images without a patient cannot decide anything"
        ));
        // Three tests: 3 / 2^6 is below 0.05, 3 / 2^5 is not.
        for (images, decides) in [(7, true), (6, false)] {
            let student = results.methods.iter_mut().find(|method| method.role == Role::Method).unwrap();
            let comparison = student.against_target_only.as_mut().unwrap();
            comparison.units = Units { images, patients: 0, images_without_patient: images };
            assert_eq!(said(&results, "corrected for 3 tests, no p below 0.05"), !decides, "{images}");
        }
        let student = results.methods.iter_mut().find(|method| method.role == Role::Method).unwrap();
        student.dice_positives_only_mean = None;
        assert!(said(&results, "No test image has a mask"));
    }

    #[test]
    fn a_student_better_than_its_teachers_has_no_share_of_their_gain() {
        let mut results = results();
        let student = results.methods.iter_mut().find(|method| method.role == Role::Method).unwrap();
        student.seeds.iter_mut().for_each(|seed| seed.test.dice += 0.2);
        assert!(said(&results, ", more than they ("), "{:?}", sentences(&results));
    }

    #[test]
    fn the_verdict_follows_from_the_numbers() {
        for (difference, rank_difference, p, verdict) in [
            (0.2, 9.0, 0.01, "is better than X"),
            (0.2, 9.0, 0.06, "is not significantly better than X"),
            (-0.2, -9.0, 0.01, "is worse than X"),
            (-0.2, -9.0, 0.06, "is not better than X"),
            (0.2, -9.0, 0.01, "differs, but not in one direction, from X"),
            (0.0, 0.0, 1.0, "is as good as X"),
        ] {
            let text = sentence(difference, rank_difference, p, difference);
            assert!(text.contains(&format!("The student {verdict}:")), "{text}");
        }
        let text = sentence(0.2, 9.0, 0.01, -0.1);
        assert!(text.contains("is better on the whole, but not in every seed, than X"), "{text}");
        assert_eq!(
            sentence(-0.2, -9.0, 0.0312, -0.1),
            "The student is worse than X: mean test Dice 0.3000 against 0.5000, a difference of −0.2000 (95 % interval \
             −0.3000 to −0.1000 over 2 patients of 3 images and 1 image without a patient), Wilcoxon p =\u{a0}0.031, corrected =\u{a0}0.031; by seed −0.2000, −0.1000."
        );
    }
}

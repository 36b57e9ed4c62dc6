//! What came out, in plain sentences made from the numbers.

use std::collections::BTreeMap;

use super::RESULTS;
use super::compare::Comparison;
use super::format::{difference, interval, p, score};
use super::results::{MethodRow, Results};
use crate::method::graph::TARGET_LONGER;
use crate::method::plan::Role;
use crate::report::words::{count, listed};

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
            "Preliminary: {} of {} runs are complete; {RESULTS} lists what is missing.",
            results.runs_complete, results.runs
        ));
    }
    sentences.extend(student.and_then(|student| in_short(results, student)));
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
        sentences.extend(tasks_or_steps(results, student, baseline));
    }
    if let Some(rival) = results.rival()
        && rival.role == Role::Rival
        && rival.name != TARGET_LONGER
        && let Some(comparison) = &rival.student_against_it
    {
        sentences.push(
            against(&format!("the best rival, {}", rival.name), comparison) + &fewer_steps(rival, student),
        );
    }
    if let (Some(student), Some(baseline), Some(ceiling)) =
        (student, baseline, results.of_role(Role::Ceiling))
    {
        sentences.extend(kept(student, baseline, ceiling));
    }
    sentences.extend(student.and_then(|student| uneven(results, student)));
    sentences.extend(collapsed(results, student));
    sentences.extend(not_learnt(results));
    sentences.extend(without_model(results));
    if results.adapters.len() > 1 {
        let adapters: Vec<&str> = results.adapters.iter().map(String::as_str).collect();
        sentences.push(format!(
            "The runs were made on different adapters or drivers ({}): their times cannot be compared, nor small \
             differences of Dice.",
            adapters.join("; ")
        ));
    }
    sentences.extend(student.and_then(|student| few_seeds(results, student)));
    sentences
}

/// The verdicts of all comparisons that are told, so that none is read alone.
fn in_short(results: &Results, student: &MethodRow) -> Option<String> {
    let baseline = results.of_role(Role::Baseline);
    let longer = results.methods.iter().find(|method| method.name == TARGET_LONGER);
    let mut verdicts: Vec<(&String, &str)> = vec![];
    for method in [baseline, longer, results.rival()].into_iter().flatten() {
        let comparison = match method.role {
            Role::Baseline => student.against_target_only.as_ref(),
            _ => method.student_against_it.as_ref(),
        };
        if let Some(comparison) = comparison
            && verdicts.iter().all(|(name, _)| **name != method.name)
        {
            verdicts.push((&method.name, verdict(comparison)));
        }
    }
    let texts: Vec<String> = verdicts.iter().map(|(name, verdict)| format!("{verdict} {name}")).collect();
    (texts.len() > 1).then(|| format!("In short, by mean test Dice the student {}.", texts.join("; ")))
}

/// Says so where a rival has fewer training steps behind it than the student.
fn fewer_steps(rival: &MethodRow, student: Option<&MethodRow>) -> String {
    match (rival.steps_in_line, student.and_then(|student| student.steps_in_line)) {
        (Some(of_rival), Some(of_student)) if of_rival < of_student => {
            format!(" It has {of_rival:.0} training steps in line, the student {of_student:.0}.")
        }
        _ => String::new(),
    }
}

/// A student has more trainings behind it than its baseline: is it only that?
fn tasks_or_steps(results: &Results, student: &MethodRow, baseline: &MethodRow) -> Option<String> {
    let longer = results.methods.iter().find(|method| method.name == TARGET_LONGER);
    if let Some(longer) = longer
        && let Some(comparison) = &longer.student_against_it
    {
        let longer_one = "the target alone with several trainings in line, target_only_longer";
        return Some(against(longer_one, comparison) + &fewer_steps(longer, Some(student)));
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

/// How the student stands to another method.
fn verdict(comparison: &Comparison) -> &'static str {
    let significant = comparison.p_adjusted.unwrap_or(comparison.p) < LEVEL;
    let opposed = comparison.difference * comparison.rank_difference < 0.0;
    let agree = comparison.difference_by_seed.iter().all(|one| one * comparison.difference > 0.0);
    match (significant, comparison.difference) {
        (_, 0.0) => "is as good as",
        (true, _) if opposed => "differs, but not in one direction, from",
        (true, 0.0..) if !agree => "is better on the whole, but not in every seed, than",
        (true, _) if !agree => "is worse on the whole, but not in every seed, than",
        (true, 0.0..) => "is better than",
        (true, _) => "is worse than",
        (false, 0.0..) => "is not significantly better than",
        (false, _) => "is not better than",
    }
}

/// The means are those over units and over the seeds that both have, as everything of a comparison is.
fn against(other: &str, comparison: &Comparison) -> String {
    let corrected = comparison.p_adjusted.unwrap_or(comparison.p);
    format!(
        "The student {} {other}: mean test Dice {} against {}, a difference of {} (95 % interval {} over {}), \
         Wilcoxon p {}, corrected {}; by seed {}.",
        verdict(comparison),
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

/// Whether a sentence is about this method.
fn is_told(results: &Results, method: &MethodRow) -> bool {
    method.role != Role::Rival || method.name == TARGET_LONGER || results.is_best_rival(method)
}

fn has(method: &MethodRow, seed: u64) -> bool {
    method.seeds.iter().any(|row| row.seed == seed)
}

/// Comparisons are of common seeds, a table's means of all that a method has.
fn uneven(results: &Results, student: &MethodRow) -> Option<String> {
    let told: Vec<&MethodRow> = results
        .methods
        .iter()
        .filter(|method| method.dice_mean.is_some() && is_told(results, method))
        .collect();
    let like_student = |method: &&&MethodRow| {
        method.seeds.len() == student.seeds.len() && student.seeds.iter().all(|row| has(method, row.seed))
    };
    if told.iter().filter(like_student).count() == told.len() {
        return None;
    }
    let seeds = |method: &&MethodRow| format!("{} {}", method.name, method.seeds.len());
    Some(format!(
        "These methods have not the same seeds ({}): what is said above is of the seeds that both of a comparison have, \
         so its means are not those of the table, which are over all seeds of a method.",
        told.iter().map(seeds).collect::<Vec<_>>().join(", ")
    ))
}

/// Too few seeds to tell chance, by those that the student's first comparison is of.
fn few_seeds(results: &Results, student: &MethodRow) -> Option<String> {
    let tested =
        student.against_target_only.as_ref().map_or(student.seeds.len(), |comparison| comparison.seeds);
    let planned = results.seeds.len();
    (tested < ENOUGH_SEEDS).then(|| {
        format!(
            "This is of {}{}: the tests compare these models by their images, and say nothing of how much a training \
             varies by chance. {}",
            count(tested, "seed"),
            if planned > tested { format!(" of the {planned} planned") } else { String::new() },
            if planned < ENOUGH_SEEDS {
                format!("Do {ENOUGH_SEEDS} seeds or more (--seeds).")
            } else {
                "The same command does the others.".to_owned()
            }
        )
    })
}

/// Models that tell no image from another, and how many of them what is said of the student rests on.
fn collapsed(results: &Results, student: Option<&MethodRow>) -> Option<String> {
    let mut models: BTreeMap<String, bool> = BTreeMap::new();
    for method in &results.methods {
        for row in method.seeds.iter().filter(|row| row.collapsed) {
            let told = is_told(results, method) && student.is_some_and(|student| has(student, row.seed));
            *models.entry(format!("{} of seed {}", row.run, row.seed)).or_default() |= told;
        }
    }
    let names: Vec<&String> = models.keys().collect();
    let rests = match (models.values().filter(|told| **told).count(), models.len()) {
        (_, 0) => return None,
        (0, _) => String::new(),
        (1, 1) => ", and what is said above rests on it".to_owned(),
        (told, all) if told == all => ", and what is said above rests on them".to_owned(),
        (told, _) => format!(", and what is said above rests on {told} of them"),
    };
    Some(format!(
        "{} every pixel of every test image alike ({}): nothing was learnt there{rests}. Train for more steps or by \
         another learning rate.",
        match names.len() {
            1 => "1 model marks".to_owned(),
            more => format!("{more} models mark"),
        },
        listed(&names)
    ))
}

/// Tasks that a network without skill does as well.
fn not_learnt(results: &Results) -> Option<String> {
    let ends = results.tasks.iter().filter(|end| !end.learnt);
    let ends: Vec<String> = ends
        .map(|end| format!("{} {} {:.3} against {:.3}", end.task, end.way, end.value, end.trivial))
        .collect();
    (!ends.is_empty()).then(|| {
        format!(
            "Hardly better on held-out images than an answer that takes no skill, or worse: {}. Train for more steps or by \
             another learning rate, or leave the task out; where few images are held out, hold out more (method.held_out).",
            ends.join("; ")
        )
    })
}

/// Numbers stay when a model is deleted.
fn without_model(results: &Results) -> Option<String> {
    let runs: Vec<String> =
        results.without_model.iter().map(|one| format!("{}: {}", one.run, one.message)).collect();
    (!runs.is_empty()).then(|| {
        format!(
            "{} without a model that can be used ({}): the numbers stand, and the same command trains it anew.",
            count(runs.len(), "complete run"),
            listed(&runs)
        )
    })
}

/// How much of the ensemble's gain the student keeps, over the seeds that all three have.
fn kept(student: &MethodRow, baseline: &MethodRow, ceiling: &MethodRow) -> Option<String> {
    let seeds: Vec<u64> = student.seeds.iter().map(|row| row.seed).collect();
    let seeds: Vec<u64> =
        seeds.into_iter().filter(|seed| has(baseline, *seed) && has(ceiling, *seed)).collect();
    let test = ceiling.against_target_only.as_ref().map_or(String::new(), |comparison| {
        format!(", corrected p {}", relation(comparison.p_adjusted.unwrap_or(comparison.p)))
    });
    let [student, baseline, ceiling] = [student, baseline, ceiling].map(|method| method.dice_over(&seeds));
    let (student, baseline, ceiling) = (student?, baseline?, ceiling?);
    let of_seeds = count(seeds.len(), "seed");
    let gain = ceiling - baseline;
    let size = format!("{} ({ceiling:.4})", difference(gain));
    // A share of a gain that the fourth digit could undo means nothing.
    Some(if gain >= 0.001 {
        format!(
            "The teachers together gain {size} over the baseline{test}; the student, at the cost of one model in use, gains \
             {}, {} ({of_seeds} that all three have).",
            difference(student - baseline),
            match 100.0 * (student - baseline) / gain {
                share if share > 100.0 => "more than they".to_owned(),
                share => format!("{share:.0} % of that").replace('-', "−"),
            }
        )
    } else if gain <= -0.001 {
        format!(
            "The teachers together differ from the baseline by {size}{test}; the student differs from it by {} ({of_seeds} \
             that all three have).",
            difference(student - baseline)
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
        let rival = rival.unwrap();
        (rival.name, rival.steps_in_line) = (TARGET_LONGER.into(), Some(50.0));
        assert!(!said(&results, "training steps behind it"), "{:?}", sentences(&results));
        // As many trainings in line may be fewer steps.
        let fewer = "It has 50 training steps in line, the student 60.";
        assert!(said(&results, fewer), "{:?}", sentences(&results));
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
        assert!(!said(&results, "alike ("));
        results.methods[1].seeds[2].collapsed = true;
        assert!(said(
            &results,
            "1 model marks every pixel of every test image alike (target_only of seed 2): nothing was learnt there, and \
             what is said above rests on it."
        ));
        // Nothing is said above of a rival that is not the best.
        let other = results.methods.iter().position(|method| method.name == "pretrain_all").unwrap();
        results.methods[other].seeds[0].collapsed = true;
        assert!(said(
            &results,
            "2 models mark every pixel of every test image alike (pretrain_all of seed 0, target_only of seed 2): nothing \
             was learnt there, and what is said above rests on 1 of them."
        ));
        // Nor of a seed that has no student.
        let student = results.methods.iter_mut().find(|method| method.role == Role::Method).unwrap();
        student.seeds.pop();
        assert!(said(&results, "nothing was learnt there. Train"), "{:?}", sentences(&results));
    }

    #[test]
    fn seeds_that_not_all_have_are_told() {
        assert!(!said(&results(), "have not the same seeds") && !said(&results(), "This is of"));
        let root = tempfile::tempdir().unwrap();
        testing::experiment(root.path());
        for seed in [1, 2] {
            std::fs::remove_file(root.path().join(format!("seed_{seed}/two_stage/result.json"))).unwrap();
        }
        let results = Results::of(&Experiment::read(root.path()).unwrap());
        assert!(said(&results, "(two_stage 1, target_only 3, "), "{:?}", sentences(&results));
        assert!(
            said(&results, "This is of 1 seed of the 3 planned") && said(&results, "command does the others"),
            "{:?}",
            sentences(&results)
        );
    }

    #[test]
    fn teachers_that_are_worse_than_the_baseline_gain_nothing() {
        let mut results = results();
        let ceiling = results.methods.iter_mut().find(|method| method.role == Role::Ceiling).unwrap();
        ceiling.seeds.iter_mut().for_each(|row| row.test.dice -= 0.1);
        assert!(
            said(&results, "The teachers together differ from the baseline by −0.0"),
            "{:?}",
            sentences(&results)
        );
        assert!(!said(&results, "together gain"), "{:?}", sentences(&results));
    }

    #[test]
    fn a_task_that_was_not_learnt_is_told() {
        let mut results = results();
        assert!(!said(&results, "takes no skill"));
        assert_eq!(results.tasks.len(), 2);
        results.tasks[1].learnt = false;
        assert!(
            said(
                &results,
                "an answer that takes no skill, or worse: rotation joint with the target 0.600 against 0.250."
            ),
            "{:?}",
            sentences(&results)
        );
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

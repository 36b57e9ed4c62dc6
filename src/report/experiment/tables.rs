//! `results.csv` and `results.md`.

use std::path::Path;

use super::format::{NONE, difference, interval, mean_sd, p, p_pair, rounded, score, seconds};
use super::headline;
use super::results::{MethodRow, Results};
use crate::method::plan::Role;
use crate::report::ReportError;

/// One row a method; empty where there is no number.
pub fn csv(path: &Path, results: &Results) -> Result<Vec<u8>, ReportError> {
    let failed = |error: csv::Error| ReportError::encode(path, error);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "method",
        "seeds",
        "dice_mean",
        "dice_sd",
        "dice_interval_low",
        "dice_interval_high",
        "dice_positives_only_mean",
        "iou_mean",
        "p_vs_target_only",
        "p_vs_target_only_adjusted",
        "student_minus_it",
        "student_minus_it_p",
        "student_minus_it_p_adjusted",
        "best_rival",
        "parameters",
        "train_seconds",
        "own_train_seconds",
        "steps_in_line",
    ];
    writer.write_record(header).map_err(failed)?;
    for method in &results.methods {
        writer.write_record(csv_row(method, results)).map_err(failed)?;
    }
    writer.into_inner().map_err(|error| ReportError::encode(path, error))
}

fn csv_row(method: &MethodRow, results: &Results) -> [String; 18] {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let student = method.student_against_it.as_ref();
    [
        method.name.clone(),
        method.seeds.len().to_string(),
        number(method.dice_mean),
        number(method.dice_sd),
        number(method.dice_interval.map(|[low, _]| low)),
        number(method.dice_interval.map(|[_, high]| high)),
        number(method.dice_positives_only_mean),
        number(method.iou_mean),
        number(method.p_vs_target_only),
        number(method.p_vs_target_only_adjusted),
        number(student.map(|comparison| comparison.difference)),
        number(student.map(|comparison| comparison.p)),
        number(student.and_then(|comparison| comparison.p_adjusted)),
        results.is_best_rival(method).to_string(),
        method.parameters.map_or(String::new(), |value| value.to_string()),
        number(method.train_seconds),
        number(method.own_train_seconds),
        number(method.steps_in_line),
    ]
}

pub const COLUMNS: [&str; 11] = [
    "Method",
    "Test Dice, mean ± sd over seeds",
    "95 % interval",
    "Dice, images with a mask",
    "IoU",
    "p against target-only (corrected)",
    "Student less it",
    "p of that (corrected)",
    "Steps in line",
    "Training, all it needs",
    "Seeds",
];

/// The cells of a method's row, in the order of [`COLUMNS`].
pub fn cells(method: &MethodRow, results: &Results) -> [String; 11] {
    let student = method.student_against_it.as_ref();
    [
        method.name.clone(),
        mean_sd(method.dice_mean, method.dice_sd),
        interval(method.dice_interval),
        score(method.dice_positives_only_mean),
        score(method.iou_mean),
        p_pair(method.p_vs_target_only, method.p_vs_target_only_adjusted),
        student.map_or(NONE.into(), |comparison| difference(comparison.difference)),
        // The ceiling is no rival, so its comparison is in no family.
        student.map_or(NONE.into(), |comparison| match comparison.p_adjusted {
            Some(adjusted) => p_pair(Some(comparison.p), Some(adjusted)),
            None => p(comparison.p),
        }),
        rounded(method.steps_in_line),
        seconds(method.train_seconds),
        format!("{} of {}", method.seeds.len(), results.seeds.len()),
    ]
}

pub fn markdown(results: &Results) -> String {
    let mut text = format!("{}\n\n", escape(&results.setting));
    for sentence in headline::sentences(results) {
        text += &format!("{}\n\n", escape(&sentence));
    }
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    text += &line(&COLUMNS.map(str::to_owned));
    text += &format!("|---|{}\n", "---:|".repeat(COLUMNS.len() - 1));
    for method in &results.methods {
        text += &line(&cells(method, results));
    }
    text.push('\n');
    for method in &results.methods {
        text += &format!("- {}: {}\n", escape(&method.name), escape(&method.about));
    }
    if let Some(rival) = results.rival().filter(|method| method.role == Role::Rival) {
        text += &format!("\nBest rival: {}. {}\n", escape(&rival.name), results.statistics.best_rival);
    }
    let explained = &results.statistics;
    for (what, how) in [
        ("sd", explained.dice_sd),
        ("Units", explained.unit.as_str()),
        ("Interval", explained.interval),
        ("p", explained.test),
        ("Correction", explained.correction),
        ("Steps in line", explained.steps_in_line),
        ("Training", explained.train_seconds),
    ] {
        text += &format!("\n{what}: {how}\n");
    }
    text += "\n| Task | Mode | Seed | λ | Validation Dice | Test Dice | Elite |\n|---|---|---:|---:|---:|---:|---|\n";
    for row in &results.stage1 {
        text += &line(&[
            row.task.clone(),
            row.mode.clone(),
            row.seed.to_string(),
            row.lambda.map_or(String::new(), |lambda| lambda.to_string()),
            score(row.val_dice),
            score(row.test_dice),
            row.chosen.map_or("?", |chosen| if chosen { "yes" } else { "" }).to_owned(),
        ]);
    }
    if !results.missing.is_empty() {
        text += &format!("\nNot complete, {} of {} runs:\n\n", results.missing.len(), results.runs);
        for missing in &results.missing {
            text += &format!("- {}: {}", escape(&missing.run), missing.state);
            text +=
                &missing.message.as_ref().map_or("\n".into(), |message| format!(" ({})\n", escape(message)));
        }
    }
    text
}

/// So that a name is shown as it is and ends no cell.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '|' | '<' | '>' | '&' | '*' | '`' | '\\') {
            escaped.push('\\');
        }
        escaped.push(if character.is_control() { ' ' } else { character });
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_no_cell() {
        assert_eq!(escape("a|b\n<i>*&"), "a\\|b \\<i\\>\\*\\&");
    }
}

//! `report.html`: one file that opens without a network.

use std::collections::BTreeSet;
use std::path::Path;

use maud::{Markup, html};

use super::cases::Cases;
use super::charts::{self, Dot, IntervalRow};
use super::format::{number, rounded, score, seconds, shell};
use super::headline;
use super::results::{MethodRow, Results};
use super::series::{self, TaskCurves, TaskEnd, distinct};
use super::source::Experiment;
use super::stage1::StageOneRow;
use super::tables::{COLUMNS, cells};
use super::{RESULTS, TABLE_CSV, TABLE_MARKDOWN, picture};
use crate::method::plan::{PLAN, Role, Which};
use crate::report::document::document;
use crate::report::words::{count, listed};

const STYLE: &str = include_str!("style.css");

/// The sections, in order: anchor and title.
const SECTIONS: [(&str, &str); 10] = [
    ("method", "The method"),
    ("results", "All methods"),
    ("stage1", "Stage one: two modes of each task"),
    ("curves", "Learning curves"),
    ("tasks", "Do the tasks learn?"),
    ("scatter", "Image by image"),
    ("cases", "Best, median and worst cases"),
    ("cosines", "Do the tasks pull the same way?"),
    ("cost", "What it cost"),
    ("reproduce", "To do it again"),
];

/// The whole page.
pub fn page(experiment: &Experiment, results: &Results, cases: &Cases) -> String {
    let contents = [
        method(experiment),
        table(results),
        stage1(results),
        curves(experiment, results.best_rival.as_deref()),
        tasks(experiment, results),
        scatter(results),
        overlays(cases),
        cosines(experiment),
        cost(experiment, results),
        reproduce(experiment),
    ];
    let sentences = headline::sentences(results);
    let folder = experiment.plan.data.file_name().unwrap_or_default().to_string_lossy();
    let title = format!("wgseg: {folder}");
    let body = html! {
        header {
            h1 { "Two-stage training on " (folder) }
            p.soft { (results.setting) }
            div.outcome id="outcome" { @for sentence in &sentences { p { (sentence) } } }
            (missing(results))
            (student(results))
            p.soft { "These tables as files: " (files()) }
            nav { ul { @for (anchor, title) in SECTIONS { li { a href={ "#" (anchor) } { (title) } } } } }
        }
        @for ((anchor, title), content) in SECTIONS.iter().zip(contents) {
            section id=(anchor) { h2 { (title) } (content) }
        }
    };
    document(&title, STYLE, body)
}

/// Links to the files beside the page.
fn files() -> Markup {
    let about = [
        (TABLE_CSV, "for spreadsheets"),
        (TABLE_MARKDOWN, "to paste"),
        (RESULTS, "with every number of every seed"),
        (PLAN, "the runs and their config"),
    ];
    html! { @for (index, (name, about)) in about.into_iter().enumerate() {
        @if index > 0 { ", " } a href=(name) { (name) } " (" (about) ")"
    } }
}

fn missing(results: &Results) -> Markup {
    html! {
        @if !results.missing.is_empty() {
            details {
                summary { (results.missing.len()) " of " (results.runs) " runs are not complete" }
                ul {
                    @for missing in &results.missing {
                        li { code { (missing.run) } ": " (missing.state)
                            @if let Some(message) = &missing.message { " (" (message) ")" } }
                    }
                }
            }
        }
    }
}

/// How the student is used.
fn student(results: &Results) -> Markup {
    html! { @if let Some(model) = &results.student_model {
        p { "Use the student, in the folder of this page: " code { (model.command(Path::new(""))) } }
        p.soft { "It is that of seed " (model.seed) ", of the best validation Dice, " (score(Some(model.val_dice))) ": "
            a href=(model.file) { (model.file) } }
    } }
}

fn absent(what: &str) -> Markup {
    html! { p.soft { (what) } }
}

fn method(experiment: &Experiment) -> Markup {
    html! {
        p { "Labels are scarce and images are not. Each auxiliary task teaches a network from images without masks, "
            "beside the target or before it; the better of the two is the task's elite model. The elite models then "
            "teach one student, which costs what one model costs." }
        (picture::method(&series::tasks(experiment)))
    }
}

fn table(results: &Results) -> Markup {
    let explained = &results.statistics;
    html! {
        (forest(results))
        div.scroll { table {
            thead { tr { @for column in COLUMNS { th scope="col" { (column) } } } }
            tbody { @for method in &results.methods {
                tr.student[method.role == Role::Method] title=(method.about) {
                    @for (index, cell) in cells(method, results).into_iter().enumerate() {
                        @if index == 0 { td.name { (cell) (tag(method, results)) (collapsed(method)) } } @else { td { (cell) } }
                    }
                }
            } }
        } }
        details {
            summary { "What each method is" }
            dl.methods { @for method in &results.methods { dt { code { (method.name) } } dd { (method.about) } } }
        }
        div.note {
            p { b { "sd. " } (explained.dice_sd) }
            p { b { "Units. " } (explained.unit) }
            p { b { "Interval. " } (explained.interval) }
            p { b { "p. " } (explained.test) " In brackets: corrected. " b { "Correction. " } (explained.correction) }
            p { b { "Student less it. " } "The student's mean Dice less that of the method in the row, over units. "
                b { "Best rival. " } (explained.best_rival) }
            p { b { "Steps in line. " } (explained.steps_in_line) " " b { "Training. " } (explained.train_seconds) }
            p { b { "Images with a mask. " } "An empty mask that is found to be empty has a Dice of 1; these are left out there." }
        }
    }
}

fn tag(method: &MethodRow, results: &Results) -> Markup {
    let tag = match method.role {
        Role::Method => Some("student"),
        Role::Ceiling => Some("several models"),
        Role::Baseline => Some("baseline"),
        Role::Rival => results.is_best_rival(method).then_some("best rival"),
    };
    html! { @if let Some(tag) = tag { span.tag { (tag) } } }
}

/// Marks a method some models of which tell no image from another.
fn collapsed(method: &MethodRow) -> Markup {
    let seeds: Vec<String> =
        method.seeds.iter().filter(|seed| seed.collapsed).map(|seed| seed.seed.to_string()).collect();
    html! { @if !seeds.is_empty() { span.tag.bad { "marks all alike: seed " (listed(&seeds)) } } }
}

/// Means with intervals, the best first.
fn forest(results: &Results) -> Markup {
    let row = |method: &MethodRow| {
        Some(IntervalRow {
            name: method.name.clone(),
            strong: method.role == Role::Method,
            mean: method.dice_mean?,
            bounds: method.dice_interval?,
            parts: method.seeds.iter().map(|seed| seed.test.dice).collect(),
        })
    };
    let mut rows: Vec<IntervalRow> = results.methods.iter().filter_map(row).collect();
    rows.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    let baseline = results.of_role(Role::Baseline).and_then(|method| method.dice_mean);
    html! {
        @if rows.is_empty() { (absent("No method is complete yet.")) } @else {
            div.narrow { (charts::intervals(
                "Test Dice: mean, its 95 % interval, and a tick for each seed; dashed: target-only",
                "test Dice", &rows, baseline)) }
        }
    }
}

fn stage1(results: &Results) -> Markup {
    let rows = &results.stage1;
    let tasks = distinct(rows.iter().map(|row| row.task.as_str()));
    let modes = distinct(rows.iter().map(|row| row.mode.as_str()));
    let of = |task: &str, seed: u64, mode: &str| {
        rows.iter().find(|row| (row.task.as_str(), row.seed, row.mode.as_str()) == (task, seed, mode))
    };
    html! {
        p.soft { "The better one by validation Dice, marked ✓, is the task's elite model and teaches the student." }
        @if rows.is_empty() { (absent("The plan has no tasks.")) } @else {
            div.scroll { table {
                thead { tr {
                    th.left { "Task" } th { "Seed" }
                    @for mode in &modes { th { (mode) ": validation Dice" } th { "test Dice" } th { "training" } }
                } }
                tbody { @for task in &tasks { @for seed in &results.seeds { tr {
                    td.name { (task) } td { (seed) }
                    @for mode in &modes { @let row = of(task, *seed, mode); (mode_cells(row)) }
                } } } }
            } }
        }
    }
}

fn mode_cells(row: Option<&StageOneRow>) -> Markup {
    let lambda = row.and_then(|row| row.lambda);
    html! {
        td.yes[row.is_some_and(|row| row.chosen == Some(true))] {
            (score(row.and_then(|row| row.val_dice)))
            @if let Some(lambda) = lambda { span.soft { " λ " (lambda) } }
        }
        td { (score(row.and_then(|row| row.test_dice))) }
        td { (seconds(row.and_then(|row| row.train_seconds))) }
    }
}

fn curves(experiment: &Experiment, best_rival: Option<&str>) -> Markup {
    let drawn: Vec<_> = experiment
        .plan
        .seeds
        .iter()
        .map(|seed| (seed, series::learning(experiment, best_rival, *seed)))
        .filter(|(_, lines)| !lines.is_empty())
        .collect();
    html! {
        @if drawn.is_empty() { (absent("No run has been validated yet.")) } @else {
            p.soft { "Validation Dice over the training steps in line, so a curve that starts late goes on from the best weights of another training; a low start is cut off." @if best_rival.is_some() { " Dashed: the best rival." } }
            div.charts { @for (seed, lines) in &drawn {
                (charts::later_lines(&format!("Seed {seed}"), "step", "validation Dice", lines))
            } }
        }
    }
}

fn tasks(experiment: &Experiment, results: &Results) -> Markup {
    let tasks = series::task_curves(experiment);
    html! {
        @if tasks.is_empty() { (absent("No task has been scored yet.")) } @else {
            p.soft { "On held-out images that no task was trained on, one line a run; the numbers are those at the end of the complete runs, mean over seeds (and over λ where several are tried); dashed: an answer that takes no skill. " (results.statistics.learnt) }
            div.charts { @for task in &tasks {
                (charts::lines(&task_title(task), "step", &task.metric, &task.lines))
            } }
        }
    }
}

fn task_title(task: &TaskCurves) -> String {
    let end = |end: &TaskEnd| {
        let seeds = count(end.seeds, "seed");
        let nothing = if end.learnt { "" } else { ", so hardly anything was learnt" };
        format!("{} {:.3}, no skill {:.3} ({seeds}){nothing}", end.way, end.value, end.trivial)
    };
    let ends: Vec<String> = task.ends.iter().map(end).collect();
    let ends = if ends.is_empty() { "no run is complete yet".into() } else { ends.join("; ") };
    format!("{}: {ends}; {} is better", task.task, if task.higher_is_better { "higher" } else { "lower" })
}

fn scatter(results: &Results) -> Markup {
    let student = results.of_role(Role::Method).and_then(|student| student.against_target_only.as_ref());
    let Some(comparison) = student.filter(|comparison| !comparison.pairs.is_empty()) else {
        return absent("Student and target-only are needed for this.");
    };
    let dot = |(id, student, baseline): &(String, f64, f64)| Dot {
        at: (*baseline, *student),
        title: format!("{id}: target-only {baseline:.4}, student {student:.4}"),
    };
    let dots: Vec<Dot> = comparison.pairs.iter().map(dot).collect();
    let count_where =
        |better: fn(f64, f64) -> bool| comparison.pairs.iter().filter(|(_, a, b)| better(*a, *b)).count();
    html! {
        p { "Of " (count(dots.len(), "test image")) ", the student does better than target_only on " (count_where(|a, b| a > b))
            ", worse on " (count_where(|a, b| a < b)) " and alike on " (count_where(|a, b| a == b)) ". Above the dashed line it does better." }
        div.narrow { (charts::scatter(&format!("Dice of each test image, mean over {}", count(comparison.seeds, "seed")),
            "target-only", "student", &dots)) }
    }
}

fn overlays(cases: &Cases) -> Markup {
    html! {
        @if let Some(note) = &cases.note { p.soft { (note) } }
        @if !cases.cases.is_empty() {
            p.soft { "By the student's Dice in seed " (cases.seed) "; an image without a mask is only shown among the worst." }
            p.note { "Outlines:" span.key-truth {} "truth" span.key-prediction {} "prediction. Areas:"
                span.key-missed {} "missed" span.key-false {} "wrongly found" }
            div.cases { @for case in &cases.cases {
                figure.case {
                    figcaption { b { (case.kind) } " " (case.id) }
                    div { @for drawn in &case.drawn {
                        span { img src=(drawn.uri) alt={ (case.id) " by " (drawn.method) }; (drawn.method) " " (score(Some(drawn.dice))) }
                    } }
                }
            } }
        }
    }
}

fn cosines(experiment: &Experiment) -> Markup {
    let lines = series::cosines(experiment);
    html! {
        @if lines.is_empty() { (absent("No joint training has written its gradients yet.")) } @else {
            p.soft { "Cosine between the gradient of the target and that of each task over the shared parameters, in joint "
                "training of the two: above 0 they agree, below 0 they disagree. Mean over seeds, over λ where several are tried, and over each twentieth of the steps." }
            div.narrow { (charts::lines("Gradient cosine with the target", "step", "cosine", &lines)) }
        }
    }
}

fn cost(experiment: &Experiment, results: &Results) -> Markup {
    let total: f64 = experiment.runs.iter().filter_map(|run| Some(run.result()?.train_seconds)).sum();
    html! {
        p { "All complete runs together: " (seconds(Some(total))) " of training. " (results.statistics.train_seconds) }
        div.scroll { table {
            thead { tr { th.left { "Method" } th { "All it needs" } th { "Last training" } th { "Steps of that" } th { "Steps in line" } th { "Parameters" } } }
            tbody { @for method in &results.methods { tr.student[method.role == Role::Method] {
                td.name { (method.name) } td { (seconds(method.train_seconds)) } td { (seconds(method.own_train_seconds)) }
                td { (rounded(method.steps)) } td { (rounded(method.steps_in_line)) } td { (number(method.parameters)) }
            } } }
        } }
        details {
            summary { "Each run" }
            div.scroll { table {
                thead { tr { th.left { "Run" } th.left { "State" } th { "Steps" } th { "Training" } th { "Parameters" }
                    th { "Validation Dice" } th { "Test Dice" } } }
                tbody { @for run in &experiment.runs {
                    @let result = run.result();
                    @let segmentation = result.and_then(|result| result.segmentation.as_ref());
                    tr {
                        td.name { a href={ (run.folder) "/" } { (run.folder) } } td.left { (run.state()) } td { (number(result.map(|result| result.steps))) }
                        td { (seconds(result.map(|result| result.train_seconds))) }
                        td { (number(result.map(|result| result.parameters))) }
                        td { (score(segmentation.map(|segmentation| segmentation.val_dice))) }
                        td { (score(segmentation.map(|segmentation| segmentation.test.dice.mean))) }
                    }
                } }
            } }
        }
    }
}

fn reproduce(experiment: &Experiment) -> Markup {
    let plan = &experiment.plan;
    let infos: BTreeSet<(String, String)> = experiment
        .runs
        .iter()
        .filter_map(|run| run.info.as_ref())
        .map(|info| (info.version.clone(), info.to_string()))
        .collect();
    let seeds: Vec<String> = plan.seeds.iter().map(u64::to_string).collect();
    let folders: Vec<String> = plan.unlabelled.iter().map(|path| path.display().to_string()).collect();
    // A config that has no TOML form can still be shown.
    let config = plan.config.to_toml().unwrap_or_else(|_| format!("{:#?}", plan.config));
    html! {
        p { "Same adapter, driver, build and tuning table give the same bits." }
        dl {
            dt { "Command" } dd { @for arguments in plan.earlier.iter().chain([&plan.arguments]) {
                code { "wgseg " (shell(arguments)) } br;
            } }
            dt { "What" } dd { (match plan.command { Which::TwoStage => "the method, its baseline, its ceiling and the target trained as long",
                Which::Compare => "the method and its rivals" }) }
            dt { "Seeds" } dd { (seeds.join(", ")) }
            dt { "Data" } dd { (plan.data.display()) }
            dt { "Unlabelled images" } dd { (folders.join(", ")) }
            dt { "Fingerprint of the data" } dd { code { (plan.data_fingerprint) } }
            dt { "wgseg" } dd { (plan.version) ", sources " code { (plan.code) } }
            dt { "Adapter and driver" } dd {
                @if infos.is_empty() { "not known: no run has written it" }
                @for (version, adapter) in &infos { (adapter) " with wgseg " (version) br; }
            }
        }
        details { summary { "The whole config" } pre { (config) } }
    }
}

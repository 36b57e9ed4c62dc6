//! `report.html`: one file, for someone who has never seen the project.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::checks::counts;
use super::diff::word;
use super::report::{AdapterReport, Check, Group, Outcome, Report, Runner};
use crate::report::document::document;
use crate::report::words::count;

const STYLE: &str = include_str!("page.css");

const GROUPS: [(Group, &str, &str); 8] = [
    (Group::Device, "Device", "Opening and closing it."),
    (
        Group::Limits,
        "Limits",
        "What the device says it can do, done in full, with results that are right to the bit.",
    ),
    (
        Group::Memory,
        "Memory",
        "Memory that is not there must be refused by an error, and the device must go on.",
    ),
    (
        Group::Training,
        "Training",
        "A small U-Net trained for some steps, loss by loss beside the double-precision reference.",
    ),
    (
        Group::Kernel,
        "Kernels",
        "Each kernel ran alone on numbers whose result is known in double precision. An error may be as large as the \
         roundings of its sums explain; the bar shows how much of that the worst result took. In units in the last place (ULP) \
         results that cancel are far off on every device.",
    ),
    (
        Group::Gradient,
        "Gradients",
        "Each backward formula beside differences of the forward one, in double precision on the host: a check of \
         wgseg, not of the device.",
    ),
    (
        Group::Determinism,
        "Determinism",
        "The same numbers must give the same bits, run after run and in whatever portions work is submitted.",
    ),
    (
        Group::Speed,
        "Speed",
        "Kernels at the shapes of a U-Net, beside what this device's own measured arithmetic and memory allow.",
    ),
];

/// The whole page.
pub fn page(report: &Report) -> String {
    let body = html! {
        h1 { "Does this device train rightly?" }
        p.soft {
            "wgseg " (report.wgseg) ", kernels " code { (report.kernels.chars().take(12).collect::<String>()) } ", "
            (report.made) ", " (runner(report.runner))
            @if !report.system.is_empty() { ", on " (report.system) }
            @if !report.complete { b { ", INCOMPLETE: interrupted, or still running" } }
            @if let Some(op) = &report.op { ", " code { (op) } " alone" }
            @if report.quick { ", quick" }
            @if report.default_limits { ", with WebGPU's default limits and no features" }
        }
        @if report.adapters.len() > 1 { (overview(report)) }
        @for (index, adapter) in report.adapters.iter().enumerate() { (section(index, report, adapter)) }
        h2 { "How to read this" }
        p {
            "A U-Net is trained by small programs (kernels) that the driver compiles for the device. wgseg runs each "
            "of them on numbers whose results it computes itself in double precision by plain loops, in odd sizes, and "
            "compares. A NaN never passes. " b { "pass" } " means within the bound; " b { "known failure" }
            " is a fault of a driver that wgseg lists with its reason; " b { "skipped" } " was not run, and says why; "
            b { "CRASHED" } " took the driver's process down, or got no answer from it."
        }
        p { "The same as data is in " code { "report.json" } "; " code { "wgseg conformance diff A B" } " compares two." }
    };
    document("wgseg conformance", STYLE, body)
}

fn runner(runner: Runner) -> &'static str {
    match runner {
        Runner::Wgpu => "through wgpu",
        Runner::Webgpu => "through WebGPU",
    }
}

fn is_bad(adapter: &AdapterReport) -> bool {
    adapter.checks.iter().any(|check| check.outcome.is_bad())
}

/// Passed, failed, known and skipped checks in words.
pub fn summary<'a>(checks: impl IntoIterator<Item = &'a Check>) -> String {
    let checks: Vec<&Check> = checks.into_iter().collect();
    let counts = counts(checks);
    let of = |outcome| counts.get(&outcome).copied().unwrap_or(0);
    let mut parts = vec![format!("{} passed", of(Outcome::Pass)), format!("{} failed", of(Outcome::Fail))];
    for (outcome, what) in
        [(Outcome::Crashed, "crashed"), (Outcome::Known, "known to fail"), (Outcome::Skipped, "skipped")]
    {
        if of(outcome) > 0 {
            parts.push(format!("{} {what}", of(outcome)));
        }
    }
    parts.join(", ")
}

fn overview(report: &Report) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th.left { "Adapter" } th.left { "Driver" } th.left { "Result" } th { "Seconds" } } }
            tbody { @for (index, a) in report.adapters.iter().enumerate() { tr {
                td.left { a href={ "#adapter" (index) } { (a.device.name) } " (" (a.device.backend) ")" }
                td.left { (a.device.driver) }
                td class={ "left " (if is_bad(a) { "fail" } else { "pass" }) } { (summary(&a.checks)) }
                td { (format!("{:.0}", a.seconds)) }
            } } }
        } }
    }
}

/// What a report says of an adapter in a sentence, and how it looks. That a device trains rightly is said only of one that
/// went through all checks.
fn verdict(report: &Report, adapter: &AdapterReport) -> (String, &'static str) {
    let passed = adapter.checks.iter().any(|check| check.outcome == Outcome::Pass);
    match (is_bad(adapter), passed, &report.op) {
        (true, ..) => ("It does not: see what failed.".to_owned(), "verdict bad"),
        (false, false, _) => ("Nothing was checked.".to_owned(), "verdict open"),
        (false, true, _) if !report.complete => {
            let text = "Not known yet: the checks were interrupted, or still run. Nothing failed so far.";
            (text.to_owned(), "verdict open")
        }
        (false, true, Some(op)) => (format!("{op} does; nothing else was checked."), "verdict open"),
        (false, true, None) => ("It does: nothing failed.".to_owned(), "verdict"),
    }
}

fn section(index: usize, report: &Report, adapter: &AdapterReport) -> Markup {
    let device = &adapter.device;
    let (verdict, look) = verdict(report, adapter);
    html! {
        h2 id={ "adapter" (index) } { (device.name) " (" (device.backend) ")" }
        dl {
            @for (name, value) in [("Vendor", &device.vendor), ("Driver", &device.driver), ("Backend", &device.backend),
                ("Kind", &device.device_type), ("Kernels taken", &device.family)] {
                @if !value.is_empty() { dt { (name) } dd { (value) } }
            }
            dt { "Time" } dd { (format!("{:.0} s", adapter.seconds)) }
        }
        p class=(look) { (verdict) " " (summary(&adapter.checks)) "." }
        (worth_telling(adapter))
        @for (group, title, what) in GROUPS {
            @let checks: Vec<&Check> = adapter.checks.iter().filter(|check| check.group == group).collect();
            @let passed = checks.iter().all(|check| check.outcome == Outcome::Pass);
            @if !checks.is_empty() {
                h3 { (title) }
                p.soft { (what) }
                @if group == Group::Gradient || group == Group::Determinism {
                    details open[!passed] { summary { (summary(checks.iter().copied())) } (table(group, &checks)) }
                } @else { (table(group, &checks)) }
            }
        }
        details {
            summary { "What the adapter offers" }
            dl { @for (name, limit) in &device.limits { dt { code { (name) } } dd { (limit) } } }
            p.soft { (device.features.join(", ")) }
        }
    }
}

/// All that did not simply pass.
fn worth_telling(adapter: &AdapterReport) -> Markup {
    let mut rows: Vec<&Check> =
        adapter.checks.iter().filter(|check| check.outcome != Outcome::Pass).collect();
    rows.sort_by_key(|check| match check.outcome {
        Outcome::Crashed => 0,
        Outcome::Fail => 1,
        Outcome::Known => 2,
        _ => 3,
    });
    if rows.is_empty() {
        return html! {};
    }
    html! { div.scroll { table {
        thead { tr { th.left { "Outcome" } th.left { "Check" } th.left { "Why" } th.left { "Kernels" } } }
        tbody { @for check in rows { tr {
            td class={ "left name " (class(check.outcome)) } { (word(check.outcome)) }
            td.left { (check.subject) ", " (check.case) (kind(check)) }
            td.left { (check.reason) }
            td.left { code { (check.shaders.join(", ")) } }
        } } }
    } } }
}

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "fail",
        Outcome::Crashed => "crashed",
        Outcome::Known => "known",
        Outcome::Skipped => "skipped",
    }
}

fn kind(check: &Check) -> String {
    let parts = [check.family.as_str(), check.form.as_str()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn table(group: Group, checks: &[&Check]) -> Markup {
    match group {
        Group::Kernel | Group::Gradient | Group::Determinism => by_subject(group, checks),
        Group::Speed => speed(checks),
        Group::Device | Group::Limits | Group::Memory | Group::Training => html! { div.scroll { table {
            thead { tr { th.left { "Check" } th.left { "Outcome" } th { "Error" } th { "Bound" } th.left { "Remark" } } }
            tbody { @for check in checks { tr {
                td.left { (check.subject) ", " (check.case) (kind(check)) }
                td class={ "left name " (class(check.outcome)) } { (word(check.outcome)) }
                td { (number(check.max_error)) } td { (number(check.bound)) }
                td.left { (check.reason) }
            } } }
        } } },
    }
}

fn number(number: Option<f64>) -> String {
    number.map_or(String::new(), |number| format!("{number:.1e}"))
}

/// A row for each op: how many checks, and the one that is nearest to its bound.
fn by_subject(group: Group, checks: &[&Check]) -> Markup {
    let mut subjects: BTreeMap<&str, Vec<&Check>> = BTreeMap::new();
    for check in checks {
        subjects.entry(&check.subject).or_default().push(check);
    }
    let with_errors = group != Group::Determinism;
    html! { div.scroll { table {
        thead { tr {
            th.left { "Op" } th.left { "Result" } th.wide.left { "Kernels" } th { "Checks" }
            @if with_errors { th.left { "Largest error, of its bound" } th.wide { "Largest error, ULP" } }
        } }
        tbody { @for (subject, checks) in subjects { (subject_row(subject, &checks, with_errors)) } }
    } } }
}

fn subject_row(subject: &str, checks: &[&Check], with_errors: bool) -> Markup {
    let families: BTreeSet<&str> =
        checks.iter().map(|check| check.family.as_str()).filter(|family| !family.is_empty()).collect();
    let families: Vec<&str> = families.into_iter().collect();
    let bad = checks.iter().filter(|check| check.outcome != Outcome::Pass).count();
    let worst = checks.iter().map(|check| check.outcome).filter(|o| *o != Outcome::Pass).min();
    let share = checks.iter().filter_map(|check| Some(check.max_error? / check.bound.filter(|b| *b > 0.0)?));
    let share = share.fold(0.0, f64::max);
    let ulp = checks.iter().filter_map(|check| check.max_ulp).fold(0.0, f64::max);
    html! { tr {
        td.left.name { code { (subject) } }
        td class={ "left name " (class(worst.unwrap_or(Outcome::Pass))) } {
            @match worst { None => { "pass" }, Some(worst) => { (bad) " " (word(worst)) } }
        }
        td.wide.left { @if families == ["naive"] { "one for all" } @else { (families.join(", ")) } }
        td { (checks.len()) }
        @if with_errors {
            td.left.name { span.bar { i style={ "width:" (format!("{:.0}", (100.0 * share).min(100.0))) "%" } {} }
                (format!("{:.0} %", 100.0 * share)) }
            td.wide { @if ulp > 0.0 { (ulps(ulp)) } }
        }
    } }
}

fn ulps(ulp: f64) -> String {
    if ulp < 1e4 { format!("{ulp:.1}") } else { format!("{ulp:.0e}") }
}

fn speed(checks: &[&Check]) -> Markup {
    let mut rows = checks.to_vec();
    rows.sort_by(|a, b| b.milliseconds.unwrap_or(0.0).total_cmp(&a.milliseconds.unwrap_or(0.0)));
    let timed: Vec<f64> = rows.iter().filter_map(|check| check.percent_of_peak).collect();
    html! {
        p.soft { (count(timed.len(), "kernel")) " timed; a convolution counts as the direct one, so one that saves work may pass 100 %." }
        div.scroll { table {
            thead { tr { th.left { "Op" } th.left { "Case" } th { "ms" } th.left { "Of the peak" } th.left { "Kernels" } } }
            tbody { @for check in rows { tr {
                td.left.name { code { (check.subject) } }
                td.left { (check.case) }
                td { (check.milliseconds.map_or(word(check.outcome).to_owned(), |ms| format!("{ms:.3}"))) }
                td.left.name { @if let Some(percent) = check.percent_of_peak {
                    span.bar { i style={ "width:" (format!("{:.0}", percent.min(100.0))) "%" } {} } (format!("{percent:.0} %"))
                } }
                td.left { code { (kernels(&check.shaders)) } }
            } } }
        } }
    }
}

/// Kernels in their order, those that follow each other told once.
fn kernels(shaders: &[String]) -> String {
    let mut names: Vec<&str> = shaders.iter().map(String::as_str).collect();
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::report::{Device, SCHEMA};
    use super::*;

    #[test]
    fn a_page_tells_what_failed_first_and_escapes_what_drivers_say() {
        let device = Device { name: "<GPU>".to_owned(), ..Device::default() };
        let check = |outcome, reason: &str| {
            Check::new(Group::Kernel, "conv2d", "odd", outcome).because(reason.to_owned())
        };
        let of = |checks| Report {
            schema: SCHEMA,
            wgseg: "0.1.0".to_owned(),
            kernels: "abc".to_owned(),
            made: "2026-01-01T00:00:00Z".to_owned(),
            system: "linux x86_64".to_owned(),
            runner: Runner::Wgpu,
            quick: false,
            default_limits: false,
            op: None,
            complete: true,
            adapters: vec![AdapterReport { device: device.clone(), seconds: 1.0, checks }],
        };
        let bad = page(&of(vec![
            check(Outcome::Skipped, "no f16"),
            check(Outcome::Fail, "off by <1>"),
            check(Outcome::Pass, ""),
        ]));
        assert!(bad.contains("&lt;GPU&gt;") && bad.contains("off by &lt;1&gt;") && !bad.contains("<GPU>"));
        assert!(bad.contains("1 passed, 1 failed, 1 skipped") && bad.contains("It does not"));
        assert!(bad.find("off by").unwrap() < bad.find("no f16").unwrap());
        let good = page(&of(vec![check(Outcome::Pass, "")]));
        assert!(good.contains("It does: nothing failed."));
        let cut = page(&Report { complete: false, ..of(vec![check(Outcome::Pass, "")]) });
        assert!(cut.contains("Not known yet") && !cut.contains("It does"));
        let part = page(&Report { op: Some("conv2d".to_owned()), ..of(vec![check(Outcome::Pass, "")]) });
        assert!(part.contains("conv2d does; nothing else was checked.") && !part.contains("It does"));
    }
}

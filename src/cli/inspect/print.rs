//! The reports of `wgseg inspect`, for people.

use super::super::say;
use crate::inspect::{ChipReport, Summary, TargetReport, Verdict};

/// What failed, in the validator's words, why others were skipped, and the counts.
pub fn checked(report: &TargetReport) {
    say!("{}: {}", report.target, report.validator);
    for row in &report.rows {
        if let Verdict::Failed(why) = &row.verdict {
            say!("  FAILED {}\n    {}", row.kernel, why.replace('\n', "\n    "));
        }
    }
    for (why, count) in report.reasons() {
        say!("  skipped {count}: {why}");
    }
    let counts = report.counts();
    let passed = if report.compiled { "passed" } else { "translated" };
    say!(
        "{}: {} kernels: {} {passed}, {} failed, {} skipped\n",
        report.target,
        counts.kernels,
        counts.passed,
        counts.failed,
        counts.skipped
    );
}

/// All figures of a chip.
pub fn chip(report: &ChipReport, summary: &Summary) {
    say!("{}: {}", report.target, report.driver);
    let width = report.rows.iter().map(|row| row.kernel.len()).max().unwrap_or_default();
    say!(
        "{:width$} lanes VGPRs SGPRs spilled V/S   LDS waves instructions  code multiply-adds",
        "kernel, constants"
    );
    for row in &report.rows {
        let misses = match row.misses.is_empty() {
            true => String::new(),
            false => format!("  MISSES {}", row.misses.join(", ")),
        };
        let Some(f) = &row.figures else {
            say!("{:width$} {}{misses}", row.kernel, row.failed.as_deref().unwrap_or_default());
            continue;
        };
        let percent = f.main_loop_multiply_add_percent.map_or(String::new(), |p| format!("{p:.1} %"));
        say!(
            "{:width$} {:5} {:5} {:5} {:>11} {:5} {:5} {:12} {:5} {percent:>13}{misses}",
            row.kernel,
            f.wave,
            f.vgprs,
            f.sgprs,
            format!("{}/{}", f.spilled_vgprs, f.spilled_sgprs),
            f.lds_bytes,
            f.waves_per_simd,
            f.instructions,
            f.code_bytes
        );
    }
    let least = summary.least_multiply_add_percent;
    say!(
        "{}: {} of {} kernels miss a limit; {} spill, {} are not built, at most {} VGPRs, at least {} waves{}\n",
        report.target,
        summary.missing,
        summary.kernels,
        summary.spilling,
        summary.failed,
        summary.most_vgprs,
        summary.least_waves,
        least.map_or(String::new(), |p| format!(", at least {p:.1} % multiply-adds in a convolution"))
    );
}

//! The report as files: a table as CSV and as Markdown, and the machine code of each kernel.

use std::fmt::Write;
use std::path::Path;

use super::InspectError;
use super::report::{ChipReport, Row};
use crate::report::{ReportError, atomic};

/// Heads of a table's columns.
pub const COLUMNS: [&str; 14] = [
    "kernel",
    "dispatches",
    "lanes",
    "VGPRs",
    "SGPRs",
    "spilled VGPRs",
    "spilled SGPRs",
    "LDS bytes",
    "waves a SIMD",
    "instructions",
    "code bytes",
    "main loop",
    "multiply-adds %",
    "misses",
];

/// A row's cells, under [`COLUMNS`].
pub fn cells(row: &Row) -> [String; 14] {
    let misses = row.failed.iter().chain(&row.misses).cloned().collect::<Vec<_>>().join("; ");
    let kernel = row.kernel.clone();
    let Some(f) = &row.figures else {
        let mut cells: [String; 14] = Default::default();
        cells[0] = kernel;
        cells[1] = row.dispatches.to_string();
        cells[13] = misses;
        return cells;
    };
    [
        kernel,
        row.dispatches.to_string(),
        f.wave.to_string(),
        f.vgprs.to_string(),
        f.sgprs.to_string(),
        f.spilled_vgprs.to_string(),
        f.spilled_sgprs.to_string(),
        f.lds_bytes.to_string(),
        f.waves_per_simd.to_string(),
        f.instructions.to_string(),
        f.code_bytes.to_string(),
        f.main_loop.map_or(String::new(), |l| format!("{} of {}", l.multiply_adds, l.vector)),
        f.main_loop_multiply_add_percent.map_or(String::new(), |p| format!("{p:.1}")),
        misses,
    ]
}

/// Writes `CHIP.csv`, `CHIP.md` and, in the folder `CHIP`, each kernel's machine code.
pub fn write(folder: &Path, report: &ChipReport) -> Result<(), InspectError> {
    let chip = report.target.trim_start_matches("amd:");
    let code = folder.join(chip);
    std::fs::create_dir_all(&code).map_err(|e| ReportError::write(&code, e))?;
    atomic::write(&folder.join(format!("{chip}.csv")), csv(report)?.as_slice())?;
    atomic::write(&folder.join(format!("{chip}.md")), markdown(report).as_bytes())?;
    for (index, row) in report.rows.iter().enumerate() {
        let name: String =
            row.kernel.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        atomic::write(&code.join(format!("{index:02}-{name}.s")), row.assembly.as_bytes())?;
    }
    Ok(())
}

fn csv(report: &ChipReport) -> Result<Vec<u8>, InspectError> {
    let failed = |e: std::io::Error| ReportError::write(Path::new(&report.target), e);
    let mut writer = csv::Writer::from_writer(vec![]);
    writer.write_record(COLUMNS).map_err(|e| failed(e.into()))?;
    for row in &report.rows {
        writer.write_record(cells(row)).map_err(|e| failed(e.into()))?;
    }
    Ok(writer.into_inner().map_err(|e| failed(e.into_error()))?)
}

fn markdown(report: &ChipReport) -> String {
    let mut text = String::new();
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    // Writing to a String does not fail.
    let _ = writeln!(text, "{}: {}\n", report.target, report.driver);
    let _ = writeln!(text, "{}", line(&COLUMNS.map(str::to_owned)));
    let _ = writeln!(text, "|{}", " --- |".repeat(COLUMNS.len()));
    for row in &report.rows {
        let _ = writeln!(text, "{}", line(&cells(row)));
    }
    text
}

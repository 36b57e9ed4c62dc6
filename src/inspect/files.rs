//! The reports as files: a table as CSV and as Markdown, and the machine code of each kernel.

use std::fmt::Write;
use std::path::Path;

use super::InspectError;
use super::report::{ChipReport, Row};
use super::verdict::{Check, TargetReport};
use crate::report::{ReportError, atomic};

/// Heads of the columns of a chip's table.
const CHIP_COLUMNS: [&str; 14] = [
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

/// Those of any other target's.
const CHECK_COLUMNS: [&str; 4] = ["kernel", "dispatches", "verdict", "why"];

/// A row's cells, under [`CHIP_COLUMNS`].
fn chip_cells(row: &Row) -> [String; 14] {
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

/// A row's cells, under [`CHECK_COLUMNS`].
fn check_cells(row: &Check) -> [String; 4] {
    let (verdict, why) = row.verdict.told();
    [row.kernel.clone(), row.dispatches.to_string(), verdict.to_owned(), why.to_owned()]
}

/// The name of a kernel's files without their ending.
pub fn stem(index: usize, kernel: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    format!("{index:03}-{}", kernel.chars().map(plain).collect::<String>())
}

/// Writes `NAME.csv`, `NAME.md` and, in the folder `NAME`, each kernel's machine code.
pub fn write_chip(folder: &Path, name: &str, report: &ChipReport) -> Result<(), InspectError> {
    let code = folder.join(name);
    std::fs::create_dir_all(&code).map_err(|e| ReportError::write(&code, e))?;
    for (index, row) in report.rows.iter().enumerate() {
        let file = format!("{}.s", stem(index, &row.kernel));
        atomic::write(&code.join(file), row.assembly.as_bytes())?;
    }
    let head = format!("{}: {}", report.target, report.driver);
    write_tables(folder, name, &head, CHIP_COLUMNS, report.rows.iter().map(chip_cells))
}

/// Writes `NAME.csv` and `NAME.md`.
pub fn write_checked(folder: &Path, name: &str, report: &TargetReport) -> Result<(), InspectError> {
    let head = format!("{}: {}", report.target, report.validator);
    write_tables(folder, name, &head, CHECK_COLUMNS, report.rows.iter().map(check_cells))
}

fn write_tables<const N: usize>(
    folder: &Path,
    name: &str,
    head: &str,
    columns: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Result<(), InspectError> {
    let rows: Vec<[String; N]> = rows.collect();
    let path = folder.join(format!("{name}.csv"));
    let table = csv(columns, &rows).map_err(|e| ReportError::write(&path, e))?;
    atomic::write(&path, &table)?;
    let page = markdown(head, columns, &rows);
    Ok(atomic::write(&folder.join(format!("{name}.md")), page.as_bytes())?)
}

fn csv<const N: usize>(columns: [&str; N], rows: &[[String; N]]) -> std::io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(vec![]);
    writer.write_record(columns)?;
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

fn markdown<const N: usize>(head: &str, columns: [&str; N], rows: &[[String; N]]) -> String {
    let mut text = String::new();
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|c| c.replace('|', "\\|").replace('\n', "<br>")).collect();
        format!("| {} |", cells.join(" | "))
    };
    // Writing to a String does not fail.
    let _ = writeln!(text, "{head}\n");
    let _ = writeln!(text, "{}", line(&columns.map(str::to_owned)));
    let _ = writeln!(text, "|{}", " --- |".repeat(N));
    for row in rows {
        let _ = writeln!(text, "{}", line(row));
    }
    text
}

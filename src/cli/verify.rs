//! `wgseg verify`

use std::process::ExitCode;

use super::{AdapterArg, Outcome, print_json, say};
use crate::gpu::Extra;
use crate::verify::{Row, verify};

#[derive(clap::Args)]
pub struct Args {
    /// Check this op alone
    #[arg(long)]
    op: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print every check, not only the failed ones
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    adapter: AdapterArg,
}

pub fn run(args: Args) -> Outcome {
    let gpu = args.adapter.open_with(Extra::CooperativeMatrix)?;
    let report = verify(&gpu, args.op.as_deref(), |row| {
        if !args.json && (args.all || !row.pass) {
            say!("{}", line(row));
        }
    })?;
    if args.json {
        print_json(&report)?;
    } else {
        let mut ops: Vec<&str> = report.ops.iter().map(|r| r.op.as_str()).collect();
        ops.sort_unstable();
        ops.dedup();
        say!("{} ops: {} checks passed, {} failed", ops.len(), report.passed, report.failed);
    }
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(row: &Row) -> String {
    let error = row.max_error.map_or(format!("{} not finite", row.not_finite), |e| format!("{e:.2e}"));
    format!(
        "{} {:28} {:26} {:8} {error:>9} of {:.2e}  {}{}",
        if row.pass { "pass" } else { "FAIL" },
        row.op,
        row.case,
        row.check,
        row.bound,
        row.shaders,
        if row.form.is_empty() { String::new() } else { format!(" ({})", row.form) }
    )
}

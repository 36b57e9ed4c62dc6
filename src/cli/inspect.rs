//! `wgseg inspect`

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::unet::UnetArg;
use super::{Outcome, print_json, say};
use crate::config::{Config, ConfigError};
use crate::inspect::{self, ChipReport, InspectError, Summary, Target, Used};
use crate::program::Precision;
use crate::report::console::tell;

#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    #[command(flatten)]
    unet: UnetArg,
    /// Chip to compile for; may be given again
    #[arg(long, value_name = "CHIP", required = true)]
    target: Vec<Target>,
    /// What the training step keeps its values in: train.precision [default: f32, or the config's]
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// Compile the kernels of every op at the shapes that `wgseg verify` takes, not a U-Net's
    #[arg(long, conflicts_with_all = ["config", "batch", "size", "base", "depth", "precision"])]
    ops: bool,
    /// Write tables as CSV and Markdown, and each kernel's machine code, to this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The driver's own process: compile the jobs of this file
    #[arg(long, hide = true, value_name = "FILE")]
    jobs: Option<PathBuf>,
    /// and begin with this one
    #[arg(long, hide = true, value_name = "N", default_value_t = 0)]
    from: usize,
}

const AFTER: &str = "\
Compiles the GPU kernels with AMD's compiler; no AMD GPU is needed, but Mesa's RADV is, in a version that has its null
device (25.0). A row that misses a limit says so: no register spilled, at least 4 waves a SIMD, and in a convolution's
main loop at least 70 % of the vector instructions multiply-adds, or, where it multiplies matrices, such an instruction.

Exit codes: 0 all limits are met; 1 one is missed, or the driver is not here.

Examples:
  wgseg inspect --target amd:navi31
  wgseg inspect --precision mixed_matrices --target amd:navi31
  wgseg inspect lungs --target amd:navi21 --target amd:vega20 --out code";

/// A chip's report, or why there is none.
#[derive(Serialize)]
#[serde(untagged)]
enum Chip {
    Done {
        summary: Summary,
        #[serde(flatten)]
        report: ChipReport,
    },
    Skipped {
        target: &'static str,
        skipped: String,
    },
}

pub fn run(args: Args) -> Outcome {
    if let (Some(jobs), [target]) = (&args.jobs, args.target.as_slice()) {
        inspect::work(*target, jobs, args.from)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut chips = vec![];
    for target in &args.target {
        let kernels = match args.ops {
            true => inspect::of_ops()?,
            false => inspect::of_unet(&config(&args)?, target.matrices())?,
        };
        chips.push(chip(&args, *target, &kernels)?);
    }
    if args.json {
        print_json(&serde_json::json!({ "targets": chips }))?;
    }
    let met = chips.iter().all(|chip| matches!(chip, Chip::Done { summary, .. } if summary.missing == 0));
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn config(args: &Args) -> Result<Config, ConfigError> {
    let mut config = args.unet.config()?;
    config.train.precision = args.precision.unwrap_or(config.train.precision);
    Ok(config)
}

/// Inspects one chip, and tells it unless JSON is to be printed.
fn chip(args: &Args, target: Target, kernels: &[Used]) -> Result<Chip, InspectError> {
    let report = match inspect::inspect(target, kernels) {
        Ok(report) => report,
        Err(why @ (InspectError::NoDriver { .. } | InspectError::NoDevice { .. })) => {
            tell(&format!("{}: skipped: {why}", target.name()));
            return Ok(Chip::Skipped { target: target.name(), skipped: why.to_string() });
        }
        Err(error) => return Err(error),
    };
    if let Some(folder) = &args.out {
        inspect::write(folder, &report)?;
    }
    let summary = report.summary();
    if !args.json {
        print(&report, &summary);
    }
    Ok(Chip::Done { summary, report })
}

fn print(report: &ChipReport, summary: &Summary) {
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

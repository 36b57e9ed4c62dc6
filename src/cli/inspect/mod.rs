//! `wgseg inspect`

mod print;

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::unet::UnetArg;
use super::{Outcome, print_json};
use crate::config::{Config, ConfigError};
use crate::inspect::target::TargetError;
use crate::inspect::{self, ChipReport, Counts, InspectError, Report, Summary, Target, TargetReport, Used};
use crate::program::Precision;
use crate::report::console::tell;

#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    #[command(flatten)]
    unet: UnetArg,
    /// What to compile for: names with commas between them; may be given again [default: all]
    #[arg(long, value_name = "TARGET", value_delimiter = ',', value_parser = Named::parse)]
    target: Vec<Named>,
    /// What the training step keeps its values in: train.precision [default: f32, or the config's]
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// Compile the kernels of every op at the shapes that `wgseg verify` takes, not a U-Net's: for AMD those for GPUs,
    /// for other targets every form, in f16 and for software drivers as well
    #[arg(long, conflicts_with_all = ["config", "batch", "size", "base", "depth", "precision"])]
    ops: bool,
    /// Write tables as CSV and Markdown, and each kernel's texts and binaries, to this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The compiler's own process: compile the jobs of this file
    #[arg(long, hide = true, value_name = "FILE")]
    jobs: Option<PathBuf>,
    /// and begin with this one
    #[arg(long, hide = true, value_name = "N", default_value_t = 0)]
    from: usize,
}

const AFTER: &str = "\
Compiles the kernels for hardware that is not here. Each is translated by naga with the options that wgpu takes, then
given to what is named below, where that is here; scripts/offline_compilers.sh sets all of it up on Debian 12.

Targets:
  spirv  spirv:vulkan1.1 spirv:vulkan1.3      SPIR-V through spirv-val
  dxil   dxil:6.0 dxil:6.2 dxil:6.6           DXIL by DXC, which validates it; WGSEG_DXCOMPILER names its library
  msl                                         Metal's language: translated, not compiled
  glsl   glsl:es310 glsl:450                  GLSL through glslangValidator
  amd    amd:vega20 amd:navi21 amd:navi31     machine code by Mesa's RADV, in a version with a null device (25.0)

A kernel that needs what a target does not have (f16, 64-bit integers, subgroup operations, cooperative matrices) is
skipped there. A row of an AMD chip that misses a limit says so: no register spilled, at least 4 waves a SIMD, and in a
convolution's main loop at least 70 % of the vector instructions multiply-adds, or, where it multiplies matrices, such
an instruction.

Exit codes: 0 nothing failed and all limits are met; 1 a kernel failed, a limit is missed, or a target that --target
names was skipped because its compiler is not here. Without --target what is not here is told and left out.

Examples:
  wgseg inspect
  wgseg inspect --ops --target spirv,dxil,glsl --out code
  wgseg inspect --precision mixed_matrices --target amd:navi31
  wgseg inspect lungs --target amd:navi21 --target amd:vega20 --out code";

/// The targets of a name of the command line.
#[derive(Clone, Debug)]
struct Named(Vec<Target>);

impl Named {
    fn parse(name: &str) -> Result<Named, TargetError> {
        Target::named(name).map(Named)
    }
}

/// A target's report, or why there is none.
#[derive(Serialize)]
#[serde(untagged)]
enum Told {
    Chip {
        summary: Summary,
        #[serde(flatten)]
        report: ChipReport,
    },
    Checked {
        summary: Counts,
        #[serde(flatten)]
        report: TargetReport,
    },
    Skipped {
        target: &'static str,
        skipped: String,
    },
}

impl Told {
    fn is_met(&self, named: bool) -> bool {
        match self {
            Told::Chip { summary, .. } => summary.missing == 0,
            Told::Checked { summary, .. } => summary.failed == 0,
            Told::Skipped { .. } => !named,
        }
    }
}

pub fn run(args: Args) -> Outcome {
    let mut targets: Vec<Target> = vec![];
    for target in args.target.iter().flat_map(|named| &named.0) {
        if !targets.contains(target) {
            targets.push(*target);
        }
    }
    if let (Some(jobs), [target]) = (&args.jobs, targets.as_slice()) {
        inspect::work(*target, jobs, args.from)?;
        return Ok(ExitCode::SUCCESS);
    }
    let named = !targets.is_empty();
    if !named {
        targets.extend(Target::ALL);
    }
    let every_form = match args.ops && targets.iter().any(|target| !matches!(target, Target::Amd(_))) {
        true => inspect::of_every_form()?,
        false => vec![],
    };
    let mut all = vec![];
    for target in targets {
        let kernels = match (args.ops, target) {
            (true, Target::Amd(_)) => inspect::of_ops()?,
            (true, _) => every_form.clone(),
            (false, _) => inspect::of_unet(&config(&args)?, target.matrices())?,
        };
        all.push(told(&args, target, &kernels)?);
    }
    if args.json {
        print_json(&serde_json::json!({ "targets": all }))?;
    }
    Ok(if all.iter().all(|told| told.is_met(named)) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn config(args: &Args) -> Result<Config, ConfigError> {
    let mut config = args.unet.config()?;
    config.train.precision = args.precision.unwrap_or(config.train.precision);
    Ok(config)
}

/// Inspects for one target, and tells it unless JSON is to be printed.
fn told(args: &Args, target: Target, kernels: &[Used]) -> Result<Told, InspectError> {
    match inspect::inspect(target, kernels, args.out.as_deref()) {
        Ok(Report::Chip(report)) => {
            let summary = report.summary();
            if !args.json {
                print::chip(&report, &summary);
            }
            Ok(Told::Chip { summary, report })
        }
        Ok(Report::Checked(report)) => {
            if !args.json {
                print::checked(&report);
            }
            Ok(Told::Checked { summary: report.counts(), report })
        }
        Err(why) if why.is_absence() => {
            tell(&format!("{}: skipped: {why}", target.name()));
            Ok(Told::Skipped { target: target.name(), skipped: why.to_string() })
        }
        Err(error) => Err(error),
    }
}

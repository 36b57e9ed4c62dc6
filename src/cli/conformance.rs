//! `wgseg conformance`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;
use super::{Outcome, print_json, say};
use crate::conformance::diff::{self, Difference, Kind, word};
use crate::conformance::{self, Check, ConformanceError, Event, Options, Report, page, web};
use crate::gpu::{self, AdapterDescription};
use crate::report::console::tell;
use crate::report::run_folder::{check_free, lock, make_folder, write_json};
use crate::report::{ReportError, atomic};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true, after_help = AFTER)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Folder for report.json and report.html
    #[arg(long, value_name = "REPORT", required_unless_present_any = ["from", "web"])]
    out: Option<PathBuf>,
    /// Adapter to check: its number, a part of its name, or `all`; see `wgseg adapters`
    #[arg(long, value_name = "NAME|all")]
    adapter: Option<String>,
    /// Check this op's kernels, gradients and speed alone
    #[arg(long, value_name = "OP")]
    op: Option<String>,
    /// Write the checks as a page for any browser with WebGPU to this folder, and run nothing
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "adapter", "op", "quick", "default_limits", "from"])]
    web: Option<PathBuf>,
    /// Fewer repeats, no speed, no long dispatch: a minute or two, on a software driver five to twenty
    #[arg(long)]
    quick: bool,
    /// Request nothing beyond WebGPU's default limits, and no feature
    #[arg(long)]
    default_limits: bool,
    /// Give up a group of checks of which nothing is heard for so long, and go on
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
    /// The adapter's own process: run the checks from this number on
    #[arg(long, hide = true, value_name = "N")]
    from: Option<usize>,
}

const AFTER: &str = "\
Runs each kernel, forward and backward, against a double-precision reference; repeats it for the
same bits; uses the device's limits to the full; trains a small U-Net beside the reference; and
measures each kernel's share of the device's peak. A driver that dies takes a few checks down, and
the rest goes on. A report that was interrupted is begun anew by the same command.

Exit codes: 0 nothing failed, or (diff) no result differs; 1 a check failed, a result differs, or an
error; 2 wrong usage.

Examples:
  wgseg conformance --out report
  wgseg conformance --out report --adapter all --quick
  wgseg conformance --out report --op conv2d
  wgseg conformance diff report-old report-new
  wgseg conformance --web page          open page/index.html in a browser, on a phone as well";

#[derive(clap::Subcommand)]
enum Command {
    /// Tell what differs between two devices or drivers, worst first
    Diff {
        /// A report: its folder or report.json; of several adapters one by its number, as in report:1
        a: PathBuf,
        /// The other
        b: PathBuf,
        /// List also the checks that one report alone has, and what the devices offer
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: Args) -> Outcome {
    if let Some(Command::Diff { a, b, all, json }) = &args.command {
        return compare(a, b, *all, *json);
    }
    let options = Options { op: args.op, quick: args.quick, default_limits: args.default_limits };
    if let Some(from) = args.from {
        conformance::work(args.adapter.as_deref().unwrap_or("0"), &options, from)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &args.web {
        return write_page(folder);
    }
    let _interrupt = Interrupt::heed()?;
    let out = args.out.unwrap_or_default();
    check_out(&out)?;
    let adapters = adapters(args.adapter.as_deref())?;
    let patience = Duration::from_secs(args.patience);
    // Nothing is written for an op that there is not.
    conformance::units(&options)?;
    make_folder(&out)?;
    let _lock = lock(&out)?;
    // What was found before an interrupt is there.
    let mut save = |report: &Report| write(&out, report);
    let report = conformance::run(&adapters, &options, patience, &mut progress(), &mut save)?;
    let bad = report.adapters.iter().flat_map(|a| &a.checks).any(|check| check.outcome.is_bad());
    say!("{}", out.join("report.html").display());
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Checks that a report can be written to `out`: it is new or empty, or holds one that was interrupted.
fn check_out(out: &Path) -> Result<(), ReportError> {
    let json = out.join("report.json");
    match conformance::report::read(&json) {
        Ok(report) if !report.complete => Ok(()),
        Ok(_) => Err(ReportError::Exists { path: json }),
        Err(_) => check_free(out),
    }
}

/// Writes the page of `--web`.
fn write_page(folder: &Path) -> Outcome {
    check_free(folder)?;
    let written = web::write(folder)?;
    say!("{}", folder.join("index.html").display());
    let mebibytes = written.bytes as f64 / f64::from(1 << 20);
    tell(&format!(
        "{} checks in {} files, {mebibytes:.1} MiB; open index.html in a browser with WebGPU, from disk or from any web \
         server (over a network WebGPU asks for https)",
        written.checks, written.files
    ));
    Ok(ExitCode::SUCCESS)
}

/// The adapters to check.
fn adapters(wanted: Option<&str>) -> Result<Vec<AdapterDescription>, ConformanceError> {
    if wanted == Some("all") {
        let all = gpu::list();
        if all.is_empty() {
            return Err(gpu::GpuError::NoAdapter.into());
        }
        return Ok(all);
    }
    Ok(vec![gpu::choose(wanted)?.1])
}

fn write(out: &Path, report: &Report) -> Result<(), ReportError> {
    write_json(&out.join("report.json"), report)?;
    atomic::write(&out.join("report.html"), page(report).as_bytes())
}

/// Tells of each adapter, of what did not pass, and at least twice a minute how far it is.
fn progress() -> impl FnMut(Event) {
    const TELL_EACH: Duration = Duration::from_secs(30);
    let (mut units, mut done, mut at) = (0, 0, String::new());
    let mut told = Instant::now();
    move |event| {
        let is_last = matches!(event, Event::Done(count) if count == units);
        match event {
            Event::Device(device, count) => {
                (units, done) = (count, 0);
                tell(&format!("adapter: {} ({}, {})", device.name, device.backend, device.driver));
            }
            Event::Begin(unit) => {
                let (_, subject, case) = unit.label();
                at = format!("{subject}, {case}");
            }
            Event::Check(check) if check.outcome != conformance::Outcome::Pass => say!("{}", line(check)),
            Event::Check(_) => {}
            Event::Done(count) => done = count,
        }
        if is_last || told.elapsed() > TELL_EACH {
            tell(&format!("{done} of {units} groups of checks done; the last one begun: {at}"));
            told = Instant::now();
        }
    }
}

fn line(check: &Check) -> String {
    let mut kind = [check.family.as_str(), check.form.as_str()].join(" ");
    kind = kind.trim().to_owned();
    let kind = if kind.is_empty() { kind } else { format!(" ({kind})") };
    format!("{}: {}, {}{kind}: {}", word(check.outcome), check.subject, check.case, check.reason)
}

fn compare(a: &Path, b: &Path, all: bool, json: bool) -> Outcome {
    let (a, b) = (diff::load(a)?, diff::load(b)?);
    let uneven = diff::uneven(&a.0, &b.0);
    let (a, b) = (a.1, b.1);
    let found = diff::differences(&a, &b);
    if json {
        print_json(
            &serde_json::json!({ "a": a.device, "b": b.device, "uneven": uneven, "differences": found }),
        )?;
    } else {
        for what in &uneven {
            say!("note: {what}");
        }
        for (name, report) in [("A", &a), ("B", &b)] {
            let device = &report.device;
            say!(
                "{name}: {} ({}, {}): {}",
                device.name,
                device.backend,
                device.driver,
                page::summary(&report.checks)
            );
        }
        // What one has no feature for would bury what matters.
        let is_told = |d: &&Difference| all || d.is_of_results() || d.kind == Kind::Time;
        for d in found.iter().filter(is_told) {
            let mut kind = [d.family.as_str(), d.form.as_str()].join(" ");
            kind = kind.trim().to_owned();
            let kind = if kind.is_empty() { kind } else { format!(" ({kind})") };
            say!("{}, {}{kind}\n  A: {}\n  B: {}", d.subject, d.case, d.a, d.b);
        }
        let of = |kind: Kind| found.iter().filter(|d| d.kind == kind && !d.is_bad).count();
        for (count, what) in [
            (of(Kind::OnlyA), "in A alone"),
            (of(Kind::OnlyB), "in B alone"),
            (of(Kind::Offer), "about limits and features of the device"),
        ] {
            if count > 0 && !all {
                say!("{count} {what}; --all lists them");
            }
        }
        say!("{} differences", found.len());
    }
    let differs = found.iter().any(Difference::is_of_results);
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

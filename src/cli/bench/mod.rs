//! `wgseg bench`

mod growth;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{DeviceArg, Outcome, print_json, say};
use crate::bench::ceilings::{self, Ceilings};
use crate::bench::{OpRow, Report, UnetReport, compare, ops, roofline_percent, trace, unet};
use crate::config::Config;
use crate::gpu::Extra;
use crate::program::Precision;
use crate::report::console::tell;
use crate::report::{atomic, roofline};
use crate::verify::select;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = AFTER)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Measure this op; may be given again. Without --op, --unet and --trace all ops and the U-Net
    #[arg(long, value_name = "OP")]
    op: Vec<String>,
    /// Measure the U-Net: a training step and an inference
    #[arg(long)]
    unet: bool,
    /// Measure how time and memory of the training step grow: batches of 1 to 64, images of 64² to 512²
    #[arg(long, conflicts_with_all = ["op", "unet", "dispatches", "trace"])]
    growth: bool,
    /// Longest step of --growth in seconds; what would take longer is skipped
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, requires = "growth")]
    limit: f64,
    /// Images in a batch of the U-Net [default: 8; with --growth 1, while images grow]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: Option<u16>,
    /// Height and width of its images in pixels [default: 128; with --growth 64, while batches grow]
    #[arg(long)]
    size: Option<usize>,
    /// Channels of its first level [default: 16; with --growth 8]
    #[arg(long)]
    base: Option<usize>,
    /// Times it halves the image
    #[arg(long, default_value_t = 4)]
    depth: usize,
    /// What the training step of the U-Net keeps its values in: train.precision
    #[arg(long, value_enum, default_value_t, conflicts_with = "op")]
    precision: Precision,
    /// Timed runs of the U-Net; the median is told [default: 10; with --growth 3]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    reps: Option<u16>,
    /// Time each dispatch of the U-Net's training step as well, by the device's own clock where it has one
    #[arg(long)]
    dispatches: bool,
    /// Measure the U-Net and write a timeline of some training steps to this file, for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write JSON to this file; without a name, print it
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Draw the ops under the adapter's roofline, or with --growth the growth, as a PNG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    adapter: DeviceArg,
}

const AFTER: &str = "\
A time is told only for a result that was compared with the f64 reference in the same run. Percents are of the
roofline: of the least time that the adapter's own measured ceilings allow. A convolution counts as the direct one;
the operations of an op of several dispatches stand at its first.
Close other programs first: a drift of the ceiling tells when the machine was not quiet.

Examples:
  wgseg bench --op conv2d --op norm --plot roofline.png
  wgseg bench --unet --dispatches --trace trace.json
  wgseg bench --unet --precision mixed
  wgseg bench --growth --plot growth.png
  wgseg bench --json before.json
  wgseg bench compare before.json after.json";

#[derive(clap::Subcommand)]
enum Command {
    /// Put two files of `bench --json` side by side.
    Compare {
        /// The first, A
        a: PathBuf,
        /// The second, B
        b: PathBuf,
    },
}

/// Drift of the ceiling, in percent, beyond which the machine was not quiet.
const QUIET: f64 = 10.0;

pub fn run(args: Args) -> Outcome {
    if let Some(Command::Compare { a, b }) = &args.command {
        return compare_files(a, b);
    }
    let (size, base, batch, reps) = if args.growth { (64, 8, 1, 3) } else { (128, 16, 8, 10) };
    let reps = usize::from(args.reps.unwrap_or(reps));
    let set = [
        format!("data.size={}", args.size.unwrap_or(size)),
        format!("model.base_channels={}", args.base.unwrap_or(base)),
        format!("model.depth={}", args.depth),
        format!("train.batch_size={}", args.batch.unwrap_or(batch)),
        format!("train.precision=\"{}\"", args.precision),
    ];
    let config = Config::parse("", "bench", &set)?;
    if args.growth {
        return growth::run(&args, &config, reps);
    }
    let with_unet = args.unet || args.trace.is_some();
    let everything = args.op.is_empty() && !with_unet;
    let mut entries = vec![];
    if everything {
        entries = select(None)?;
    }
    for name in &args.op {
        entries.extend(select(Some(name))?);
    }
    let gpu = args.adapter.open_for(Extra::Timestamps, config.train.precision, None)?;
    let printed = args.json.as_deref() == Some(Path::new("-"));

    tell("measuring what the adapter can do");
    let before = ceilings::measure_all(&gpu)?;
    if !printed {
        say!("{}", ceiling_line(&before));
    }
    let mut rows = vec![];
    for entry in entries {
        rows.extend(ops::measure(&gpu, entry, &mut |row| {
            if !printed {
                say!("{}", op_line(row, &before));
            }
        })?);
    }
    let unet = match everything || with_unet {
        true => {
            let ceilings = args.dispatches.then_some(&before);
            Some(unet::measure(&gpu, &config, reps, ceilings)?)
        }
        false => None,
    };
    if let Some(path) = &args.trace {
        atomic::write(path, serde_json::to_string(&trace::record(&gpu, &config)?)?.as_bytes())?;
    }
    let after = ceilings::measure(&gpu)?;
    let final_rate_percent = 100.0 * after.multiply_add_gflop_per_s / before.multiply_add_gflop_per_s;
    let report = Report {
        adapter: gpu.description().clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tuning: gpu.caps().choices.id(),
        ceilings: before.best(after),
        final_rate_percent,
        ops: rows,
        unet,
    };
    if (final_rate_percent - 100.0).abs() > QUIET {
        tell(&format!(
            "warning: multiply-adds ran at {final_rate_percent:.0} % of their first rate at the end: the machine was not \
             quiet, or slowed down when warm, and percents are off by as much"
        ));
    }
    if let (Some(unet), false) = (&report.unet, printed) {
        print_unet(unet);
    }
    if let Some(path) = &args.plot {
        roofline::write_plot(path, &report)?;
    }
    match &args.json {
        Some(_) if printed => print_json(&report)?,
        Some(path) => atomic::write(path, serde_json::to_string_pretty(&report)?.as_bytes())?,
        None => {}
    }
    let wrong = report.ops.iter().filter(|r| !r.pass).count();
    if wrong > 0 {
        tell(&format!(
            "error: {wrong} of {} results are wrong on this adapter and have no time",
            report.ops.len()
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn ceiling_line(c: &Ceilings) -> String {
    let offered = |rate: Option<f64>, what: String| match rate {
        Some(rate) => format!("{rate:.1} GFLOP/s ({what})"),
        None => format!("not offered ({what})"),
    };
    let kind = c
        .cooperative_matrix_kind
        .map_or("cooperative matrices".to_owned(), |kind| format!("cooperative matrices of {kind}"));
    format!(
        "ceilings: multiply-add {:.1} GFLOP/s (f32), {}, {}, copy {:.1} GB/s, a dispatch {:.1} µs, a submission {:.0} µs",
        c.multiply_add_gflop_per_s,
        offered(c.multiply_add_f16_gflop_per_s, "f16".to_owned()),
        offered(c.cooperative_matrix_gflop_per_s, kind),
        c.copy_gb_per_s,
        c.dispatch_us,
        c.submit_us
    )
}

fn op_line(row: &OpRow, ceilings: &Ceilings) -> String {
    let what = format!("{:28} {:26}", row.op, row.case);
    let Some(timing) = &row.timing else {
        let error = row.max_error.map_or("not finite".to_owned(), |e| format!("{e:.1e} off"));
        return format!("{what} WRONG: {error}, allowed {:.1e}  {}", row.bound, row.shaders);
    };
    format!(
        "{what} {:10.3} ms ±{:3.0} % {:8.1} GFLOP/s {:7.1} GB/s {:4.0} %  {}",
        timing.median_ms,
        timing.spread_percent / 2.0,
        row.flops as f64 / timing.median_ms / 1e6,
        row.bytes as f64 / timing.median_ms / 1e6,
        roofline_percent(ceilings, row.flops, row.bytes, timing),
        row.shaders
    )
}

fn print_unet(unet: &UnetReport) {
    if let Some(clock) = unet.dispatch_clock {
        say!("{} dispatches, by {clock}:", unet.dispatches.len());
    }
    for row in &unet.dispatches {
        say!(
            "{:32} {:28} {:9.3} ms {:8.1} GFLOP/s {:7.1} GB/s {:4.0} %  {}",
            row.shader,
            row.op,
            row.ms,
            row.flops as f64 / row.ms / 1e6,
            row.bytes as f64 / row.ms / 1e6,
            row.roofline_percent,
            row.scope
        );
    }
    say!(
        "training step in {} {:.1} ms ({:.1} images/s, {:.1} GFLOP/s, {:.1} MiB), the first {:.0} ms; inference {:.1} ms",
        unet.precision,
        unet.train_step_ms,
        unet.batch as f64 / unet.train_step_ms * 1e3,
        unet.gflop_per_s,
        unet.peak_bytes as f64 / f64::from(1 << 20),
        unet.first_step_ms,
        unet.infer_ms
    );
}

fn compare_files(a: &Path, b: &Path) -> Outcome {
    let (first, second) = (compare::read(a)?, compare::read(b)?);
    let pairs = compare::pairs(&first, &second);
    if pairs.is_empty() {
        return Err(format!(
            "{} and {} have nothing in common: no op at the same shape, no U-Net of the same size",
            a.display(),
            b.display()
        )
        .into());
    }
    say!("A: {} ({}), wgseg {}", first.adapter, a.display(), first.version);
    say!("B: {} ({}), wgseg {}", second.adapter, b.display(), second.version);
    say!("{:56} {:>12} {:>12} {:>9}", "", "A ms", "B ms", "A / B");
    for pair in &pairs {
        say!("{:56} {:12.3} {:12.3} {:9.2}", pair.what, pair.a_ms, pair.b_ms, pair.speed_up());
    }
    let mean = pairs.iter().map(|p| p.speed_up().ln()).sum::<f64>() / pairs.len() as f64;
    say!("B is {:.2} times as fast as A in the geometric mean of {} times", mean.exp(), pairs.len());
    Ok(ExitCode::SUCCESS)
}

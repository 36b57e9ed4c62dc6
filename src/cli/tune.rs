//! `wgseg tune`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use super::interrupt::Interrupt;
use super::unet::UnetArg;
use super::{AdapterArg, Outcome, say};
use crate::gpu::Extra;
use crate::program::Precision;
use crate::report::console::tell;
use crate::report::words::{count, duration};
use crate::tune::{Effort, Measured, StepTimes, Table, measure, place, spots, step_times};

#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    #[command(flatten)]
    unet: UnetArg,
    /// Write the table to this file, for WGSEG_TUNING=FILE, not to the user's own place
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Fewer and shorter samples; of large shapes the results are compared with each other, not with the f64 reference
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    adapter: AdapterArg,
}

const AFTER: &str = "\
Convolutions can be computed in several forms: tiles of other sizes, more or fewer parts of a sum, Winograd's way. A rule
takes one of them. This measures all at the shapes of a U-Net's training step and inference, and keeps those that are
faster by 5 % or more. A time counts only if the result was compared with the f64 reference, or, of large shapes, with the
rule's. At the end the whole step is timed by the rule and by what was chosen: if it gains nothing, the rule stays.

The table holds for this adapter, driver and build. train, evaluate, predict, bench, two-stage, compare, plan and demo
take it from then on, and say so; --no-tuning or WGSEG_TUNING=off does without, WGSEG_TUNING=FILE takes another. A run
goes on with the table that it began with. Points of an earlier table that are not measured now stay in it.

Measured in f32: what a mixed training step reads in f16 keeps the forms that go by rule.
Close other programs first. Ctrl-C leaves the earlier table as it is.

Examples:
  wgseg tune                                  the U-Net that `wgseg bench` measures
  wgseg tune lungs                            that of a config
  wgseg tune --batch 16 --size 256 --quick
  wgseg tune --out table.json && WGSEG_TUNING=table.json wgseg bench --unet";

pub fn run(args: Args) -> Outcome {
    let _interrupt = Interrupt::heed()?;
    let mut config = args.unet.config()?;
    // Forms are measured in f32; kernels that read f16 keep the rule's.
    config.train.precision = Precision::F32;
    let gpu = args.adapter.open_with(Extra::Timestamps)?;
    let path = place::target(args.out, gpu.description())?;
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let began = Instant::now();
    let spots = spots(&gpu, &config)?;
    tell(&format!("{} to measure", count(spots.len(), "kernel")));
    say!(
        "{:9} {:18} {:66} {:>20} {:>9}  {:>20} {:>9} {:>6}",
        "",
        "kernel",
        "shape",
        "rule",
        "ms",
        "best other",
        "ms",
        "gain"
    );
    let mut points = vec![];
    for (i, spot) in spots.iter().enumerate() {
        let measured = measure(&gpu, spot, &effort)?;
        say!("[{:3}/{:3}] {}", i + 1, spots.len(), line(&measured));
        points.push(measured.tuned);
    }
    let mut table = Table::new(gpu.description(), points);
    let taken = table.points.iter().filter(|point| point.form != point.rule).count();
    if taken == 0 {
        say!("the rule's forms are the fastest everywhere, or within 5 %");
    } else {
        let times = step_times(&gpu, &config, &table.choices(), effort.rounds)?;
        say!("{}", step_line(&times));
        if times.gain <= 1.0 {
            say!("the step as a whole gains nothing: the table keeps the rule's forms");
            table.take_rule();
        }
    }
    let kept = place::earlier(&path, gpu.description()).map_or(0, |earlier| table.keep(earlier));
    table.write(&path)?;
    let chosen = table.choices().id().map_or("the rule's forms".to_owned(), |id| format!("table {id}"));
    let kept = if kept == 0 { String::new() } else { format!(", {kept} of them measured earlier") };
    say!(
        "{}{kept}: {chosen} in {}, measured in {}",
        count(table.points.len(), "kernel"),
        path.display(),
        duration(began.elapsed().as_secs_f64())
    );
    Ok(ExitCode::SUCCESS)
}

fn line(Measured { tuned, best, gain, wrong }: &Measured) -> String {
    let mut line = format!(
        "{:18} {:66} {:>20} {:9.3}",
        tuned.point.kernel, tuned.point.shape, tuned.rule, tuned.rule_ms
    );
    if let Some((form, ms)) = best {
        line += &format!("  {form:>20} {ms:9.3} {gain:6.2}");
    }
    if tuned.form != tuned.rule {
        line += "  taken";
    }
    if !wrong.is_empty() {
        line += &format!("  WRONG on this adapter: {}", wrong.join(", "));
    }
    line
}

fn step_line(StepTimes { rule, chosen, gain }: &StepTimes) -> String {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "training step: {:.1} ms and {:.1} MiB by the rule, {:.1} ms and {:.1} MiB as chosen, gain {gain:.2}",
        rule.0,
        mebibytes(rule.1),
        chosen.0,
        mebibytes(chosen.1)
    )
}

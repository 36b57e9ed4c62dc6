//! The command line: one file a command.

mod adapters;
mod bench;
mod compare;
mod completions;
mod config;
mod config_arg;
mod conformance;
mod cross_validate;
mod data;
mod demo;
mod doctor;
mod evaluate;
mod experiment;
mod export;
mod import;
mod init;
mod inspect;
mod interrupt;
mod man;
mod mask_rule;
mod plan;
mod predict;
mod report;
mod run_one;
mod train;
mod tune;
mod two_stage;
mod unet;
mod verify;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::gpu::{AdapterDescription, Extra, Gpu, GpuError, GpuOptions};
use crate::program::Precision;
use crate::report::console;
use crate::tune::place::{VARIABLE, Wanted};
use crate::tune::{Table, TuneError};

/// Trains U-Nets for medical image segmentation on any GPU.
#[derive(Parser)]
#[command(name = "wgseg", version, about, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  wgseg demo --out demo                                   generate data, train, evaluate, draw
  wgseg data phantom --out phantom --count 200 --size 128 --seed 1
  wgseg config default                                    every key of a config, explained
  wgseg doctor lungs                                      can this machine train it? what next?
  wgseg init lungs --out lungs.toml                       a config for your images
  wgseg train configs/lungs.toml --data lungs --out run --set train.epochs=5
  wgseg evaluate --model run/best.safetensors --data lungs --split test --json
  wgseg cross-validate lungs --data lungs --out folds     after: wgseg data split lungs --folds 5
  wgseg tune lungs                                        measure the fastest kernels here
  wgseg plan two_stage_lungs
  wgseg two-stage two_stage_lungs --data lungs --unlabelled cxr --out run
  wgseg predict --model run/best.safetensors --out predicted image.png
  wgseg export onnx --model run/best.safetensors --out model.onnx

Exit codes: 0 done; 1 an error or a failed check; 2 wrong usage; 130 interrupted (train goes on
with --resume, cross-validate, two-stage and compare by the same command).";

#[derive(Subcommand)]
enum Command {
    /// Make or check a data folder.
    #[command(subcommand)]
    Data(data::Command),
    /// Write a config for a data folder, with the reasons for its values.
    Init(init::Args),
    /// Train a model.
    Train(train::Args),
    /// Train and test a model for each fold of a split.
    CrossValidate(cross_validate::Args),
    /// Score a model on labelled images.
    Evaluate(evaluate::Args),
    /// Write masks, probability maps and overlays of images.
    Predict(predict::Args),
    /// Write a model in a form that other programs run.
    #[command(subcommand)]
    Export(export::Command),
    /// Write results, tables and a page of a two-stage or compare folder.
    Report(report::Args),
    /// Check each kernel against the CPU reference.
    Verify(verify::Args),
    /// Tell whether a device and its driver train correctly: a report to read and to compare.
    Conformance(conformance::Args),
    /// Measure kernels and the U-Net beside what the adapter can do.
    Bench(bench::Args),
    /// Measure which form of each kernel is the fastest on this adapter, and keep it for other commands.
    Tune(tune::Args),
    /// Compile the kernels for hardware that is not here: Vulkan, DirectX, Metal, OpenGL, AMD's chips.
    Inspect(inspect::Args),
    /// Print a built-in config, with every key and its meaning in `default`.
    Config(config::Args),
    /// Tell whether this machine can train by a config, what is slow and why, and what to run next.
    Doctor(doctor::Args),
    /// List the adapters of this machine.
    Adapters(adapters::Args),
    /// Train elite models with auxiliary tasks on unlabelled images, and distil them into one.
    TwoStage(two_stage::Args),
    /// Train the two-stage method and its rivals from the same images, for an honest table.
    Compare(compare::Args),
    /// Tell the runs of two-stage or compare: what each needs, its steps, memory and time.
    Plan(plan::Args),
    /// Do one run of a two-stage or compare folder, as its jobs on Slurm do.
    RunOne(run_one::Args),
    /// Generate data, train on it, evaluate and draw: a first look in a few minutes.
    Demo(demo::Args),
    /// Print completions for a shell.
    Completions(completions::Args),
    /// Write man pages.
    Man(man::Args),
}

/// The adapter that a command runs on.
#[derive(clap::Args, Clone, Debug)]
struct AdapterArg {
    /// Adapter to use: its number, or words of its name, driver and backend, as "llvmpipe gl"; see `wgseg adapters`
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
}

impl AdapterArg {
    fn open_with(&self, extra: Extra) -> Result<Arc<Gpu>, GpuError> {
        self.open_tuned(extra, Precision::F32, |_| Ok(None))
    }

    fn open_tuned<E: From<GpuError>>(
        &self,
        extra: Extra,
        precision: Precision,
        table: impl FnOnce(&AdapterDescription) -> Result<Option<Arc<Table>>, E>,
    ) -> Result<Arc<Gpu>, E> {
        let options = GpuOptions { adapter: self.adapter.clone(), extra, precision, default_limits: false };
        Gpu::open_tuned(&options, |adapter| {
            console::tell(&format!("adapter: {} ({}, {})", adapter.name, adapter.backend, adapter.driver));
            table(adapter)
        })
    }
}

/// The adapter that a command runs on, and whether with tuned kernels.
#[derive(clap::Args, Clone, Debug)]
struct DeviceArg {
    #[command(flatten)]
    adapter: AdapterArg,
    /// Do without the table of `wgseg tune`, as by WGSEG_TUNING=off
    #[arg(long)]
    no_tuning: bool,
}

impl DeviceArg {
    /// What names the adapter.
    fn name(&self) -> Option<String> {
        self.adapter.adapter.clone()
    }

    fn open(&self) -> Result<Arc<Gpu>, TuneError> {
        self.open_for(Extra::None, Precision::F32, None)
    }

    /// Opens it for steps in `precision`, and for a run that was `begun` in this folder, whose table counts then.
    fn open_for(
        &self,
        extra: Extra,
        precision: Precision,
        begun: Option<&Path>,
    ) -> Result<Arc<Gpu>, TuneError> {
        let wanted = Wanted::by(self.no_tuning, std::env::var_os(VARIABLE), begun);
        self.adapter.open_tuned(extra, precision, |description| wanted.find(description))
    }
}

/// What every command returns: the exit code, or an error that is told to the user.
type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Data(command) => data::run(command),
        Command::Train(args) => train::run(args),
        Command::CrossValidate(args) => cross_validate::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Export(command) => export::run(command),
        Command::Report(args) => report::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Conformance(args) => conformance::run(args),
        Command::Tune(args) => tune::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Config(args) => config::run(args),
        Command::Adapters(args) => adapters::run(args),
        Command::TwoStage(args) => two_stage::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Plan(args) => plan::run(args),
        Command::RunOne(args) => run_one::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Init(args) => init::run(args),
    };
    match outcome {
        Ok(_) if console::result_lost() => {
            console::tell("error: the result could not be written to stdout; is the disk full?");
            ExitCode::FAILURE
        }
        Ok(code) => code,
        Err(error) => {
            console::tell(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line of results on stdout.
macro_rules! say {
    ($($arg:tt)*) => {
        crate::report::console::say(&format!($($arg)*))
    };
}
use say;

/// Prints `value` as the one JSON document on stdout.
fn print_json(value: &impl Serialize) -> Result<(), serde_json::Error> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

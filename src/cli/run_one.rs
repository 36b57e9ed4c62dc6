//! `wgseg run-one`

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::interrupt::{INTERRUPTED, Interrupt};
use super::{DeviceArg, Outcome};
use crate::gpu::Extra;
use crate::method::assess::{Job, State, assess, sweep, why};
use crate::method::error::MethodError;
use crate::method::execute::{Options, execute};
use crate::method::inputs;
use crate::method::material::Material;
use crate::method::perform::{Place, perform};
use crate::method::plan::{Plan, PlannedRun};
use crate::method::run::RunSpec;
use crate::method::slurm::{EARLY, LASTING};
use crate::method::view::View;
use crate::report::ReportError;
use crate::report::console::tell;
use crate::report::run_folder::lock;
use crate::train::TrainError;
use crate::train::watch::Watch;

#[derive(clap::Args)]
pub struct Args {
    /// Folder of `wgseg two-stage` or `wgseg compare`
    root: PathBuf,
    /// Folder of the run in it, as seed_1/stage1/rotation/joint
    run: String,
    #[command(flatten)]
    adapter: DeviceArg,
}

/// Does the run by the plan in the folder, goes on with it where it was begun, or does nothing where it is
/// complete. Writes in the folder of the run alone, so that any number of these work side by side.
pub fn run(args: Args) -> Outcome {
    let interrupt = Interrupt::heed()?;
    let plan = Plan::read(&args.root)?;
    let runs = with_needs(&plan.runs, &args.run)?;
    let gpu = args.adapter.open_for(Extra::None, plan.config.train.precision, Some(&args.root))?;
    let unlabelled: Vec<_> = plan.unlabelled.iter().map(PathBuf::as_path).collect();
    let material = Material::open(&plan.config, &plan.data, &unlabelled)?;
    let code = inputs::code(gpu.caps().choices.id().as_deref());
    let specs: Vec<RunSpec> = runs.iter().map(|run| run.spec.clone()).collect();
    let only = [args.run.clone()];
    wait_for_lock(&args.root.join(&args.run))?;
    let jobs = assess(&args.root, &specs, specs.len(), &material.fingerprint, &code, &only, &[]);
    if let Err(MethodError::Missing { .. }) = jobs {
        tell(EARLY);
    }
    let mut jobs = jobs?;
    for (job, planned) in jobs.iter_mut().zip(&runs) {
        // A name stands for all below it too.
        job.wanted = planned.folder == args.run;
        if job.hash != planned.inputs {
            return Err(MethodError::OtherThanPlanned { run: job.label() }.into());
        }
    }
    let Some(job) = jobs.iter().find(|job| job.wanted) else {
        return Err(MethodError::NotPlanned { run: args.run }.into());
    };
    ready(job, &args.root)?;
    let (stop, view) = (interrupt.training(), View::new(1, 1.0));
    let options = Options { root: &args.root, threads: 1, stop: &stop, view: &view, costs: &[] };
    let summary = execute(&jobs, &options, |_| {
        let (gpu, material, root, stop) = (&gpu, &material, args.root.as_path(), &stop);
        Ok::<_, TrainError>(move |spec: &RunSpec, hash: &str, watch: &mut dyn Watch| {
            perform(&Place { gpu, material, root, stop }, spec, hash, watch)
        })
    });
    view.finish();
    if summary.interrupted {
        tell("interrupted; the same command goes on");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    match summary.failed.first() {
        Some((_, failure)) => {
            if failure.lasting {
                tell(LASTING);
            }
            Err(failure.message.clone().into())
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

/// The run in the folder `wanted` and all that it needs, in the order of the plan.
fn with_needs(runs: &[PlannedRun], wanted: &str) -> Result<Vec<PlannedRun>, MethodError> {
    let Some(last) = runs.iter().position(|run| run.folder == wanted) else {
        return Err(MethodError::NotPlanned { run: wanted.to_owned() });
    };
    let mut ids: HashSet<&str> = [runs[last].spec.id.as_str()].into();
    let mut chosen = vec![];
    // Runs stand after those that they need.
    for run in runs[..=last].iter().rev().filter(|run| run.spec.seed == runs[last].spec.seed) {
        if ids.contains(run.spec.id.as_str()) {
            ids.extend(run.spec.needs.iter().map(String::as_str));
            chosen.push(run.clone());
        }
    }
    chosen.reverse();
    Ok(chosen)
}

/// A machine that died may keep its locks on a file server for so long.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Waits until nobody else writes the run, and gives up where that goes on.
fn wait_for_lock(folder: &Path) -> Result<(), ReportError> {
    let start = Instant::now();
    let mut told = false;
    while folder.is_dir() {
        match lock(folder) {
            Err(error @ ReportError::Busy { .. }) if start.elapsed() < PATIENCE => {
                if !told {
                    tell(&format!("{error}: waiting, five minutes at most"));
                    told = true;
                }
                sleep(PATIENCE / 300);
            }
            locked => return locked.map(drop),
        }
    }
    Ok(())
}

/// Sees that nobody else does the run, and clears away what a write left that was cut off.
fn ready(job: &Job, root: &Path) -> Outcome {
    let folder = root.join(job.label());
    match &job.state {
        State::Complete(_) => tell(&format!("{} is complete", job.label())),
        State::Stale(change) => {
            return Err(MethodError::Stale { run: job.label(), why: why(change) }.into());
        }
        State::New => {}
        State::Begun => {
            // Not kept: the training takes it itself.
            drop(lock(&folder)?);
            sweep(&folder)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

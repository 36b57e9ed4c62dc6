//! What `wgseg two-stage` and `wgseg compare` have in common: both do a graph of runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::interrupt::{INTERRUPTED, Interrupt};
use super::{DeviceArg, Outcome, print_json};
use crate::config::Config;
use crate::config::validate::MAX_SEEDS;
use crate::gpu::{self, Extra, Gpu, GpuError, GpuOptions};
use crate::method::assess::{self, Job, Outside, State};
use crate::method::check::{check_folders, check_names, unused_lambdas};
use crate::method::error::MethodError;
use crate::method::execute::{Options, Summary, execute};
use crate::method::forecast::Forecaster;
use crate::method::graph::Graph;
use crate::method::inputs;
use crate::method::material::Material;
use crate::method::only::check_only;
use crate::method::perform::{Place, perform};
use crate::method::plan::{PLAN, Plan, PlannedRun, Which};
use crate::method::run::RunSpec;
use crate::method::slurm::{self, SlurmError, SlurmOptions, Submissions};
use crate::method::view::View;
use crate::program::{Caps, Precision};
use crate::report::console::tell;
use crate::report::experiment::{remove_report, write_on};
use crate::report::run_folder::{lock, make_folder};
use crate::report::words::{count, listed};
use crate::report::{ReportError, check_free};
use crate::train::TrainError;
use crate::train::watch::Watch;
use crate::tune::{Table, place};

/// A process that was killed keeps its lock until the system has taken its memory back.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub struct Args {
    /// A TOML file, or the name of a built-in config
    config: PathBuf,
    /// Folder with images/ and masks/
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder of images without masks, for the tasks and the student; may be repeated
    #[arg(long, value_name = "DIR")]
    unlabelled: Vec<PathBuf>,
    /// Folder for all runs: new, empty, or of an earlier `two-stage` or `compare` by the same config, which then goes on
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Trainings of every method, with train.seed, train.seed + 1, …: method.seeds
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=MAX_SEEDS as i64))]
    seeds: Option<u16>,
    /// Do this run alone, of all seeds as in --only stage1:rotation:joint, of one as in --only
    /// seed_1/stage1/rotation/joint; a beginning such as stage1:rotation stands for all runs below it;
    /// may be repeated; see `wgseg plan`
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Runs at a time: by default 1, or on Slurm all that there is room for; where the machine has several adapters of one
    /// name and driver and --adapter names none, each in turn; on a software driver LP_NUM_THREADS=1 with --jobs 2 is
    /// faster than one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    jobs: Option<u16>,
    /// Where runs are done: in this process, or as jobs of Slurm, see docs/cluster.md
    #[arg(long, value_enum, default_value_t = Executor::Local)]
    executor: Executor,
    #[command(flatten)]
    slurm: SlurmArgs,
    /// Remove what was made by another config or version, or from other images, and do it anew
    #[arg(long)]
    redo_changed: bool,
    /// Print what is in results.json; sentences and paths go to stderr
    #[arg(long)]
    json: bool,
    /// Set a key of the config, as in --set train.epochs=5; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    adapter: DeviceArg,
}

/// Where runs are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Executor {
    Local,
    Slurm,
}

#[derive(clap::Args)]
#[command(next_help_heading = "With --executor slurm")]
struct SlurmArgs {
    /// Slurm's partition; its default where none is given
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// Longest time of a job, in Slurm's form, as 4:00:00; a run that needs more goes on in another
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// More options of sbatch, as --slurm-args "--gpus=1 --mem=8G"
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    slurm_args: Option<String>,
    /// Cancel the jobs of this folder that are queued or running, wait until they and a command that watches them have ended
    /// (three minutes at most), and do no more
    #[arg(long)]
    cancel: bool,
}

impl Args {
    /// What is asked of Slurm; none with another executor.
    fn for_slurm(&self) -> Result<Option<SlurmOptions>, Box<dyn std::error::Error>> {
        let SlurmArgs { partition, time, slurm_args, cancel } = &self.slurm;
        if self.executor == Executor::Local {
            if partition.is_some() || time.is_some() || slurm_args.is_some() || *cancel {
                return Err(SlurmError::OtherExecutor.into());
            }
            return Ok(None);
        }
        let arguments = SlurmOptions::arguments(slurm_args.as_deref().unwrap_or_default())?;
        // The machine that submits may have another adapter than those that train, so its table is not theirs.
        let mut worker = vec!["--no-tuning".to_owned()];
        if let Some(adapter) = self.adapter.name() {
            worker.extend(["--adapter".to_owned(), adapter]);
        }
        let (partition, time) = (partition.clone(), time.clone());
        Ok(Some(SlurmOptions { partition, time, arguments, at_once: self.jobs, worker }))
    }
}

pub fn run(args: Args, which: Which) -> Outcome {
    let interrupt = Interrupt::heed()?;
    let mut set = args.set.clone();
    set.extend(args.seeds.map(|seeds| format!("method.seeds={seeds}")));
    let config = Config::load(&args.config, &set)?;
    let graph = Graph::of(&config, which)?;
    check_only(&graph, &config, which, &args.only)?;
    check_folders(&args.unlabelled)?;
    check_names(args.unlabelled.iter().chain([&args.data]))?;
    let root = &args.out;
    check_out(root)?;
    let begun = root.join(PLAN).exists().then_some(root.as_path());
    let on_slurm = args.for_slurm()?;
    if args.slurm.cancel {
        let cancelled = Submissions::cancel(root)?;
        tell(&format!("{} cancelled", count(cancelled, "job")));
        return Ok(ExitCode::SUCCESS);
    }
    let gpu = match &on_slurm {
        // A machine that submits jobs need not have an adapter.
        Some(options) => {
            match slurm::check(options) {
                // As where the jobs that are there already are as many as a user may have.
                Err(error @ SlurmError::Refused { .. }) if Submissions::are_live(root)? => {
                    tell(&format!("{error}; watching those that are there"));
                }
                checked => checked?,
            }
            None
        }
        None => Some(args.adapter.open_for(Extra::None, config.train.precision, begun)?),
    };
    let caps = gpu.as_ref().map_or_else(Caps::default, |gpu| gpu.caps().clone());
    let unlabelled: Vec<&Path> = args.unlabelled.iter().map(PathBuf::as_path).collect();
    let material = Material::open(&config, &args.data, &unlabelled)?;
    // Not before, so that a mistake in what was given leaves nothing behind.
    let _lock = take(root)?;
    if on_slurm.is_some() {
        Submissions::forget_cancelled(root)?;
    }
    unused_lambdas(&config).iter().chain(&material.notes).for_each(|note| tell(note));
    let code = inputs::code(caps.choices.id().as_deref());
    let before = earlier(root, args.redo_changed)?;
    let mut runs = graph.runs.clone();
    let mut outside = None;
    if let Some(before) = &before {
        let others = before.besides(&graph.runs);
        match before.other_setting(&config) {
            None => runs.extend(others),
            Some(change) => outside = Outside::of(root, &others, change),
        }
    }
    let finals: Vec<Vec<String>> = graph.methods.iter().map(|method| method.runs.clone()).collect();
    let asked = graph.runs.len();
    let mut jobs = assess::assess(root, &runs, asked, &material.fingerprint, &code, &args.only, &finals)?;
    if !args.redo_changed {
        let images = before.as_ref().map(|before| before.images.compared_with(&material.counts()));
        assess::refuse_other(root, &jobs, outside.as_ref(), images.unwrap_or_default())?;
    }
    if let Some(Outside { key, was, now, folders }) = &outside {
        tell(&format!(
            "{} holds {} of another config (`{key}` is {was} there and {now} now): they stay there, but the report \
             leaves them out ({})",
            root.display(),
            count(folders.len(), "complete run"),
            listed(folders)
        ));
    }
    let busy = match Submissions::of(root)? {
        Some(submissions) => submissions.adopt(&jobs[..asked], on_slurm.is_some())?,
        None => BTreeSet::new(),
    };
    let kept = assess::kept(&jobs, asked);
    let others = jobs.split_off(asked);
    // What a step costs is known of this machine's adapter alone, and jobs run on others.
    let costs = if on_slurm.is_some() { vec![0.0; jobs.len()] } else { costs(&jobs, &material, &caps)? };
    let planned = |job: &Job| PlannedRun {
        folder: job.spec.folder(),
        inputs: job.hash.clone(),
        spec: job.spec.clone(),
    };
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let mut plan = Plan {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: which,
        // A path that is no UTF-8 is told as well as it can be.
        arguments: std::env::args_os().skip(1).map(|one| one.to_string_lossy().into_owned()).collect(),
        earlier: vec![],
        seeds: Graph::seeds(&config),
        config,
        data: absolute(&args.data),
        unlabelled: args.unlabelled.iter().map(absolute).collect(),
        images: material.counts(),
        patients: material.patients.clone(),
        data_fingerprint: material.fingerprint.all.clone(),
        code,
        methods: graph.methods,
        stage1: graph.stage1,
        runs: jobs.iter().map(planned).collect(),
    };
    if let Some(before) = &before {
        let complete = others.iter().filter(|job| job.is_complete()).count();
        if let Some(first) = others.iter().find(|job| job.is_complete()) {
            tell(&format!(
                "{} has {} of an earlier command besides, such as {}: the report keeps them",
                root.display(),
                count(complete, "complete run"),
                first.label(),
            ));
        }
        for job in &others {
            if let State::Stale(change) = &job.state {
                tell(&format!("{} leaves the report: {}", job.label(), assess::why(change)));
            }
        }
        if jobs.iter().any(|job| job.is_complete() && !job.wanted) {
            plan.remember(before);
        }
        let kept = others.iter().zip(kept).filter(|(_, kept)| *kept);
        plan.keep(before, kept.map(|(job, _)| planned(job)).collect());
    }
    // Before the plan, by which the folder counts as begun.
    place::keep_copy(root, gpu.as_ref().and_then(|gpu| gpu.tuning()).map(Arc::as_ref))?;
    if jobs.iter().any(|job| job.wanted && !job.is_complete()) {
        // Else, should this be killed, it would tell of what is not there any more as if it were all.
        remove_report(root)?;
    }
    plan.write(root)?;
    let gone: Vec<String> = jobs.iter().filter(|job| job.weights_gone).map(Job::label).collect();
    if !gone.is_empty() {
        tell(&format!(
            "{} without weights any more: the results stand ({})",
            count(gone.len(), "complete run"),
            listed(&gone)
        ));
    }
    for line in assess::remove_stale(root, &mut jobs, &busy)? {
        tell(&line);
    }
    let summary = match (gpu, on_slurm) {
        (Some(gpu), _) => do_all(&jobs, &costs, &args, &material, gpu, &interrupt.training()),
        (None, options) => submit_all(&jobs, root, &options.unwrap_or_default(), &interrupt.watching())?,
    };
    interrupt.trained();
    conclude(&summary, &jobs, root, args.adapter.name(), args.json)
}

/// The plan of an earlier command; none where there is none, or with `redo` where it cannot be read.
fn earlier(root: &Path, redo: bool) -> Result<Option<Plan>, MethodError> {
    match Plan::read(root) {
        Ok(plan) => Ok(Some(plan)),
        Err(ReportError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if redo => {
            tell(&format!("{error}: the report leaves out what earlier commands did"));
            Ok(None)
        }
        Err(error @ ReportError::OtherBuild { .. }) => Err(MethodError::OtherBuild { error }),
        Err(error) => Err(MethodError::UnreadablePlan { error }),
    }
}

/// Refuses a folder that something else has made.
fn check_out(root: &Path) -> Result<(), ReportError> {
    // The lock is the first file to be made, so what has it was made by this command, or is a run of
    // `train`, which has a config.
    let ours = root.join(PLAN).exists() || root.join(".lock").exists() && !root.join("config.toml").exists();
    if ours { Ok(()) } else { check_free(root) }
}

/// Makes and locks the folder of the whole.
fn take(root: &Path) -> Result<std::fs::File, ReportError> {
    make_folder(root)?;
    let patience = Instant::now() + PATIENCE;
    loop {
        match lock(root) {
            Err(ReportError::Busy { .. }) if Instant::now() < patience => std::thread::sleep(PATIENCE / 50),
            taken => return taken,
        }
    }
}

/// What each run will cost in floating-point operations; nothing for one that is complete.
fn costs(jobs: &[Job], material: &Material, caps: &Caps) -> Result<Vec<f64>, TrainError> {
    let mut forecaster = Forecaster::default();
    let images = material.counts();
    let cost = |job: &Job| {
        if job.is_complete() || !job.wanted {
            return Ok(0.0);
        }
        Ok(forecaster.forecast(&job.spec, Some(&images), caps)?.total_flops().unwrap_or_default())
    };
    jobs.iter().map(cost).collect()
}

fn do_all(
    jobs: &[Job],
    costs: &[f64],
    args: &Args,
    material: &Material,
    gpu: Arc<Gpu>,
    stop: &Arc<AtomicBool>,
) -> Summary {
    let root = args.out.as_path();
    let to_do = tell_counts(jobs);
    let threads = args.jobs.map_or(1, usize::from).min(to_do.max(1));
    let adapters = for_workers(&args.adapter, &gpu, threads);
    let view = View::new(to_do, costs.iter().sum());
    let precision = gpu.precision();
    // Each thread has a device of its own; the first takes the one that is open.
    let tuning = gpu.tuning().cloned();
    let opened = Mutex::new(Some(gpu));
    let open = |worker: usize| -> Result<_, TrainError> {
        let opened = match worker {
            0 => opened.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take(),
            _ => None,
        };
        let gpu = match opened {
            Some(gpu) => gpu,
            None => another(adapters[worker % adapters.len()].clone(), precision, &tuning)?,
        };
        let stop = Arc::clone(stop);
        Ok(move |spec: &RunSpec, hash: &str, watch: &mut dyn Watch| {
            perform(&Place { gpu: &gpu, material, root, stop: &stop }, spec, hash, watch)
        })
    };
    let options = Options { root, threads, stop, view: &view, costs };
    let summary = execute(jobs, &options, open);
    view.finish();
    summary
}

/// Tells how many runs there are to do, and gives their number.
fn tell_counts(jobs: &[Job]) -> usize {
    let of = |test: fn(&Job) -> bool| jobs.iter().filter(|job| job.wanted && test(job)).count();
    let (complete, begun) = (of(Job::is_complete), of(|job| job.state == State::Begun));
    let to_do = of(|_| true) - complete;
    tell(&format!("{} to do, {begun} of them begun; {complete} are complete", count(to_do, "run")));
    to_do
}

/// Has Slurm do the runs, and watches.
fn submit_all(
    jobs: &[Job],
    root: &Path,
    options: &SlurmOptions,
    stop: &AtomicBool,
) -> Result<Summary, SlurmError> {
    let to_do = tell_counts(jobs);
    if to_do == 0 {
        let skipped = jobs.iter().filter(|job| job.is_complete()).count();
        return Ok(Summary { skipped, ..Summary::default() });
    }
    // Jobs have working folders of their own.
    let root = std::path::absolute(root).map_err(|source| SlurmError::Io { path: root.into(), source })?;
    let view = View::new(to_do, 0.0);
    let watched = slurm::execute(jobs, Submissions::open(&root)?, options, &view, stop);
    view.finish();
    let watched = watched?;
    if let Some(left) = watched.left {
        tell(&format!(
            "the jobs go on: the same command watches them again, and with --cancel or `scancel {left}` they end"
        ));
    }
    Ok(watched.summary)
}

/// What names the adapter of each worker in turn; never empty. Where users name none, all that are the same as the best
/// one in name and driver: others would end with other bits.
fn for_workers(device: &DeviceArg, gpu: &Gpu, workers: usize) -> Vec<Option<String>> {
    if device.name().is_some() || workers < 2 {
        return vec![device.name()];
    }
    let alike = gpu::alike(gpu.description());
    if alike.len() > 1 {
        let used = alike.len().min(workers);
        tell(&format!("{workers} workers on {used} of {} adapters of this name and driver", alike.len()));
    }
    alike.into_iter().map(|index| Some(index.to_string())).collect()
}

/// One more device, of the adapter that is named.
fn another(
    adapter: Option<String>,
    precision: Precision,
    tuning: &Option<Arc<Table>>,
) -> Result<Arc<Gpu>, GpuError> {
    let options = GpuOptions { adapter, precision, ..Default::default() };
    Gpu::open_tuned(&options, |_| Ok(tuning.clone()))
}

/// Tells how it ended.
fn conclude(summary: &Summary, jobs: &[Job], root: &Path, adapter: Option<String>, json: bool) -> Outcome {
    let done = summary.skipped + summary.complete;
    if summary.interrupted {
        tell(&format!("interrupted; {done} of {} runs are complete; the same command goes on", jobs.len()));
        match write_on(root, &GpuOptions { adapter, ..Default::default() }) {
            Ok(written) => {
                tell(&format!("what there is so far: {}", written.page.display()));
                if json {
                    print_json(&written.results)?;
                }
            }
            Err(error) => tell(&format!("there is no report of what there is so far: {error}")),
        }
        return Ok(ExitCode::from(INTERRUPTED));
    }
    for (label, needs) in &summary.not_started {
        tell(&format!("{label} was not started: needs {needs}"));
    }
    super::report::write(root, adapter, json)?;
    if !summary.failed.is_empty() {
        tell(&failures(summary, done, jobs.len()));
        return Ok(ExitCode::FAILURE);
    }
    if done < jobs.len() {
        tell(&format!(
            "{done} of {} runs are complete; without --only the command does the others",
            jobs.len()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Which runs failed, and what to do; why each did was told when it did.
fn failures(summary: &Summary, done: usize, all: usize) -> String {
    let of = |lasting: bool| -> Vec<&String> {
        let failed = summary.failed.iter().filter(|(_, failure)| failure.lasting == lasting);
        failed.map(|(label, _)| label).collect()
    };
    let (lasting, others) = (of(true), of(false));
    let mut text = format!("{done} of {all} runs are complete");
    match summary.not_started.len() {
        0 => {}
        number => text += &format!("; {number} cannot start without those that failed"),
    }
    if !others.is_empty() {
        text += &format!(
            "; {} failed ({}): the same command tries again",
            count(others.len(), "run"),
            listed(&others)
        );
    }
    if !lasting.is_empty() {
        text += &format!(
            "; {} failed as loss or weights were not finite any more ({}), and the same command would end alike: change the \
             config as is said above, with another --out or with --redo-changed",
            count(lasting.len(), "run"),
            listed(&lasting)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::execute::Failure;

    #[test]
    fn what_fails_for_good_is_not_tried_again() {
        let failed = |lasting| Failure { message: "why".into(), lasting };
        let mut summary = Summary { failed: vec![("a".into(), failed(true))], ..Summary::default() };
        let text = failures(&summary, 2, 3);
        assert!(text.contains("1 run failed as loss or weights were not finite any more (a)"), "{text}");
        assert!(text.contains("--redo-changed") && !text.contains("tries again"), "{text}");
        assert!(!text.contains("why"), "it was told before: {text}");
        summary.failed.push(("b".into(), failed(false)));
        summary.not_started.push(("c".into(), "b".into()));
        let text = failures(&summary, 0, 3);
        assert!(text.contains("1 run failed (b): the same command tries again"), "{text}");
        assert!(text.contains("1 cannot start"), "{text}");
    }

    #[test]
    fn an_unreadable_plan_is_no_missing_one() {
        let root = tempfile::tempdir().unwrap();
        assert!(earlier(root.path(), false).unwrap().is_none());
        std::fs::write(root.path().join(PLAN), "{").unwrap();
        let message = earlier(root.path(), false).unwrap_err().to_string();
        assert!(message.contains(PLAN) && message.contains("--redo-changed"), "{message}");
        assert!(earlier(root.path(), true).unwrap().is_none());
        // Of a build that had other keys.
        std::fs::write(root.path().join(PLAN), r#"{"version": "0.0.9", "forgotten": 1}"#).unwrap();
        let message = earlier(root.path(), false).unwrap_err().to_string();
        assert!(message.contains("another build of wgseg (0.0.9)"), "{message}");
        assert!(message.contains("--redo-changed") && !message.contains("Put the file right"), "{message}");
        assert!(earlier(root.path(), true).unwrap().is_none());
    }
}

//! `wgseg plan`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;

use super::{DeviceArg, Outcome, print_json, say};
use crate::bench::unet::UnetStep;
use crate::config::Config;
use crate::config::validate::MAX_SEEDS;
use crate::gpu::{Extra, Gpu, GpuError};
use crate::method::check::{check_folders, unused_lambdas};
use crate::method::forecast::Forecaster;
use crate::method::graph::{Graph, rivals};
use crate::method::material::Material;
use crate::method::plan::{ImageCounts, Which};
use crate::method::run::{CouplingChoice, RunSpec, TargetStart, Work};
use crate::program::Caps;
use crate::report::console::tell;
use crate::report::words::{count, duration};
use crate::tasks;
use crate::train::TrainError;
use crate::tune::TuneError;

/// Timed steps of the target.
const REPS: usize = 3;

#[derive(clap::Args)]
#[command(
    override_usage = "wgseg plan [OPTIONS] <CONFIG>\n       wgseg plan --tasks [--json]\n       wgseg plan --methods [--json]"
)]
pub struct Args {
    /// A TOML file, or the name of a built-in config
    #[arg(required_unless_present_any = ["tasks", "methods"])]
    config: Option<PathBuf>,
    /// Plan `compare`, with the rivals; else `two-stage`
    #[arg(long)]
    compare: bool,
    /// Folder with images/ and masks/, to check and to count the images
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder of images without masks; may be repeated
    #[arg(long, value_name = "DIR", requires = "data")]
    unlabelled: Vec<PathBuf>,
    /// Trainings of every method: method.seeds
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=MAX_SEEDS as i64))]
    seeds: Option<u16>,
    /// Set a key of the config, as in --set train.epochs=5; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Open no adapter: no forecast of time
    #[arg(long, conflicts_with = "adapter")]
    no_time: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// List the auxiliary tasks
    #[arg(long, conflicts_with_all = ["config", "methods"])]
    tasks: bool,
    /// List the rivals
    #[arg(long, conflicts_with = "config")]
    methods: bool,
    #[command(flatten)]
    adapter: DeviceArg,
}

/// A run of one seed.
#[derive(Serialize)]
struct Row {
    id: String,
    does: String,
    needs: Vec<String>,
    steps: Option<usize>,
    gflop_a_step: f64,
    mib: f64,
    seconds: Option<f64>,
}

/// All of it.
#[derive(Serialize)]
struct Table {
    runs: Vec<Row>,
    seeds: usize,
    /// None without --data.
    images: Option<ImageCounts>,
    /// Of all seeds.
    seconds: Option<f64>,
    /// How the time was forecast, or why it was not.
    time: String,
    #[serde(skip)]
    is_timed: bool,
}

pub fn run(args: Args) -> Outcome {
    if args.tasks {
        let tasks = tasks::all().into_iter();
        return list(tasks.map(|task| Named::new(task.name(), task.about())).collect(), args.json);
    }
    let Some(config) = args.config else {
        let rivals = rivals().into_iter();
        return list(rivals.map(|rival| Named::new(&rival.name, &rival.about)).collect(), args.json);
    };
    let mut set = args.set;
    set.extend(args.seeds.map(|seeds| format!("method.seeds={seeds}")));
    let config = Config::load(&config, &set)?;
    unused_lambdas(&config).iter().for_each(|note| tell(note));
    let which = if args.compare { Which::Compare } else { Which::TwoStage };
    let graph = Graph::of(&config, which)?;
    let images = match &args.data {
        Some(data) => Some(images(&config, data, &args.unlabelled)?),
        None => None,
    };
    let speed =
        if args.no_time { Err("no adapter was asked".to_owned()) } else { speed(&config, &args.adapter)? };
    let table = table(&graph, config.method.seeds, images, speed)?;
    if args.json {
        print_json(&table)?;
    } else {
        match which {
            Which::TwoStage => say!("plan of `wgseg two-stage`; for `wgseg compare` add --compare"),
            Which::Compare => say!("plan of `wgseg compare`"),
        }
        print(&table);
    }
    Ok(ExitCode::SUCCESS)
}

/// A task or a rival.
#[derive(Serialize)]
struct Named {
    name: String,
    about: String,
}

impl Named {
    fn new(name: &str, about: &str) -> Named {
        Named { name: name.to_owned(), about: about.to_owned() }
    }
}

fn list(rows: Vec<Named>, json: bool) -> Outcome {
    if json {
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    for Named { name, about } in rows {
        say!("{name:width$}  {about}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks the images and counts them.
fn images(
    config: &Config,
    data: &Path,
    unlabelled: &[PathBuf],
) -> Result<ImageCounts, Box<dyn std::error::Error>> {
    check_folders(unlabelled)?;
    let unlabelled: Vec<&Path> = unlabelled.iter().map(PathBuf::as_path).collect();
    let material = Material::open(config, data, &unlabelled)?;
    material.notes.iter().for_each(|note| tell(note));
    Ok(material.counts())
}

/// What was measured of an adapter.
struct Speed {
    caps: Caps,
    flops_a_second: f64,
    how: String,
}

/// Measures steps of the target. The inner error is why there is no speed, for the user.
fn speed(config: &Config, adapter: &DeviceArg) -> Result<Result<Speed, String>, TuneError> {
    let gpu = match adapter.open_for(Extra::None, config.train.precision, None) {
        Ok(gpu) => gpu,
        Err(TuneError::Gpu(GpuError::NoAdapter)) if adapter.name().is_none() => {
            return Ok(Err("there is no adapter".to_owned()));
        }
        Err(error) => return Err(error),
    };
    let started = Instant::now();
    tell(&format!("measuring {REPS} steps of the target"));
    let mut step = UnetStep::new(&gpu, config)?;
    let flops = step.session.program().flops();
    let (_, timing) = step.time(REPS)?;
    let flops_a_second = flops as f64 / timing.median_ms * 1e3;
    let how = format!(
        "by {REPS} steps of the target on {}, {:.1} ms each or {:.1} GFLOP/s, measured in {:.0} s",
        adapter_name(&gpu),
        timing.median_ms,
        flops_a_second / 1e9,
        started.elapsed().as_secs_f64()
    );
    Ok(Ok(Speed { caps: gpu.caps().clone(), flops_a_second, how }))
}

fn adapter_name(gpu: &Gpu) -> &str {
    &gpu.description().name
}

fn table(
    graph: &Graph,
    seeds: usize,
    images: Option<ImageCounts>,
    speed: Result<Speed, String>,
) -> Result<Table, TrainError> {
    let caps = speed.as_ref().map_or_else(|_| Caps::default(), |speed| speed.caps.clone());
    let mut forecaster = Forecaster::default();
    let mut runs = vec![];
    for spec in graph.runs.iter().take(graph.runs.len() / seeds.max(1)) {
        let forecast = forecaster.forecast(spec, images.as_ref(), &caps)?;
        let seconds = speed.as_ref().ok().and_then(|s| Some(forecast.total_flops()? / s.flops_a_second));
        runs.push(Row {
            id: spec.id.clone(),
            does: does(spec),
            needs: spec.needs.clone(),
            steps: forecast.steps,
            gflop_a_step: forecast.flops as f64 / 1e9,
            mib: forecast.bytes as f64 / f64::from(1 << 20),
            seconds,
        });
    }
    let one_seed: Option<f64> = runs.iter().map(|row| row.seconds).sum();
    let is_timed = speed.is_ok();
    let time = match speed {
        Ok(speed) => speed.how,
        Err(why) => format!("not forecast: {why}"),
    };
    Ok(Table { runs, seeds, images, seconds: one_seed.map(|seconds| seconds * seeds as f64), time, is_timed })
}

fn does(spec: &RunSpec) -> String {
    match &spec.work {
        Work::Target { start: TargetStart::Scratch } => "trains the target from scratch".into(),
        Work::Target { start: TargetStart::Pretrained(from) } => format!("trains the target from {from}"),
        Work::Target { start: TargetStart::Continued(from) } => format!("trains the target of {from} on"),
        Work::Joint { tasks, coupling: CouplingChoice::Fixed(weights) } => {
            let weighted = tasks.iter().zip(weights).map(|(task, weight)| format!("{weight} × {task}"));
            format!("trains the target and {}", weighted.collect::<Vec<_>>().join(" and "))
        }
        Work::Joint { tasks, coupling: CouplingChoice::Named(name) } => {
            format!("trains the target and {}, coupled by {name}", count(tasks.len(), "task"))
        }
        Work::Pretrain { tasks } => format!("trains {} alone", tasks.join(", ")),
        Work::Distil { teachers } => format!("trains a student by {}", count(teachers.len(), "teacher")),
        Work::Ensemble { teachers } => format!("scores the mean of {}", count(teachers.len(), "teacher")),
    }
}

fn print(table: &Table) {
    let width = table.runs.iter().map(|row| row.id.len()).max().unwrap_or_default();
    say!("{:width$}  {:>7}  {:>10}  {:>8}  {:>12}  does", "run", "steps", "GFLOP/step", "MiB", "time");
    for row in &table.runs {
        let steps = row.steps.map_or("?".to_owned(), |steps| steps.to_string());
        let time = row.seconds.map_or("?".to_owned(), duration);
        let (id, gflop, mib, does) = (&row.id, row.gflop_a_step, row.mib, &row.does);
        say!("{id:width$}  {steps:>7}  {gflop:>10.2}  {mib:>8.1}  {time:>12}  {does}");
        if !row.needs.is_empty() {
            say!("{:width$}  needs {}", "", row.needs.join(", "));
        }
    }
    let (runs, seeds) = (table.runs.len(), table.seeds);
    let time =
        table.seconds.map_or("unknown time".to_owned(), |seconds| duration(seconds) + " one after the other");
    say!("{} × {}: {time}", count(runs, "run"), count(seeds, "seed"));
    say!("operations and memory: of a step as it is trained");
    match &table.images {
        Some(images) => {
            let ImageCounts { train, val, test, unlabelled, held_out } = images;
            say!(
                "images: labelled {train} to train on, {val} to choose by, {test} to test on; without masks {unlabelled} \
                 to train on, those {train} among them, {held_out} held out from the tasks"
            );
        }
        None if table.runs.iter().any(|row| row.steps.is_none()) => {
            say!("steps are passes through the labelled images: --data DIR --unlabelled DIR tells how many");
        }
        None => {}
    }
    say!("time: {}{}", table.time, counted(table));
}

/// What the forecast of the time counts besides the steps.
fn counted(table: &Table) -> &'static str {
    match (table.is_timed, &table.images) {
        (false, _) => "",
        (true, Some(_)) => "; validation and answers of teachers counted",
        (true, None) => {
            "; without validation and answers of teachers, which --data DIR --unlabelled DIR counts"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::plan::{Method, Role};

    #[test]
    fn the_table_has_one_seed_and_the_time_of_all() {
        let mut config = Config::default();
        config.data.size = 32;
        config.model.depth = 2;
        config.train.steps_per_epoch = Some(10);
        let run = |id: &str, seed, work| RunSpec {
            id: id.into(),
            seed,
            needs: vec![],
            work,
            config: config.clone(),
        };
        let target = || Work::Target { start: TargetStart::Scratch };
        let runs = vec![run("target_only", 0, target()), run("target_only", 1, target())];
        let method =
            Method { name: "target_only".into(), role: Role::Baseline, about: String::new(), runs: vec![] };
        let graph = Graph { runs, methods: vec![method], stage1: vec![] };
        let speed = |flops_a_second| Speed { caps: Caps::default(), flops_a_second, how: String::new() };
        let first = table(&graph, 2, None, Ok(speed(1e9))).unwrap();
        assert_eq!((first.runs.len(), first.runs[0].steps), (1, Some(200)));
        let expected = 2.0 * 200.0 * first.runs[0].gflop_a_step;
        assert!((first.seconds.unwrap() / expected - 1.0).abs() < 1e-9, "{:?} and {expected}", first.seconds);
        let faster = table(&graph, 2, None, Ok(speed(2e9))).unwrap();
        assert_eq!(faster.seconds.map(|s| 2.0 * s), first.seconds);
        let images = ImageCounts { train: 8, val: 2, test: 2, unlabelled: 20, held_out: 4 };
        let untimed = table(&graph, 2, Some(images), Err("none".into())).unwrap();
        assert_eq!(
            (untimed.seconds, counted(&untimed)),
            (None, ""),
            "nothing is counted that is not forecast"
        );
        assert!(
            counted(&table(&graph, 2, Some(images), Ok(speed(1e9))).unwrap()).contains("teachers counted")
        );
        assert!(counted(&first).contains("without validation"));
    }
}

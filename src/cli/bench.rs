//! `wgseg bench`

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use rand::RngExt;
use serde_json::json;

use super::{AdapterArg, Outcome, print_json, say};
use crate::config::Config;
use crate::gpu::{Gpu, Session, States};
use crate::ops::Hyper;
use crate::program::{Program, compile};
use crate::rng::{Purpose, rng};
use crate::train::TrainError;
use crate::train::step::{HYPER, IMAGES, MASKS, inference, train_step};

/// Runs before the clock: pipelines are compiled on first use.
const WARM_UP: usize = 3;

#[derive(clap::Args)]
pub struct Args {
    /// Measure the U-Net: a training step and an inference
    #[arg(long, required = true)]
    unet: bool,
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    #[arg(long, default_value_t = 128)]
    size: usize,
    #[arg(long, default_value_t = 16)]
    base: usize,
    #[arg(long, default_value_t = 4)]
    depth: usize,
    /// Timed runs; the median is told
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    reps: u16,
    /// Print the time of each dispatch
    #[arg(long, conflicts_with = "json")]
    dispatches: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    adapter: AdapterArg,
}

pub fn run(args: Args) -> Outcome {
    let set = [
        format!("data.size={}", args.size),
        format!("model.base_channels={}", args.base),
        format!("model.depth={}", args.depth),
        format!("train.batch_size={}", args.batch),
    ];
    let config = Config::parse("", "bench", &set)?;
    let gpu = args.adapter.open()?;
    let (batch, size) = (usize::from(args.batch), args.size);

    let UnetStep { mut session, mut states, images, flops, peak_bytes, first_ms, median_ms: train_ms } =
        unet_step(&gpu, &config, args.reps)?;

    let (tape, _) = inference(&config, batch, size)?;
    let mut infer = Session::new(&gpu, compile(&tape, gpu.caps())?, &mut states)?;
    infer.write(IMAGES, &images)?;
    let (_, infer_ms) = time(&mut infer, args.reps)?;

    let measured = |what: &str, ms: f64| {
        json!({
            "what": what, "batch": batch, "size": size, "base": args.base, "depth": args.depth, "ms": ms,
            "images_per_s": batch as f64 / ms * 1e3,
        })
    };
    if args.json {
        print_json(&json!({
            "adapter": gpu.description(),
            "train_step_ms": train_ms,
            "first_step_ms": first_ms,
            "infer_ms": infer_ms,
            "peak_bytes": peak_bytes,
            "gflop_per_s": flops as f64 / train_ms / 1e6,
            "measurements": [measured("unet_train_step", train_ms), measured("unet_infer", infer_ms)],
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.dispatches {
        print_dispatches(&gpu, &mut session)?;
    }
    say!(
        "training step {train_ms:.1} ms ({:.1} images/s, {:.1} GFLOP/s, {:.1} MiB), the first {first_ms:.0} ms; inference {infer_ms:.1} ms",
        batch as f64 / train_ms * 1e3,
        flops as f64 / train_ms / 1e6,
        peak_bytes as f64 / f64::from(1 << 20)
    );
    Ok(ExitCode::SUCCESS)
}

/// A training step of the U-Net, timed.
pub(super) struct UnetStep {
    session: Session,
    states: States,
    /// What it was given to see.
    images: Vec<f32>,
    pub flops: u64,
    peak_bytes: u64,
    first_ms: f64,
    pub median_ms: f64,
}

/// Times the training step of `config` on random images.
pub(super) fn unet_step(gpu: &Arc<Gpu>, config: &Config, reps: u16) -> Result<UnetStep, TrainError> {
    let (batch, size) = (config.train.batch_size, config.data.size);
    let step = train_step(config, batch, size)?;
    let program = compile(&step.tape, gpu.caps())?;
    let mut states = States::new();
    let (peak_bytes, flops) = (program.peak_bytes(), program.flops());
    let mut session = Session::new(gpu, program, &mut states)?;
    for (name, shape, init) in &step.inits {
        states.write(gpu, name, &init.numbers(shape.len(), 0, name))?;
    }
    let pixels = batch * size * size;
    let mut rng = rng(0, Purpose::Case, 0);
    let images: Vec<f32> =
        (0..pixels * config.model.in_channels).map(|_| rng.random_range(-1.0..1.0)).collect();
    let masks: Vec<f32> =
        (0..pixels).map(|_| f32::from(u8::from(rng.random_range(0.0..1.0) < 0.1))).collect();
    session.write(IMAGES, &images)?;
    session.write(MASKS, &masks)?;
    session.write(HYPER, &Hyper::adam_defaults(1e-4, 1).to_array())?;
    let (first_ms, median_ms) = time(&mut session, reps)?;
    Ok(UnetStep { session, states, images, flops, peak_bytes, first_ms, median_ms })
}

/// Milliseconds of the first run and the median of the timed ones.
fn time(session: &mut Session, reps: u16) -> Result<(f64, f64), TrainError> {
    let mut once = || -> Result<f64, TrainError> {
        let start = Instant::now();
        session.run()?;
        session.wait()?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    let first = once()?;
    for _ in 1..WARM_UP {
        once()?;
    }
    let mut times = (0..reps).map(|_| once()).collect::<Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    Ok((first, times[times.len() / 2]))
}

/// Each dispatch alone, slowest first.
fn print_dispatches(gpu: &Arc<Gpu>, session: &mut Session) -> Result<(), TrainError> {
    let times = session.time_dispatches(3)?;
    let program: &Program = session.program();
    let mut rows: Vec<_> = program.dispatches.iter().zip(times).collect();
    rows.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    say!("{}", gpu.description());
    for (dispatch, time) in rows {
        let ms = time.as_secs_f64() * 1e3;
        say!(
            "{ms:9.3} ms {:7.1} GFLOP/s  {:32} {:32} {}",
            dispatch.flops as f64 / ms / 1e6,
            dispatch.kernel.shader.name,
            dispatch.op,
            dispatch.scope
        );
    }
    Ok(())
}

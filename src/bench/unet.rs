//! The U-Net's training step and inference.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::dispatches::{self, DispatchRow};
use super::{BenchError, Ceilings, Timing};
use crate::config::Config;
use crate::gpu::{Clock, Gpu, HostLog, Session, States};
use crate::ops::Hyper;
use crate::program::{Caps, Precision, compile, compile_for};
use crate::rng::{Purpose, rng};
use crate::train::TrainError;
use crate::train::step::{HYPER, IMAGES, LOSS, MASKS, inference, train_step};
use crate::verify::step::{CheckedStep, check_step};

/// Runs before the clock: pipelines are compiled on first use.
const WARM_UP: usize = 3;
/// What was measured of a U-Net.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnetReport {
    pub batch: usize,
    pub size: usize,
    pub base: usize,
    pub depth: usize,
    /// Of the training step; the inference is in f32.
    #[serde(default)]
    pub precision: Precision,
    pub train_step_ms: f64,
    /// From the first submission to its end, compilation by the driver included.
    pub first_step_ms: f64,
    pub infer_ms: f64,
    /// All buffers of the training step, as told before it runs.
    pub peak_bytes: u64,
    pub gflop_per_s: f64,
    pub checked: CheckedStep,
    pub train_step: Timing,
    pub infer: Timing,
    /// What `dispatches` were timed by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatch_clock: Option<Clock>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dispatches: Vec<DispatchRow>,
    /// The same two times, in the form that other programs of the comparison print.
    pub measurements: Vec<Measurement>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    pub what: String,
    pub batch: usize,
    pub size: usize,
    pub base: usize,
    pub depth: usize,
    pub ms: f64,
    pub images_per_s: f64,
}

/// Times the training step and the inference of `config`'s network, after a step was compared with
/// the reference. With `ceilings` each dispatch is timed as well, and held against them.
pub fn measure(
    gpu: &Arc<Gpu>,
    config: &Config,
    repetitions: usize,
    ceilings: Option<&Ceilings>,
) -> Result<UnetReport, BenchError> {
    let (batch, size) = (config.train.batch_size, config.data.size);
    let checked = check_step(gpu, gpu.caps(), config)?;
    if !checked.pass(config.train.precision) {
        return Err(BenchError::wrong(checked, config.train.precision));
    }
    let mut step = UnetStep::new(gpu, config)?;
    let (first_ms, train_step) = step.time(repetitions)?;
    let (peak_bytes, flops) = (step.session.program().peak_bytes(), step.session.program().flops());
    let (dispatch_clock, dispatches) = match ceilings {
        Some(ceilings) => {
            let (clock, rows) = dispatches::measure(&mut step.session, repetitions, ceilings)?;
            (Some(clock), rows)
        }
        None => (None, vec![]),
    };

    let (tape, _) = inference(config, batch, size).map_err(TrainError::from)?;
    let mut session = Session::new(gpu, compile(&tape, gpu.caps())?, &mut step.states)?;
    session.write(IMAGES, &step.images)?;
    let (_, infer) = time(&mut session, repetitions)?;

    let measurement = |what: &str, timing: &Timing| Measurement {
        what: what.to_owned(),
        batch,
        size,
        base: config.model.base_channels,
        depth: config.model.depth,
        ms: timing.median_ms,
        images_per_s: batch as f64 / timing.median_ms * 1e3,
    };
    Ok(UnetReport {
        batch,
        size,
        base: config.model.base_channels,
        depth: config.model.depth,
        precision: config.train.precision,
        train_step_ms: train_step.median_ms,
        first_step_ms: first_ms,
        infer_ms: infer.median_ms,
        peak_bytes,
        gflop_per_s: flops as f64 / train_step.median_ms / 1e6,
        checked,
        dispatch_clock,
        dispatches,
        measurements: vec![measurement("unet_train_step", &train_step), measurement("unet_infer", &infer)],
        train_step,
        infer,
    })
}

/// A training step on random images, ready to run.
pub struct UnetStep {
    pub session: Session,
    states: States,
    images: Vec<f32>,
    masks: Vec<f32>,
}

impl UnetStep {
    pub fn new(gpu: &Arc<Gpu>, config: &Config) -> Result<UnetStep, TrainError> {
        UnetStep::noted(gpu, config, &mut HostLog::default())
    }

    /// As [`UnetStep::new`], compiled by other `caps` than the device's own.
    pub fn by(gpu: &Arc<Gpu>, caps: &Caps, config: &Config) -> Result<UnetStep, TrainError> {
        UnetStep::made(gpu, caps, config, &mut HostLog::default())
    }

    /// As [`UnetStep::new`], with a note of what takes how long.
    pub fn noted(gpu: &Arc<Gpu>, config: &Config, log: &mut HostLog) -> Result<UnetStep, TrainError> {
        UnetStep::made(gpu, gpu.caps(), config, log)
    }

    fn made(gpu: &Arc<Gpu>, caps: &Caps, config: &Config, log: &mut HostLog) -> Result<UnetStep, TrainError> {
        let (batch, size) = (config.train.batch_size, config.data.size);
        let step = log.note("build tape", || train_step(config, batch, size))?;
        let program = log.note("build program", || compile_for(&step.tape, caps, config.train.precision))?;
        let mut states = States::new();
        let session = log.note("build session", || Session::new(gpu, program, &mut states))?;
        log.note("upload weights", || {
            step.starts().try_for_each(|(name, shape, init)| {
                states.write(gpu, name, &init.numbers(shape.len(), 0, name))
            })
        })?;
        let (images, masks) = random_batch(config, batch, size);
        let mut step = UnetStep { session, states, images, masks };
        step.upload()?;
        Ok(step)
    }

    /// Sets the inputs, as before each step of a training.
    pub fn upload(&mut self) -> Result<(), TrainError> {
        self.session.write(IMAGES, &self.images)?;
        self.session.write(MASKS, &self.masks)?;
        self.session.write(HYPER, &Hyper::adam_defaults(1e-4, 1).to_array())?;
        Ok(())
    }

    /// The loss of the last step. Waits for it.
    pub fn loss(&self) -> Result<f64, TrainError> {
        Ok(f64::from(self.session.read(LOSS)?[0]))
    }

    /// Milliseconds of the first step, and the times of the others after a warm-up.
    pub fn time(&mut self, repetitions: usize) -> Result<(f64, Timing), TrainError> {
        time(&mut self.session, repetitions)
    }
}

fn random_batch(config: &Config, batch: usize, size: usize) -> (Vec<f32>, Vec<f32>) {
    let pixels = batch * size * size;
    let mut rng = rng(0, Purpose::Case, 0);
    let images = (0..pixels * config.model.in_channels).map(|_| rng.random_range(-1.0..1.0)).collect();
    let masks = (0..pixels).map(|_| f32::from(u8::from(rng.random_range(0.0..1.0) < 0.1))).collect();
    (images, masks)
}

fn time(session: &mut Session, repetitions: usize) -> Result<(f64, Timing), TrainError> {
    let first = session.time_submission(1)?;
    for _ in 1..WARM_UP {
        session.time_submission(1)?;
    }
    Ok((first * 1e3, Timing::of(&session.time_runs(repetitions, Duration::ZERO)?)))
}

//! How time and memory of the training step grow with the batch and with the size of the images.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::unet::UnetStep;
use super::{BenchError, Timing};
use crate::config::Config;
use crate::gpu::{AdapterDescription, Gpu, GpuError};
use crate::program::compile_for;
use crate::train::TrainError;
use crate::train::step::train_step;
use crate::verify::step::{CheckedStep, check_step};

pub const BATCHES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
pub const SIZES: [usize; 4] = [64, 128, 256, 512];

/// The training step of one batch and size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrowthPoint {
    pub batch: usize,
    pub size: usize,
    /// All buffers of the step, as told before it runs; null where it cannot be compiled.
    pub peak_bytes: Option<u64>,
    /// Of one step; null where it was not run.
    pub step: Option<Timing>,
    pub ms_per_image: Option<f64>,
    /// Why it was not run.
    pub skipped: Option<String>,
}

/// Memory as a line over the pixels of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryFit {
    /// What does not grow: parameters and moments.
    pub fixed_bytes: f64,
    pub bytes_per_pixel: f64,
    /// The largest distance of a point from the line, in percent of the line.
    pub worst_deviation_percent: f64,
}

/// Steps of which one thing grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrowthSeries {
    pub points: Vec<GrowthPoint>,
    /// Null with fewer than three points.
    pub memory: Option<MemoryFit>,
}

/// What `wgseg bench --growth --json` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrowthReport {
    pub adapter: AdapterDescription,
    pub version: String,
    pub base: usize,
    pub depth: usize,
    pub checked: CheckedStep,
    /// Longest step that is run, in seconds.
    pub limit_s: f64,
    /// Growing batches of images of one size.
    pub by_batch: GrowthSeries,
    /// Growing images in batches of one size.
    pub by_size: GrowthSeries,
}

/// Measures steps of `batches` at the config's size and of `sizes` at the config's batch, after a
/// step was compared with the reference, telling each point to `observe` as it comes. A step that
/// does not fit, or that would take longer than `limit_s`, is skipped.
pub fn measure(
    gpu: &Arc<Gpu>,
    config: &Config,
    batches: &[usize],
    sizes: &[usize],
    repetitions: usize,
    limit_s: f64,
    observe: &mut dyn FnMut(&GrowthPoint),
) -> Result<GrowthReport, BenchError> {
    let checked = check_step(gpu, gpu.caps(), config)?;
    if !checked.pass(config.train.precision) {
        return Err(BenchError::wrong(checked, config.train.precision));
    }
    let (batch, size) = (config.train.batch_size, config.data.size);
    let mut series = |steps: Vec<(usize, usize)>| -> Result<GrowthSeries, BenchError> {
        let mut points = vec![];
        let mut rate = None;
        for (batch, size) in steps {
            let mut config = config.clone();
            (config.train.batch_size, config.data.size) = (batch, size);
            let point = measure_point(gpu, &config, repetitions, limit_s, &mut rate)?;
            observe(&point);
            points.push(point);
        }
        let memory = fit(&points);
        Ok(GrowthSeries { points, memory })
    };
    Ok(GrowthReport {
        adapter: gpu.description().clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        base: config.model.base_channels,
        depth: config.model.depth,
        checked,
        limit_s,
        by_batch: series(batches.iter().map(|b| (*b, size)).collect())?,
        by_size: series(sizes.iter().map(|s| (batch, *s)).collect())?,
    })
}

/// Times one step. `rate` is operations a second of the step before, which tells how long this one
/// will take.
fn measure_point(
    gpu: &Arc<Gpu>,
    config: &Config,
    repetitions: usize,
    limit_s: f64,
    rate: &mut Option<f64>,
) -> Result<GrowthPoint, BenchError> {
    let (batch, size) = (config.train.batch_size, config.data.size);
    let mut point =
        GrowthPoint { batch, size, peak_bytes: None, step: None, ms_per_image: None, skipped: None };
    let step = train_step(config, batch, size).map_err(TrainError::from)?;
    let program = match compile_for(&step.tape, gpu.caps(), config.train.precision) {
        Ok(program) => program,
        // What does not fit is no failure here.
        Err(error) => {
            point.skipped = Some(error.to_string());
            return Ok(point);
        }
    };
    point.peak_bytes = Some(program.peak_bytes());
    let flops = program.flops() as f64;
    if let Some(seconds) = rate.map(|rate| flops / rate).filter(|seconds| *seconds > limit_s) {
        point.skipped = Some(format!("a step would take about {seconds:.0} s, more than {limit_s} s"));
        return Ok(point);
    }
    drop(program);
    let mut step = match UnetStep::new(gpu, config) {
        Ok(step) => step,
        Err(TrainError::Gpu(error @ GpuError::OutOfMemory { .. })) => {
            point.skipped = Some(error.to_string());
            return Ok(point);
        }
        Err(error) => return Err(error.into()),
    };
    let (_, timing) = step.time(repetitions)?;
    *rate = Some(flops / (timing.median_ms * 1e-3));
    point.ms_per_image = Some(timing.median_ms / batch as f64);
    point.step = Some(timing);
    Ok(point)
}

/// The line of least squares through memory over pixels; `None` with fewer than three points.
fn fit(points: &[GrowthPoint]) -> Option<MemoryFit> {
    let known: Vec<(f64, f64)> = points
        .iter()
        .filter_map(|p| Some(((p.batch * p.size * p.size) as f64, p.peak_bytes? as f64)))
        .collect();
    if known.len() < 3 {
        return None;
    }
    let count = known.len() as f64;
    let mean_x = known.iter().map(|p| p.0).sum::<f64>() / count;
    let mean_y = known.iter().map(|p| p.1).sum::<f64>() / count;
    let covariance: f64 = known.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    let variance: f64 = known.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    let bytes_per_pixel = covariance / variance;
    let fixed_bytes = mean_y - bytes_per_pixel * mean_x;
    let deviation = |(x, y): &(f64, f64)| {
        let line = fixed_bytes + bytes_per_pixel * x;
        100.0 * (y - line).abs() / line.abs().max(1.0)
    };
    let worst_deviation_percent = known.iter().map(deviation).fold(0.0, f64::max);
    Some(MemoryFit { fixed_bytes, bytes_per_pixel, worst_deviation_percent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(batch: usize, size: usize, peak_bytes: Option<u64>) -> GrowthPoint {
        GrowthPoint { batch, size, peak_bytes, step: None, ms_per_image: None, skipped: None }
    }

    #[test]
    fn memory_on_a_line_has_no_deviation() {
        let points: Vec<GrowthPoint> =
            BATCHES.map(|batch| point(batch, 10, Some(5_000 + 7 * 100 * batch as u64))).into();
        let fit = fit(&points).expect("a line");
        assert!(
            (fit.fixed_bytes - 5_000.0).abs() < 1e-6 && (fit.bytes_per_pixel - 7.0).abs() < 1e-9,
            "{fit:?}"
        );
        assert!(fit.worst_deviation_percent < 1e-9, "{fit:?}");
    }

    #[test]
    fn memory_off_the_line_is_told_and_what_is_not_known_left_out() {
        let points: Vec<GrowthPoint> =
            BATCHES.map(|batch| point(batch, 10, Some((100 * batch * batch) as u64))).into();
        assert!(fit(&points).expect("a line").worst_deviation_percent > 20.0);
        assert_eq!(fit(&[point(1, 10, Some(1)), point(2, 10, Some(2)), point(4, 10, None)]), None);
    }
}

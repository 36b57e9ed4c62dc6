//! `wgseg bench --growth`

use std::path::Path;
use std::process::ExitCode;

use super::super::{Outcome, print_json, say};
use super::Args;
use crate::bench::growth::{self, BATCHES, GrowthPoint, GrowthSeries, SIZES};
use crate::config::Config;
use crate::gpu::Extra;
use crate::report::{atomic, growth as plot};

/// Measures, prints and writes how the training step grows.
pub fn run(args: &Args, config: &Config, repetitions: usize) -> Outcome {
    let gpu = args.adapter.open_for(Extra::None, config.train.precision, None)?;
    let printed = args.json.as_deref() == Some(Path::new("-"));
    let report = growth::measure(&gpu, config, &BATCHES, &SIZES, repetitions, args.limit, &mut |point| {
        if !printed {
            say!("{}", point_line(point));
        }
    })?;
    if !printed {
        say!("memory over batches of {}² pixels: {}", config.data.size, memory_line(&report.by_batch));
        say!("memory over sizes in batches of {}: {}", config.train.batch_size, memory_line(&report.by_size));
    }
    if let Some(path) = &args.plot {
        plot::write_plot(path, &report)?;
    }
    match &args.json {
        Some(_) if printed => print_json(&report)?,
        Some(path) => atomic::write(path, serde_json::to_string_pretty(&report)?.as_bytes())?,
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

fn point_line(point: &GrowthPoint) -> String {
    let what = format!("batch {:3} of {:3}²", point.batch, point.size);
    let memory = point
        .peak_bytes
        .map_or("memory not known".to_owned(), |bytes| format!("{:9.1} MiB", mebibytes(bytes as f64)));
    match (&point.step, point.ms_per_image) {
        (Some(step), Some(ms)) => {
            format!(
                "{what} {ms:10.2} ms an image, {:10.1} ms a step ±{:3.0} %, {memory}",
                step.median_ms,
                step.spread_percent / 2.0
            )
        }
        _ => format!("{what} skipped: {}; {memory}", point.skipped.as_deref().unwrap_or("no reason")),
    }
}

fn memory_line(series: &GrowthSeries) -> String {
    match &series.memory {
        Some(fit) => format!(
            "{:.1} MiB and {:.0} bytes a pixel; the worst point is {:.2} % off that line",
            mebibytes(fit.fixed_bytes),
            fit.bytes_per_pixel,
            fit.worst_deviation_percent
        ),
        None => "fewer than three points, no line".to_owned(),
    }
}

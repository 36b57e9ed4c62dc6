//! A timeline of some training steps, in the JSON of Chrome's trace events, which Perfetto opens.
//!
//! Source: Google, "Trace Event Format", complete events (`X`) and metadata events (`M`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::BenchError;
use super::unet::UnetStep;
use crate::config::Config;
use crate::gpu::{Clock, Gpu, HostEvent, HostLog, Submitted, Timestamps};
use crate::program::Program;

/// The first compiles kernels in the driver.
const STEPS: usize = 4;
/// Steps under way while the host prepares the next, as in training.
const IN_FLIGHT: usize = 2;

/// Numbers of the tracks.
const HOST: u32 = 1;
const DEVICE: u32 = 2;

/// What the device did; nanoseconds of the host's log.
struct DeviceEvent {
    step: usize,
    dispatches: std::ops::Range<usize>,
    begin_ns: f64,
    end_ns: f64,
}

/// Runs some training steps of `config`'s network and gives their timeline. The host's track has
/// what it did; the device's each dispatch, where the device has timestamps, else each submission,
/// and then the host waits for each.
pub fn record(gpu: &Arc<Gpu>, config: &Config) -> Result<Value, BenchError> {
    let mut log = HostLog::default();
    let mut unet = UnetStep::noted(gpu, config, &mut log)?;
    let stamps: Vec<Timestamps> = (0..STEPS).filter_map(|_| unet.session.timestamps()).collect();
    let clock = if stamps.is_empty() { Clock::Host } else { Clock::Timestamps };
    let in_flight = if stamps.is_empty() { 0 } else { IN_FLIGHT };

    let mut runs: Vec<Vec<Submitted>> = vec![];
    let mut submissions = vec![];
    for step in 0..STEPS + in_flight {
        if step < STEPS {
            log.note("upload", || unet.upload())?;
            runs.push(unet.session.run_noted(&mut log, stamps.get(step))?);
        }
        let Some(waited) = step.checked_sub(in_flight) else { continue };
        for submitted in &runs[waited] {
            let end_ns = unet.session.wait_noted(&mut log, submitted)? as f64;
            let (dispatches, begin_ns) = (submitted.dispatches.clone(), submitted.begin_ns as f64);
            submissions.push(DeviceEvent { step: waited, dispatches, begin_ns, end_ns });
        }
    }
    let device = match clock {
        Clock::Host => one_after_the_other(submissions),
        Clock::Timestamps => {
            let spans =
                stamps.iter().map(|s| unet.session.read_timestamps(s)).collect::<Result<Vec<_>, _>>()?;
            let tick_ns = gpu.tick_ns();
            let first = spans.iter().flatten().map(|span| span.begin).min().unwrap_or(0);
            let ns = |tick: u64| tick.saturating_sub(first) as f64 * tick_ns;
            // The two clocks start at different times. No dispatch begins before it was submitted:
            // the earliest place that holds for all.
            let offset = submissions
                .iter()
                .map(|s| s.begin_ns - ns(spans[s.step][s.dispatches.start].begin))
                .fold(f64::NEG_INFINITY, f64::max);
            let event = |step, dispatch, span: &crate::gpu::Span| DeviceEvent {
                step,
                dispatches: dispatch..dispatch + 1,
                begin_ns: ns(span.begin) + offset,
                end_ns: ns(span.end) + offset,
            };
            let of_step = |(step, spans): (usize, &Vec<_>)| -> Vec<DeviceEvent> {
                spans.iter().enumerate().map(|(dispatch, span)| event(step, dispatch, span)).collect()
            };
            spans.iter().enumerate().flat_map(of_step).collect()
        }
    };
    Ok(json!({
        "traceEvents": events(&log.events, &device, unet.session.program()),
        "displayTimeUnit": "ms",
        "otherData": {
            "adapter": gpu.description().to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "device_clock": clock,
        },
    }))
}

/// A queue does one submission at a time: each begins when it was submitted and the one before is done.
fn one_after_the_other(mut submissions: Vec<DeviceEvent>) -> Vec<DeviceEvent> {
    for i in 1..submissions.len() {
        submissions[i].begin_ns = submissions[i].begin_ns.max(submissions[i - 1].end_ns);
    }
    submissions
}

fn events(host: &[HostEvent], device: &[DeviceEvent], program: &Program) -> Vec<Value> {
    let mut events = vec![
        named("process_name", HOST, "host"),
        named("thread_name", HOST, "main thread"),
        named("process_name", DEVICE, "device"),
        named("thread_name", DEVICE, "queue"),
    ];
    for event in host {
        let (begin, end) = (event.begin_ns as f64, event.end_ns as f64);
        events.push(complete(event.what, HOST, begin, end, json!({})));
    }
    for event in device {
        let dispatches = &program.dispatches[event.dispatches.clone()];
        let (name, args) = match dispatches {
            [dispatch] => {
                let args = json!({
                    "step": event.step, "op": dispatch.op, "scope": dispatch.scope, "flops": dispatch.flops,
                });
                (dispatch.kernel.shader.name, args)
            }
            several => ("submission", json!({ "step": event.step, "dispatches": several.len() })),
        };
        events.push(complete(name, DEVICE, event.begin_ns, event.end_ns, args));
    }
    events
}

/// The name of a process or of its one thread.
fn named(what: &str, track: u32, name: &str) -> Value {
    json!({ "ph": "M", "name": what, "pid": track, "tid": track, "args": { "name": name } })
}

/// Times of the format are microseconds.
fn complete(name: &str, track: u32, begin_ns: f64, end_ns: f64, args: Value) -> Value {
    json!({
        "ph": "X", "name": name, "pid": track, "tid": track,
        "ts": begin_ns / 1e3, "dur": (end_ns - begin_ns).max(0.0) / 1e3, "args": args,
    })
}

//! `wgseg bench`: a time only for a right result, and files that can be read again.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use wgseg::bench::growth::{self, GrowthSeries};
use wgseg::bench::ops::{measure, measure_altered};
use wgseg::bench::unet::UnetStep;
use wgseg::config::Config;
use wgseg::gpu::{Clock, Extra, Gpu, GpuOptions};
use wgseg::ops::registry::find;
use wgseg::program::Program;

#[test]
fn a_wrong_result_has_no_time() {
    let gpu = common::gpu();
    let entry = find("soft_dice").expect("the op");
    let rows = measure(&gpu, entry, &mut |_| {}).expect("times");
    assert!(!rows.is_empty() && rows.iter().all(|r| r.pass), "{rows:#?}");
    assert!(rows.iter().all(|r| r.timing.is_some_and(|t| t.median_ms > 0.0)), "{rows:#?}");

    // Kernels that do nothing.
    let idle = |program: &mut Program| program.dispatches.iter_mut().for_each(|d| d.grid = [0, 1, 1]);
    let rows = measure_altered(&gpu, entry, &idle, &mut |_| {}).expect("rows");
    assert!(!rows.is_empty() && rows.iter().all(|r| !r.pass && r.timing.is_none()), "{rows:#?}");
}

#[test]
fn files_of_the_bench_can_be_looked_at_and_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let (json, plot) = (folder.path().join("a.json"), folder.path().join("roofline.png"));
    let wgseg = || common::wgseg();
    let ops = ["bench", "--op", "soft_dice", "--op", "linear"];
    wgseg().args(ops).arg("--json").arg(&json).arg("--plot").arg(&plot).assert().success();

    let report: Value = serde_json::from_slice(&std::fs::read(&json).expect("a file")).expect("JSON");
    for key in ["multiply_add_gflop_per_s", "copy_gb_per_s", "dispatch_us", "submit_us"] {
        assert!(report["ceilings"][key].as_f64().expect(key) > 0.0, "{key}");
    }
    let open = |extra| Gpu::open(&GpuOptions { extra, ..Default::default() }).expect("an adapter");
    let offered = [
        ("multiply_add_f16_gflop_per_s", open(Extra::Half).has(Extra::Half)),
        ("cooperative_matrix_gflop_per_s", !open(Extra::CooperativeMatrix).matrices().is_empty()),
    ];
    for (key, offered) in offered {
        let rate = &report["ceilings"][key];
        assert!(
            if offered { rate.as_f64().is_some_and(|r| r > 0.0) } else { rate.is_null() },
            "{key} {rate}"
        );
    }
    let rows = report["ops"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().filter_map(|r| r["op"].as_str()).collect();
    for name in ["linear", "linear_grad_input", "linear_grad_weight", "soft_dice"] {
        assert_eq!(names.iter().filter(|n| **n == name).count(), 1, "{name} in {names:?}");
    }
    assert!(rows.iter().all(|r| r["median_ms"].as_f64().is_some_and(|ms| ms > 0.0)), "{report:#}");
    assert_eq!(image::open(&plot).expect("a picture").width(), 1100);

    let output = wgseg().args(["bench", "compare"]).args([&json, &json]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(
        text.contains(&format!("B is 1.00 times as fast as A in the geometric mean of {}", rows.len())),
        "{text}"
    );

    let other = folder.path().join("no.json");
    let failed = wgseg().args(["bench", "compare"]).args([&json, &other]).assert().code(1);
    let error = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(error.contains("no.json") && error.contains("wgseg bench --json"), "{error}");
}

#[test]
fn the_unet_is_timed_after_a_step_was_compared_with_the_reference() {
    let args =
        ["bench", "--unet", "--batch", "2", "--size", "16", "--base", "4", "--depth", "2", "--reps", "2"];
    let output = common::wgseg().args(args).arg("--json").assert().success();
    let report: Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    for key in ["train_step_ms", "first_step_ms", "infer_ms", "peak_bytes", "gflop_per_s"] {
        assert!(report[key].as_f64().expect(key) > 0.0, "{key}");
    }
    for key in ["loss_error", "gradient_error"] {
        assert!(report["checked"][key].as_f64().expect(key) < 2e-4, "{key}");
    }
}

/// A small U-Net.
const SMALL: [&str; 8] = ["--batch", "2", "--size", "16", "--base", "4", "--depth", "2"];

#[test]
fn dispatches_are_timed_by_the_device_where_it_has_a_clock() {
    for extra in [Extra::Timestamps, Extra::None] {
        let gpu = Gpu::open(&GpuOptions { extra, ..Default::default() }).expect("an adapter");
        let set = ["data.size=16", "model.base_channels=4", "model.depth=2", "train.batch_size=2"];
        let config = Config::parse("", "test", &set.map(str::to_owned)).expect("a config");
        let mut step = UnetStep::new(&gpu, &config).expect("a step");
        let expected = step.session.program().dispatches.len();
        let times = step.session.time_dispatches(3).expect("times");
        let clock = if gpu.has(Extra::Timestamps) { Clock::Timestamps } else { Clock::Host };
        assert_eq!(times.clock, clock);
        assert_eq!(times.seconds.len(), expected);
        assert!(times.seconds.iter().all(|s| s.is_finite() && *s >= 0.0), "{:?}", times.seconds);
        assert!(times.seconds.iter().sum::<f64>() > 0.0);
        if clock == Clock::Host {
            assert!(step.session.timestamps().is_none(), "a device opened without them has none");
        }
    }
}

#[test]
fn a_table_of_dispatches_says_what_they_were_timed_by() {
    let args = ["bench", "--unet", "--dispatches", "--reps", "2"];
    let output = common::wgseg().args(args).args(SMALL).arg("--json").assert().success();
    let report: Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    let clock = report["dispatch_clock"].as_str().expect("a clock");
    assert!(["timestamps", "host"].contains(&clock), "{clock}");
    let rows = report["dispatches"].as_array().expect("rows");
    assert!(rows.iter().any(|r| r["op"] == "conv2d") && rows.iter().any(|r| r["op"] == "adam"), "{rows:#?}");
    for row in rows {
        assert!(row["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{row}");
        assert!(row["roofline_percent"].as_f64().is_some_and(f64::is_finite), "{row}");
    }
    let ms: Vec<f64> = rows.iter().filter_map(|r| r["ms"].as_f64()).collect();
    assert!(ms.len() == rows.len() && ms.is_sorted_by(|a, b| a >= b), "slowest first: {ms:?}");
}

#[test]
fn a_trace_has_the_host_and_the_device_each_on_a_track() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace.json");
    let args = ["bench", "--reps", "1", "--trace"];
    common::wgseg().args(args).arg(&path).args(SMALL).assert().success();
    let trace: Value = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let named = |what: &str, name: &str| -> u64 {
        let found = events.iter().find(|e| e["ph"] == "M" && e["name"] == what && e["args"]["name"] == name);
        found.and_then(|e| e["pid"].as_u64()).expect(name)
    };
    let (host, device) = (named("process_name", "host"), named("process_name", "device"));
    let of = |track: u64| -> Vec<(&str, f64, f64)> {
        let complete = events.iter().filter(|e| e["ph"] == "X" && e["pid"] == track && e["tid"] == track);
        complete
            .map(|e| {
                let (begin, length) = (e["ts"].as_f64().expect("ts"), e["dur"].as_f64().expect("dur"));
                assert!(begin >= 0.0 && length >= 0.0, "{e}");
                (e["name"].as_str().expect("a name"), begin, begin + length)
            })
            .collect()
    };
    for track in [of(host), of(device)] {
        for pair in track.windows(2) {
            // A nanosecond: begin + length is rounded.
            assert!(pair[1].1 >= pair[0].2 - 1e-3, "{pair:?} overlap");
        }
    }
    let did: Vec<&str> = of(host).iter().map(|e| e.0).collect();
    for what in ["build tape", "build program", "build session", "upload", "encode", "submit", "wait"] {
        assert!(did.contains(&what), "{what} in {did:?}");
    }
    // No step began before it was submitted, none ended after the last wait.
    let submit = of(host).iter().find(|e| e.0 == "submit").expect("a submit").1;
    let waited = of(host).last().expect("a wait").2;
    let device = of(device);
    assert!(device.iter().all(|e| e.1 >= submit - 1e-3 && e.2 <= waited), "{submit} {waited} {device:?}");
    if trace["otherData"]["device_clock"] == "timestamps" {
        let kernels: BTreeSet<&str> = device.iter().map(|e| e.0).collect();
        let shaders = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
        for kernel in kernels {
            let file = kernel.split(' ').next().unwrap_or_default();
            assert!(shaders.join(file).with_extension("wgsl").is_file(), "{kernel} is no kernel");
        }
    } else {
        assert!(device.iter().all(|e| e.0 == "submission"), "{device:?}");
    }
}

#[test]
fn growth_has_times_and_memory_that_grows_on_a_line() {
    let gpu = common::gpu();
    let set = ["data.size=16", "model.base_channels=4", "model.depth=2", "train.batch_size=1"];
    let config = Config::parse("", "test", &set.map(str::to_owned)).expect("a config");
    let mut seen = 0;
    let report = growth::measure(&gpu, &config, &[1, 2, 4, 8], &[16, 32, 48], 2, 60.0, &mut |_| seen += 1)
        .expect("a report");
    assert_eq!(seen, 7);
    let sizes = |series: &GrowthSeries| -> Vec<(usize, usize)> {
        series.points.iter().map(|p| (p.batch, p.size)).collect()
    };
    assert_eq!(sizes(&report.by_batch), [(1, 16), (2, 16), (4, 16), (8, 16)]);
    assert_eq!(sizes(&report.by_size), [(1, 16), (1, 32), (1, 48)]);
    for series in [&report.by_batch, &report.by_size] {
        assert!(series.points.iter().all(|p| p.skipped.is_none()), "{series:#?}");
        assert!(series.points.iter().all(|p| p.ms_per_image.is_some_and(|ms| ms > 0.0)), "{series:#?}");
        assert!(series.points.is_sorted_by_key(|p| p.peak_bytes), "{series:#?}");
        let fit = series.memory.expect("a line");
        assert!(fit.bytes_per_pixel > 0.0 && fit.worst_deviation_percent < 25.0, "{fit:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let plot = folder.path().join("growth.png");
    wgseg::report::growth::write_plot(&plot, &report).expect("a plot");
    assert_eq!(image::open(&plot).expect("a picture").width(), 1100);
}

#[test]
fn steps_that_would_take_too_long_are_skipped_with_the_reason() {
    let gpu = common::gpu();
    let set = ["data.size=16", "model.base_channels=4", "model.depth=2", "train.batch_size=1"];
    let config = Config::parse("", "test", &set.map(str::to_owned)).expect("a config");
    let report = growth::measure(&gpu, &config, &[1, 64], &[], 1, 1e-9, &mut |_| {}).expect("a report");
    let [first, second] = &report.by_batch.points[..] else { panic!("{:#?}", report.by_batch) };
    assert!(first.step.is_some() && first.skipped.is_none(), "nothing tells how long the first takes");
    assert!(second.step.is_none() && second.peak_bytes > first.peak_bytes, "{second:?}");
    assert!(second.skipped.as_deref().is_some_and(|why| why.contains("would take")), "{second:?}");
}

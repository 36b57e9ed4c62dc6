//! Each adapter in a process of its own: a driver that dies or hangs takes one unit of checks down and no other.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::checks::{Bench, Unit, units};
use super::known::marked;
use super::report::{AdapterReport, Check, Device, Outcome, Report, Runner, SCHEMA};
use super::{ConformanceError, Options};
use crate::gpu::{Extra, Gpu, GpuOptions};
use crate::itself;

/// A line that the process of an adapter prints.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Device(Device),
    /// It cannot be opened.
    None(String),
    /// The unit of this number is begun, and ended.
    Begin(usize),
    Check(Check),
    End(usize),
}

/// What is told while checks run.
pub enum Event<'a> {
    /// The checks of a device begin; so many units.
    Device(&'a Device, usize),
    Check(&'a Check),
    /// So many units are done.
    Done(usize),
}

/// Checks `adapters`, which are numbers or names as `--adapter` takes them, one after the other. A unit that takes longer
/// than `patience` is given up.
pub fn run(
    adapters: &[String],
    options: Options,
    patience: Duration,
    observe: &mut dyn FnMut(Event),
) -> Result<Report, ConformanceError> {
    let units = units(options);
    let mut reports = vec![];
    for adapter in adapters {
        let spawn = |from: usize| {
            let mut command = itself::command()?;
            command.args(["conformance", "--adapter", adapter, "--from", &from.to_string()]);
            command.args(options.quick.then_some("--quick"));
            command.args(options.default_limits.then_some("--default-limits"));
            Ok(command)
        };
        reports.push(one_adapter(adapter, &units, &spawn, patience, observe)?);
    }
    Ok(Report {
        schema: SCHEMA,
        wgseg: env!("CARGO_PKG_VERSION").to_owned(),
        kernels: env!("WGSEG_KERNELS").to_owned(),
        made: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        runner: Runner::Wgpu,
        quick: options.quick,
        default_limits: options.default_limits,
        adapters: reports,
    })
}

/// The units of one adapter in processes that `spawn` makes, each from a unit on.
fn one_adapter(
    adapter: &str,
    units: &[Unit],
    spawn: &dyn Fn(usize) -> std::io::Result<Command>,
    patience: Duration,
    observe: &mut dyn FnMut(Event),
) -> Result<AdapterReport, ConformanceError> {
    let start = Instant::now();
    let mut device: Option<Device> = None;
    let mut checks: Vec<Check> = vec![];
    let mut from = 0;
    while from < units.len() {
        let mut begun = None;
        let mut refused = None;
        let command = spawn(from).map_err(ConformanceError::Process)?;
        let end = lines_of(command, patience, &mut |line| match line {
            Line::Device(found) => {
                if device.is_none() {
                    observe(Event::Device(&found, units.len()));
                    device = Some(found);
                }
            }
            Line::None(why) => refused = Some(why),
            Line::Begin(unit) => begun = Some(unit),
            Line::Check(check) => {
                let check = match &device {
                    Some(device) => marked(device, check),
                    None => check,
                };
                observe(Event::Check(&check));
                checks.push(check);
            }
            Line::End(unit) => {
                (begun, from) = (None, unit + 1);
                observe(Event::Done(from));
            }
        })?;
        let Some(device) = device.as_ref().filter(|_| refused.is_none()) else {
            let end = refused.unwrap_or(end);
            return Err(ConformanceError::NoDevice { adapter: adapter.to_owned(), end });
        };
        if from >= units.len() {
            break;
        }
        // It died within a unit, or before it began the next.
        let lost = begun.unwrap_or(from);
        if let Some(unit) = units.get(lost) {
            let (group, subject, case) = unit.label();
            let check = Check::new(group, &subject, &case, Outcome::Crashed).because(&end);
            let check = marked(device, check);
            observe(Event::Check(&check));
            checks.push(check);
        }
        from = lost + 1;
        observe(Event::Done(from));
    }
    let device = device.unwrap_or_default();
    Ok(AdapterReport { device, seconds: start.elapsed().as_secs_f64(), checks })
}

/// Runs `command` and hands over each line that it prints; how it ended.
fn lines_of(
    mut command: Command,
    patience: Duration,
    take: &mut dyn FnMut(Line),
) -> Result<String, ConformanceError> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(ConformanceError::Process)?;
    let stdout = child.stdout.take();
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        // A line cut short is that of a process that died.
        let lines = stdout.into_iter().flat_map(|out| BufReader::new(out).lines().map_while(Result::ok));
        for line in lines.map_while(|line| serde_json::from_str::<Line>(&line).ok()) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let end = loop {
        match receiver.recv_timeout(patience) {
            Ok(line) => take(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.wait().map_err(ConformanceError::Process)?;
                break format!("the driver's process ended: {status}");
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                stop(&mut child);
                break format!("no answer for {} s", patience.as_secs());
            }
        }
    };
    // It ends with the process, whose output it reads; what that left to others is not waited for.
    if reader.is_finished() {
        let _ = reader.join();
    }
    Ok(end)
}

fn stop(child: &mut Child) {
    // Either it is gone already, or it goes now.
    let _ = child.kill();
    let _ = child.wait();
}

/// What the process of an adapter does: runs the units from `from` on and prints a line for all that comes of them.
pub fn work(adapter: &str, options: Options, from: usize) -> Result<(), ConformanceError> {
    let print = |line: &Line| -> Result<(), ConformanceError> {
        let mut out = std::io::stdout().lock();
        let text = serde_json::to_string(line).map_err(|e| ConformanceError::Process(e.into()))?;
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(ConformanceError::Process)
    };
    let open = || {
        Gpu::open(&GpuOptions {
            adapter: Some(adapter.to_owned()),
            extra: Extra::CooperativeMatrix,
            default_limits: options.default_limits,
            ..GpuOptions::default()
        })
    };
    let gpu = match open() {
        Ok(gpu) => gpu,
        Err(error) => return print(&Line::None(error.to_string())),
    };
    let (description, offer) = (gpu.description().clone(), gpu.offer());
    print(&Line::Device(Device {
        name: description.name,
        vendor: offer.vendor,
        backend: description.backend,
        device_type: description.device_type,
        driver: description.driver,
        family: gpu.caps().family.to_string(),
        limits: offer.limits,
        features: offer.features,
    }))?;
    let mut bench = Bench::new(gpu, options);
    for (index, unit) in units(options).iter().enumerate().skip(from) {
        print(&Line::Begin(index))?;
        let checks = bench.run(unit, &|_| {});
        let failed = checks.iter().any(|check| check.outcome.is_bad());
        for check in checks {
            print(&Line::Check(check))?;
        }
        print(&Line::End(index))?;
        // A device that has told of an error may be lost: the rest gets a new one.
        if failed {
            match open() {
                Ok(gpu) => bench = Bench::new(gpu, options),
                Err(_) => return Ok(()),
            }
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::limits::Limit;
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// A process that prints what a worker would, and then does `end`.
    fn worker(lines: &[Line], end: &str) -> std::io::Result<Command> {
        let text: Vec<String> = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
        Ok(shell(&format!("cat <<'END'\n{}\nEND\n{end}", text.join("\n"))))
    }

    fn units() -> Vec<Unit> {
        [Limit::LargestBinding, Limit::ManyWorkgroups, Limit::WorkgroupMemory].map(Unit::Limit).to_vec()
    }

    fn device() -> Line {
        Line::Device(Device { name: "a device".to_owned(), ..Device::default() })
    }

    fn passed(limit: Limit) -> Line {
        Line::Check(Check::new(limit.group(), limit.name(), "all", Outcome::Pass))
    }

    #[test]
    fn a_driver_that_dies_or_hangs_loses_one_unit() {
        for (end, reason) in
            [("kill -9 $$", "signal: 9"), ("sleep 600", "no answer for 1 s"), ("exit 3", "3")]
        {
            let spawn = |from: usize| match from {
                0 => worker(
                    &[device(), Line::Begin(0), passed(Limit::LargestBinding), Line::End(0), Line::Begin(1)],
                    end,
                ),
                _ => worker(
                    &[device(), Line::Begin(2), passed(Limit::WorkgroupMemory), Line::End(2)],
                    "exit 0",
                ),
            };
            let mut done = 0;
            let report = one_adapter("0", &units(), &spawn, Duration::from_secs(1), &mut |event| {
                if let Event::Done(units) = event {
                    done = units;
                }
            })
            .unwrap();
            let outcomes: Vec<_> =
                report.checks.iter().map(|check| (check.subject.as_str(), check.outcome)).collect();
            assert_eq!(
                outcomes,
                [
                    ("largest binding", Outcome::Pass),
                    ("many workgroups", Outcome::Crashed),
                    ("workgroup memory", Outcome::Pass)
                ]
            );
            assert!(report.checks[1].reason.contains(reason), "{}", report.checks[1].reason);
            assert_eq!((report.device.name.as_str(), done), ("a device", 3));
        }
    }

    #[test]
    fn a_driver_that_dies_of_every_unit_comes_to_an_end() {
        let spawn = |from: usize| worker(&[device(), Line::Begin(from)], "kill -9 $$");
        let report = one_adapter("0", &units(), &spawn, Duration::from_secs(5), &mut |_| {}).unwrap();
        assert_eq!(report.checks.len(), 3);
        assert!(report.checks.iter().all(|check| check.outcome == Outcome::Crashed));
    }

    #[test]
    fn a_device_that_cannot_be_opened_is_an_error_with_its_reason() {
        let refuse = |_: usize| worker(&[Line::None("no such adapter".to_owned())], "exit 0");
        let silent = |_: usize| Ok(shell("exit 7"));
        let both: [(&dyn Fn(usize) -> std::io::Result<Command>, &str); 2] =
            [(&refuse, "no such adapter"), (&silent, "7")];
        for (spawn, why) in both {
            let error = one_adapter("0", &units(), spawn, Duration::from_secs(5), &mut |_| {}).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}

//! Each adapter in a process of its own: a driver that dies or hangs takes one unit of checks down and no other.

use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::checks::{Bench, Unit, units};
use super::known::marked;
use super::report::{AdapterReport, Check, Device, Group, Outcome, Report, Runner, SCHEMA};
use super::{ConformanceError, Options};
use crate::gpu::{AdapterDescription, Extra, Gpu, GpuOptions};
use crate::itself;
use crate::itself::worker::{self, End, Next, Worker};
use crate::report::ReportError;

/// A line that the process of an adapter prints. What a driver prints between is passed over.
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

/// Makes the process that goes on from a unit.
type Spawn<'a> = &'a dyn Fn(usize) -> std::io::Result<Command>;

/// What is told while checks run.
pub enum Event<'a> {
    /// The checks of a device begin; so many units.
    Device(&'a Device, usize),
    /// The checks of a unit begin.
    Begin(&'a Unit),
    Check(&'a Check),
    /// So many units are done.
    Done(usize),
}

/// Checks `adapters` one after the other. A unit that says nothing for `patience` is given up. The report so far is given to
/// `save` now and then, and at the end.
///
/// # Errors
/// A process does not start, or `save` fails. What a driver does wrong is in the report.
pub fn run(
    adapters: &[AdapterDescription],
    options: &Options,
    patience: Duration,
    observe: &mut dyn FnMut(Event),
    save: &mut dyn FnMut(&Report) -> Result<(), ReportError>,
) -> Result<Report, ConformanceError> {
    let mut report = Report {
        schema: SCHEMA,
        wgseg: env!("CARGO_PKG_VERSION").to_owned(),
        kernels: env!("WGSEG_KERNELS").to_owned(),
        made: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        runner: Runner::Wgpu,
        quick: options.quick,
        default_limits: options.default_limits,
        op: options.op.clone(),
        complete: false,
        adapters: vec![],
    };
    let units = units(options)?;
    // Where it cannot be written is known before hours of work.
    save(&report)?;
    for adapter in adapters {
        let spawn = |from: usize| {
            let mut command = itself::command()?;
            command.args(["conformance", "--adapter", &adapter.index.to_string()]);
            command.args(["--from", &from.to_string()]);
            command.args(options.op.iter().flat_map(|op| ["--op", op]));
            command.args(options.quick.then_some("--quick"));
            command.args(options.default_limits.then_some("--default-limits"));
            Ok(command)
        };
        let described = AdapterReport { device: describe(adapter), seconds: 0.0, checks: vec![] };
        report.adapters.push(described.clone());
        let mut keep = |so_far: &AdapterReport| -> Result<(), ReportError> {
            if let Some(last) = report.adapters.last_mut() {
                last.clone_from(so_far);
            }
            save(&report)
        };
        one_adapter(described, &units, &spawn, patience, observe, &mut keep)?;
    }
    report.complete = true;
    save(&report)?;
    Ok(report)
}

/// What the list of adapters tells of one: all there is where it cannot be opened.
fn describe(adapter: &AdapterDescription) -> Device {
    Device {
        name: adapter.name.clone(),
        backend: adapter.backend.clone(),
        device_type: adapter.device_type.clone(),
        driver: adapter.driver.clone(),
        family: adapter.family.to_string(),
        ..Device::default()
    }
}

/// The units of one adapter in processes that `spawn` makes, each from a unit on. The report so far is given to `save` after
/// what is found at most every few seconds, and at the end.
fn one_adapter(
    mut report: AdapterReport,
    units: &[Unit],
    spawn: Spawn,
    patience: Duration,
    observe: &mut dyn FnMut(Event),
    save: &mut dyn FnMut(&AdapterReport) -> Result<(), ReportError>,
) -> Result<AdapterReport, ConformanceError> {
    const SAVE_EACH: Duration = Duration::from_secs(10);
    let start = Instant::now();
    let mut saved = None;
    let mut from = 0;
    let mut opened = false;
    while from < units.len() {
        let (mut begun, mut gone) = (None, None);
        let first = from;
        let mut worker = spawn(from).and_then(Worker::start).map_err(ConformanceError::Process)?;
        let end = loop {
            let line = match worker.next(patience) {
                Next::Line(line) => *line,
                Next::End(end) => break end,
            };
            match line {
                Line::Device(found) => {
                    if !opened {
                        opened = true;
                        observe(Event::Device(&found, units.len()));
                        report.device = found;
                    } else if found != report.device {
                        gone = Some(format!("another adapter has its number now: {}", found.name));
                        break End::Given;
                    }
                }
                Line::None(why) => gone = Some(why),
                Line::Begin(unit) => {
                    begun = Some(unit);
                    if let Some(unit) = units.get(unit) {
                        observe(Event::Begin(unit));
                    }
                }
                Line::Check(check) => {
                    let check = marked(&report.device, check);
                    observe(Event::Check(&check));
                    report.checks.push(check);
                }
                Line::End(unit) => {
                    (begun, from) = (None, unit + 1);
                    observe(Event::Done(from));
                }
            }
            if saved.is_none_or(|saved: Instant| saved.elapsed() > SAVE_EACH) {
                report.seconds = start.elapsed().as_secs_f64();
                save(&report)?;
                saved = Some(Instant::now());
            }
        };
        drop(worker);
        let mut crashed = |(group, subject, case): (Group, String, String), why: &str| {
            let check = Check::new(group, &subject, &case, Outcome::Crashed).because(why);
            let check = marked(&report.device, check);
            observe(Event::Check(&check));
            report.checks.push(check);
        };
        let device = |case: &str| (Group::Device, "device".to_owned(), case.to_owned());
        if gone.is_some() || !opened {
            let why = gone.unwrap_or_else(|| end.to_string());
            let left = units.len() - from;
            crashed(device("opening it"), &format!("{why}; {left} groups of checks were not run"));
            break;
        }
        if from >= units.len() {
            // A driver may die of closing a device as well.
            if !end.is_success() {
                crashed(device("closing it"), &end.to_string());
            }
            break;
        }
        if begun.is_none() && from > first && end.is_success() {
            // It asked for a new device.
            continue;
        }
        // It died within a unit, or before it began the next.
        let lost = begun.unwrap_or(from);
        if let Some(unit) = units.get(lost) {
            crashed(unit.label(), &end.to_string());
        }
        from = lost + 1;
        observe(Event::Done(from));
    }
    report.seconds = start.elapsed().as_secs_f64();
    save(&report)?;
    Ok(report)
}

/// What the process of an adapter does: runs the units from `from` on and prints a line for all that comes of them.
pub fn work(adapter: &str, options: &Options, from: usize) -> Result<(), ConformanceError> {
    worker::end_with_parent();
    let print = |line: &Line| worker::print(line).map_err(ConformanceError::Process);
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
    let (description, offer) = (gpu.description(), gpu.offer());
    print(&Line::Device(Device {
        vendor: offer.vendor,
        limits: offer.limits,
        features: offer.features,
        ..describe(description)
    }))?;
    let mut bench = Bench::new(gpu, options.clone());
    for (index, unit) in units(options)?.iter().enumerate().skip(from) {
        print(&Line::Begin(index))?;
        let mut lost = Ok(());
        let goes_on = bench.run(unit, &|_| {}, &mut |check| {
            if lost.is_ok() {
                lost = print(&Line::Check(check));
            }
        });
        lost?;
        print(&Line::End(index))?;
        if !goes_on {
            // Its device may be lost: the rest gets a new one, in a process of its own.
            return Ok(());
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

    fn with(spawn: Spawn, patience: Duration, observe: &mut dyn FnMut(Event)) -> AdapterReport {
        let empty = AdapterReport { device: Device::default(), seconds: 0.0, checks: vec![] };
        one_adapter(empty, &units(), spawn, patience, observe, &mut |_| Ok(())).unwrap()
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
            let report = with(&spawn, Duration::from_secs(1), &mut |event| {
                if let Event::Done(units) = event {
                    done = units;
                }
            });
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
        let report = with(&spawn, Duration::from_secs(5), &mut |_| {});
        assert_eq!(report.checks.len(), 3);
        assert!(report.checks.iter().all(|check| check.outcome == Outcome::Crashed));
    }

    #[test]
    fn a_device_that_cannot_be_opened_is_told_and_keeps_what_was_found_before() {
        let refuse = |_: usize| worker(&[Line::None("no such adapter".to_owned())], "exit 0");
        let silent = |_: usize| Ok(shell("echo a driver complains >&2; exit 7"));
        let later = |from: usize| match from {
            0 => worker(&[device(), Line::Begin(0), passed(Limit::LargestBinding), Line::End(0)], "exit 0"),
            _ => refuse(from),
        };
        let both: [(Spawn, &str, usize); 3] = [
            (&refuse, "no such adapter", 1),
            (&silent, "7; it said: a driver complains", 1),
            (&later, "no such", 2),
        ];
        for (spawn, why, count) in both {
            let checks = with(spawn, Duration::from_secs(5), &mut |_| {}).checks;
            assert_eq!(checks.len(), count, "{checks:?}");
            let last = &checks[count - 1];
            assert_eq!((last.group, last.outcome), (Group::Device, Outcome::Crashed));
            assert!(last.reason.contains(why), "{}", last.reason);
        }
    }

    #[test]
    fn what_a_driver_prints_is_passed_over_and_a_crash_at_the_end_is_told() {
        let spawn = |_: usize| {
            let mut lines = vec![device()];
            for unit in 0..3 {
                lines.extend([Line::Begin(unit), Line::End(unit)]);
            }
            let Ok(mut command) = worker(&lines, "kill -11 $$") else { panic!("a command") };
            let script = command.get_args().last().unwrap().to_string_lossy().replace("END\nEND", "END");
            command = shell(&format!("echo MESA: hello; {script}"));
            Ok(command)
        };
        let checks = with(&spawn, Duration::from_secs(5), &mut |_| {}).checks;
        assert_eq!(checks.len(), 1, "{checks:?}");
        assert_eq!((checks[0].case.as_str(), checks[0].outcome), ("closing it", Outcome::Crashed));
    }

    #[test]
    fn another_device_under_the_same_number_is_not_taken_for_it() {
        let other = || Line::Device(Device { name: "another".to_owned(), ..Device::default() });
        let spawn = |from: usize| match from {
            0 => worker(&[device(), Line::Begin(0), Line::End(0), Line::Begin(1)], "kill -9 $$"),
            _ => worker(&[other(), Line::Begin(2), passed(Limit::WorkgroupMemory), Line::End(2)], "exit 0"),
        };
        let checks = with(&spawn, Duration::from_secs(5), &mut |_| {}).checks;
        assert_eq!(checks.len(), 2, "{checks:?}");
        assert!(checks[1].reason.contains("another"), "{checks:?}");
    }
}

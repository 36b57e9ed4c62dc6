//! What of this machine matters to a training with a config, and the one thing to do next.

mod needs;

use std::path::Path;

use serde::Serialize;

use crate::config::Config;
use crate::gpu::{self, AdapterDescription, Gpu, GpuError, GpuOptions};
use crate::program::Precision;
use crate::report::words::quoted;
use crate::tune::place::{VARIABLE, Wanted};
pub use needs::Needs;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Version of wgseg.
    pub wgseg: String,
    /// As `linux x86_64`.
    pub system: String,
    pub cores: usize,
    /// Bytes of the host's memory that are free, where the system tells.
    pub free_host_bytes: Option<u64>,
    /// Best first.
    pub adapters: Vec<AdapterDescription>,
    /// What a training by the config would run on; none where it cannot be opened.
    pub taken: Option<Taken>,
    /// What the config needs there; none where there is no adapter.
    pub needs: Option<Needs>,
    /// Worst first.
    pub findings: Vec<Finding>,
    /// The command to run next.
    pub next: String,
}

/// The adapter of a training.
#[derive(Clone, Debug, Serialize)]
pub struct Taken {
    pub adapter: AdapterDescription,
    /// Bytes that are free: known of software drivers alone, whose memory is the host's. WebGPU does not tell of others.
    pub free_bytes: Option<u64>,
    /// A table of `wgseg tune` is used.
    pub tuned: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The training would not run.
    Error,
    /// It would run slower than it might.
    Slow,
}

/// One thing that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { severity, what: what.into(), mend: mend.into() }
    }
}

impl Diagnosis {
    /// Whether a training by the config would run.
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

/// A training that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The config as the user called it.
    pub name: &'a str,
    /// Keys that were set besides, `KEY=VALUE` each.
    pub set: &'a [String],
    pub config: &'a Config,
}

impl Wish<'_> {
    /// What the config is for: by its name, as those that come with the program have it, and by what it sets, as `train` reads
    /// nothing of the method.
    fn command(&self) -> &'static str {
        let stem = Path::new(self.name).file_stem().unwrap_or_default().to_string_lossy();
        let (config, default) = (self.config, Config::default());
        let sets_method = config.method != default.method
            || config.pretrain != default.pretrain
            || config.distillation != default.distillation;
        if stem.starts_with("compare") {
            "compare"
        } else if stem.starts_with("two_stage") || sets_method {
            "two-stage"
        } else {
            "train"
        }
    }

    /// The command that trains so, with some keys set otherwise.
    fn train(&self, set: &[&str]) -> String {
        let key = |text: &str| text.split('=').next().map(str::trim).map(str::to_owned);
        let own =
            self.set.iter().map(String::as_str).filter(|own| set.iter().all(|new| key(new) != key(own)));
        let set: String =
            own.chain(set.iter().copied()).map(|text| format!(" --set {}", quoted(text))).collect();
        let command = self.command();
        let more = if command == "train" { "" } else { " --unlabelled MORE" };
        format!("wgseg {command} {}{set} --data DIR{more} --out RUN", quoted(self.name))
    }
}

const F32: &str = "train.precision=f32";

/// Looks at the machine for a training, on the adapter that `wanted` names or the best one, with the tuning table of
/// `tuning`. Nothing is computed on the device.
///
/// # Errors
/// `wanted` names no adapter, or several.
pub fn examine(wish: Wish, wanted: Option<&str>, tuning: &Wanted) -> Result<Diagnosis, GpuError> {
    let precision = wish.config.train.precision;
    let mut findings = vec![];
    // The command that mends the first error.
    let mut mended = None;
    let open = |precision| {
        Gpu::open(&GpuOptions { adapter: wanted.map(str::to_owned), precision, ..GpuOptions::default() })
    };
    let gpu = match open(precision) {
        Err(error @ (GpuError::UnknownAdapter { .. } | GpuError::AmbiguousAdapter { .. })) => {
            return Err(error);
        }
        Err(error) if precision != Precision::F32 => match open(Precision::F32) {
            Ok(gpu) => {
                findings.push(Finding::new(Severity::Error, error.to_string(), format!("--set {F32}")));
                mended = Some(wish.train(&[F32]));
                Ok(gpu)
            }
            Err(error) => Err(error),
        },
        opened => opened,
    };
    let gpu = gpu.map_err(|error| {
        findings.push(Finding::new(Severity::Error, error.to_string(), driver_advice()));
        mended = Some("wgseg adapters".to_owned());
    });
    let gpu = gpu.ok();
    let taken = gpu.as_ref().map(|gpu| {
        let adapter = gpu.description().clone();
        let table = tuning.find(&adapter);
        let tuned = matches!(table, Ok(Some(_)));
        if let Err(error) = table {
            let mend = format!("run `wgseg tune` again, or set {VARIABLE}=off");
            findings.push(Finding::new(Severity::Error, error.to_string(), mend));
            mended.get_or_insert(format!("wgseg tune {}", quoted(wish.name)));
        }
        let free_bytes = if adapter.is_software() { gpu::free_host_memory() } else { None };
        Taken { adapter, free_bytes, tuned }
    });
    let needs = gpu.as_ref().map(|gpu| needs::of(wish.config, gpu.caps(), precision));
    if let (Some(gpu), Some(needs)) = (&gpu, &needs)
        && let Some(problem) = &needs.problem
    {
        let (mend, command) = match needs::fitting(wish.config, needs, gpu.caps(), precision) {
            Some(set) => (format!("--set {set}"), wish.train(&[&set])),
            None => ("choose another adapter".to_owned(), "wgseg adapters".to_owned()),
        };
        findings.push(Finding::new(Severity::Error, problem.clone(), mend));
        mended.get_or_insert(command);
    }
    if let Some(taken) = &taken {
        findings.extend(slow(taken, precision));
    }
    findings.sort_by_key(|finding| finding.severity);
    let next = mended.unwrap_or_else(|| next(wish, taken.as_ref()));
    Ok(Diagnosis {
        wgseg: env!("CARGO_PKG_VERSION").to_owned(),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        free_host_bytes: gpu::free_host_memory(),
        adapters: gpu::list(),
        taken,
        needs,
        findings,
        next,
    })
}

/// What makes a training slower than it might be.
fn slow(taken: &Taken, precision: Precision) -> Vec<Finding> {
    let mut found = vec![];
    let software = taken.adapter.is_software();
    if software {
        let what = "the adapter is a software driver: it computes on the CPU";
        found.push(Finding::new(Severity::Slow, what, driver_advice()));
    }
    if software && precision != Precision::F32 {
        let what =
            "in mixed precision a software driver runs kernels made for GPUs, and is slower than in f32";
        found.push(Finding::new(Severity::Slow, what, "set train.precision = \"f32\""));
    }
    if !taken.tuned {
        let what = "no kernel was tuned for this adapter and driver: a rule chooses their forms";
        found.push(Finding::new(Severity::Slow, what, "run `wgseg tune` once"));
    }
    found
}

/// How a driver is had on this system.
fn driver_advice() -> &'static str {
    match std::env::consts::OS {
        "linux" => {
            "if there is a GPU, install its Vulkan driver (on Debian and Ubuntu: apt-get install mesa-vulkan-drivers for AMD \
             and Intel, the package of the proprietary driver for NVIDIA), and see that the user may open /dev/dri/renderD128"
        }
        "macos" => "Metal is part of the system: update macOS",
        _ => "install the newest driver of the GPU's maker",
    }
}

/// The next step where nothing is wrong: a GPU is tuned before it trains.
fn next(wish: Wish, taken: Option<&Taken>) -> String {
    match taken {
        Some(taken) if !taken.tuned && !taken.adapter.is_software() => {
            format!("wgseg tune {}", quoted(wish.name))
        }
        _ => wish.train(&[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Family;

    #[test]
    fn the_next_command_is_what_the_config_is_for() {
        for name in crate::config::builtin::names() {
            let config = Config::load(Path::new(name), &[]).unwrap();
            let of = |name: &str| {
                let command = Wish { name, set: &[], config: &config }.train(&[]);
                command.split(' ').nth(1).unwrap().to_owned()
            };
            let expected = match name.split('_').next().unwrap() {
                "two" => "two-stage",
                "compare" => "compare",
                _ => "train",
            };
            assert_eq!(of(name), expected, "{name}");
            assert_eq!(of(&format!("configs/{name}.toml")), expected, "{name}");
        }
        let mut config = Config::default();
        config.method.tasks.pop();
        let command = Wish { name: "mine.toml", set: &[], config: &config }.train(&[]);
        assert_eq!(command, "wgseg two-stage mine.toml --data DIR --unlabelled MORE --out RUN");
    }

    fn taken(device_type: &str, tuned: bool) -> Taken {
        let adapter = AdapterDescription {
            index: 0,
            name: "a".into(),
            backend: "vulkan".into(),
            device_type: device_type.into(),
            driver: "d".into(),
            family: Family::Tiled,
            subgroups: false,
            half: false,
            max_binding_bytes: 1 << 27,
            max_buffer_bytes: 1 << 27,
            chosen: true,
        };
        Taken { adapter, free_bytes: None, tuned }
    }

    #[test]
    fn a_gpu_is_tuned_before_it_trains_and_keys_that_were_set_are_kept() {
        let config = Config::default();
        let set = ["train.epochs=3".to_owned(), "train.batch_size=64".to_owned()];
        let plain = Wish { name: "lungs", set: &[], config: &config };
        assert_eq!(next(plain, Some(&taken("DiscreteGpu", false))), "wgseg tune lungs");
        assert_eq!(next(plain, Some(&taken("DiscreteGpu", true))), "wgseg train lungs --data DIR --out RUN");
        assert_eq!(next(plain, Some(&taken("Cpu", false))), "wgseg train lungs --data DIR --out RUN");
        let apart = Wish { name: "my cfg.toml", ..plain };
        assert_eq!(apart.train(&[]), "wgseg train 'my cfg.toml' --data DIR --out RUN");
        let wish = Wish { set: &set, ..plain };
        assert_eq!(
            wish.train(&["train.batch_size=2"]),
            "wgseg train lungs --set train.epochs=3 --set train.batch_size=2 --data DIR --out RUN"
        );
    }

    #[test]
    fn a_software_driver_and_a_missing_table_are_slow() {
        assert_eq!(slow(&taken("DiscreteGpu", true), Precision::F32), []);
        assert_eq!(slow(&taken("Cpu", false), Precision::Mixed).len(), 3);
        assert!(slow(&taken("Cpu", true), Precision::F32)[0].what.contains("software driver"));
    }
}

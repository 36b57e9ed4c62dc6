//! What of this machine matters to a training with a config, and the one thing to do next.

mod needs;

use serde::Serialize;

use crate::config::Config;
use crate::gpu::{self, AdapterDescription, Gpu, GpuError, GpuOptions};
use crate::program::Precision;
use crate::tune::place::Wanted;
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

/// Looks at the machine for a training by `config`, which the user called `name`, on the adapter that `wanted` names or the
/// best one, with the tuning table of `tuning`. Nothing is computed on the device.
///
/// # Errors
/// `wanted` names no adapter, or several.
pub fn examine(
    name: &str,
    config: &Config,
    wanted: Option<&str>,
    tuning: &Wanted,
) -> Result<Diagnosis, GpuError> {
    let mut findings = vec![];
    let precision = config.train.precision;
    let mut options = GpuOptions { adapter: wanted.map(str::to_owned), precision, ..GpuOptions::default() };
    let mut opened = Gpu::open(&options);
    if let Err(error) = &opened
        && precision != Precision::F32
        && !matches!(
            error,
            GpuError::NoAdapter | GpuError::UnknownAdapter { .. } | GpuError::AmbiguousAdapter { .. }
        )
    {
        let mend = "set train.precision = \"f32\"";
        findings.push(Finding::new(Severity::Error, error.to_string(), mend));
        options.precision = Precision::F32;
        opened = Gpu::open(&options);
    }
    let gpu = match opened {
        Ok(gpu) => Some(gpu),
        Err(error @ (GpuError::UnknownAdapter { .. } | GpuError::AmbiguousAdapter { .. })) => {
            return Err(error);
        }
        Err(error) => {
            findings.push(Finding::new(Severity::Error, error.to_string(), driver_advice()));
            None
        }
    };
    let taken = gpu.as_ref().map(|gpu| {
        let adapter = gpu.description().clone();
        let tuned = match tuning.find(&adapter) {
            Ok(table) => table.is_some(),
            Err(error) => {
                findings.push(Finding::new(
                    Severity::Error,
                    error.to_string(),
                    "run `wgseg tune` again, or set WGSEG_TUNING=off",
                ));
                false
            }
        };
        let free_bytes = if adapter.is_software() { gpu::free_host_memory() } else { None };
        Taken { adapter, free_bytes, tuned }
    });
    let needs = gpu.as_ref().map(|gpu| needs::of(config, gpu.caps(), precision));
    if let Some(Needs { problem: Some(problem), fitting_batch, .. }) = &needs {
        let mend = match fitting_batch {
            Some(batch) => format!("--set train.batch_size={batch}"),
            None => "use a smaller data.size or model.base_channels".to_owned(),
        };
        findings.push(Finding::new(Severity::Error, problem.clone(), mend));
    }
    if let Some(taken) = &taken {
        findings.extend(slow(taken, precision));
    }
    findings.sort_by_key(|finding| finding.severity);
    let next = next(name, taken.as_ref(), needs.as_ref(), &findings);
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
        let what =
            "the adapter is a software driver: it computes on the CPU, some hundred times slower than a GPU";
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

/// The one command: what mends the worst error, else the next step of a training.
fn next(name: &str, taken: Option<&Taken>, needs: Option<&Needs>, findings: &[Finding]) -> String {
    let is_error = findings.iter().any(|finding| finding.severity == Severity::Error);
    match (taken, needs) {
        (None, _) => "wgseg adapters".to_owned(),
        (_, Some(Needs { problem: Some(_), fitting_batch: Some(batch), .. })) => {
            format!("wgseg train {name} --set train.batch_size={batch} --data DIR --out RUN")
        }
        _ if is_error => format!("wgseg train {name} --set train.precision=f32 --data DIR --out RUN"),
        (Some(taken), _) if !taken.tuned && !taken.adapter.is_software() => format!("wgseg tune {name}"),
        _ => format!("wgseg train {name} --data DIR --out RUN"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Family;

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
    fn the_next_command_mends_first_and_tunes_a_gpu_before_it_trains() {
        let on = |taken: &Taken| next("lungs", Some(taken), None, &slow(taken, Precision::F32));
        assert_eq!(on(&taken("DiscreteGpu", false)), "wgseg tune lungs");
        assert_eq!(on(&taken("DiscreteGpu", true)), "wgseg train lungs --data DIR --out RUN");
        assert_eq!(on(&taken("Cpu", false)), "wgseg train lungs --data DIR --out RUN");
        let large = Needs { problem: Some("too large".into()), fitting_batch: Some(2), ..Needs::default() };
        let next = next("lungs", Some(&taken("DiscreteGpu", false)), Some(&large), &[]);
        assert!(next.contains("train.batch_size=2"), "{next}");
    }

    #[test]
    fn a_software_driver_and_a_missing_table_are_slow() {
        assert_eq!(slow(&taken("DiscreteGpu", true), Precision::F32), []);
        assert_eq!(slow(&taken("Cpu", false), Precision::Mixed).len(), 3);
        assert!(slow(&taken("Cpu", true), Precision::F32)[0].what.contains("software driver"));
    }
}

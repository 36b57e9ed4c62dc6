//! The schema of `report.json`.
//!
//! A change that an old reader would take wrongly needs a new [`SCHEMA`]. The page of `--web` writes the same.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ConformanceError;

/// Version of the schema that this program writes, and the only one it reads.
pub const SCHEMA: u32 = 1;

/// What the adapters of a machine were found to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub schema: u32,
    /// Version of wgseg.
    pub wgseg: String,
    /// Hash of its kernels and their lowering: results of equal hashes compare one to one.
    pub kernels: String,
    /// When it was made, UTC, as in RFC 3339.
    pub made: String,
    /// The system that it was made on, as `linux x86_64`; of a browser what it says of itself.
    #[serde(default)]
    pub system: String,
    pub runner: Runner,
    /// Fewer checks were run.
    pub quick: bool,
    /// Nothing beyond WebGPU's default limits and no feature was requested of the devices.
    pub default_limits: bool,
    /// The one op that was checked, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<String>,
    /// All checks have come to their end; not so while they run, or when they were interrupted.
    #[serde(default = "yes")]
    pub complete: bool,
    pub adapters: Vec<AdapterReport>,
}

/// What executed the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runner {
    /// This program, through wgpu.
    Wgpu,
    /// The JavaScript runner, through the WebGPU of a browser or of Dawn.
    Webgpu,
}

/// One adapter with one driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterReport {
    pub device: Device,
    pub seconds: f64,
    pub checks: Vec<Check>,
}

/// Which device and driver. What a browser does not tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    pub name: String,
    pub vendor: String,
    /// `vulkan`, `metal`, `dx12`, `gl` or `webgpu`.
    pub backend: String,
    /// Such as `DiscreteGpu` or `Cpu`.
    pub device_type: String,
    pub driver: String,
    /// Family of kernels that training takes there: `tiled` or `cpu`.
    pub family: String,
    /// What the adapter offers, by WebGPU's names.
    pub limits: BTreeMap<String, u64>,
    pub features: Vec<String>,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub group: Group,
    /// The op, or what was checked of a device.
    pub subject: String,
    pub case: String,
    /// `naive`, `tiled` or `cpu`, of a kernel.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub family: String,
    /// How a kernel computes it where it has several forms, and the types that it is not given in f32.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub form: String,
    /// The kernels that were run, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shaders: Vec<String>,
    pub outcome: Outcome,
    /// Why it failed, was skipped or is known to fail; of a pass what is worth knowing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The difference from the f64 reference that is largest beside its bound, and that bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_error: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// The largest difference in units in the last place of the result that it is in, of the type it is stored in.
    /// Sums that cancel have a large one on every device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ulp: Option<f64>,
    /// Results that were NaN or infinite and should not be.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_finite: usize,
    /// Median time, of a kernel in the group `speed` at a U-Net's shapes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<f64>,
    /// Share of what the adapter's own ceilings of arithmetic and memory allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent_of_peak: Option<f64>,
}

fn yes() -> bool {
    true
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What a check is about, in the order of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Opening and closing the device.
    Device,
    /// A kernel against the f64 reference.
    Kernel,
    /// A backward against differences of the reference, on the host.
    Gradient,
    /// The same bits run after run.
    Determinism,
    /// The device's limits, used to the full.
    Limits,
    /// Memory that is not there.
    Memory,
    /// A whole training beside the reference.
    Training,
    /// How near a kernel comes to what the device can do.
    Speed,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Pass,
    Fail,
    /// The driver took the process down, or hung.
    Crashed,
    /// It fails as the table of known failures says.
    Known,
    /// It was not run; the reason says why.
    Skipped,
}

impl Outcome {
    /// Whether a report with it is no pass.
    pub fn is_bad(self) -> bool {
        matches!(self, Outcome::Fail | Outcome::Crashed)
    }
}

impl Check {
    /// A check without numbers.
    pub fn new(group: Group, subject: &str, case: &str, outcome: Outcome) -> Check {
        Check {
            group,
            subject: subject.to_owned(),
            case: case.to_owned(),
            family: String::new(),
            form: String::new(),
            shaders: vec![],
            outcome,
            reason: String::new(),
            max_error: None,
            bound: None,
            max_ulp: None,
            not_finite: 0,
            milliseconds: None,
            percent_of_peak: None,
        }
    }

    pub fn because(self, reason: impl ToString) -> Check {
        Check { reason: reason.to_string(), ..self }
    }
}

/// Reads a report.
///
/// # Errors
/// The file cannot be read, is no report, or is one of another schema.
pub fn read(path: &Path) -> Result<Report, ConformanceError> {
    let unreadable = |message: String| ConformanceError::NoReport { path: path.to_owned(), message };
    let damaged =
        |e: serde_json::Error| ConformanceError::Damaged { path: path.to_owned(), message: e.to_string() };
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConformanceError::Unreadable { path: path.to_owned(), source })?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(damaged)?;
    let found = value.get("schema").and_then(serde_json::Value::as_u64);
    match found {
        Some(found) if found == u64::from(SCHEMA) => serde_json::from_value(value).map_err(damaged),
        Some(found) => Err(ConformanceError::OtherSchema { path: path.to_owned(), found }),
        None => Err(unreadable(
            "it has no number \"schema\"; a report.json of `wgseg conformance --out` has".to_owned(),
        )),
    }
}

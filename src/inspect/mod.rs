//! What compilers make of the kernels, without their hardware: SPIR-V, DXIL and GLSL through their validators, Metal's
//! language as text, and AMD's machine code with its registers, spills, occupancy and share of multiply-adds.

pub mod assembly;
mod check;
mod driver;
pub mod dxc;
mod files;
mod glsl;
mod hlsl;
mod kernels;
mod module;
mod msl;
mod parallel;
mod process;
mod radv;
mod report;
mod spirv;
pub mod target;
mod tool;
mod verdict;

use std::path::{Path, PathBuf};

use check::Checked;
pub use driver::Built;
pub use kernels::{Used, of_every_form, of_ops, of_unet};
pub use process::work;
pub use report::{ChipReport, Figures, Row, Summary};
pub use target::Target;
pub use tool::Tool;
pub use verdict::{Check, Counts, TargetReport, Verdict};

use crate::report::ReportError;

/// Why kernels could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("shader {shader} does not translate to SPIR-V: {message}")]
    Translate { shader: String, message: String },
    #[error(transparent)]
    Tape(#[from] crate::tape::TapeError),
    #[error(transparent)]
    Compile(#[from] crate::program::CompileError),
    #[error(transparent)]
    Verify(#[from] crate::verify::VerifyError),
    #[error("no {target} here: {why}")]
    NoCompiler { target: &'static str, why: String },
    #[error(
        "AMD's Vulkan driver RADV is not here (no radeon_icd*.json in {places}); on Debian and Ubuntu: \
         apt-get install mesa-vulkan-drivers"
    )]
    NoDriver { places: String },
    #[error("{program} is not here; on Debian and Ubuntu: apt-get install {package}")]
    NoTool { program: &'static str, package: &'static str },
    #[error("{program} does not start: {why}")]
    ToolFails { program: &'static str, why: String },
    #[error("the compiler's own process does not start: {0}")]
    Process(#[source] std::io::Error),
    #[error("{path}: {message}")]
    Jobs { path: PathBuf, message: String },
    #[error("a folder for the translations cannot be made: {0}")]
    Folder(#[source] std::io::Error),
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl InspectError {
    /// Whether the compiler or validator is what is missing.
    pub fn is_absence(&self) -> bool {
        use InspectError::{NoCompiler, NoDriver, NoTool, ToolFails};
        matches!(self, NoCompiler { .. } | NoDriver { .. } | NoTool { .. } | ToolFails { .. })
    }
}

/// What came of all kernels for a target.
#[derive(Clone, Debug)]
pub enum Report {
    /// A validator's word of each kernel.
    Checked(TargetReport),
    /// An AMD chip's figures.
    Chip(ChipReport),
}

/// Compiles kernels for a target and says what came of each. Tables, and each kernel's texts and binaries, go to `out`.
pub fn inspect(target: Target, kernels: &[Used], out: Option<&Path>) -> Result<Report, InspectError> {
    let name = target.file_name();
    let scratch = tempfile::tempdir().map_err(InspectError::Folder)?;
    let folder = out.map_or_else(|| scratch.path().to_owned(), |out| out.join(&name));
    let checked = || Checked::new(target, kernels, &folder);
    let report = match target {
        Target::Spirv(vulkan) => checked()?.spirv(vulkan)?,
        Target::Dxil(model) => checked()?.dxil(model)?,
        Target::Msl => checked()?.msl()?,
        Target::Glsl(version) => checked()?.glsl(version)?,
        Target::Amd(chip) => {
            let report = chip_report(chip, kernels)?;
            out.map(|out| files::write_chip(out, &name, &report)).transpose()?;
            return Ok(Report::Chip(report));
        }
    };
    out.map(|out| files::write_checked(out, &name, &report)).transpose()?;
    Ok(Report::Checked(report))
}

fn chip_report(chip: target::Chip, kernels: &[Used]) -> Result<ChipReport, InspectError> {
    let job = |used: &Used| {
        let made = used.module().and_then(|module| {
            let words = spirv::translate(&module, target::Vulkan::V1_3)?;
            Ok(radv::Job { words, storage: module.storage.len() })
        });
        made.map_err(|message| InspectError::Translate {
            shader: used.kernel.shader.name.to_owned(),
            message,
        })
    };
    let jobs = kernels.iter().map(job).collect::<Result<Vec<_>, _>>()?;
    let (driver, results) = radv::compile(chip, &jobs)?;
    let rows = kernels.iter().zip(results).map(|(kernel, result)| Row::of(kernel, result)).collect();
    Ok(ChipReport { target: Target::Amd(chip).name().to_owned(), driver, rows })
}

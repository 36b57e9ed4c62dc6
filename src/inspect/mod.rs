//! What AMD's compiler makes of the kernels: registers, spills, occupancy, and how much of the main
//! loop is multiply-adds. It needs no AMD GPU: RADV's null device compiles for a chip by name.

pub mod assembly;
mod driver;
mod files;
mod kernels;
mod process;
mod report;
mod spirv;
mod target;

use std::path::PathBuf;

pub use driver::Built;
pub use files::write;
pub use kernels::{Used, of_ops, of_unet};
pub use process::work;
pub use report::{ChipReport, Figures, Row, Summary};
pub use target::Target;

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
    Shader(#[from] crate::program::LowerError),
    #[error("no {target} here: {why}")]
    NoDevice { target: &'static str, why: String },
    #[error(
        "AMD's Vulkan driver RADV is not here (no radeon_icd*.json in {places}); on Debian and Ubuntu: \
         apt-get install mesa-vulkan-drivers"
    )]
    NoDriver { places: String },
    #[error("the compiler's own process does not start: {0}")]
    Process(#[source] std::io::Error),
    #[error("{path}: {message}")]
    Jobs { path: PathBuf, message: String },
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// Compiles kernels for a chip and says what came of each.
pub fn inspect(target: Target, kernels: &[Used]) -> Result<ChipReport, InspectError> {
    let jobs = kernels.iter().map(Used::job).collect::<Result<Vec<_>, _>>()?;
    let (driver, results) = process::compile(target, &jobs)?;
    let rows = kernels.iter().zip(results).map(|(kernel, result)| Row::of(kernel, result)).collect();
    Ok(ChipReport { target: target.name().to_owned(), driver, rows })
}

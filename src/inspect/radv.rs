//! AMD's compiler, which is in Mesa's Vulkan driver RADV.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use super::driver::{Built, Driver};
use super::target::{Chip, Target};
use super::{InspectError, process};

/// A kernel for the driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// SPIR-V.
    pub words: Vec<u32>,
    /// Storage buffers after the uniform block.
    pub storage: usize,
}

/// Compiles all jobs for a chip. Returns the driver's name, and of each job what was built, or why it was not.
pub fn compile(chip: Chip, jobs: &[Job]) -> Result<(String, Vec<Result<Built, String>>), InspectError> {
    let driver_file = driver_file()?;
    let environment = |command: &mut std::process::Command| {
        command
            .env("RADV_FORCE_FAMILY", chip.name())
            .env("VK_DRIVER_FILES", &driver_file)
            // The older name of the same, and what would put code between the program and the driver.
            .env_remove("VK_ICD_FILENAMES")
            .env_remove("VK_INSTANCE_LAYERS");
    };
    process::compile(Target::Amd(chip), environment, jobs)
}

/// RADV's manifest: one that the environment names, else one where the Vulkan loader looks.
fn driver_file() -> Result<PathBuf, InspectError> {
    let is_radv = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("radeon_icd"))
            && path.extension().is_some_and(|extension| extension == "json")
    };
    for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        let named = std::env::var_os(variable).unwrap_or_default();
        if let Some(path) = std::env::split_paths(&named).find(|path| is_radv(path) && path.is_file()) {
            return Ok(path);
        }
    }
    let mut folders: Vec<PathBuf> = vec![];
    for variable in ["XDG_DATA_HOME", "XDG_DATA_DIRS"] {
        folders.extend(std::env::split_paths(&std::env::var_os(variable).unwrap_or_default()));
    }
    folders.extend(["/etc", "/usr/local/share", "/usr/share", "/run/opengl-driver/share"].map(PathBuf::from));
    folders.iter_mut().for_each(|folder| folder.push("vulkan/icd.d"));
    for folder in &folders {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(is_radv).collect();
        // Of several the one of this machine's architecture, where it says so.
        files.sort_by_key(|path| !path.to_string_lossy().contains(std::env::consts::ARCH));
        if let Some(file) = files.into_iter().next() {
            return Ok(file);
        }
    }
    let places: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    Err(InspectError::NoDriver { places: places.join(", ") })
}

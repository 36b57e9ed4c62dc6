//! The driver in a process of its own: `RADV_FORCE_FAMILY` is read once a process, and a driver that
//! dies of a kernel takes that kernel down and no other.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::driver::{Built, Driver};
use super::{InspectError, Target};

/// A kernel for the driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// SPIR-V.
    pub words: Vec<u32>,
    /// Storage buffers after the uniform block.
    pub storage: usize,
}

/// A line that the driver's process prints: first of the driver, then of each job.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Driver(String),
    /// There is no such device.
    None(String),
    Built(Built),
    Failed(String),
}

/// Compiles all jobs for a chip. Returns the driver's name, and of each job what was built, or why it was not.
pub fn compile(target: Target, jobs: &[Job]) -> Result<(String, Vec<Result<Built, String>>), InspectError> {
    let driver_file = driver_file()?;
    let mut file = tempfile::NamedTempFile::new().map_err(InspectError::Process)?;
    let text = serde_json::to_vec(jobs).map_err(|e| jobs_error(file.path(), &e))?;
    file.write_all(&text).map_err(InspectError::Process)?;
    let mut name = String::new();
    let mut results = vec![];
    while results.len() < jobs.len() {
        let (end, lines) = run_worker(target, &driver_file, file.path(), results.len())?;
        for line in lines {
            match line {
                Line::Driver(driver) => name = driver,
                Line::None(why) => return Err(InspectError::NoDevice { target: target.name(), why }),
                Line::Built(built) => results.push(Ok(built)),
                Line::Failed(why) => results.push(Err(why)),
            }
        }
        if name.is_empty() {
            let why = format!("the driver's process ended before it told of a device: {end}");
            return Err(InspectError::NoDevice { target: target.name(), why });
        }
        if results.len() < jobs.len() {
            results.push(Err(format!("the driver's process died: {end}")));
        }
    }
    Ok((name, results))
}

/// Runs this program again for the jobs from `from` on; how it ended and what it printed.
fn run_worker(
    target: Target,
    driver_file: &Path,
    jobs: &Path,
    from: usize,
) -> Result<(String, Vec<Line>), InspectError> {
    let program = std::env::current_exe().map_err(InspectError::Process)?;
    let mut child = Command::new(program)
        .args(["inspect", "--target", target.name(), "--from", &from.to_string(), "--jobs"])
        .arg(jobs)
        .env("RADV_FORCE_FAMILY", target.chip())
        .env("VK_DRIVER_FILES", driver_file)
        // The older name of the same, and what would put code between the program and the driver.
        .env_remove("VK_ICD_FILENAMES")
        .env_remove("VK_INSTANCE_LAYERS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(InspectError::Process)?;
    let mut lines = vec![];
    if let Some(stdout) = child.stdout.take() {
        // A line cut short is that of a process that died.
        lines.extend(
            BufReader::new(stdout).lines().map_while(Result::ok).map_while(|l| serde_json::from_str(&l).ok()),
        );
    }
    let status = child.wait().map_err(InspectError::Process)?;
    Ok((status.to_string(), lines))
}

/// What the driver's process does: compiles the jobs of a file from `from` on and prints a line for each.
pub fn work(target: Target, jobs: &Path, from: usize) -> Result<(), InspectError> {
    let text = std::fs::read(jobs).map_err(|e| jobs_error(jobs, &e))?;
    let jobs: Vec<Job> = serde_json::from_slice(&text).map_err(|e| jobs_error(jobs, &e))?;
    let print = |line: &Line| -> Result<(), InspectError> {
        let mut out = std::io::stdout().lock();
        let text = serde_json::to_string(line).map_err(|e| InspectError::Process(e.into()))?;
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(InspectError::Process)
    };
    let driver = match Driver::open(target.chip()) {
        Ok(driver) => driver,
        Err(why) => return print(&Line::None(why.to_string())),
    };
    print(&Line::Driver(driver.name().to_owned()))?;
    for job in jobs.iter().skip(from) {
        print(&match driver.compile(&job.words, job.storage) {
            Ok(built) => Line::Built(built),
            Err(why) => Line::Failed(why.to_string()),
        })?;
    }
    Ok(())
}

fn jobs_error(path: &Path, why: &dyn std::fmt::Display) -> InspectError {
    InspectError::Jobs { path: path.to_owned(), message: why.to_string() }
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

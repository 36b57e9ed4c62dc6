//! The folder of a run: config, program and GPU, metrics.

use super::metrics_log::MetricsLog;
use super::{BranchRow, EpochRow, ReportError, StepRow, TaskRow, atomic};
use crate::config::Config;
use image::{ImageFormat, RgbImage};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// What a run was done with, as written to `run.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Version of wgseg.
    pub version: String,
    /// Name of the GPU.
    pub adapter: String,
    /// Vulkan, Metal, DX12 or GL.
    pub backend: String,
    /// Driver and its version; may be empty.
    pub driver: String,
    /// SHA-256 of the file that the weights began as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The table of `wgseg tune` that kernels' forms are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<String>,
}

impl RunInfo {
    /// What `run.json` in the folder says; none when it cannot be read.
    pub fn read(folder: &Path) -> Option<RunInfo> {
        serde_json::from_slice(&std::fs::read(folder.join("run.json")).ok()?).ok()
    }

    /// Writes `run.json` into the folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), ReportError> {
        write_json(&folder.join("run.json"), self)
    }

    /// The info for this version of wgseg on the given adapter.
    pub fn new(adapter: &str, backend: &str, driver: &str) -> RunInfo {
        RunInfo {
            version: env!("CARGO_PKG_VERSION").into(),
            adapter: adapter.into(),
            backend: backend.into(),
            driver: driver.into(),
            weights: None,
            tuning: None,
        }
    }
}

/// The adapter and its driver.
impl fmt::Display for RunInfo {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({}, {})", self.adapter, self.backend, self.driver)
    }
}

/// A run folder that is being written.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    log: MetricsLog,
    /// Locked as long as this process writes the run; the system unlocks it when the process ends.
    _lock: std::fs::File,
}

impl RunFolder {
    /// Makes the folder, with the folders above it, and starts the metrics. It may hold other files than a run's, and the
    /// metrics of one that was killed before it could be resumed: these are removed. `state` is the file that one that can be
    /// resumed has.
    ///
    /// # Errors
    /// Another process writes the run, or has left `state` since the caller looked for it; the folder is a file or cannot be
    /// written to.
    pub fn create(path: &Path, state: &str) -> Result<RunFolder, ReportError> {
        let unusable = |source| ReportError::Folder { path: path.into(), source };
        std::fs::create_dir_all(path).map_err(unusable)?;
        let lock = lock(path).map_err(|error| match error {
            // That the first file cannot be made is a matter of the folder.
            ReportError::Write { source, .. } => unusable(source),
            other => other,
        })?;
        if path.join(state).exists() {
            return Err(ReportError::Busy { path: path.into() });
        }
        MetricsLog::remove(path)?;
        Ok(RunFolder { path: path.into(), log: MetricsLog::create(path)?, _lock: lock })
    }

    /// Goes on in the folder of a run that was stopped, from a checkpoint taken
    /// after `step` steps. Metrics of later steps are dropped.
    ///
    /// # Errors
    /// The metrics are missing, damaged before their end or cannot be written.
    pub fn resume(path: &Path, step: usize) -> Result<RunFolder, ReportError> {
        let lock = lock(path)?;
        Ok(RunFolder { path: path.into(), log: MetricsLog::resume(path, step)?, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes the whole config, defaults included, to `config.toml`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_config(&self, config: &Config) -> Result<(), ReportError> {
        let path = self.file("config.toml");
        let text = config.to_toml().map_err(|error| ReportError::encode(&path, error))?;
        atomic::write(&path, text.as_bytes())
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_info(&self, info: &RunInfo) -> Result<(), ReportError> {
        info.write(&self.path)
    }

    /// Waits until the metrics are on the disk: what is saved after this never knows of more steps
    /// than they do, even when the power fails.
    ///
    /// # Errors
    /// A file cannot be written, as when the disk is full.
    pub fn sync(&self) -> Result<(), ReportError> {
        self.log.sync()
    }

    /// Appends a step to the metrics.
    ///
    /// # Errors
    /// The file cannot be written, as when the disk is full.
    pub fn log_step(&mut self, row: &StepRow) -> Result<(), ReportError> {
        self.log.step(row)
    }

    /// Appends a branch of a step to the metrics.
    ///
    /// # Errors
    /// The file cannot be written, as when the disk is full.
    pub fn log_branch(&mut self, row: BranchRow) -> Result<(), ReportError> {
        self.log.branch(row)
    }

    /// Appends a task's scores to the metrics.
    ///
    /// # Errors
    /// The file cannot be written, as when the disk is full.
    pub fn log_task(&mut self, row: TaskRow) -> Result<(), ReportError> {
        self.log.task(row)
    }

    /// Appends an epoch to the metrics.
    ///
    /// # Errors
    /// A file cannot be written, as when the disk is full.
    pub fn log_epoch(&mut self, row: &EpochRow) -> Result<(), ReportError> {
        self.log.epoch(row)
    }

    /// Appends `picture` to the metrics as TensorBoard reads them.
    ///
    /// # Errors
    /// The picture cannot be encoded, or the metrics cannot be written.
    pub fn log_image(&mut self, step: usize, tag: &str, picture: &RgbImage) -> Result<(), ReportError> {
        let mut png = Cursor::new(vec![]);
        picture.write_to(&mut png, ImageFormat::Png).map_err(ReportError::draw)?;
        self.log.image(step, tag, picture.dimensions(), png.into_inner())
    }
}

/// The file by which a folder is locked. It stays.
pub const LOCK: &str = ".lock";

/// Locks the folder, so that no two processes write it, until the file is dropped.
///
/// # Errors
/// Another process has locked it, or its `.lock` cannot be written.
pub fn lock(folder: &Path) -> Result<std::fs::File, ReportError> {
    let path = folder.join(LOCK);
    let file = std::fs::File::create(&path).map_err(|source| ReportError::write(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(ReportError::Busy { path: folder.into() }),
        Err(std::fs::TryLockError::Error(source)) => Err(ReportError::write(&path, source)),
    }
}

/// Checks that `path` can become a new folder: it does not exist, or is an empty folder.
///
/// # Errors
/// The folder holds something already, or is a file.
pub fn check_free(path: &Path) -> Result<(), ReportError> {
    match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ReportError::Folder { path: path.into(), source }),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(ReportError::FolderNotEmpty { path: path.into() }),
        },
    }
}

/// Checks that there is no file `path` yet, and that its folder is there.
///
/// # Errors
/// There is one, or a folder of that name, or no folder to put it in.
pub fn check_new_file(path: &Path) -> Result<(), ReportError> {
    if path.exists() { Err(ReportError::Exists { path: path.into() }) } else { check_place(path) }
}

/// Checks that the folder of the file `path` is there: before long work, that its result can be kept.
///
/// # Errors
/// There is no such folder.
pub fn check_place(path: &Path) -> Result<(), ReportError> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => match std::fs::metadata(folder) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(ReportError::write(path, std::io::ErrorKind::NotADirectory.into())),
            Err(source) => Err(ReportError::write(path, source)),
        },
        None => Ok(()),
    }
}

/// Makes a folder, with the folders above it, unless it is there.
///
/// # Errors
/// It cannot be made.
pub fn make_folder(path: &Path) -> Result<(), ReportError> {
    std::fs::create_dir_all(path).map_err(|source| ReportError::Folder { path: path.into(), source })
}

/// Writes `value` as indented JSON with a line break at the end.
///
/// # Errors
/// The value has no JSON form, or the file cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ReportError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| ReportError::encode(path, error))?;
    text.push(b'\n');
    atomic::write(path, &text)
}

#[cfg(test)]
mod tests {
    use super::super::event_file::EVENTS;
    use super::super::metrics_log::tests::{epoch, step};
    use super::*;

    #[test]
    fn a_run_folder_holds_config_info_and_metrics() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("runs/first");
        let mut run = RunFolder::create(&path, "state").unwrap();
        let config = Config::default();
        run.write_config(&config).unwrap();
        let info = RunInfo::new("Some GPU", "Vulkan", "1.2");
        run.write_info(&info).unwrap();
        run.log_step(&step(1, 1)).unwrap();
        run.log_epoch(&epoch(1, 1)).unwrap();
        run.sync().unwrap();
        assert_eq!(Config::load(&run.file("config.toml"), &[]).unwrap(), config);
        let text = std::fs::read_to_string(run.file("run.json")).unwrap();
        assert_eq!(serde_json::from_str::<RunInfo>(&text).unwrap(), info);
        let mut names: Vec<_> =
            std::fs::read_dir(run.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".lock", "config.toml", EVENTS, "metrics.csv", "metrics.jsonl", "run.json"]);
        // While one process writes the run no other may.
        assert!(matches!(RunFolder::resume(&path, 1), Err(ReportError::Busy { .. })));
        drop(run);
        RunFolder::resume(&path, 1).unwrap();
    }

    #[test]
    fn a_file_needs_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.csv");
        check_new_file(&file).unwrap();
        check_new_file(Path::new("nowhere_yet.csv")).unwrap();
        std::fs::write(&file, "").unwrap();
        assert!(matches!(check_new_file(&file), Err(ReportError::Exists { .. })));
        check_place(&file).unwrap();
        for missing in [folder.path().join("none/a.csv"), file.join("a.csv")] {
            let error = check_new_file(&missing).unwrap_err().to_string();
            assert!(error.contains(&missing.display().to_string()), "{error}");
        }
    }

    #[test]
    fn a_folder_that_is_not_empty_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), "keep").unwrap();
        let error = check_free(folder.path()).unwrap_err();
        assert!(matches!(error, ReportError::FolderNotEmpty { .. }));
        let message = error.to_string();
        assert!(message.contains(&folder.path().display().to_string()), "{message}");
        assert!(message.contains("choose another"), "{message}");
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = RunFolder::create(file.path(), "state").unwrap_err();
        assert!(matches!(error, ReportError::Folder { .. }), "{error}");
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }

    #[test]
    fn metrics_are_removed_by_none_but_the_process_that_writes_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::write(path.join("spec.json"), "{}").unwrap();
        let mut first = RunFolder::create(path, "state").unwrap();
        first.log_step(&step(1, 1)).unwrap();
        let steps = || std::fs::read_to_string(path.join("metrics.jsonl")).unwrap().lines().count();
        assert!(matches!(RunFolder::create(path, "state"), Err(ReportError::Busy { .. })));
        assert_eq!(steps(), 1);
        drop(first);
        // Which saved its state, and then ended.
        std::fs::write(path.join("state"), "").unwrap();
        assert!(matches!(RunFolder::create(path, "state"), Err(ReportError::Busy { .. })));
        assert_eq!(steps(), 1);
        std::fs::remove_file(path.join("state")).unwrap();
        RunFolder::create(path, "state").unwrap();
        assert_eq!(steps(), 0);
        assert!(path.join("spec.json").exists());
    }

    #[test]
    fn resume_needs_an_earlier_run() {
        let folder = tempfile::tempdir().unwrap();
        let error = RunFolder::resume(folder.path(), 1).unwrap_err();
        assert!(matches!(error, ReportError::Read { .. }), "{error}");
    }
}

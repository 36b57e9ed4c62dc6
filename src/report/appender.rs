//! A file that a run appends to.

use super::ReportError;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Hands each record to the system at once, so that a run that is stopped loses none.
#[derive(Debug)]
pub(super) struct Appender {
    path: PathBuf,
    file: File,
}

impl Appender {
    /// # Errors
    /// The file is there already or cannot be written.
    pub fn create(path: PathBuf) -> Result<Appender, ReportError> {
        Appender::open(path, OpenOptions::new().append(true).create_new(true))
    }

    /// # Errors
    /// The file is not there or cannot be written.
    pub fn existing(path: PathBuf) -> Result<Appender, ReportError> {
        Appender::open(path, OpenOptions::new().append(true))
    }

    fn open(path: PathBuf, options: &OpenOptions) -> Result<Appender, ReportError> {
        let file = options.open(&path).map_err(|source| ReportError::write(&path, source))?;
        Ok(Appender { path, file })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole record in one write, unbuffered.
    ///
    /// # Errors
    /// The file cannot be written, as when the disk is full.
    pub fn append(&mut self, record: &[u8]) -> Result<(), ReportError> {
        self.file.write_all(record).map_err(|source| ReportError::write(&self.path, source))
    }

    /// Keeps the first `bytes`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn cut(&self, bytes: u64) -> Result<(), ReportError> {
        self.file.set_len(bytes).map_err(|source| ReportError::write(&self.path, source))
    }

    /// Waits until the file is on the disk.
    ///
    /// # Errors
    /// The file cannot be written, as when the disk is full.
    pub fn sync(&self) -> Result<(), ReportError> {
        self.file.sync_all().map_err(|source| ReportError::write(&self.path, source))
    }
}

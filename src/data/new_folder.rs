//! A folder of results that is whole or not there.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::DataError;
use crate::report::check_free;

/// A folder in the making: hidden and temporary, beside the place that it takes when it is whole.
pub(super) struct NewFolder {
    out: PathBuf,
    /// Removed with all that is in it when this is dropped.
    _temp: TempDir,
    path: PathBuf,
}

impl NewFolder {
    /// Begins the folder `out`, with the empty folders `subfolders` in it.
    ///
    /// # Errors
    /// `out` exists and is not an empty folder, or nothing can be written beside it.
    pub fn begin(out: &Path, subfolders: &[&str]) -> Result<NewFolder, DataError> {
        check_free(out).map_err(|e| DataError::report(out, e))?;
        let parent = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(parent).map_err(|e| DataError::io(parent, &e))?;
        let temp = tempfile::Builder::new()
            .prefix(".wgseg-")
            .tempdir_in(parent)
            .map_err(|e| DataError::io(parent, &e))?;
        // A folder of its own within, for the temporary one is closed to other users.
        let path = temp.path().join("data");
        std::fs::create_dir(&path).map_err(|e| DataError::io(&path, &e))?;
        for name in subfolders {
            let sub = path.join(name);
            std::fs::create_dir(&sub).map_err(|e| DataError::io(&sub, &e))?;
        }
        Ok(NewFolder { out: out.to_path_buf(), _temp: temp, path })
    }

    /// Where to write meanwhile.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the folder in its place and gives that.
    ///
    /// # Errors
    /// It cannot be renamed, as when something was written there meanwhile.
    pub fn publish(self) -> Result<PathBuf, DataError> {
        let out = &self.out;
        if out.exists() {
            // It is empty; renaming onto an empty folder works on some systems only.
            std::fs::remove_dir(out).map_err(|e| DataError::io(out, &e))?;
        }
        std::fs::rename(&self.path, out).map_err(|e| DataError::io(out, &e))?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::error::Problem;

    #[test]
    fn the_folder_is_there_only_once_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/out");
        let folder = NewFolder::begin(&out, &["images"]).unwrap();
        std::fs::write(folder.path().join("images/x"), "x").unwrap();
        assert!(!out.exists());
        assert_eq!(folder.publish().unwrap(), out);
        assert_eq!(std::fs::read(out.join("images/x")).unwrap(), b"x");
        assert_eq!(std::fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = NewFolder::begin(&dir.path().join("out"), &[]).unwrap();
        std::fs::write(folder.path().join("x"), "x").unwrap();
        drop(folder);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_an_empty_folder_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("notes.txt"), "keep").unwrap();
        let error = NewFolder::begin(dir.path(), &[]).err().unwrap();
        assert_eq!(error, DataError::at(dir.path(), Problem::NotEmpty));
        let empty = dir.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        NewFolder::begin(&empty, &["masks"]).unwrap().publish().unwrap();
        assert!(empty.join("masks").is_dir());
    }
}

//! The file of weights that a run leaves, as its result knows it: a copy that was cut short must not teach.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::MethodError;
use super::inputs::Change;
use crate::data::fingerprint::hex;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// Name in the run's folder.
    pub file: String,
    pub bytes: u64,
    /// As 64 hexadecimal digits.
    pub sha256: String,
}

impl Weights {
    /// Of the file `name` in `folder`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(folder: &Path, name: &str) -> Result<Weights, MethodError> {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|source| MethodError::Io { path, source })?;
        let sha256 = hex(Sha256::new_with_prefix(&bytes));
        Ok(Weights { file: name.to_owned(), bytes: bytes.len() as u64, sha256 })
    }

    /// What is wrong with the file in `folder`, by its size alone.
    ///
    /// # Errors
    /// Whether it is there cannot be told.
    pub fn flaw(&self, folder: &Path) -> Result<Option<Change>, MethodError> {
        let path = folder.join(&self.file);
        match std::fs::metadata(&path) {
            Ok(found) if found.len() == self.bytes => Ok(None),
            Ok(found) => {
                let (file, found, expected) = (self.file.clone(), found.len(), self.bytes);
                Ok(Some(Change::Damaged { file, found, expected }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(Change::Lost(self.file.clone()))),
            Err(source) => Err(MethodError::Io { path, source }),
        }
    }

    /// The path of the file in `folder`, when it is what the run left.
    ///
    /// # Errors
    /// It cannot be read, or is another.
    pub fn check(&self, folder: &Path) -> Result<PathBuf, MethodError> {
        let path = folder.join(&self.file);
        if Weights::of(folder, &self.file)? == *self { Ok(path) } else { Err(MethodError::Weights { path }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_what_the_run_left_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        std::fs::write(&path, "abcd").unwrap();
        let weights = Weights::of(folder.path(), "w").unwrap();
        assert_eq!(weights.bytes, 4);
        assert!(weights.sha256.starts_with("88d4266f"), "{weights:?}");
        assert_eq!(weights.flaw(folder.path()).unwrap(), None);
        assert_eq!(weights.check(folder.path()).unwrap(), path);

        std::fs::write(&path, "abce").unwrap();
        assert_eq!(weights.flaw(folder.path()).unwrap(), None, "as long as before");
        let error = weights.check(folder.path()).unwrap_err();
        assert!(matches!(&error, MethodError::Weights { path: found } if *found == path), "{error}");
        assert!(error.to_string().contains("delete it"), "{error}");

        std::fs::write(&path, "ab").unwrap();
        let cut = Change::Damaged { file: "w".into(), found: 2, expected: 4 };
        assert_eq!(weights.flaw(folder.path()).unwrap(), Some(cut));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(weights.flaw(folder.path()).unwrap(), Some(Change::Lost("w".into())));
    }
}

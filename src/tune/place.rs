//! Where tables lie, and which one counts for a command.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use directories::ProjectDirs;
use sha2::{Digest, Sha256};

use super::{Table, TuneError};
use crate::gpu::AdapterDescription;
use crate::report::ReportError;
use crate::report::console::tell;

/// Environment variable that names a table in place of the user's own; `off`: none.
pub const VARIABLE: &str = "WGSEG_TUNING";

/// Copy of its table in the folder of a run or an experiment.
pub const COPY: &str = "tuning.json";

/// Which table a command wants.
#[derive(Clone, Debug)]
pub enum Wanted<'a> {
    None,
    /// That which a run in this folder began with; none where it began without.
    OfRun(&'a Path),
    /// This file, which must be there and of this adapter, driver and build.
    File(PathBuf),
    /// The user's own, of this adapter and driver, where there is one of this build.
    Users,
}

impl<'a> Wanted<'a> {
    /// By `--no-tuning`, by [`VARIABLE`], and by the folder of the run that is gone on with.
    pub fn by(no_tuning: bool, variable: Option<OsString>, begun: Option<&'a Path>) -> Wanted<'a> {
        let variable = variable.filter(|value| !value.is_empty());
        match (begun, variable) {
            _ if no_tuning => Wanted::None,
            (_, Some(value)) if value == "off" => Wanted::None,
            (Some(folder), _) => Wanted::OfRun(folder),
            (None, Some(file)) => Wanted::File(file.into()),
            (None, None) => Wanted::Users,
        }
    }

    /// Reads the table, and tells of it in one line.
    ///
    /// # Errors
    /// A table that was named, or that a run began with, cannot be read; one that was named is stale. The user's own
    /// is then done without, with a line that says why.
    pub fn find(&self, adapter: &AdapterDescription) -> Result<Option<Arc<Table>>, TuneError> {
        let (path, table) = match self {
            Wanted::None => return Ok(None),
            Wanted::OfRun(folder) => {
                let path = folder.join(COPY);
                if !path.exists() {
                    return Ok(None);
                }
                let table = Table::read(&path)?;
                if let Err(stale) = table.check(adapter) {
                    tell(&format!(
                        "the kernels' forms are those that the run began with, but their table is {stale}: results may not \
                         have the same bits as before"
                    ));
                }
                (path, table)
            }
            Wanted::File(path) => {
                let table = Table::read(path)?;
                table.check(adapter).map_err(|stale| TuneError::Stale { path: path.clone(), stale })?;
                (path.clone(), table)
            }
            Wanted::Users => {
                let Some(path) = users(adapter) else { return Ok(None) };
                match usable(&path, adapter) {
                    Ok(Some(table)) => (path, table),
                    Ok(None) => {
                        if has_others(&path) {
                            tell(
                                "kernels are not tuned for this driver, only for others: `wgseg tune` does it",
                            );
                        }
                        return Ok(None);
                    }
                    Err(why) => {
                        tell(&format!("kernels are not tuned: {why}; `wgseg tune` writes another table"));
                        return Ok(None);
                    }
                }
            }
        };
        tell(&format!("kernels tuned on {}: {}", table.date, path.display()));
        Ok(Some(Arc::new(table)))
    }
}

/// The table at `path`, if there is one; else why it is of no use.
fn usable(path: &Path, adapter: &AdapterDescription) -> Result<Option<Table>, String> {
    match Table::read(path) {
        Ok(table) => match table.check(adapter) {
            Ok(()) => Ok(Some(table)),
            Err(stale) => Err(format!("{} is {stale}", path.display())),
        },
        Err(TuneError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Where `wgseg tune` writes the table: `out`, else what [`VARIABLE`] names, else the user's own place.
///
/// # Errors
/// It is a folder, or in none; there is no home folder.
pub fn target(out: Option<PathBuf>, adapter: &AdapterDescription) -> Result<PathBuf, TuneError> {
    let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty() && value != "off");
    let Some(path) = out.or_else(|| variable.map(PathBuf::from)) else {
        return users(adapter).ok_or(TuneError::NoPlace);
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let message = match folder {
        _ if path.is_dir() => "is a folder",
        Some(folder) if !folder.is_dir() => "is in a folder that is not there",
        _ => return Ok(path),
    };
    Err(TuneError::Out { path, message })
}

/// The table that `path` holds of an earlier measurement of the same adapter, driver and build.
pub fn earlier(path: &Path, adapter: &AdapterDescription) -> Option<Table> {
    usable(path, adapter).ok().flatten()
}

/// The user's own table of an adapter and its driver. It is among what the user configures, not in a cache: results
/// have other bits without it.
fn users(adapter: &AdapterDescription) -> Option<PathBuf> {
    let folder = ProjectDirs::from("", "", "wgseg")?.config_dir().join("tuning");
    Some(folder.join(file_name(adapter)))
}

/// The adapter's name for people, then 8 digits for the whole and its driver.
fn file_name(adapter: &AdapterDescription) -> String {
    let letters = adapter.name.to_lowercase();
    let words: Vec<&str> =
        letters.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let whole = format!("{}\n{}\n{}", adapter.name, adapter.backend, adapter.driver);
    let hash: String = Sha256::digest(whole).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}.json", words.join("-"))
}

/// Whether there are tables of the same adapter beside where `path` would be.
fn has_others(path: &Path) -> bool {
    let stem = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.rsplit_once('-').map(|(adapter, _)| adapter.to_owned())
    };
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let mut entries = entries.into_iter().flatten().flatten();
    entries.any(|entry| stem(&entry.path()).is_some_and(|found| Some(found) == stem(path)))
}

/// Leaves in `folder` a copy of the table that its runs are done with, or none where they are done without.
///
/// # Errors
/// It cannot be written or removed.
pub fn keep_copy(folder: &Path, table: Option<&Table>) -> Result<(), TuneError> {
    let path = folder.join(COPY);
    match table {
        Some(table) => Ok(table.write(&path)?),
        None => match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(ReportError::write(&path, source).into())
            }
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stale;
    use super::super::table::tests::{adapter, point};
    use super::*;

    #[test]
    fn flag_variable_and_run_decide_in_this_order() {
        let of = |no_tuning, variable: Option<&str>, begun| {
            let wanted = Wanted::by(no_tuning, variable.map(Into::into), begun);
            format!("{wanted:?}")
        };
        let run = Some(Path::new("run"));
        assert_eq!(of(true, Some("file"), run), "None");
        assert_eq!(of(false, Some("off"), run), "None");
        assert_eq!(of(false, Some("file"), run), "OfRun(\"run\")");
        assert_eq!(of(false, Some("file"), None), "File(\"file\")");
        assert_eq!(of(false, Some(""), None), "Users");
        assert_eq!(of(false, None, None), "Users");
    }

    #[test]
    fn a_file_that_is_named_must_be_of_this_adapter_and_a_runs_own_need_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(COPY);
        let named = Wanted::File(path.clone());
        let of_run = Wanted::OfRun(folder.path());
        assert!(matches!(named.find(&adapter()), Err(TuneError::Read { .. })));
        assert_eq!(of_run.find(&adapter()).unwrap(), None);

        let mut table = Table::new(&adapter(), vec![point("a", "tiled 128x32")]);
        keep_copy(folder.path(), Some(&table)).unwrap();
        assert_eq!(named.find(&adapter()).unwrap().as_deref(), Some(&table));
        table.driver = "driver 0".into();
        keep_copy(folder.path(), Some(&table)).unwrap();
        let error = named.find(&adapter()).unwrap_err();
        assert!(matches!(&error, TuneError::Stale { stale: Stale::Driver { .. }, .. }), "{error}");
        assert_eq!(of_run.find(&adapter()).unwrap().as_deref(), Some(&table));

        keep_copy(folder.path(), None).unwrap();
        keep_copy(folder.path(), None).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn the_users_own_is_done_without_where_it_is_stale_or_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file_name(&adapter()));
        assert_eq!(usable(&path, &adapter()), Ok(None));
        let mut table = Table::new(&adapter(), vec![]);
        table.write(&path).unwrap();
        assert_eq!(usable(&path, &adapter()), Ok(Some(table.clone())));
        assert_eq!(earlier(&path, &adapter()), Some(table.clone()));
        table.kernels = "0".into();
        table.write(&path).unwrap();
        assert!(usable(&path, &adapter()).unwrap_err().contains("of another build"));
        assert_eq!(earlier(&path, &adapter()), None);
        std::fs::write(&path, "{").unwrap();
        assert!(usable(&path, &adapter()).unwrap_err().contains("expected a table"));
    }

    #[test]
    fn a_table_of_another_driver_is_seen_beside_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let [mine, others] = ["driver 1", "driver 2"].map(|driver| {
            folder.path().join(file_name(&AdapterDescription { driver: driver.into(), ..adapter() }))
        });
        assert_ne!(mine, others);
        assert!(!has_others(&mine));
        std::fs::write(&others, "").unwrap();
        assert!(has_others(&mine));
        let name = mine.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("some-gpu-") && name.ends_with(".json"), "{name}");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_before_anything_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let of = |path: PathBuf| target(Some(path), &adapter());
        assert_eq!(of(folder.path().join("a.json")).unwrap(), folder.path().join("a.json"));
        for path in [folder.path().into(), folder.path().join("none/a.json")] {
            assert!(matches!(of(path), Err(TuneError::Out { .. })));
        }
    }
}

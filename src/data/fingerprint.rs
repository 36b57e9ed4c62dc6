//! Which files a run was made from, so that it is told when they are others.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dataset::Item;
use super::error::{DataError, Problem};
use super::parallel;
use crate::report::atomic;

/// File of a run folder.
pub const FILE: &str = "images.csv";

/// SHA-256 of the files of an image and its mask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    id: String,
    image: String,
    mask: String,
}

/// SHA-256 of the files of images and masks, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints(BTreeMap<String, Row>);

/// An image whose files are others than they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub id: String,
    /// The image or the mask.
    pub what: &'static str,
    /// How many images this is true of.
    pub images: usize,
}

impl Fingerprints {
    /// Reads the files of `items` on `workers` threads, without decoding them.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn of(items: &[&Item], workers: usize) -> Result<Fingerprints, DataError> {
        let rows = parallel::map(items.len(), workers, |i| {
            let Item { id, image, mask, .. } = items[i];
            Ok(Row { id: id.clone(), image: of_file(image)?, mask: of_file(mask)? })
        })?;
        Ok(Fingerprints(rows.into_iter().map(|row| (row.id.clone(), row)).collect()))
    }

    /// Those that were written to `path`; none where there is no such file, as in runs of earlier versions.
    ///
    /// # Errors
    /// It cannot be read or is not what [`Fingerprints::write`] writes.
    pub fn read(path: &Path) -> Result<Option<Fingerprints>, DataError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DataError::io(path, &error)),
        };
        let rows: Result<Vec<Row>, csv::Error> = csv::Reader::from_reader(&bytes[..]).deserialize().collect();
        let rows =
            rows.map_err(|error| DataError::at(path, Problem::Fingerprints { message: error.to_string() }))?;
        Ok(Some(Fingerprints(rows.into_iter().map(|row| (row.id.clone(), row)).collect())))
    }

    /// Writes the columns `id`, `image` and `mask`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let failed = |message: String| DataError::at(path, Problem::Io { message });
        let mut csv = csv::Writer::from_writer(vec![]);
        for row in self.0.values() {
            csv.serialize(row).map_err(|error| failed(error.to_string()))?;
        }
        let bytes = csv.into_inner().map_err(|error| failed(error.to_string()))?;
        atomic::write(path, &bytes).map_err(|error| DataError::report(path, error))
    }

    /// The first image of both whose files are others `now`.
    pub fn changed(&self, now: &Fingerprints) -> Option<Changed> {
        let others: Vec<(&Row, &Row)> = self
            .0
            .values()
            .filter_map(|row| Some((row, now.0.get(&row.id)?)))
            .filter(|(row, now)| row != now)
            .collect();
        let (row, now) = others.first()?;
        let what = if row.mask != now.mask { "mask" } else { "image" };
        Some(Changed { id: row.id.clone(), what, images: others.len() })
    }
}

fn of_file(path: &Path) -> Result<String, DataError> {
    let bytes = std::fs::read(path).map_err(|error| DataError::io(path, &error))?;
    Ok(hex(Sha256::new_with_prefix(bytes)))
}

/// As 64 hexadecimal digits.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::DataConfig;
    use crate::data::Dataset;
    use crate::data::testing::folder;

    #[test]
    fn other_files_are_told_and_the_same_ones_are_not() {
        let data = folder(9);
        let of = || {
            let dataset = Dataset::open(data.path(), &DataConfig::default()).unwrap();
            Fingerprints::of(&dataset.items().iter().collect::<Vec<_>>(), 2).unwrap()
        };
        let path = data.path().join(FILE);
        assert_eq!(Fingerprints::read(&path).unwrap(), None);
        of().write(&path).unwrap();
        let before = Fingerprints::read(&path).unwrap().unwrap();
        assert_eq!(before.changed(&of()), None);
        assert_eq!(before, of());

        let copy = |folder: &str, from: &str, to: &str| {
            let at = |name: &str| data.path().join(folder).join(name);
            std::fs::copy(at(from), at(to)).unwrap();
        };
        copy("images", "a01.png", "a07.png");
        let changed = |id: &str, what, images| Some(Changed { id: id.into(), what, images });
        assert_eq!(before.changed(&of()), changed("a07", "image", 1));
        copy("masks", "a00.png", "a03.png");
        assert_eq!(before.changed(&of()), changed("a03", "mask", 2));
        // One that is gone is told by the split.
        for folder in ["images", "masks"] {
            std::fs::remove_file(data.path().join(folder).join("a03.png")).unwrap();
        }
        assert_eq!(before.changed(&of()), changed("a07", "image", 1));

        std::fs::write(&path, "id,image\nx,y\n").unwrap();
        let error = Fingerprints::read(&path).unwrap_err().to_string();
        assert!(error.contains(FILE), "{error}");
    }
}

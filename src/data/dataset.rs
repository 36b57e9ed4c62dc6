//! A data folder: pairs of image and mask, in three parts.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::error::{DataError, Problem};
use super::header::read_header;
use super::patients::{self, Patients};
use super::sampler::permutation;
use super::split::{self, Assignment, Part};
use crate::config::schema::DataConfig;
use crate::rng::{Purpose, rng};

/// Endings of files that are read, in lower case.
pub(super) const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "tif", "tiff", "dcm", "dicom"];
/// How endings of images and masks are told.
const IMAGE_ENDINGS: &str = ".png, .jpg, .tif or .dcm";
const MASK_ENDINGS: &str = ".png, .jpg or .tif";
/// Endings of images that cannot be read. They are refused, for to pass over them would hide data.
const FOREIGN: [&str; 11] = ["bmp", "gif", "webp", "jp2", "j2k", "npy", "npz", "nii", "mha", "nrrd", "pgm"];

/// An image with its mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The file name without its ending.
    pub id: String,
    pub image: PathBuf,
    pub mask: PathBuf,
    /// Pixels, of image and mask.
    pub width: u32,
    /// Pixels, of image and mask.
    pub height: u32,
}

/// The pairs of a data folder, sorted by id, each in one part.
#[derive(Clone, Debug)]
pub struct Dataset {
    items: Vec<Item>,
    parts: Vec<Part>,
    patients: Patients,
    split_file: Option<PathBuf>,
}

impl Dataset {
    /// Pairs the files of `dir/images` and `dir/masks` and splits them.
    ///
    /// The split is `config.split_file`, else `dir/split.csv`, else drawn by `config.seed` and the
    /// fractions: the same for the same ids, whatever order the files come in, and patients of `dir/patients.csv`
    /// in one part each. `config.fold` takes the column `fold` of the file. Hidden files, folders
    /// and files that are no images are passed over. Only headers are read.
    ///
    /// # Errors
    /// A folder is missing or without images; an image lacks its mask or the reverse; two files share
    /// a stem; a mask has another size than its image; a header is bad; the split names a missing
    /// image, misses one, names one twice, has an unknown word or leaves a part empty; a value of
    /// `config` is out of its range. The first
    /// problem is returned; [`super::check()`] lists all.
    pub fn open(dir: &Path, config: &DataConfig) -> Result<Self, DataError> {
        config.validate()?;
        let Scan { ids, items, problems } = scan(dir);
        first(problems)?;
        let split_file = split_file(dir, config);
        let Assignment { parts, patients, problems, .. } = assign(dir, &ids, config, split_file.as_deref());
        first(problems)?;
        // Without problems every image has a part.
        let parts: Vec<Part> = parts.into_iter().flatten().collect();
        Ok(Dataset { items, parts, patients, split_file })
    }

    /// All pairs, sorted by id. Indices elsewhere are into this.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Indices of the images of a part, ascending.
    pub fn part(&self, part: Part) -> Vec<usize> {
        (0..self.items.len()).filter(|&i| self.parts[i] == part).collect()
    }

    /// The file the split was read from; none when it was drawn.
    pub fn split_file(&self) -> Option<&Path> {
        self.split_file.as_deref()
    }

    /// The patient of each image, by id, as the column `patient` of the split's file says, or `patients.csv` where
    /// that says nothing; images of whom nothing is known are not in it.
    pub fn patients(&self) -> &Patients {
        &self.patients
    }

    /// `n` images of the train part drawn by `seed`, ascending; all of it without an `n`. A larger `n`
    /// keeps those of a smaller one.
    ///
    /// # Errors
    /// `n` is 0 or more than the train part has.
    pub fn labelled(&self, n: Option<usize>, seed: u64) -> Result<Vec<usize>, DataError> {
        let train = self.part(Part::Train);
        let Some(n) = n else { return Ok(train) };
        if n == 0 || n > train.len() {
            return Err(DataError::bare(Problem::Labelled { wanted: n, available: train.len() }));
        }
        let order = permutation(train.len(), &mut rng(seed, Purpose::Labelled, 0));
        let mut drawn: Vec<usize> = order.into_iter().take(n).map(|i| train[i]).collect();
        drawn.sort_unstable();
        Ok(drawn)
    }

    /// The images, by id, of patients who have images to validate or test on; `patients` by id.
    pub fn of_scored_patients<'a>(&self, patients: &'a Patients) -> HashSet<&'a str> {
        let scored = self.items.iter().zip(&self.parts).filter(|(_, p)| matches!(p, Part::Val | Part::Test));
        let scored: HashSet<&String> = scored.filter_map(|(item, _)| patients.get(&item.id)).collect();
        patients.iter().filter(|(_, patient)| scored.contains(patient)).map(|(id, _)| id.as_str()).collect()
    }

    /// Takes the train images that are not among `labelled`, which are sorted, out of their part, so that the split says
    /// what was used.
    pub fn keep_labelled(&mut self, labelled: &[usize]) {
        for (i, part) in self.parts.iter_mut().enumerate() {
            if *part == Part::Train && labelled.binary_search(&i).is_err() {
                *part = Part::Unused;
            }
        }
    }

    /// Writes the split as a `split.csv` that [`Dataset::open`] reads.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_split(&self, path: &Path) -> Result<(), DataError> {
        split::write(path, self.items.iter().map(|i| i.id.as_str()).zip(self.parts.iter().copied()))
    }
}

pub(super) fn first(problems: Vec<DataError>) -> Result<(), DataError> {
    problems.into_iter().next().map_or(Ok(()), Err)
}

/// What a data folder holds, judged by names and headers.
#[derive(Default)]
pub(super) struct Scan {
    /// The ids of all images, sorted, those with a problem too.
    pub ids: Vec<String>,
    /// The sound pairs, sorted by id.
    pub items: Vec<Item>,
    /// Everything that is wrong with the others.
    pub problems: Vec<DataError>,
}

pub(super) fn scan(dir: &Path) -> Scan {
    let mut problems = Vec::new();
    let (images_dir, masks_dir) = (dir.join("images"), dir.join("masks"));
    let folder = if !dir.exists() {
        Err(Problem::Missing)
    } else if !images_dir.is_dir() {
        Err(Problem::NoImagesFolder)
    } else if !masks_dir.is_dir() {
        Err(Problem::NoMasksFolder)
    } else {
        Ok(())
    };
    if let Err(problem) = folder {
        return Scan { problems: vec![DataError::at(dir, problem)], ..Scan::default() };
    }
    let images = stems(&images_dir, &mut problems);
    let mut masks = stems(&masks_dir, &mut problems);
    if images.is_empty() && problems.is_empty() {
        problems.push(DataError::at(&images_dir, Problem::NoImages { endings: IMAGE_ENDINGS }));
    }
    let ids = images.keys().cloned().collect();
    let mut items = Vec::new();
    for (id, image) in images {
        match masks.remove(&id) {
            None => problems.push(DataError::at(
                &image,
                Problem::NoMask { stem: id, folder: masks_dir.clone(), endings: MASK_ENDINGS },
            )),
            Some(mask) => match pair(id, image, mask) {
                Ok(item) => items.push(item),
                Err(errors) => problems.extend(errors),
            },
        }
    }
    for (id, mask) in masks {
        problems.push(DataError::at(
            &mask,
            Problem::NoImage { stem: id, folder: images_dir.clone(), endings: IMAGE_ENDINGS },
        ));
    }
    Scan { ids, items, problems }
}

fn pair(id: String, image: PathBuf, mask: PathBuf) -> Result<Item, Vec<DataError>> {
    match (read_header(&image), read_header(&mask)) {
        (Ok(a), Ok(b)) if (a.width, a.height) == (b.width, b.height) => {
            Ok(Item { id, image, mask, width: a.width, height: a.height })
        }
        (Ok(a), Ok(b)) => {
            let problem = Problem::SizeMismatch {
                image,
                image_size: (a.width, a.height),
                mask_size: (b.width, b.height),
            };
            Err(vec![DataError::at(&mask, problem)])
        }
        (a, b) => Err([a.err(), b.err()].into_iter().flatten().collect()),
    }
}

/// The image files of a folder by stem. Of two with the same stem the first by name is kept.
pub(super) fn stems(dir: &Path, problems: &mut Vec<DataError>) -> BTreeMap<String, PathBuf> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in files(dir, problems) {
        match stem(&path) {
            Err(error) => problems.push(error),
            Ok(None) => {}
            Ok(Some(stem)) => match found.get(&stem) {
                Some(other) => {
                    let other = other.clone();
                    problems.push(DataError::at(&path, Problem::SameName { stem, other }));
                }
                None => {
                    found.insert(stem, path);
                }
            },
        }
    }
    found
}

/// The files of a folder that are not hidden, sorted by name.
pub(super) fn files(dir: &Path, problems: &mut Vec<DataError>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => {
            problems.push(DataError::io(dir, &e));
            return Vec::new();
        }
    };
    let mut paths = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => {
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                if !hidden && !entry.path().is_dir() {
                    paths.push(entry.path());
                }
            }
            Err(e) => problems.push(DataError::io(dir, &e)),
        }
    }
    paths.sort();
    paths
}

/// The stem of an image file, or none for a file that is no image.
pub(super) fn stem(path: &Path) -> Result<Option<String>, DataError> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if FOREIGN.contains(&ending.as_str()) {
        let found = format!("a name that ends in .{ending}");
        return Err(DataError::at(path, Problem::UnknownFormat { found }));
    }
    if !ENDINGS.contains(&ending.as_str()) {
        return Ok(None);
    }
    match path.file_stem().and_then(|s| s.to_str()) {
        Some(stem) => Ok(Some(stem.to_string())),
        None => Err(DataError::at(path, Problem::FileName)),
    }
}

/// Where the split of the data folder `dir` is read; none where it is drawn.
pub(super) fn split_file(dir: &Path, config: &DataConfig) -> Option<PathBuf> {
    let default = dir.join("split.csv");
    config.split_file.clone().or_else(|| default.exists().then_some(default))
}

/// Which of the images `ids`, which are sorted, is for what, by the split in `file` or drawn.
pub(super) fn assign(dir: &Path, ids: &[String], config: &DataConfig, file: Option<&Path>) -> Assignment {
    let (known, unreadable) = match patients::read(dir) {
        Ok(known) => (known, None),
        Err(error) => (Patients::new(), Some(error)),
    };
    let mut assignment = match file {
        Some(file) => {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            split::read(file, &ids, config.fold, &known)
        }
        None => draw(dir, ids, config, &known),
    };
    assignment.problems.extend(unreadable);
    if assignment.problems.is_empty() {
        for part in Part::ALL {
            if !assignment.parts.contains(&Some(part)) {
                let path = file.unwrap_or(dir);
                let problem = Problem::EmptyPart { part, images: ids.len() };
                assignment.problems.push(DataError::at(path, problem));
            }
        }
    }
    assignment
}

fn draw(dir: &Path, ids: &[String], config: &DataConfig, known: &Patients) -> Assignment {
    let of: Vec<Option<&String>> = ids.iter().map(|id| known.get(id)).collect();
    let patients = ids.iter().zip(&of).filter_map(|(id, patient)| Some((id.clone(), (*patient)?.clone())));
    let mut assignment =
        Assignment { patients: patients.collect(), folds: vec![None; ids.len()], ..Default::default() };
    let drawn = if assignment.patients.is_empty() {
        Ok(split::draw(ids.len(), config.seed, config.val_fraction, config.test_fraction))
    } else {
        split::draw_by_patient(&of, config.seed, config.val_fraction, config.test_fraction)
    };
    match drawn {
        Ok(parts) => assignment.parts = parts.into_iter().map(Some).collect(),
        Err(problem) => {
            assignment.parts = vec![None; ids.len()];
            assignment.problems.push(DataError::at(dir, problem));
        }
    }
    if let Some(fold) = config.fold {
        assignment.problems.push(DataError::at(dir, Problem::NoFold { fold, folds: 0 }));
    }
    assignment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::folder;

    fn open(dir: &Path) -> Dataset {
        Dataset::open(dir, &DataConfig::default()).unwrap()
    }

    #[test]
    fn pairs_by_stem_whatever_the_ending() {
        let dir = folder(4);
        let at = |name: &str| dir.path().join(name);
        std::fs::rename(at("images/a00.png"), at("images/a00.PNG")).unwrap();
        crate::data::testing::picture(8, 8, 1, 8).save(at("images/b.JPG")).unwrap();
        std::fs::copy(at("masks/a01.png"), at("masks/b.png")).unwrap();
        std::fs::write(at("images/.DS_Store"), "x").unwrap();
        std::fs::write(at("images/notes.txt"), "x").unwrap();
        let ids: Vec<String> = open(dir.path()).items().iter().map(|i| i.id.clone()).collect();
        assert_eq!(ids, ["a00", "a01", "a02", "a03", "b"]);
    }

    #[test]
    fn the_split_covers_every_image_once() {
        let dir = folder(10);
        let data = open(dir.path());
        let mut all: Vec<usize> = Part::ALL.iter().flat_map(|&p| data.part(p)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(data.part(Part::Val).len(), 2);
        assert_eq!(data.split_file(), None);
    }

    #[test]
    fn a_written_split_is_read_back() {
        let dir = folder(10);
        let drawn = open(dir.path());
        drawn.write_split(&dir.path().join("split.csv")).unwrap();
        // Another seed has no say when there is a file.
        let config = DataConfig { seed: 99, ..Default::default() };
        let read = Dataset::open(dir.path(), &config).unwrap();
        assert_eq!(read.parts, drawn.parts);
        assert_eq!(read.split_file(), Some(dir.path().join("split.csv").as_path()));
    }

    #[test]
    fn labelled_draws_are_nested_and_from_the_train_part() {
        let dir = folder(12);
        let data = open(dir.path());
        let train = data.part(Part::Train);
        let few = data.labelled(Some(3), 5).unwrap();
        let more = data.labelled(Some(6), 5).unwrap();
        assert_eq!(few.len(), 3);
        assert!(few.iter().all(|i| more.contains(i) && train.contains(i)));
        assert_eq!(data.labelled(Some(train.len()), 5).unwrap(), train);
        assert_eq!(data.labelled(None, 5).unwrap(), train);
        assert_ne!(data.labelled(Some(4), 5).unwrap(), data.labelled(Some(4), 6).unwrap());
    }
}

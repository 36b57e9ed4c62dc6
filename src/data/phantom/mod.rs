//! A built-in data set: drawn chest X-rays, some with a pneumothorax.
//!
//! For trying the program and for tests, where no real data is at hand. The
//! pictures mimic what makes the real task hard: exposure, pose, ribs, vessels
//! and skin folds vary, so the dark crescent cannot be found by a threshold.

mod chest;
mod shapes;

use std::fmt;
use std::path::{Path, PathBuf};

use image::GrayImage;

use self::chest::{Film, draw};
use super::error::{DataError, Problem};
use super::new_folder::NewFolder;
use super::parallel;
use super::sampler::permutation;
use super::split::{self, Part};
use crate::rng::{Purpose, rng};

/// Fewer images than this could leave a part of the split empty.
pub const MIN_COUNT: usize = 10;
pub const MAX_COUNT: usize = 1_000_000;
/// Side in pixels; smaller films cannot show a pleural line.
pub const MIN_SIZE: usize = 32;
/// Side in pixels.
pub const MAX_SIZE: usize = 2048;
/// Share of images for validation, and again for testing.
const HELD_OUT: f64 = 0.15;

/// What to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhantomOptions {
    /// How many images.
    pub count: usize,
    /// Side in pixels.
    pub size: usize,
    pub seed: u64,
    /// Threads that draw. The files do not depend on it.
    pub workers: usize,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhantomSummary {
    pub folder: PathBuf,
    pub images: usize,
    /// Images with a pneumothorax.
    pub positives: usize,
    /// Images for training, validation and testing.
    pub parts: [usize; 3],
}

impl fmt::Display for PhantomSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [train, val, test] = self.parts;
        write!(
            f,
            "{} phantom films in {}, {} with a pneumothorax; {train} for training, {val} for validation, {test} for testing",
            self.images,
            self.folder.display(),
            self.positives
        )
    }
}

/// Writes a data folder `out` with `images/phantom_0001.png`, …, `masks/` and `split.csv`.
///
/// Images are 8-bit grey, masks 0 and 255. About 60% of the images have a pneumothorax. The split is
/// 70/15/15, with the same share of empty masks in each part. The files depend on the options alone. They
/// are made in a temporary folder beside `out` that is renamed at the end, so `out` is whole or not there.
///
/// # Errors
/// An option is out of range, `out` exists and is not an empty folder, or a file cannot be written.
pub fn write_phantoms(out: &Path, options: &PhantomOptions) -> Result<PhantomSummary, DataError> {
    check_range("--count", options.count, MIN_COUNT, MAX_COUNT)?;
    check_range("--size", options.size, MIN_SIZE, MAX_SIZE)?;
    let folder = NewFolder::begin(out, &["images", "masks"])?;
    let positive = parallel::map(options.count, options.workers, |i| {
        let film = draw(options.size, &mut rng(options.seed, Purpose::Phantom, i as u64));
        save(folder.path(), &name(i, options.count), options.size, film)
    })?;
    let parts = stratify(&positive, options.seed);
    let names: Vec<String> = (0..options.count).map(|i| name(i, options.count)).collect();
    split::write(
        &folder.path().join("split.csv"),
        names.iter().map(String::as_str).zip(parts.iter().copied()),
    )?;
    Ok(PhantomSummary {
        images: options.count,
        positives: positive.iter().filter(|&&p| p).count(),
        parts: Part::ALL.map(|part| parts.iter().filter(|&&p| p == part).count()),
        folder: folder.publish()?,
    })
}

fn check_range(key: &str, value: usize, least: usize, most: usize) -> Result<(), DataError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(DataError::setting(key, value, &format!("{least} to {most}")))
}

/// `phantom_0001`, with more digits when there are more images.
fn name(index: usize, count: usize) -> String {
    let digits = count.to_string().len().max(4);
    format!("phantom_{:0digits$}", index + 1)
}

/// Writes a film and its mask; returns whether the mask has foreground.
fn save(folder: &Path, name: &str, size: usize, film: Film) -> Result<bool, DataError> {
    let positive = film.mask.contains(&255);
    for (sub, pixels) in [("images", film.pixels), ("masks", film.mask)] {
        let path = folder.join(sub).join(format!("{name}.png"));
        let failed = |message: String| DataError::at(&path, Problem::Io { message });
        GrayImage::from_raw(size as u32, size as u32, pixels)
            .ok_or_else(|| failed("the film has a wrong number of pixels".into()))?
            .save(&path)
            .map_err(|e| failed(e.to_string()))?;
    }
    Ok(positive)
}

/// A split in which every part has the same share of empty masks, up to rounding.
fn stratify(positive: &[bool], seed: u64) -> Vec<Part> {
    let mut parts = vec![Part::Train; positive.len()];
    for kind in [true, false] {
        let members: Vec<usize> = (0..positive.len()).filter(|&i| positive[i] == kind).collect();
        let held_out = (HELD_OUT * members.len() as f64).round() as usize;
        let mut rng = rng(seed, Purpose::Split, u64::from(kind));
        for (rank, i) in permutation(members.len(), &mut rng).into_iter().enumerate() {
            if rank < held_out {
                parts[members[i]] = Part::Val;
            } else if rank < 2 * held_out {
                parts[members[i]] = Part::Test;
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::DataConfig;
    use crate::data::dataset::Dataset;
    use crate::data::decode::{decode_image, decode_mask};

    const SMALL: PhantomOptions = PhantomOptions { count: 20, size: 48, seed: 1, workers: 2 };

    fn bytes(folder: &Path) -> Vec<Vec<u8>> {
        let mut names: Vec<String> =
            (0..20).flat_map(|i| ["images", "masks"].map(|s| format!("{s}/{}.png", name(i, 20)))).collect();
        names.push("split.csv".into());
        names.iter().map(|n| std::fs::read(folder.join(n)).unwrap()).collect()
    }

    #[test]
    fn the_folder_opens_as_a_data_set() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("new/phantoms");
        let summary = write_phantoms(&out, &SMALL).unwrap();
        assert_eq!(summary.parts.iter().sum::<usize>(), 20);
        let data = Dataset::open(&out, &DataConfig::default()).unwrap();
        assert_eq!(data.split_file(), Some(out.join("split.csv").as_path()));
        assert_eq!(Part::ALL.map(|p| data.part(p).len()), summary.parts);
        assert_eq!(data.items()[0].id, "phantom_0001");
        // Nothing of the temporary folder stays.
        assert_eq!(std::fs::read_dir(dir.path().join("new")).unwrap().count(), 1);
    }

    #[test]
    fn the_files_depend_on_the_seed_alone() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, options: &PhantomOptions| {
            let out = dir.path().join(name);
            write_phantoms(&out, options).unwrap();
            bytes(&out)
        };
        let first = make("a", &SMALL);
        assert_eq!(first, make("b", &PhantomOptions { workers: 5, ..SMALL }));
        assert_ne!(first, make("c", &PhantomOptions { seed: 2, ..SMALL }));
    }

    #[test]
    fn about_60_percent_have_a_pneumothorax_of_plausible_size() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("p");
        let options = PhantomOptions { count: 100, size: 64, ..SMALL };
        let summary = write_phantoms(&out, &options).unwrap();
        assert!((50..=70).contains(&summary.positives), "{}", summary.positives);
        for item in Dataset::open(&out, &DataConfig::default()).unwrap().items() {
            let mask = decode_mask(&item.mask, None).unwrap();
            let share = mask.pixels.iter().filter(|&&v| v == 1).count() as f64 / (64.0 * 64.0);
            assert!(share == 0.0 || (0.002..0.15).contains(&share), "{}: {share}", item.id);
            let image = decode_image(&item.image, 1).unwrap();
            let low = image.pixels.iter().copied().fold(1.0, f32::min);
            let high = image.pixels.iter().copied().fold(0.0, f32::max);
            assert!(high - low > 0.4, "{} is flat", item.id);
        }
    }

    #[test]
    fn no_band_of_grey_values_finds_the_pneumothorax() {
        let mut counts = [[0u64; 256]; 2];
        for i in 0..30 {
            let film = draw(64, &mut rng(1, Purpose::Phantom, i));
            for (&value, &mask) in film.pixels.iter().zip(&film.mask) {
                counts[usize::from(mask == 255)][usize::from(value)] += 1;
            }
        }
        let ill: u64 = counts[1].iter().sum();
        let mut best = 0.0f64;
        for low in 0..256 {
            let (mut marked, mut hit) = (0, 0);
            for (well, found) in counts[0][low..].iter().zip(&counts[1][low..]) {
                marked += well + found;
                hit += found;
                best = best.max(2.0 * hit as f64 / (marked + ill) as f64);
            }
        }
        assert!(best < 0.3, "Dice {best}");
    }

    #[test]
    fn parts_have_equal_shares_of_empty_masks() {
        let positive: Vec<bool> = (0..200).map(|i| i < 120).collect();
        let parts = stratify(&positive, 1);
        let count = |part, kind| (0..200).filter(|&i| parts[i] == part && positive[i] == kind).count();
        assert_eq!(Part::ALL.map(|p| (count(p, true), count(p, false))), [(84, 56), (18, 12), (18, 12)]);
    }

    #[test]
    fn a_folder_that_is_not_empty_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("notes.txt"), "keep").unwrap();
        let error = write_phantoms(dir.path(), &SMALL).unwrap_err();
        assert_eq!(error, DataError::at(dir.path(), Problem::NotEmpty));
        assert_eq!(std::fs::read(dir.path().join("notes.txt")).unwrap(), b"keep");
    }

    #[test]
    fn an_empty_folder_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("empty");
        std::fs::create_dir(&out).unwrap();
        assert!(write_phantoms(&out, &PhantomOptions { count: 10, size: 32, ..SMALL }).is_ok());
    }

    #[test]
    fn options_out_of_range() {
        let out = Path::new("never-written");
        assert!(write_phantoms(out, &PhantomOptions { count: 3, ..SMALL }).is_err());
        assert!(write_phantoms(out, &PhantomOptions { size: 8, ..SMALL }).is_err());
        assert!(!out.exists());
    }
}

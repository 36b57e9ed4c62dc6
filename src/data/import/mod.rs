//! Data sets in other forms, made into data folders: `images/` and `masks/` as PNG, `patients.csv` where patients are
//! known, and `skipped.csv`, which lists what was left out and why.

mod cases;
pub mod folder;
pub mod monai;
pub mod nnunet;
pub mod siim;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::{DynamicImage, ImageBuffer};

use super::decode::{Image, Mask, Raw};
use super::error::{DataError, Problem};
use super::new_folder::NewFolder;
use super::resize::{resize_image, resize_mask};
use crate::config::validate::MAX_SIZE;
use crate::report::{self, atomic, images, words};

/// Longest id in bytes: file systems take names of 255, and an ending and a temporary name need room.
const MAX_ID: usize = 200;

/// A data folder in the making. It can be filled by several threads.
pub struct Importer {
    folder: NewFolder,
    size: Option<usize>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    /// By id.
    images: BTreeMap<String, Added>,
    /// By id.
    patients: BTreeMap<String, String>,
    skipped: Vec<Skipped>,
}

struct Added {
    /// Whether the mask has foreground.
    positive: bool,
    /// The file it came from.
    source: PathBuf,
}

/// Something that is not in the data folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// Empty where none is known.
    pub id: String,
    /// The file at fault; none where one is missing.
    pub file: Option<PathBuf>,
    pub reason: String,
}

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportSummary {
    pub folder: PathBuf,
    pub images: usize,
    /// Images whose mask has foreground.
    pub positives: usize,
    /// How many different patients are known.
    pub patients: usize,
    /// Sorted.
    pub skipped: Vec<Skipped>,
    /// What the user should know besides.
    pub notes: Vec<String>,
}

impl Importer {
    /// Begins the data folder `out`. With a `size`, images and masks are resized to `size × size`, as for training.
    ///
    /// # Errors
    /// `out` exists and is not an empty folder, nothing can be written beside it, or `size` is out of its range.
    pub fn begin(out: &Path, size: Option<usize>) -> Result<Importer, DataError> {
        if let Some(size) = size
            && !(1..=MAX_SIZE).contains(&size)
        {
            return Err(DataError::setting("--size", size, &format!("1 to {MAX_SIZE}")));
        }
        let folder = NewFolder::begin(out, &["images", "masks"])?;
        Ok(Importer { folder, size, found: Mutex::default() })
    }

    /// Adds an image with its mask, both of one size, as `images/ID.png` and `masks/ID.png`. `source` is the file that
    /// the image is from.
    ///
    /// # Errors
    /// The id is not fit for a file name or is taken, the mask has another size, or a file cannot be written.
    pub(super) fn add(&self, id: &str, source: &Path, image: &Raw, mask: &Mask) -> Result<(), DataError> {
        check_id(id).map_err(DataError::bare)?;
        let (width, height) = (image.header.width, image.header.height);
        if (mask.width, mask.height) != (width as usize, height as usize) {
            let mask_size = (mask.width as u32, mask.height as u32);
            let problem = Problem::SizeMismatch { image: id.into(), image_size: (width, height), mask_size };
            return Err(DataError::bare(problem));
        }
        let positive = mask.pixels.contains(&1);
        {
            let mut found = self.found();
            if let Some(other) = found.images.get(id) {
                let problem = Problem::SameName { stem: id.into(), other: other.source.clone() };
                return Err(DataError::bare(problem));
            }
            found.images.insert(id.to_string(), Added { positive, source: source.to_path_buf() });
        }
        let written = self.write(id, image, mask);
        if written.is_err() {
            self.found().images.remove(id);
        }
        written
    }

    fn image_path(&self, id: &str) -> PathBuf {
        // Not by `with_extension`, which would cut ids at their last dot.
        self.folder.path().join("images").join(format!("{id}.png"))
    }

    fn write(&self, id: &str, image: &Raw, mask: &Mask) -> Result<(), DataError> {
        let path = self.image_path(id);
        let failed = |path: &Path, e| DataError::report(path, e);
        let picture = picture(image, self.size).ok_or_else(|| {
            let message = "its number of samples does not fit its size".into();
            DataError::at(&path, Problem::Io { message })
        })?;
        images::write_png(&path, picture).map_err(|e| failed(&path, e))?;
        let (mask, width, height) = match self.size {
            Some(size) => (resize_mask(mask, size), size, size),
            None => (mask.pixels.clone(), mask.width, mask.height),
        };
        let mask: Vec<bool> = mask.iter().map(|&v| v != 0).collect();
        let path = self.folder.path().join("masks").join(format!("{id}.png"));
        report::write_mask(&path, &mask, width as u32, height as u32).map_err(|e| failed(&path, e))
    }

    /// Notes the patient of an image.
    pub fn patient(&self, id: &str, patient: &str) {
        self.found().patients.insert(id.to_string(), patient.to_string());
    }

    /// Notes what is left out and why.
    pub fn skip(&self, id: &str, file: Option<&Path>, reason: impl fmt::Display) {
        let skipped =
            Skipped { id: id.to_string(), file: file.map(Path::to_path_buf), reason: reason.to_string() };
        self.found().skipped.push(skipped);
    }

    /// The same for a problem: what was found and how to mend it.
    fn refuse(&self, id: &str, file: Option<&Path>, problem: &Problem) {
        self.skip(id, file, format_args!("{problem}. {}", problem.mend()));
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        // Every change is one call, so a thread that panicked left nothing half done.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `skipped.csv` and, where patients are known, `patients.csv`, and puts the folder in its place.
    ///
    /// # Errors
    /// There is no image at all, or a file cannot be written.
    pub fn finish(self) -> Result<ImportSummary, DataError> {
        let found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Found { images, mut patients, mut skipped } = found;
        skipped.sort();
        if images.is_empty() {
            let (skipped, reasons) = (skipped.len(), reasons(&skipped));
            return Err(DataError::bare(Problem::NothingImported { skipped, reasons }));
        }
        let rows = skipped.iter().map(|s| {
            let file = s.file.as_deref().map(|f| f.display().to_string()).unwrap_or_default();
            [s.id.clone(), file, s.reason.clone()]
        });
        write_csv(&self.folder.path().join("skipped.csv"), &["id", "file", "reason"], rows)?;
        patients.retain(|id, _| images.contains_key(id));
        if !patients.is_empty() {
            let rows = patients.iter().map(|(id, patient)| [id.clone(), patient.clone()]);
            write_csv(&self.folder.path().join("patients.csv"), &["id", "patient"], rows)?;
        }
        let mut names: Vec<&String> = patients.values().collect();
        names.sort();
        names.dedup();
        Ok(ImportSummary {
            images: images.len(),
            positives: images.values().filter(|added| added.positive).count(),
            patients: names.len(),
            skipped,
            notes: vec![],
            folder: self.folder.publish()?,
        })
    }
}

/// So many reasons are told where nothing can be imported.
const REASONS: usize = 3;

/// Why most were skipped, the most frequent reason first, each with the first that it is of.
fn reasons(skipped: &[Skipped]) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, (usize, &Skipped)> = BTreeMap::new();
    for one in skipped {
        by_reason.entry(&one.reason).or_insert((0, one)).0 += 1;
    }
    let mut sorted: Vec<(&str, (usize, &Skipped))> = by_reason.into_iter().collect();
    sorted.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let more = sorted.len().saturating_sub(REASONS);
    let told = sorted.iter().take(REASONS).map(|(reason, (count, first))| {
        let name = match &first.file {
            Some(file) => file.display().to_string(),
            None => format!("`{}`", first.id),
        };
        let others = if *count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        format!("{name}{others}: {}", reason.trim_end_matches('.'))
    });
    told.chain((more > 0).then(|| words::count(more, "more reason"))).collect()
}

impl fmt::Display for ImportSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in {}, {} with foreground",
            words::count(self.images, "image"),
            self.folder.display(),
            self.positives
        )?;
        if self.patients > 0 {
            write!(f, ", of {}", words::count(self.patients, "patient"))?;
        }
        match self.skipped.len() {
            0 => write!(f, "; nothing was skipped"),
            n => write!(f, "; {n} skipped, see skipped.csv"),
        }
    }
}

/// Refuses ids that are not fit for a file name: a path out of the folder above all.
///
/// # Errors
/// The id is empty or longer than 200 bytes, begins with a dot, or has a slash, backslash, colon or control character.
pub fn check_id(id: &str) -> Result<(), Problem> {
    let unfit = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
    if id.is_empty() || id.len() > MAX_ID || id.starts_with('.') || id.contains(unfit) {
        return Err(Problem::UnfitId { id: id.chars().take(MAX_ID).collect() });
    }
    Ok(())
}

/// The image as 8 bit where its samples are, else as 16 bit, so that nothing is lost; `None` where its samples do not fit
/// its size.
fn picture(raw: &Raw, size: Option<usize>) -> Option<DynamicImage> {
    let channels = raw.header.channels;
    let (samples, width, height) = match size {
        None => (raw.samples.clone(), raw.header.width, raw.header.height),
        Some(size) => {
            let image: Image = raw.to_image(channels.into());
            let white = f32::from(raw.white);
            let samples = resize_image(&image, size);
            let samples = samples.iter().map(|v| (v.clamp(0.0, 1.0) * white).round() as u16).collect();
            (samples, size as u32, size as u32)
        }
    };
    let narrow = |samples: Vec<u16>| samples.into_iter().map(|v| v.min(255) as u8).collect::<Vec<u8>>();
    Some(match (channels, raw.white <= 255) {
        (1, true) => DynamicImage::ImageLuma8(ImageBuffer::from_raw(width, height, narrow(samples))?),
        (1, false) => DynamicImage::ImageLuma16(ImageBuffer::from_raw(width, height, samples)?),
        (_, true) => DynamicImage::ImageRgb8(ImageBuffer::from_raw(width, height, narrow(samples))?),
        (_, false) => DynamicImage::ImageRgb16(ImageBuffer::from_raw(width, height, samples)?),
    })
}

fn write_csv<const N: usize>(
    path: &Path,
    header: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Result<(), DataError> {
    let failed = |e: csv::Error| DataError::at(path, Problem::Io { message: e.to_string() });
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(header).map_err(failed)?;
    for row in rows {
        csv.write_record(row).map_err(failed)?;
    }
    let bytes = csv.into_inner().map_err(|e| DataError::io(path, e.error()))?;
    atomic::write(path, &bytes).map_err(|e| DataError::report(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::check;
    use crate::data::decode::decode_raw;
    use crate::data::testing::{picture, write_grey};

    fn raw(bits: u8, channels: u8) -> Raw {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.png");
        picture(6, 4, channels, bits).save(&path).unwrap();
        decode_raw(&path).unwrap()
    }

    fn mask(on: usize) -> Mask {
        Mask { width: 6, height: 4, pixels: (0..24).map(|i| u8::from(i < on)).collect() }
    }

    #[test]
    fn what_is_imported_is_a_data_folder_with_every_sample() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let importer = Importer::begin(&out, None).unwrap();
        for (id, bits, channels, on) in [("a.1", 8, 1, 3), ("b", 16, 1, 0), ("c", 8, 3, 5), ("d", 16, 3, 1)] {
            importer.add(id, Path::new("in"), &raw(bits, channels), &mask(on)).unwrap();
            importer.patient(id, if id == "d" { "p2" } else { "p, 1" });
        }
        importer.skip("e", Some(Path::new("in/e.dcm")), "it is \"cut\", short");
        let summary = importer.finish().unwrap();
        assert_eq!((summary.images, summary.positives, summary.patients), (4, 3, 2));
        assert_eq!(
            summary.to_string(),
            format!(
                "4 images in {}, 3 with foreground, of 2 patients; 1 skipped, see skipped.csv",
                out.display()
            )
        );
        for (id, bits, channels) in [("a.1", 8, 1), ("b", 16, 1), ("c", 8, 3), ("d", 16, 3)] {
            let found = decode_raw(&out.join(format!("images/{id}.png"))).unwrap();
            assert_eq!((found.header.bits, found.header.channels), (bits, channels), "{id}");
            assert_eq!(found.samples, raw(bits, channels).samples, "{id}");
        }
        let text = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(text("patients.csv"), "id,patient\na.1,\"p, 1\"\nb,\"p, 1\"\nc,\"p, 1\"\nd,p2\n");
        assert_eq!(text("skipped.csv"), "id,file,reason\ne,in/e.dcm,\"it is \"\"cut\"\", short\"\n");
        let report = check(&out, &Default::default());
        assert!(report.problems.iter().all(|p| !p.what.contains("mask is")), "{report}");
        assert_eq!(report.images, 4);
    }

    #[test]
    fn a_size_is_that_of_training() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let importer = Importer::begin(&out, Some(2)).unwrap();
        let path = dir.path().join("x.png");
        write_grey(&path, 6, &[40; 24]);
        let left = Mask { width: 6, height: 4, pixels: (0..24).map(|i| u8::from(i % 6 < 3)).collect() };
        importer.add("x", &path, &decode_raw(&path).unwrap(), &left).unwrap();
        importer.finish().unwrap();
        let samples = |name: &str| decode_raw(&out.join(name)).unwrap().samples;
        assert_eq!(samples("images/x.png"), [40; 4]);
        assert_eq!(samples("masks/x.png"), [255, 0, 255, 0]);
    }

    #[test]
    fn ids_that_lead_elsewhere_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let importer = Importer::begin(&dir.path().join("out"), None).unwrap();
        let long = "x".repeat(201);
        for id in ["", ".", "..", "../x", "/etc/x", "a/b", "a\\b", "C:x", ".hidden", "a\0b", "a\nb", &long] {
            let problem = importer.add(id, Path::new("in"), &raw(8, 1), &mask(1)).unwrap_err().problem;
            assert!(matches!(problem, Problem::UnfitId { .. }), "{id}: {problem}");
        }
        for id in ["a b", "1.2.276.0", "é", "x..y"] {
            check_id(id).unwrap();
        }
    }

    #[test]
    fn an_id_twice_or_a_mask_of_another_size_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let importer = Importer::begin(&dir.path().join("out"), None).unwrap();
        importer.add("a", Path::new("in/a.png"), &raw(8, 1), &mask(1)).unwrap();
        let again = importer.add("a", Path::new("in/2/a.png"), &raw(8, 1), &mask(1)).unwrap_err();
        assert_eq!(again.problem, Problem::SameName { stem: "a".into(), other: "in/a.png".into() });
        let wide = Mask { width: 4, height: 6, pixels: vec![0; 24] };
        let error = importer.add("b", Path::new("in/b.png"), &raw(8, 1), &wide).unwrap_err();
        assert!(matches!(error.problem, Problem::SizeMismatch { .. }), "{error}");
        assert_eq!(importer.finish().unwrap().images, 1);
    }

    #[test]
    fn nothing_imported_is_an_error_that_leaves_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let importer = Importer::begin(&out, None).unwrap();
        importer.skip("a", None, "it has no file");
        let error = importer.finish().unwrap_err().to_string();
        assert!(
            error.starts_with("there is no image to import, and 1 was skipped (`a`: it has no file). "),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(Importer::begin(&out, Some(0)).is_err());
    }

    #[test]
    fn reasons_are_told_by_how_many_they_are_of() {
        let one = |id: &str, file: Option<&str>, reason: &str| Skipped {
            id: id.into(),
            file: file.map(PathBuf::from),
            reason: reason.into(),
        };
        let mut skipped = vec![one("a", Some("in/a.dcm"), "cut short."), one("b", None, "no file")];
        skipped.extend((0..3).map(|i| one(&format!("c{i}"), None, "no row")));
        assert_eq!(reasons(&skipped), ["`c0` and 2 more: no row", "in/a.dcm: cut short", "`b`: no file"]);
        skipped.push(one("d", None, "other"));
        assert_eq!(reasons(&skipped).last().unwrap(), "1 more reason");
    }
}

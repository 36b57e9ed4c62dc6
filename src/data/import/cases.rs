//! Pairs of an image file and a label file, in any of the formats that are read, into a data folder.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Importer;
use crate::data::dataset;
use crate::data::decode::{Mask, Raw, decode_raw};
use crate::data::error::{DataError, Problem};
use crate::data::header::Format;
use crate::data::nifti::{Volume, is_nifti};
use crate::data::parallel;
use crate::report::tally::Tally;

/// A value of a volume that is so near a whole number is it: slopes are held as f32.
const NEAR: f64 = 1e-3;
/// How endings of images and labels are told.
pub(super) const IMAGE_ENDINGS: &str = ".png, .jpg, .tif, .dcm or .nii.gz";
pub(super) const LABEL_ENDINGS: &str = ".png, .tif or .nii.gz";
/// So many values of a mask are listed in an error.
const VALUES_LISTED: usize = 8;

/// An image with its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub id: String,
    pub image: PathBuf,
    pub label: PathBuf,
}

/// Which values of a label are foreground.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Foreground {
    /// All above 0 but those `ignored`; of no other values than those `known`, where they are told.
    AllBut {
        ignored: Vec<u16>,
        known: Option<Vec<u16>>,
    },
    Values {
        values: Vec<u16>,
        ignored: Vec<u16>,
    },
    /// As in the masks of a data folder: 0 and one other value, or those above a threshold.
    Mask(Option<f64>),
}

impl Foreground {
    fn holds(&self, value: f64) -> bool {
        let among = |values: &[u16]| values.iter().any(|v| f64::from(*v) == value);
        match self {
            Foreground::AllBut { ignored, .. } => value > 0.0 && !among(ignored),
            Foreground::Values { values, .. } => among(values),
            Foreground::Mask(threshold) => value > threshold.unwrap_or(0.0),
        }
    }

    /// Values of pixels that should count for nothing.
    fn ignored(&self) -> &[u16] {
        match self {
            Foreground::AllBut { ignored, .. } | Foreground::Values { ignored, .. } => ignored,
            Foreground::Mask(_) => &[],
        }
    }

    fn mask(&self, raw: &Raw, seen: &Seen) -> Result<Mask, Problem> {
        if let Foreground::Mask(threshold) = self {
            return raw.to_mask(*threshold).map_err(|problem| match problem {
                // Its cure names a setting that an import does not read.
                Problem::MaskValues { values, distinct, .. } => {
                    Problem::ImportMask { found: listed(&values, distinct > values.len()) }
                }
                other => other,
            });
        }
        let format = raw.header.format;
        // JPEG smears values, DICOM is scaled to a window.
        if matches!(format, Format::Jpeg | Format::Dicom) {
            return Err(Problem::LabelFormat { format: format.name() });
        }
        let mut values = raw.grey()?;
        // The decoder has stretched fewer bits to 0..=255.
        if (1..8).contains(&raw.header.bits) {
            let step = 255 / ((1u16 << raw.header.bits) - 1);
            values.iter_mut().for_each(|v| *v /= step);
        }
        self.check_known(values.iter().map(|v| f64::from(*v)))?;
        seen.note(|value| values.iter().filter(|v| **v == value).count());
        let pixels = values.iter().map(|v| u8::from(self.holds(f64::from(*v)))).collect();
        Ok(Mask { width: raw.header.width as usize, height: raw.header.height as usize, pixels })
    }

    /// Holds the values of a volume to what those of a label file may be, and makes whole what is nearly so.
    fn check(&self, values: &mut [f64], seen: &Seen) -> Result<(), Problem> {
        if let Foreground::Mask(Some(_)) = self {
            return Ok(());
        }
        for value in values.iter_mut() {
            let whole = value.round();
            if (*value - whole).abs() <= NEAR {
                *value = whole;
            }
        }
        if let Foreground::Mask(None) = self {
            return two_valued(values);
        }
        if let Some(value) = values.iter().find(|v| !v.is_finite() || v.fract() != 0.0) {
            return Err(Problem::LabelValue { value: *value as f32 });
        }
        self.check_known(values.iter().copied())?;
        seen.note(|value| values.iter().filter(|v| **v == f64::from(value)).count());
        Ok(())
    }

    /// Refuses a value that the data set does not name: what it would mean is not known.
    fn check_known(&self, mut values: impl Iterator<Item = f64>) -> Result<(), Problem> {
        let Foreground::AllBut { known: Some(known), .. } = self else { return Ok(()) };
        let is_known = |value: f64| value == 0.0 || known.iter().any(|known| f64::from(*known) == value);
        match values.find(|value| !is_known(*value)) {
            None => Ok(()),
            Some(value) => Err(Problem::UnnamedLabel { value: value as f32, known: listed(known, false) }),
        }
    }
}

/// Refuses a mask of other values than 0 and one of 1, 255 and 65535.
fn two_valued(values: &[f64]) -> Result<(), Problem> {
    let mut found: Vec<f64> = vec![];
    for &value in values {
        if !found.iter().any(|v| *v == value || v.is_nan() && value.is_nan()) {
            found.push(value);
            if found.len() > VALUES_LISTED {
                break;
            }
        }
    }
    if [1.0, 255.0, 65535.0].iter().any(|on| found.iter().all(|v| *v == 0.0 || v == on)) {
        return Ok(());
    }
    found.sort_by(f64::total_cmp);
    let more = found.len() > VALUES_LISTED;
    found.truncate(VALUES_LISTED);
    // As f32, in which they were stored most likely: 0.3 and not 0.30000001192.
    let found: Vec<f32> = found.iter().map(|v| *v as f32).collect();
    Err(Problem::ImportMask { found: listed(&found, more) })
}

fn listed<T: ToString>(values: &[T], more: bool) -> String {
    let list = values.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
    if more { list + ", …" } else { list }
}

/// How many pixels of all labels have values that matter.
struct Seen {
    /// Those that the user asks for as foreground.
    asked: Vec<(u16, AtomicUsize)>,
    ignored: Vec<(u16, AtomicUsize)>,
}

impl Seen {
    fn of(foreground: &Foreground) -> Seen {
        let asked: &[u16] = if let Foreground::Values { values, .. } = foreground { values } else { &[] };
        let count =
            |values: &[u16]| values.iter().map(|value| (*value, AtomicUsize::new(0))).collect::<Vec<_>>();
        Seen { asked: count(asked), ignored: count(foreground.ignored()) }
    }

    fn note(&self, pixels_of: impl Fn(u16) -> usize) {
        for (value, pixels) in self.asked.iter().chain(&self.ignored) {
            pixels.fetch_add(pixels_of(*value), Ordering::Relaxed);
        }
    }

    /// What the user should know of them.
    fn notes(self) -> Vec<String> {
        let mut notes = vec![];
        for (value, pixels) in self.asked {
            if pixels.into_inner() == 0 {
                notes.push(format!(
                    "no label that was read has the value {value}, which --label asks for: check it against the data set"
                ));
            }
        }
        for (value, pixels) in self.ignored {
            match pixels.into_inner() {
                0 => {}
                pixels => notes.push(format!(
                    "{pixels} pixels have the value {value}, which dataset.json names `ignore`: they are background in the \
                     masks, as none can count for nothing here; leave those cases out if that is wrong"
                )),
            }
        }
        notes
    }
}

/// Adds all `cases`; those that cannot be used are listed as skipped. Of those of one id the first that can be used counts.
/// Slices of a volume become images `ID_s000`, `ID_s001`, … whose patient is the volume. Gives what the user should
/// know of the labels' values.
///
/// # Errors
/// A file cannot be written.
pub(super) fn add_all(
    importer: &Importer,
    cases: &[Case],
    foreground: &Foreground,
    workers: usize,
) -> Result<Vec<String>, DataError> {
    let seen = Seen::of(foreground);
    // One piece of work for each id, as which of two would be done first depends on the threads.
    let mut by_id: BTreeMap<&String, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        by_id.entry(&case.id).or_default().push(case);
    }
    let by_id: Vec<Vec<&Case>> = by_id.into_values().collect();
    let tally = Tally::new(cases.len(), "cases");
    parallel::map(by_id.len(), workers, |i| {
        let mut taken: Option<&Case> = None;
        for case in &by_id[i] {
            let added = match taken {
                None => parallel::guarded(|| add(importer, case, foreground, &seen)),
                Some(other) => {
                    let problem = Problem::SameName { stem: case.id.clone(), other: other.image.clone() };
                    Err(DataError::at(&case.image, problem))
                }
            };
            tally.add();
            match added {
                Err(DataError { problem: problem @ Problem::Io { .. }, path }) if path.is_none() => {
                    return Err(DataError::bare(problem));
                }
                Err(error) => importer.refuse(&case.id, error.path.as_deref(), &error.problem),
                Ok(()) => taken = Some(case),
            }
        }
        Ok(())
    })?;
    tally.finish();
    Ok(seen.notes())
}

fn add(importer: &Importer, case: &Case, foreground: &Foreground, seen: &Seen) -> Result<(), DataError> {
    if is_nifti(&case.image) != is_nifti(&case.label) {
        return Err(DataError::at(&case.label, Problem::OtherFormat));
    }
    if !is_nifti(&case.image) {
        let image = decode_raw(&case.image)?;
        let label = decode_raw(&case.label)?;
        let mask = foreground.mask(&label, seen).map_err(|problem| DataError::at(&case.label, problem))?;
        return importer.add(&case.id, &case.image, &image, &mask).map_err(|e| at(e, &case.image));
    }
    let (image, mut label) = (Volume::read(&case.image)?, Volume::read(&case.label)?);
    let size = |v: &Volume| [v.width, v.height, v.depth];
    if size(&image) != size(&label) {
        let problem = Problem::VolumeMismatch { image: size(&image), label: size(&label) };
        return Err(DataError::at(&case.label, problem));
    }
    if (image.placed || label.placed) && !image.lies_on(&label) {
        let problem = match (image.placed, label.placed) {
            (true, true) => Problem::AffineMismatch,
            (true, false) => Problem::AffineMissing { of: "label" },
            (false, _) => Problem::AffineMissing { of: "image" },
        };
        return Err(DataError::at(&case.label, problem));
    }
    foreground.check(&mut label.values, seen).map_err(|problem| DataError::at(&case.label, problem))?;
    let Some(range) = image.range() else {
        return Err(DataError::at(&case.image, Problem::Nifti { message: "no value is finite".into() }));
    };
    for k in 0..image.depth {
        let id = if image.depth == 1 { case.id.clone() } else { format!("{}_s{k:03}", case.id) };
        let pixels = label.slice(k).iter().map(|v| u8::from(foreground.holds(*v))).collect::<Vec<u8>>();
        let picture = image.picture(k, range);
        let first = picture.samples.first().copied().unwrap_or_default();
        if image.depth > 1 && !pixels.contains(&1) && picture.samples.iter().all(|v| *v == first) {
            importer.skip(&id, Some(&case.image), Problem::Constant { value: first });
            continue;
        }
        let mask = Mask { width: image.width, height: image.height, pixels };
        importer.add(&id, &case.image, &picture, &mask).map_err(|e| at(e, &case.image))?;
        if image.depth > 1 {
            importer.patient(&id, &case.id);
        }
    }
    Ok(())
}

/// The file at fault, where the error names none and it is no failure of writing.
fn at(error: DataError, path: &Path) -> DataError {
    match error {
        DataError { path: Some(_), problem: problem @ Problem::Io { .. } } => DataError::bare(problem),
        DataError { problem, .. } => DataError::at(path, problem),
    }
}

/// The file `name`, a path relative to `root`, if it does not lead out of that.
///
/// # Errors
/// It does, or is a path from the root of the system elsewhere.
pub(super) fn within(root: &Path, name: &str) -> Result<PathBuf, Problem> {
    let path = Path::new(name);
    let path = path.strip_prefix(root).unwrap_or(path);
    let stays = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    // Another system's separators would hide steps upwards.
    if name.is_empty() || name.contains('\\') || !path.components().all(stays) {
        return Err(Problem::OutsidePath { path: name.to_owned() });
    }
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
    Ok(root.join(parts.collect::<PathBuf>()))
}

/// The name of a file without its ending, `.nii.gz` being one; none where it is not UTF-8.
pub(super) fn stem(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let parts = name.len().checked_sub(3).and_then(|at| name.split_at_checked(at));
    let name = parts.map_or(name, |(bare, end)| if end.eq_ignore_ascii_case(".gz") { bare } else { name });
    Some(name.rsplit_once('.').map_or(name, |(stem, _)| stem))
}

/// The files of a folder that are not hidden, sorted by name.
///
/// # Errors
/// It cannot be read.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut problems = vec![];
    let files = dataset::files(dir, &mut problems);
    dataset::first(problems).map(|()| files)
}

/// The JSON document in a file.
///
/// # Errors
/// It cannot be read, or is no JSON: line and column are told.
pub(super) fn read_json(path: &Path) -> Result<serde_json::Value, DataError> {
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, &e))?;
    serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes))
        .map_err(|e| DataError::at(path, Problem::Json { message: e.to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_cannot_lead_out_of_its_data_set() {
        let root = Path::new("/sets/one");
        assert_eq!(within(root, "./imagesTr/a.png").unwrap(), root.join("imagesTr/a.png"));
        assert_eq!(within(root, "/sets/one/a.png").unwrap(), root.join("a.png"));
        for name in ["../two/a.png", "imagesTr/../../a.png", "/etc/passwd", "..\\a.png", ""] {
            assert!(matches!(within(root, name), Err(Problem::OutsidePath { .. })), "{name}");
        }
    }

    #[test]
    fn endings_of_two_parts() {
        let names = ["a.nii.gz", "b.1.png", "c", "D.NII.GZ", "é"];
        let stems = names.map(|name| stem(Path::new(name)).unwrap().to_owned());
        assert_eq!(stems, ["a", "b.1", "c", "D", "é"]);
    }
}

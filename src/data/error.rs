//! What can be wrong with data: where, what was found, what was expected, how to mend it.

use std::path::{Path, PathBuf};

use super::split::Part;
use crate::config::BadValue;
use crate::report::ReportError;

/// A problem and the file, folder or setting that has it.
///
/// Prints as `file: what was found and expected. How to mend it.`
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}{problem}. {}", self.place(), problem.mend())]
pub struct DataError {
    /// The file or folder; none when a setting is at fault.
    pub path: Option<PathBuf>,
    pub problem: Problem,
}

impl DataError {
    pub(crate) fn at(path: &Path, problem: Problem) -> Self {
        DataError { path: Some(path.to_path_buf()), problem }
    }

    pub(crate) fn bare(problem: Problem) -> Self {
        DataError { path: None, problem }
    }

    /// A failed read or write of `path`. A path that is not there becomes [`Problem::Missing`].
    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Self {
        let problem = match error.kind() {
            std::io::ErrorKind::NotFound => Problem::Missing,
            _ => Problem::Io { message: error.to_string() },
        };
        DataError::at(path, problem)
    }

    pub(crate) fn setting(key: &str, value: impl std::fmt::Display, expected: &str) -> Self {
        DataError::bare(Problem::Setting {
            key: key.to_string(),
            value: value.to_string(),
            expected: expected.to_string(),
        })
    }

    /// What a writer of files that are no data says of `path`.
    pub(crate) fn report(path: &Path, error: ReportError) -> Self {
        match error {
            ReportError::FolderNotEmpty { .. } => DataError::at(path, Problem::NotEmpty),
            ReportError::Folder { source, .. } | ReportError::Write { source, .. } => {
                DataError::io(path, &source)
            }
            other => DataError::at(path, Problem::Io { message: other.to_string() }),
        }
    }

    fn place(&self) -> String {
        self.path.as_deref().map(|p| format!("{}: ", p.display())).unwrap_or_default()
    }
}

impl From<BadValue> for DataError {
    fn from(value: BadValue) -> Self {
        DataError::setting(&value.key, value.found, &value.expected)
    }
}

/// What is wrong. The text says what was found and what was expected; [`Problem::mend`] says what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    #[error("there is no such file or folder")]
    Missing,
    #[error("it cannot be read or written: {message}")]
    Io { message: String },
    #[error("the file is empty (0 bytes), expected a PNG, JPEG, TIFF or DICOM image")]
    EmptyFile,
    #[error("the image has no pixels ({width}×{height}), expected at least 1×1")]
    ZeroPixels { width: u32, height: u32 },
    #[error("this is not a PNG, JPEG, TIFF or DICOM image (found {found})")]
    UnknownFormat { found: String },
    #[error(
        "the image is {width}×{height}, expected at most {} on a side and {} megapixels",
        super::header::MAX_SIDE,
        super::header::MAX_PIXELS / 1_000_000
    )]
    TooLarge { width: u32, height: u32 },
    #[error("the {format} file is cut short: {found}")]
    Truncated { format: &'static str, found: String },
    #[error("it is not what wgseg writes of the files that a run is made of: {message}")]
    Fingerprints { message: String },
    #[error("the DICOM file has its pixels as JPEG of {bits} bits, expected 8, or lossless JPEG")]
    DicomJpegBits { bits: u8 },
    #[error("the {format} file is damaged: {message}")]
    Corrupt { format: &'static str, message: String },
    #[error("its pixels are not read ({found}), expected 8 or 16 bit grey or colour")]
    PixelType { found: String },
    #[error("the mask is in colour, expected grey (red, green and blue equal)")]
    ColourMask,
    #[error(
        "the mask has {distinct} different value{} ({}), expected only 0 and one of 1, 255 or 65535",
        if *distinct == 1 { "" } else { "s" },
        listed(values, *distinct)
    )]
    MaskValues {
        /// The first values found, ascending.
        values: Vec<u16>,
        /// How many different values there are.
        distinct: usize,
        /// A JPEG, whose compression smears 0/255 masks.
        jpeg: bool,
    },
    #[error("there is no `images` folder in it, expected `images/` and `masks/`")]
    NoImagesFolder,
    #[error("there is no `masks` folder in it, expected `images/` and `masks/`")]
    NoMasksFolder,
    #[error("there is no image in it, expected files that end in {endings}; subfolders are not searched")]
    NoImages { endings: &'static str },
    #[error("the file name is not valid UTF-8, so it cannot be matched with a mask or a split")]
    FileName,
    #[error("the image has no mask, expected `{stem}` with {endings} in {}", folder.display())]
    NoMask { stem: String, folder: PathBuf, endings: &'static str },
    #[error("the mask has no image, expected `{stem}` with {endings} in {}", folder.display())]
    NoImage { stem: String, folder: PathBuf, endings: &'static str },
    #[error("the name `{stem}` is taken twice, also by {}", other.display())]
    SameName { stem: String, other: PathBuf },
    #[error(
        "the mask is {}×{}, but its image {} is {}×{}",
        mask_size.0, mask_size.1, image.display(), image_size.0, image_size.1
    )]
    SizeMismatch { image: PathBuf, image_size: (u32, u32), mask_size: (u32, u32) },
    #[error("there is no column `{missing}` (found {found}), expected the columns `{}` and `{}`", expected[0], expected[1])]
    Columns { missing: &'static str, found: String, expected: [&'static str; 2] },
    #[error("it is not valid CSV: {message}")]
    SplitCsv { message: String },
    #[error("it names {total} image{} that {} not in the data folder ({})",
        plural(*total), if *total == 1 { "is" } else { "are" }, listed(ids, *total))]
    SplitNamesMissing { ids: Vec<String>, total: usize },
    #[error("it does not list {total} image{} of the data folder ({})", plural(*total), listed(ids, *total))]
    SplitMisses { ids: Vec<String>, total: usize },
    #[error("line {line} has the id `{id}` again, already on line {first_line}")]
    SplitTwice { id: String, line: u64, first_line: u64 },
    #[error("line {line} puts `{id}` in `{word}`, expected train, val, test or unused")]
    SplitWord { id: String, word: String, line: u64 },
    #[error("the {part} part is empty ({images} images in all), expected at least one image in it")]
    EmptyPart { part: Part, images: usize },
    #[error("{total} patient{} {} images in more than one {of} ({}), so scores would not be of new patients",
        plural(*total), if *total == 1 { "has" } else { "have" }, listed(patients, *total))]
    SplitPatients {
        patients: Vec<String>,
        total: usize,
        /// "part" or "fold".
        of: &'static str,
    },
    #[error("line {line} puts `{id}` in fold `{word}`, expected a whole number from 0 on, or nothing")]
    FoldWord { id: String, word: String, line: u64 },
    #[error("{}", no_folds(*fold, *folds))]
    NoFold {
        /// What `data.fold` asks for.
        fold: usize,
        /// How many folds there are; 0 where there is no column `fold`.
        folds: usize,
    },
    #[error("there is a split already")]
    SplitExists,
    #[error("the images are of {groups} patient{} in all, too few for {parts} {of}", plural(*groups))]
    FewPatients { groups: usize, parts: usize, of: &'static str },
    #[error("there are {images} images, too few for {parts} {of}")]
    FewImages { images: usize, parts: usize, of: &'static str },
    #[error("it says which patient images are of, and a split by image would put patients on both sides")]
    PatientsKnown,
    #[error("it says of no image which patient it is of")]
    NoPatients,
    #[error("the pattern `{pattern}` finds a patient in no id, such as `{id}`")]
    PatientPattern { pattern: String, id: String },
    #[error("none of the {images} {part} masks has foreground (data.mask_threshold is {})",
        threshold.map_or("unset".to_owned(), |threshold| threshold.to_string()))]
    NoForeground { part: Part, images: usize, threshold: Option<f64> },
    #[error("every pixel has the value {value}, expected a picture")]
    Constant { value: u16 },
    #[error("{wanted} labelled images are asked for, but the train part has {available}")]
    Labelled { wanted: usize, available: usize },
    #[error("{wanted} image{} of each batch should have a non-empty mask, but none has", plural(*wanted))]
    NoPositives { wanted: usize },
    #[error("{wanted} image{} of each batch should have an empty mask, but none has", plural(*wanted))]
    NoNegatives { wanted: usize },
    #[error("`{key}` is {value}, expected {expected}")]
    Setting { key: String, value: String, expected: String },
    #[error("the folder is not empty, expected a new or empty one")]
    NotEmpty,
    #[error(
        "the id `{id}` is not fit for a file name, expected 1 to 200 bytes without slash, backslash, colon and control \
             characters, and no dot at its start"
    )]
    UnfitId { id: String },
    #[error("the DICOM file has no Pixel Data (7FE0,0010){}", if *encrypted {
        ", but Encrypted Attributes Sequence (0400,0500)" } else { "" })]
    DicomNoPixels { encrypted: bool },
    #[error("of the DICOM file {tag} is {found}, expected {expected}")]
    DicomTag { tag: String, found: String, expected: String },
    #[error(
        "the DICOM file has the Transfer Syntax (0002,0010) {uid}, expected one that is not compressed, deflated, RLE, \
             JPEG or JPEG 2000"
    )]
    DicomSyntax { uid: String },
    #[error(
        "there is no pair of columns for image and mask (found {found}), expected `ImageId` and `EncodedPixels`, or \
             `fname` and `mask`"
    )]
    RleColumns { found: String },
    #[error("there is no image to import, and {skipped} {} skipped{}", if *skipped == 1 { "was" } else { "were" },
        if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) })]
    NothingImported {
        skipped: usize,
        /// Why most of them were.
        reasons: Vec<String>,
    },
    #[error("it is no JSON: {message}")]
    Json { message: String },
    #[error("{found}, expected {expected}")]
    DatasetJson { found: String, expected: &'static str },
    #[error("there is no label `{label}`, expected one of {known}")]
    Label { label: String, known: String },
    #[error("of the channels {found} ({known}), expected one that the images have")]
    Channel { found: String, known: String },
    #[error("the path `{path}` leads out of the data set, expected one within it")]
    OutsidePath { path: String },
    #[error("it is not listed in dataset.json")]
    NotListed,
    #[error("the file does not end in {ending}, as dataset.json's `file_ending` says that all do")]
    OtherEnding { ending: String },
    #[error("the image has no label in the list")]
    Unlabelled,
    #[error("image and label are of different formats, expected NIfTI for both or for none")]
    OtherFormat,
    #[error("the NIfTI file cannot be read: {message}")]
    Nifti { message: String },
    #[error("the volume is {}, expected 2 or 3 dimensions and at most 268 million voxels",
        dims.iter().map(u16::to_string).collect::<Vec<_>>().join("×"))]
    NiftiDimensions { dims: Vec<u16> },
    #[error("is no DICOM image{}, expected one, as a segmentation object belongs to one",
        match images - 1 { 0 => String::new(), more => format!(", nor are {more} more") })]
    SegOfOther { images: usize },
    #[error("the volume has {slices} slices, expected one")]
    NiftiSlices { slices: usize },
    #[error("the label is {}, but its image is {}", by(label), by(image))]
    VolumeMismatch { image: [usize; 3], label: [usize; 3] },
    #[error("the affines of image and label differ, so they do not lie on each other")]
    AffineMismatch,
    #[error(
        "the {of} does not say by sform or qform where it lies, and what it was paired with does, elsewhere"
    )]
    AffineMissing {
        /// "image" or "label".
        of: &'static str,
    },
    #[error("the label is a {format} file, which does not keep values exact, expected PNG, TIFF or NIfTI")]
    LabelFormat { format: &'static str },
    #[error("the label has the value {value}, expected whole numbers")]
    LabelValue { value: f32 },
    #[error(
        "the label has the value {value}, which `labels` of dataset.json does not name, expected one of {known}"
    )]
    UnnamedLabel { value: f32, known: String },
    #[error("the mask has the values {found}, expected only 0 and one of 1, 255 or 65535")]
    ImportMask { found: String },
    #[error("its name does not end in a channel of four digits, expected one as `{stem}_0000`")]
    NoChannel { stem: String },
    #[error("a worker thread stopped: {message}")]
    Worker { message: String },
}

impl Problem {
    /// What to do about it, as a full sentence.
    pub fn mend(&self) -> String {
        match self {
            Problem::Missing => "Check the path for a typing error.".into(),
            Problem::Io { .. } => "Check that it is a file, and its permissions and the disk.".into(),
            Problem::EmptyFile | Problem::Truncated { .. } | Problem::Corrupt { .. } => {
                "Copy or export the file again, or remove it, and its mask where it has one.".into()
            }
            Problem::ZeroPixels { .. } => "Export the image again, or remove it, and its mask where it has one.".into(),
            Problem::UnknownFormat { .. } => "Convert it to PNG.".into(),
            Problem::TooLarge { .. } => "Scale it down or cut it into tiles.".into(),
            Problem::PixelType { .. } => "Convert it to 8 or 16 bit PNG.".into(),
            Problem::ColourMask => "Save the mask as a grey image with 0 and 255.".into(),
            Problem::MaskValues { jpeg: true, .. } => {
                "JPEG changes pixel values, so set `data.mask_threshold` (127 for 0/255 masks), \
                 or save masks as PNG."
                    .into()
            }
            Problem::MaskValues { jpeg: false, .. } => {
                "Save the mask with 0 and 255 only, or set `data.mask_threshold`: \
                 values above it are foreground."
                    .into()
            }
            Problem::NoImagesFolder | Problem::NoMasksFolder => {
                "Put the images in `images/` and the masks in `masks/`, with the same names.".into()
            }
            Problem::NoImages { .. } => "Check the path, and convert other formats to PNG.".into(),
            Problem::FileName => "Rename the file.".into(),
            Problem::NoMask { .. } => {
                "Add the mask (all 0 when there is nothing to mark), or remove the image.".into()
            }
            Problem::NoImage { .. } => "Add the image, or remove the mask.".into(),
            Problem::SameName { .. } => "Keep one of the two, or rename one.".into(),
            Problem::SizeMismatch { .. } => "Export the mask at the size of its image.".into(),
            Problem::Columns { .. } => "Add the column to the first line of the file.".into(),
            Problem::SplitCsv { .. } => "Save it as comma-separated UTF-8 text.".into(),
            Problem::SplitNamesMissing { .. } => {
                "Remove these lines or add the images; an id is a file name without its ending.".into()
            }
            Problem::SplitMisses { .. } => "Add a line for each, or remove the images.".into(),
            Problem::SplitTwice { .. } => "Keep one of the two lines.".into(),
            Problem::SplitWord { .. } => "Write train, val, test or unused.".into(),
            Problem::EmptyPart { .. } => {
                "Move images to it in split.csv, raise `data.val_fraction` and `data.test_fraction`, \
                 or add images."
                    .into()
            }
            Problem::NoForeground { .. } => {
                "Draw what is to be found into some masks, lower `data.mask_threshold` where it is set, or move \
                 images with foreground into the part."
                    .into()
            }
            Problem::Constant { .. } => "Export the image again, or remove it and its mask.".into(),
            Problem::SplitPatients { of, .. } => {
                format!(
                    "Put all images of a patient into one {of} (`wgseg data split` does), or remove the column `patient`, \
                     or patients.csv, where it is wrong."
                )
            }
            Problem::FoldWord { .. } => "Write the number of the fold, or leave it empty.".into(),
            Problem::NoFold { folds: 0, .. } => {
                "Make folds by `wgseg data split DIR --folds 5`, or leave `data.fold` out.".into()
            }
            Problem::NoFold { folds, .. } => format!("Set `data.fold` to 0..={}.", folds - 1),
            Problem::SplitExists => "Give --force to replace it, or --out to write another file.".into(),
            Problem::FewPatients { .. } => "Ask for fewer, add patients, or split by image.".into(),
            Problem::FewImages { .. } => "Ask for fewer, or add images.".into(),
            Problem::PatientsKnown => {
                "Split by patient, which is the default, or remove the file or its column `patient` if it is wrong.".into()
            }
            Problem::NoPatients => {
                "Name them in patients.csv (columns `id` and `patient`) or in a column `patient` of split.csv, or give \
                 --patient-pattern."
                    .into()
            }
            Problem::PatientPattern { .. } => {
                "Change the pattern: its first group, or all that it matches, is the patient.".into()
            }
            Problem::Labelled { available, .. } => {
                format!("Set `train.labelled` to 1..={available}, or leave it out.")
            }
            Problem::NoPositives { .. } | Problem::NoNegatives { .. } => {
                "Leave out `train.positive_fraction`, or add such images to the train part.".into()
            }
            Problem::Setting { key, .. } => format!("Change `{key}`."),
            Problem::NotEmpty => "Name another folder, or empty this one first.".into(),
            Problem::DicomNoPixels { .. } => "Export the image itself, decrypted, or remove the file.".into(),
            Problem::DicomTag { .. } => "Convert it to one grey or colour image, or to PNG.".into(),
            Problem::DicomSyntax { .. } => "Convert it to Explicit VR Little Endian (`gdcmconv --raw`).".into(),
            Problem::RleColumns { .. } => "Write their names in the first line of the file.".into(),
            Problem::UnfitId { .. } => "Rename it.".into(),
            Problem::NothingImported { .. } => "Check the folders and files that were given.".into(),
            Problem::Json { .. } => "Correct the file there.".into(),
            Problem::DatasetJson { .. } => "Correct the file.".into(),
            Problem::Label { .. } => "Give --label with one of these names or values.".into(),
            Problem::Channel { .. } => "Choose one by --channel.".into(),
            Problem::OutsidePath { .. } => "Correct the path, or name the folder that holds all by --root.".into(),
            Problem::NotListed => "Add it to the list.".into(),
            Problem::OtherEnding { .. } => "Convert it, or correct `file_ending`.".into(),
            Problem::Fingerprints { .. } => "Put the file back, or begin anew in another folder.".into(),
            Problem::DicomJpegBits { .. } => {
                "Decompress it, as by `gdcmconv --raw IN OUT` or `dcmdjpeg IN OUT`.".into()
            }
            Problem::Unlabelled => "Add its label to the list.".into(),
            Problem::OtherFormat => "Convert one of the two.".into(),
            Problem::Nifti { .. } => "Copy or export the file again.".into(),
            Problem::NiftiDimensions { .. } => "Take one volume out of a series, or cut it up.".into(),
            Problem::SegOfOther { .. } => "Leave --dicom-seg out for other images.".into(),
            Problem::NiftiSlices { .. } => "Save each slice as a file of its own.".into(),
            Problem::VolumeMismatch { .. } | Problem::AffineMismatch => "Resample the label to its image.".into(),
            Problem::AffineMissing { .. } => {
                "Where they lie on each other, copy sform and qform from one to the other.".into()
            }
            Problem::LabelFormat { .. } => {
                "Save labels as PNG, or import by `folder` with --mask-threshold.".into()
            }
            Problem::LabelValue { .. } => "Save the label as whole numbers, resampled without interpolation.".into(),
            Problem::UnnamedLabel { .. } => {
                "Name it there, correct the label, or choose what is foreground by --label.".into()
            }
            Problem::ImportMask { .. } => {
                "Save the mask with 0 and 255 only, not as JPEG, or give --mask-threshold: values above it are foreground."
                    .into()
            }
            Problem::NoChannel { .. } => "Rename it, or remove it.".into(),
            Problem::Worker { .. } => "This is a fault in wgseg; please report it.".into(),
        }
    }
}

fn no_folds(fold: usize, folds: usize) -> String {
    match folds {
        0 => format!("`data.fold` is {fold}, but no split with a column `fold` is there"),
        _ => format!("`data.fold` is {fold}, but the split has {folds} folds, from 0 on"),
    }
}

fn by(sides: &[usize; 3]) -> String {
    sides.map(|side| side.to_string()).join("×")
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// `a, b, c, …` with the dots when `total` is more than what is listed.
fn listed<T: std::fmt::Display>(items: &[T], total: usize) -> String {
    let mut text = items.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
    if total > items.len() {
        text.push_str(", …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_file_the_finding_and_the_cure() {
        let error = DataError::at(
            Path::new("masks/a.jpg"),
            Problem::MaskValues { values: vec![0, 1, 254], distinct: 40, jpeg: true },
        );
        assert_eq!(
            error.to_string(),
            "masks/a.jpg: the mask has 40 different values (0, 1, 254, …), expected only 0 and one of 1, \
             255 or 65535. JPEG changes pixel values, so set `data.mask_threshold` (127 for 0/255 masks), \
             or save masks as PNG."
        );
    }

    #[test]
    fn a_setting_has_no_file() {
        let error = DataError::setting("augment.scale", 1.5, "0 or more and below 1");
        assert_eq!(
            error.to_string(),
            "`augment.scale` is 1.5, expected 0 or more and below 1. Change `augment.scale`."
        );
    }
}

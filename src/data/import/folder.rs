//! A folder of images and one of masks whose names differ by an ending.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cases::{Case, Foreground, add_all, files, stem};
use super::{ImportSummary, Importer};
use crate::data::dataset::ENDINGS;
use crate::data::error::{DataError, Problem};
use crate::data::nifti::is_nifti;

/// What names of images and masks end in that belong together.
const IMAGE_SUFFIXES: [&str; 4] = ["_0000", "_image", "_img", "-image"];
const MASK_SUFFIXES: [&str; 9] =
    ["_mask", "-mask", "_seg", "-seg", "_segmentation", "_label", "_labels", "_gt", "_annotation"];

/// What to import, and how.
#[derive(Clone, Debug)]
pub struct FolderOptions<'a> {
    pub images: &'a Path,
    pub masks: &'a Path,
    /// What the names of images end in beside those of their masks; none: a usual one.
    pub image_suffix: Option<String>,
    /// The same for masks.
    pub mask_suffix: Option<String>,
    /// Mask values above this are foreground; none: masks must be 0/1 or 0/255.
    pub mask_threshold: Option<f64>,
    /// Side in pixels to resize to; none: as it is.
    pub size: Option<usize>,
    /// Threads that decode.
    pub workers: usize,
}

/// Imports the images that have a mask.
///
/// # Errors
/// A folder cannot be read; nothing at all can be imported; a file cannot be written.
pub fn import_folder(out: &Path, options: &FolderOptions) -> Result<ImportSummary, DataError> {
    let (images, masks) = (files(options.images)?, files(options.masks)?);
    let importer = Importer::begin(out, options.size)?;
    let suffixes = |own: &Option<String>, usual: &[&str]| match own {
        Some(own) => vec![own.clone()],
        None => usual.iter().map(|suffix| (*suffix).to_owned()).collect(),
    };
    let image_suffixes = suffixes(&options.image_suffix, &IMAGE_SUFFIXES);
    let mask_suffixes = suffixes(&options.mask_suffix, &MASK_SUFFIXES);
    let images = by_name(&images, &image_suffixes, &importer);
    let mut masks = by_name(&masks, &mask_suffixes, &importer);
    let mut cases = Vec::new();
    for (id, image) in images {
        match masks.remove(&id) {
            Some(label) => cases.push(Case { id, image, label }),
            None => {
                let problem = Problem::NoMask { stem: id.clone(), folder: options.masks.into() };
                importer.skip(&id, Some(&image), problem);
            }
        }
    }
    for (id, mask) in masks {
        importer.skip(&id, Some(&mask), Problem::NoImage { stem: id.clone(), folder: options.images.into() });
    }
    add_all(&importer, &cases, &Foreground::Mask(options.mask_threshold), options.workers)?;
    importer.finish()
}

/// Files by their stem without the first of `suffixes` that it ends in. Those of no known format and those of a
/// name that is taken are noted as skipped.
fn by_name(paths: &[PathBuf], suffixes: &[String], importer: &Importer) -> BTreeMap<String, PathBuf> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in paths {
        let Some(stem) = stem(path) else {
            importer.skip("", Some(path), Problem::FileName);
            continue;
        };
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if !is_nifti(path) && !ENDINGS.contains(&ending.as_str()) {
            let found = format!("a name that ends in .{ending}");
            importer.skip(stem, Some(path), Problem::UnknownFormat { found });
            continue;
        }
        let bare = suffixes.iter().find_map(|suffix| stem.strip_suffix(suffix.as_str()));
        let id = bare.filter(|bare| !bare.is_empty()).unwrap_or(stem);
        match found.get(id) {
            Some(other) => {
                importer.skip(id, Some(path), Problem::SameName { stem: id.into(), other: other.clone() });
            }
            None => {
                found.insert(id.to_owned(), path.clone());
            }
        }
    }
    found
}

//! A folder of images and one of masks whose names differ by an ending.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cases::{Case, Foreground, IMAGE_ENDINGS, LABEL_ENDINGS, add_all, files, stem};
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
    let (mut images, masks) = (files(options.images)?, files(options.masks)?);
    let importer = Importer::begin(out, options.size)?;
    let suffixes = |own: &Option<String>, usual: &[&str]| match own {
        Some(own) => vec![own.clone()],
        None => usual.iter().map(|suffix| (*suffix).to_owned()).collect(),
    };
    let named = |paths: &[PathBuf], own: &Option<String>, usual: &[&str]| {
        by_name(paths, &suffixes(own, usual), own.is_some(), &importer)
    };
    let mut masks = named(&masks, &options.mask_suffix, &MASK_SUFFIXES);
    if same_folder(options.images, options.masks) {
        // There a mask is what ends as one, and all others are images.
        masks.retain(Named::has_ending);
        images.retain(|image| masks.iter().all(|mask| mask.path != *image));
    }
    let mut images = named(&images, &options.image_suffix, &IMAGE_SUFFIXES);
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    let mut taken = vec![false; masks.len()];
    for (of_image, of_mask) in ROUNDS {
        let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, mask) in masks.iter().enumerate().filter(|(at, _)| !taken[*at]) {
            if let Some(key) = mask.keys.get(of_mask) {
                waiting.entry(key.as_str()).or_insert(at);
            }
        }
        images.retain(|image| {
            let Some(key) = image.keys.get(of_image).filter(|key| !cases.contains_key(*key)) else {
                return true;
            };
            let Some(at) = waiting.remove(key.as_str()) else { return true };
            taken[at] = true;
            let (image, label) = (image.path.clone(), masks[at].path.clone());
            cases.insert(key.clone(), Case { id: key.clone(), image, label });
            false
        });
    }
    let alone = |named: &Named, is_mask: bool| {
        let pair = named.keys.iter().rev().find_map(|key| cases.get(key));
        let stem = named.keys.join("` or `");
        let problem = match (pair, is_mask) {
            (Some(case), _) => {
                let other = if is_mask { &case.label } else { &case.image };
                Problem::SameName { stem: case.id.clone(), other: other.clone() }
            }
            (None, true) => Problem::NoImage { stem, folder: options.images.into(), endings: IMAGE_ENDINGS },
            (None, false) => Problem::NoMask { stem, folder: options.masks.into(), endings: LABEL_ENDINGS },
        };
        importer.refuse(named.keys.last().map_or("", String::as_str), Some(&named.path), &problem);
    };
    images.iter().for_each(|image| alone(image, false));
    masks.iter().zip(taken).filter(|(_, taken)| !taken).for_each(|(mask, _)| alone(mask, true));
    let cases: Vec<Case> = cases.into_values().collect();
    add_all(&importer, &cases, &Foreground::Mask(options.mask_threshold), options.workers)?;
    importer.finish()
}

/// Which keys of image and mask are compared, in turn: names that are equal as they are belong together, whatever they
/// end in.
const ROUNDS: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// A file and what it may be paired by.
struct Named {
    path: PathBuf,
    /// The stem, then that without a usual ending; without an ending that the user gave, only that.
    keys: Vec<String>,
}

impl Named {
    /// Whether the name ends in one of the suffixes that were looked for.
    fn has_ending(&self) -> bool {
        self.keys.last().map(String::as_str) != stem(&self.path)
    }
}

/// Whether two paths lead to one folder.
fn same_folder(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Files with their keys by the first of `suffixes` that they end in, which the user `gave` or not. Those of no known
/// format are noted as skipped.
fn by_name(paths: &[PathBuf], suffixes: &[String], gave: bool, importer: &Importer) -> Vec<Named> {
    let mut found = Vec::new();
    for path in paths {
        let Some(stem) = stem(path) else {
            importer.refuse("", Some(path), &Problem::FileName);
            continue;
        };
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if !is_nifti(path) && !ENDINGS.contains(&ending.as_str()) {
            let found = format!("a name that ends in .{ending}");
            importer.refuse(stem, Some(path), &Problem::UnknownFormat { found });
            continue;
        }
        let bare = suffixes.iter().find_map(|suffix| stem.strip_suffix(suffix.as_str()));
        let bare = bare.filter(|bare| !bare.is_empty() && *bare != stem).map(str::to_owned);
        let whole = if gave && bare.is_some() { None } else { Some(stem.to_owned()) };
        found.push(Named { path: path.clone(), keys: whole.into_iter().chain(bare).collect() });
    }
    found
}

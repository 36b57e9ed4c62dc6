//! Lists of images and labels in the form of the Medical Segmentation Decathlon, which MONAI reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::cases::{Case, Foreground, add_all, read_json, stem, within};
use super::{ImportSummary, Importer};
use crate::data::error::{DataError, Problem};

/// What to import, and how.
#[derive(Clone, Debug)]
pub struct MonaiOptions<'a> {
    /// Folder that paths are relative to; none: that of the list.
    pub root: Option<&'a Path>,
    /// Side in pixels to resize to; none: as it is.
    pub size: Option<usize>,
    /// Values of the labels that are foreground; empty: all above 0.
    pub labels: Vec<u16>,
    /// Which of several images of a case, from 0.
    pub channel: Option<usize>,
    /// Threads that decode.
    pub workers: usize,
}

/// Lists that have labels, maybe.
const LISTS: [&str; 3] = ["training", "validation", "test"];

/// Imports all that has a label in the lists `training`, `validation` and `test`.
///
/// # Errors
/// The list cannot be read or holds none of these; nothing at all can be imported; a file cannot be written.
pub fn import_monai(list: &Path, out: &Path, options: &MonaiOptions) -> Result<ImportSummary, DataError> {
    let set = read_json(list)?;
    let root = match (options.root, list.parent()) {
        (Some(root), _) => root,
        (None, Some(parent)) => parent,
        (None, None) => Path::new("."),
    };
    if !LISTS.iter().any(|name| set.get(name).is_some_and(Value::is_array)) {
        let found = "there is no list `training`, `validation` or `test`".to_owned();
        let expected = "{\"training\": [{\"image\": …, \"label\": …}, …]}";
        return Err(DataError::at(list, Problem::DatasetJson { found, expected }));
    }
    let importer = Importer::begin(out, options.size)?;
    let mut cases = Vec::new();
    for name in LISTS {
        let entries = set.get(name).and_then(Value::as_array).into_iter().flatten();
        for (at, entry) in entries.enumerate() {
            match case(root, entry, &format!("entry {} of `{name}`", at + 1), options.channel) {
                Ok(case) => cases.push(case),
                Err((id, problem)) => importer.refuse(&id, Some(list), &problem),
            }
        }
    }
    tell_apart(root, &mut cases);
    let foreground = match options.labels.is_empty() {
        true => Foreground::AllBut { ignored: vec![], known: None },
        false => Foreground::Values { values: options.labels.clone(), ignored: vec![] },
    };
    let notes = add_all(&importer, &cases, &foreground, options.workers)?;
    Ok(ImportSummary { notes, ..importer.finish()? })
}

/// Names images by their path in the data set where their file name alone is that of several.
fn tell_apart(root: &Path, cases: &mut [Case]) {
    let mut files: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for case in cases.iter() {
        files.entry(case.id.clone()).or_default().insert(case.image.clone());
    }
    for case in cases {
        if files.get(&case.id).is_none_or(|files| files.len() < 2) {
            continue;
        }
        let path = case.image.strip_prefix(root).unwrap_or(&case.image);
        let folders = path.parent().into_iter().flat_map(Path::components);
        let names = folders.filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        });
        case.id = names.chain([case.id.as_str()]).collect::<Vec<_>>().join("_");
    }
}

/// What an entry of a list stands for; `place` names it.
fn case(root: &Path, entry: &Value, place: &str, channel: Option<usize>) -> Result<Case, (String, Problem)> {
    // Images to predict are listed without labels, as bare names.
    let image = entry.get("image").unwrap_or(entry);
    let images = match image {
        Value::Array(images) => images.as_slice(),
        image => std::slice::from_ref(image),
    };
    let image = match channel {
        None if images.len() > 1 => Err(format!("there are {} in {place}", images.len())),
        None => Ok(images.first()),
        Some(channel) if channel < images.len() => Ok(images.get(channel)),
        Some(channel) => Err(format!("{channel} is asked for, and {place} has {}", images.len())),
    };
    let image = image.map_err(|found| {
        let known = images.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        (String::new(), Problem::Channel { found, known })
    })?;
    let Some(image) = image.and_then(Value::as_str) else {
        let found = format!("{place} has no `image`");
        let expected = "the path of a file, or a list of paths";
        return Err((String::new(), Problem::DatasetJson { found, expected }));
    };
    let id = stem(Path::new(image)).unwrap_or_default().to_owned();
    let Some(label) = entry.get("label").and_then(Value::as_str) else {
        return Err((id, Problem::Unlabelled));
    };
    let inside = |name| within(root, name).map_err(|problem| (id.clone(), problem));
    Ok(Case { image: inside(image)?, label: inside(label)?, id })
}

//! Lists of images and labels in the form of the Medical Segmentation Decathlon, which MONAI reads.

use std::path::Path;

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
        for entry in set.get(name).and_then(Value::as_array).into_iter().flatten() {
            match case(root, entry, options.channel) {
                Ok(case) => cases.push(case),
                Err((id, problem)) => importer.skip(&id, Some(list), problem),
            }
        }
    }
    let foreground = match options.labels.is_empty() {
        true => Foreground::AllBut(vec![]),
        false => Foreground::Values(options.labels.clone()),
    };
    add_all(&importer, &cases, &foreground, options.workers)?;
    importer.finish()
}

fn case(root: &Path, entry: &Value, channel: Option<usize>) -> Result<Case, (String, Problem)> {
    // Images to predict are listed without labels, as bare names.
    let image = entry.get("image").unwrap_or(entry);
    let image = match (image, channel) {
        (Value::Array(images), Some(channel)) => images.get(channel),
        (Value::Array(images), None) if images.len() == 1 => images.first(),
        (Value::Array(images), None) => {
            let known = images.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
            return Err((
                String::new(),
                Problem::Channel { found: format!("there are {}", images.len()), known },
            ));
        }
        (image, _) => Some(image),
    };
    let image = image.and_then(Value::as_str).unwrap_or_default();
    let id = stem(Path::new(image)).unwrap_or_default().to_owned();
    let Some(label) = entry.get("label").and_then(Value::as_str) else {
        return Err((id, Problem::Unlabelled));
    };
    let inside = |name| within(root, name).map_err(|problem| (id.clone(), problem));
    Ok(Case { image: inside(image)?, label: inside(label)?, id })
}

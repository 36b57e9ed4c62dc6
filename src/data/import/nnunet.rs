//! Raw data sets of nnU-Net, of its first and its second version: `imagesTr`, `labelsTr` and `dataset.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cases::{Case, Foreground, IMAGE_ENDINGS, LABEL_ENDINGS, add_all, files, read_json, stem, within};
use super::{ImportSummary, Importer};
use crate::data::error::{DataError, Problem};
use crate::report::words::count;

/// What to import, and how.
#[derive(Clone, Debug)]
pub struct NnunetOptions {
    /// Side in pixels to resize to; none: as it is.
    pub size: Option<usize>,
    /// Name or value of the label that is foreground; none: all above 0 but `ignore`.
    pub label: Option<String>,
    /// Which channel, from 0; none: the only one.
    pub channel: Option<usize>,
    /// Threads that decode.
    pub workers: usize,
}

/// Imports the training cases of the data set `dir`. Images of `imagesTs` have no labels and stay where they are.
///
/// # Errors
/// There is no `dataset.json`, or it is not understood; label or channel is not among those it names; nothing at all
/// can be imported; a file cannot be written.
pub fn import_nnunet(dir: &Path, out: &Path, options: &NnunetOptions) -> Result<ImportSummary, DataError> {
    let json = dir.join("dataset.json");
    let set = read_json(&json)?;
    let foreground =
        foreground(&set, options.label.as_deref()).map_err(|problem| DataError::at(&json, problem))?;
    let ending = file_ending(&set).map_err(|problem| DataError::at(&json, problem))?;
    let (images, odd) = index(&dir.join("imagesTr"), ending)?;
    let channel = channel(&set, &images, options.channel).map_err(|problem| DataError::at(&json, problem))?;
    let importer = Importer::begin(out, options.size)?;
    let cases = listed(dir, &json, &set, channel, ending, &images, &importer)?;
    // A list may name images of other names.
    let named: BTreeSet<&PathBuf> = cases.iter().map(|case| &case.image).collect();
    for (path, problem) in odd.iter().filter(|(path, _)| !named.contains(path)) {
        importer.refuse(stem(path).unwrap_or_default(), Some(path), problem);
    }
    let mut notes = vec![];
    let number = |told: &Value| told.as_u64().or_else(|| told.as_str()?.parse().ok());
    if let Some(told) = set.get("numTraining").filter(|told| number(told) != Some(cases.len() as u64)) {
        notes.push(format!(
            "{}: `numTraining` is {told}, but {} found: see that the copy is whole",
            json.display(),
            match cases.len() {
                1 => "1 case is".to_owned(),
                number => format!("{number} cases are"),
            }
        ));
    }
    notes.extend(add_all(&importer, &cases, &foreground, options.workers)?);
    let test = dir.join("imagesTs");
    let unlabelled = if test.is_dir() { index(&test, ending)?.0.len() } else { 0 };
    if unlabelled > 0 {
        let what = count(unlabelled, "image");
        notes.push(format!("imagesTs has {what} without labels: not imported, they are for `wgseg predict`"));
    }
    Ok(ImportSummary { notes, ..importer.finish()? })
}

/// What all files end in, as `.nii.gz`; the first version of the format does not say.
fn file_ending(set: &Value) -> Result<Option<&str>, Problem> {
    match set.get("file_ending") {
        None => Ok(None),
        Some(Value::String(ending)) => Ok(Some(ending)),
        Some(other) => Err(Problem::DatasetJson {
            found: format!("`file_ending` is {other}"),
            expected: "an ending, as \".png\"",
        }),
    }
}

/// Files by case and channel.
type Images = BTreeMap<String, BTreeMap<usize, PathBuf>>;

/// The images of a folder, `CASE_0000.png` being channel 0 of `CASE`, and the files that are none by their name.
fn index(dir: &Path, ending: Option<&str>) -> Result<(Images, Vec<(PathBuf, Problem)>), DataError> {
    let mut found = Images::new();
    let mut odd = vec![];
    for path in files(dir)? {
        if let Some(ending) = ending
            && !path.to_string_lossy().ends_with(ending)
        {
            odd.push((path, Problem::OtherEnding { ending: ending.to_owned() }));
            continue;
        }
        let Some(stem) = stem(&path) else {
            odd.push((path, Problem::FileName));
            continue;
        };
        let parts = stem.rsplit_once('_').filter(|(_, channel)| channel.len() == 4);
        let Some((case, channel)) = parts.and_then(|(case, channel)| Some((case, channel.parse().ok()?)))
        else {
            let problem = Problem::NoChannel { stem: stem.to_owned() };
            odd.push((path, problem));
            continue;
        };
        let channels = found.entry(case.to_owned()).or_default();
        match channels.get(&channel) {
            Some(other) => {
                let problem = Problem::SameName { stem: stem.to_owned(), other: other.clone() };
                odd.push((path, problem));
            }
            None => {
                channels.insert(channel, path);
            }
        }
    }
    Ok((found, odd))
}

/// The channel to take, among those that the files have.
fn channel(set: &Value, images: &Images, wanted: Option<usize>) -> Result<usize, Problem> {
    let names = set.get("channel_names").or_else(|| set.get("modality"));
    let named = names.and_then(Value::as_object).into_iter().flat_map(|names| names.keys());
    // One that is named and has no files is told as missing, and not passed over.
    let found: BTreeSet<usize> = images
        .values()
        .flat_map(|channels| channels.keys().copied())
        .chain(named.filter_map(|name| name.parse().ok()))
        .collect();
    let name = |channel: &usize| {
        let name = names.and_then(|names| names.get(channel.to_string())).and_then(Value::as_str);
        name.map_or_else(|| channel.to_string(), |name| format!("{channel}: {name}"))
    };
    let known = || found.iter().map(name).collect::<Vec<_>>().join(", ");
    match wanted {
        Some(channel) if found.contains(&channel) || found.is_empty() => Ok(channel),
        Some(channel) => Err(Problem::Channel { found: format!("{channel} is asked for"), known: known() }),
        None if found.len() > 1 => {
            Err(Problem::Channel { found: format!("there are {}", found.len()), known: known() })
        }
        None => Ok(found.first().copied().unwrap_or(0)),
    }
}

/// What is foreground by the labels of `dataset.json`: `{"liver": 1, "both": [1, 2]}`, or in the first version
/// `{"1": "liver"}`.
fn foreground(set: &Value, wanted: Option<&str>) -> Result<Foreground, Problem> {
    let mut labels: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    let number = |value: &Value| value.as_u64().and_then(|v| u16::try_from(v).ok());
    let expected = "names with values, as {\"background\": 0, \"lung\": 1}";
    let named = match set.get("labels") {
        Some(Value::Object(named)) => named,
        None => return Err(Problem::DatasetJson { found: "there is no `labels`".into(), expected }),
        Some(other) => return Err(Problem::DatasetJson { found: format!("`labels` is {other}"), expected }),
    };
    for (key, value) in named {
        let (name, values) = match value {
            Value::String(name) => (name.clone(), key.parse().ok().map(|v| vec![v])),
            Value::Array(values) => (key.clone(), values.iter().map(number).collect()),
            value => (key.clone(), number(value).map(|v| vec![v])),
        };
        let Some(values) = values else {
            let found = format!("label `{key}` is {value}");
            return Err(Problem::DatasetJson {
                found,
                expected: "a whole number, a list of them, or a name",
            });
        };
        labels.insert(name, values);
    }
    let ignored = labels.get("ignore").cloned().unwrap_or_default();
    let Some(wanted) = wanted else {
        let mut known: Vec<u16> = labels.into_values().flatten().collect();
        known.sort_unstable();
        known.dedup();
        return Ok(Foreground::AllBut { ignored, known: Some(known).filter(|known| !known.is_empty()) });
    };
    let by_value = || {
        let value: u16 = wanted.parse().ok()?;
        labels.values().any(|values| values.contains(&value)).then(|| vec![value])
    };
    let values = labels.get(wanted).cloned().or_else(by_value).ok_or_else(|| Problem::Label {
        label: wanted.to_owned(),
        known: labels
            .iter()
            .map(|(name, values)| format!("{name}: {values:?}"))
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    let ignored = ignored.into_iter().filter(|value| !values.contains(value)).collect();
    Ok(Foreground::Values { values, ignored })
}

/// The cases that can be read, by `dataset.json` or by the files; the others are noted as skipped.
fn listed(
    dir: &Path,
    json: &Path,
    set: &Value,
    channel: usize,
    ending: Option<&str>,
    images: &Images,
    importer: &Importer,
) -> Result<Vec<Case>, DataError> {
    let has_ending = |path: &PathBuf| ending.is_none_or(|ending| path.to_string_lossy().ends_with(ending));
    let (labels, odd): (Vec<_>, Vec<_>) = files(&dir.join("labelsTr"))?.into_iter().partition(has_ending);
    // Case and label, and the image where the list names it itself.
    let mut wanted: Vec<(String, PathBuf, Option<PathBuf>)> = Vec::new();
    // `place` names the entry, `key` what should be in it.
    let path = |id: &str, place: &str, key: &str, name: Option<&str>| {
        let missing = || Problem::DatasetJson {
            found: format!("{place} has no `{key}`"),
            expected: "the path of a file in the data set",
        };
        let path = name.ok_or_else(missing).and_then(|name| within(dir, name));
        path.map_err(|problem| importer.refuse(id, Some(json), &problem)).ok()
    };
    if let Some(cases) = set.get("dataset").and_then(Value::as_object) {
        for (id, case) in cases {
            let image = case.get("images").and_then(|images| images.get(channel)).and_then(Value::as_str);
            let label = case.get("label").and_then(Value::as_str);
            let place = format!("`{id}` of `dataset`");
            let image = path(id, &place, &format!("images[{channel}]"), image);
            if let (Some(image), Some(label)) = (image, path(id, &place, "label", label)) {
                wanted.push((id.clone(), label, Some(image)));
            }
        }
    } else if let Some(cases) = set.get("training").and_then(Value::as_array) {
        for (at, case) in cases.iter().enumerate() {
            let name = case.get("label").and_then(Value::as_str);
            let image = case.get("image").and_then(Value::as_str);
            let id = name.or(image).and_then(|name| stem(Path::new(name))).unwrap_or_default();
            if let Some(label) = path(id, &format!("entry {} of `training`", at + 1), "label", name) {
                wanted.push((id.to_owned(), label, None));
            }
        }
    } else {
        let named = labels.iter().filter_map(|label| Some((stem(label)?.to_owned(), label.clone(), None)));
        wanted.extend(named);
    }
    let no_label = |id: &String| Problem::NoMask {
        stem: id.clone(),
        folder: dir.join("labelsTr"),
        endings: LABEL_ENDINGS,
    };
    let mut cases: Vec<Case> = Vec::new();
    for (id, label, image) in &wanted {
        let by_name = || images.get(id).and_then(|channels| channels.get(&channel)).cloned();
        let image = image.clone().or_else(by_name);
        match image.filter(|image| image.is_file()) {
            None => {
                let stem = format!("{id}_{channel:04}");
                let (folder, endings) = (dir.join("imagesTr"), IMAGE_ENDINGS);
                importer.refuse(id, Some(label), &Problem::NoImage { stem, folder, endings });
            }
            Some(image) if !label.is_file() => importer.refuse(id, Some(&image), &no_label(id)),
            Some(image) => cases.push(Case { id: id.clone(), image, label: label.clone() }),
        }
    }
    // What is there and was not listed, so that nothing is passed over in silence.
    for path in odd.iter().filter(|path| cases.iter().all(|case| case.label != **path)) {
        let problem = Problem::OtherEnding { ending: ending.unwrap_or_default().to_owned() };
        importer.refuse(stem(path).unwrap_or_default(), Some(path), &problem);
    }
    let known: BTreeSet<&String> = wanted.iter().map(|(id, ..)| id).collect();
    for (id, channels) in images.iter().filter(|(id, _)| !known.contains(id)) {
        let file = channels.values().next().map(PathBuf::as_path);
        let has_label = labels.iter().any(|label| stem(label) == Some(id));
        let problem = match has_label {
            true => Problem::NotListed,
            false => no_label(id),
        };
        importer.refuse(id, file, &problem);
    }
    Ok(cases)
}

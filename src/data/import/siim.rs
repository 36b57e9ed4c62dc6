//! The SIIM-ACR pneumothorax set as downloaded: DICOM files in nested folders, and a CSV file of run-length codes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{ImportSummary, Importer, check_id};
use crate::data::decode::Mask;
use crate::data::dicom;
use crate::data::error::{DataError, Problem};
use crate::data::parallel;
use crate::data::rle;
use crate::report::tally::Tally;
use crate::report::words::count;

/// Endings of DICOM files, in lower case; some are stored without any.
const ENDINGS: [&str; 3] = ["dcm", "dicom", ""];
/// Endings that ids have in some tables.
const ID_ENDINGS: [&str; 4] = [".dcm", ".dicom", ".png", ".jpg"];
/// Deeper folders are not searched: links may lead in circles.
const MAX_DEPTH: usize = 16;

/// Where the set is and what to make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiimOptions {
    /// Searched with all folders in it.
    pub dicom: PathBuf,
    pub csv: PathBuf,
    /// Side in pixels to which images and masks are resized; none keeps their own.
    pub size: Option<usize>,
    pub workers: usize,
}

/// Writes the data folder `out` from the images of `options.dicom` that have a row in `options.csv`.
///
/// An image's id is the name of its file without the ending or, where the table lacks that, its SOP Instance UID; of files
/// of one id the first by path that can be read counts. Rows without a file, files without a row and files or rows that
/// cannot be read are listed in `skipped.csv`.
///
/// # Errors
/// The table or the folder cannot be read, there is no image that has a row and can be read, or `out` cannot be written.
pub fn import_siim(out: &Path, options: &SiimOptions) -> Result<ImportSummary, DataError> {
    let importer = Importer::begin(out, options.size)?;
    let rows = read_rows(&options.csv)?;
    let mut files = Vec::new();
    find_files(&options.dicom, 0, &importer, &mut files)?;
    files.sort();
    // One piece of work for each id, as which of two files would be done first depends on the threads.
    let ids = parallel::map(files.len(), options.workers, |i| {
        let id = id_of(&files[i], &rows);
        if id.is_none() {
            refuse_rowless(&importer, &files[i]);
        }
        Ok(id)
    })?;
    let mut by_id: BTreeMap<String, Vec<&Path>> = BTreeMap::new();
    for (file, id) in files.iter().zip(ids) {
        if let Some(id) = id {
            by_id.entry(id).or_default().push(file);
        }
    }
    let used: BTreeSet<String> = by_id.keys().cloned().collect();
    let by_id: Vec<(String, Vec<&Path>)> = by_id.into_iter().collect();
    let tally = Tally::new(by_id.iter().map(|(_, files)| files.len()).sum(), "files");
    let imported = parallel::map(by_id.len(), options.workers, |i| {
        let (id, files) = &by_id[i];
        let mut taken: Option<&Path> = None;
        for file in files {
            match taken {
                None if import_file(&importer, id, file, &rows[id])? => taken = Some(file),
                None => {}
                Some(other) => {
                    let problem = Problem::SameName { stem: id.clone(), other: other.into() };
                    importer.refuse(id, Some(file), &problem);
                }
            }
            tally.add();
        }
        Ok(taken.map(|_| id))
    })?;
    tally.finish();
    let both: Vec<&String> =
        imported.into_iter().flatten().filter(|id| is_contradictory(&rows[*id])).collect();
    let notes = both.first().map(|first| {
        format!(
            "{} with a row of -1 and rows of runs, such as {first}: the runs count; see which of them is right",
            count(both.len(), "image")
        )
    });
    for id in rows.keys().filter(|id| !used.contains(*id)) {
        match check_id(id) {
            Ok(()) => importer.skip(id, None, "the table has it, but there is no such file"),
            Err(problem) => importer.refuse(id, None, &problem),
        }
    }
    Ok(ImportSummary { notes: notes.into_iter().collect(), ..importer.finish()? })
}

/// Whether one row says that there is nothing to mark, and another what is.
fn is_contradictory(codes: &[(u64, String)]) -> bool {
    let is_empty = |code: &String| code.trim() == "-1";
    codes.iter().any(|(_, code)| is_empty(code)) && codes.iter().any(|(_, code)| !is_empty(code))
}

/// The id of the row that a file belongs to; none where it has none or cannot be read.
fn id_of(path: &Path, rows: &Rows) -> Option<String> {
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = without_ending(&stem);
    if rows.contains_key(stem) {
        return Some(stem.to_owned());
    }
    dicom::instance(path).ok().filter(|instance| rows.contains_key(instance))
}

/// Notes why a file belongs to no row.
fn refuse_rowless(importer: &Importer, path: &Path) {
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = without_ending(&stem);
    match dicom::read_header(path) {
        Ok(_) => importer.skip(stem, Some(path), "the table has no row for it"),
        Err(error) => importer.refuse(stem, Some(path), &error.problem),
    }
}

/// Imports a file as `id`, whose rows have these codes, or notes why not: false then.
///
/// # Errors
/// The results cannot be written.
fn import_file(
    importer: &Importer,
    id: &str,
    path: &Path,
    codes: &[(u64, String)],
) -> Result<bool, DataError> {
    let (raw, about) = match dicom::decode(path) {
        Ok(decoded) => decoded,
        Err(error) => {
            importer.refuse(id, Some(path), &error.problem);
            return Ok(false);
        }
    };
    let (width, height) = (raw.header.width as usize, raw.header.height as usize);
    let mut mask = Mask { width, height, pixels: vec![0; width * height] };
    for (line, code) in codes {
        if let Err(error) = rle::add(code, &mut mask) {
            importer.skip(id, Some(path), format!("line {line} of the table: {error}"));
            return Ok(false);
        }
    }
    match importer.add(id, path, &raw, &mask) {
        Ok(()) => {}
        Err(DataError { problem: problem @ Problem::UnfitId { .. }, .. }) => {
            importer.refuse(id, Some(path), &problem);
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    if !about.patient.is_empty() {
        importer.patient(id, &about.patient);
    }
    Ok(true)
}

/// The run-length codes of each id with their lines.
type Rows = BTreeMap<String, Vec<(u64, String)>>;

/// Reads the table: a column `ImageId` or `fname` and a column `EncodedPixels` or `mask`.
fn read_rows(path: &Path) -> Result<Rows, DataError> {
    let failed = |e: csv::Error| DataError::at(path, Problem::SplitCsv { message: e.to_string() });
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, &e))?;
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let mut csv = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text);
    let headers = csv.headers().map_err(failed)?.clone();
    let column = |names: [&str; 2]| {
        let at = headers.iter().position(|h| names.iter().any(|n| h.eq_ignore_ascii_case(n)));
        at.ok_or_else(|| {
            let found = headers.iter().map(|h| format!("`{h}`")).collect::<Vec<_>>().join(", ");
            DataError::at(path, Problem::RleColumns { found })
        })
    };
    let (image, code) = (column(["ImageId", "fname"])?, column(["EncodedPixels", "mask"])?);
    let mut rows = Rows::new();
    for record in csv.records() {
        let record = record.map_err(failed)?;
        let line = record.position().map_or(0, csv::Position::line);
        let value = |column: usize| record.get(column).unwrap_or_default();
        rows.entry(without_ending(value(image)).to_string())
            .or_default()
            .push((line, value(code).to_string()));
    }
    Ok(rows)
}

/// `name` without an ending of image files. Ids have dots, so not whatever follows the last one is an ending.
fn without_ending(name: &str) -> &str {
    let lower = name.to_ascii_lowercase();
    let ending = ID_ENDINGS.iter().find(|ending| lower.ends_with(**ending));
    ending.map_or(name, |ending| &name[..name.len() - ending.len()])
}

/// Whether a file may be a DICOM file by its name: what follows the last dot of an id is a number.
fn may_be_dicom(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    !name.starts_with('.')
        && (ENDINGS.contains(&ending.as_str()) || ending.bytes().all(|b| b.is_ascii_digit()))
}

fn find_files(
    dir: &Path,
    depth: usize,
    importer: &Importer,
    files: &mut Vec<PathBuf>,
) -> Result<(), DataError> {
    let failed = |e: std::io::Error| DataError::io(dir, &e);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if path.is_dir() {
            if depth < MAX_DEPTH {
                find_files(&path, depth + 1, importer, files)?;
            } else {
                let reason = format!(
                    "the folder is more than {MAX_DEPTH} deep and was not searched. Move it up where it has images."
                );
                importer.skip("", Some(&path), reason);
            }
        } else if may_be_dicom(&entry.file_name().to_string_lossy()) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Rows, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rle.csv");
        std::fs::write(&path, text).unwrap();
        read_rows(&path)
    }

    #[test]
    fn all_forms_of_the_table_are_read() {
        for text in [
            "ImageId, EncodedPixels\n1.2, 3 4\n1.3, -1\n1.2, 9 1\n",
            "ImageId,EncodedPixels\n1.2,3 4\n1.3,-1\n1.2,9 1\n",
            "\u{FEFF}fname,mask\n1.2.png,3 4\n1.3.dcm,-1\n1.2.png,9 1\n",
        ] {
            let rows = rows(text).unwrap();
            assert_eq!(rows["1.2"], [(2, "3 4".to_string()), (4, "9 1".to_string())]);
            assert_eq!(rows["1.3"], [(3, "-1".to_string())]);
        }
        let problem = rows("id,rle\na,-1\n").unwrap_err().problem;
        assert_eq!(problem, Problem::RleColumns { found: "`id`, `rle`".into() });
    }

    #[test]
    fn folders_that_lie_too_deep_are_noted() {
        let dir = tempfile::tempdir().unwrap();
        let deep = (0..=MAX_DEPTH).fold(dir.path().join("in"), |path, i| path.join(i.to_string()));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("a.dcm"), "").unwrap();
        let importer = Importer::begin(&dir.path().join("out"), None).unwrap();
        let mut files = vec![];
        find_files(&dir.path().join("in"), 0, &importer, &mut files).unwrap();
        let skipped = importer.found().skipped.clone();
        assert!(files.is_empty() && skipped.len() == 1, "{files:?} {skipped:?}");
        assert_eq!(skipped[0].file.as_deref(), Some(&*deep));
    }

    #[test]
    fn files_are_dicom_by_name_with_or_without_ending() {
        for name in ["1.2.276.dcm", "1.2.276.0", "x.DCM", "IM0001", "a.dicom"] {
            assert!(may_be_dicom(name), "{name}");
        }
        for name in ["readme.txt", ".DS_Store", "train.csv"] {
            assert!(!may_be_dicom(name), "{name}");
        }
        assert_eq!(without_ending("1.2.276.dcm"), "1.2.276");
        assert_eq!(without_ending("1.2.276"), "1.2.276");
    }
}

//! Which images are for training, validation and testing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::path::Path;

use serde::Serialize;

use super::error::{DataError, Problem};
use super::partition::{Member, count_groups, divide};
use super::patients::Patients;
use super::sampler::permutation;
use crate::report::atomic;
use crate::rng::{Purpose, rng};

/// So many ids are listed in an error.
const IDS_LISTED: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Train,
    Val,
    Test,
    /// Left out, as when labels are made scarce on purpose; the two-stage method may learn from it without its mask.
    Unused,
}

impl Part {
    /// The parts that no split may leave empty.
    pub const ALL: [Part; 3] = [Part::Train, Part::Val, Part::Test];

    /// The word of `split.csv`, upper or lower case.
    pub fn parse(word: &str) -> Option<Part> {
        match word.to_ascii_lowercase().as_str() {
            "train" => Some(Part::Train),
            "val" => Some(Part::Val),
            "test" => Some(Part::Test),
            "unused" => Some(Part::Unused),
            _ => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Part::Train => "train",
            Part::Val => "val",
            Part::Test => "test",
            Part::Unused => "unused",
        })
    }
}

/// Which image is for what.
#[derive(Default)]
pub(super) struct Assignment {
    /// The part of each image; none where a bad split does not say.
    pub parts: Vec<Option<Part>>,
    /// The fold of each image; none where it has none, all none where there are no folds.
    pub folds: Vec<Option<usize>>,
    /// Of images of the folder alone.
    pub patients: Patients,
    /// Everything that is wrong.
    pub problems: Vec<DataError>,
}

/// The part of each of `ids` (which are sorted) by a `split.csv`, and all that is wrong with it.
///
/// Without a `fold` the column `split` says it. With one the column `fold` does: that fold is for validation, the
/// images marked `test` without a fold are for testing, or the fold after it (after the last the first) where there
/// are none, and all others are for training. `unused` images stay so, and images without a fold are for what
/// `split` says. `patients` are of images of which the file's column `patient` says nothing.
pub(super) fn read(path: &Path, ids: &[&str], fold: Option<usize>, patients: &Patients) -> Assignment {
    let mut problems = Vec::new();
    let mut rows = match read_rows(path, &mut problems) {
        Ok(rows) => rows,
        Err(error) => {
            let (parts, folds) = (vec![None; ids.len()], vec![None; ids.len()]);
            return Assignment { parts, folds, problems: vec![error], ..Default::default() };
        }
    };
    let refused = problems.len();
    for row in &mut rows {
        row.patient = row.patient.take().or_else(|| patients.get(&row.id).cloned());
    }
    let folds = folds(path, &rows, fold.is_some(), &mut problems);
    if let Some(fold) = fold {
        match apply_fold(&mut rows, &folds, fold) {
            Ok(()) => problems.extend(patients_in_two_folds(path, &rows, &folds)),
            Err(problem) => problems.push(DataError::at(path, problem)),
        }
    }
    let of_parts = rows.iter().filter(|row| row.part != Part::Unused);
    problems.extend(shared_patients(path, of_parts.map(|row| (row.patient.as_deref(), row.part)), "part"));
    let mut assignment = Assignment {
        parts: vec![None; ids.len()],
        folds: vec![None; ids.len()],
        patients: Patients::new(),
        problems,
    };
    let mut missing: Vec<String> = Vec::new();
    for (Row { id, part, patient, .. }, fold) in rows.into_iter().zip(folds) {
        match ids.binary_search(&id.as_str()) {
            Ok(i) => {
                (assignment.parts[i], assignment.folds[i]) = (Some(part), fold);
                assignment.patients.extend(patient.map(|patient| (id, patient)));
            }
            Err(_) => missing.push(id),
        }
    }
    missing.sort();
    let total = missing.len();
    missing.truncate(IDS_LISTED);
    if total > 0 {
        let problem = Problem::SplitNamesMissing { ids: missing, total };
        assignment.problems.push(DataError::at(path, problem));
    }
    // Lines that were refused also leave their images without a part.
    if refused == 0 && total == 0 {
        let unlisted: Vec<String> = ids
            .iter()
            .zip(&assignment.parts)
            .filter(|(_, p)| p.is_none())
            .map(|(id, _)| id.to_string())
            .collect();
        if !unlisted.is_empty() {
            let total = unlisted.len();
            let ids = unlisted.into_iter().take(IDS_LISTED).collect();
            assignment.problems.push(DataError::at(path, Problem::SplitMisses { ids, total }));
        }
    }
    assignment
}

/// The fold of each row. A column `fold` that does not hold whole numbers is taken for another thing, which is a
/// problem where folds are `needed`.
fn folds(path: &Path, rows: &[Row], needed: bool, problems: &mut Vec<DataError>) -> Vec<Option<usize>> {
    let parsed = |row: &Row| row.fold.as_ref().map(|word| word.parse::<usize>()).transpose();
    match rows.iter().map(parsed).collect() {
        Ok(folds) => folds,
        Err(_) => {
            if needed && let Some(row) = rows.iter().find(|row| parsed(row).is_err()) {
                let word = row.fold.clone().unwrap_or_default();
                problems.push(DataError::at(
                    path,
                    Problem::FoldWord { id: row.id.clone(), word, line: row.line },
                ));
            }
            vec![None; rows.len()]
        }
    }
}

/// Gives each row the part that it has when `fold` is for validation.
fn apply_fold(rows: &mut [Row], folds: &[Option<usize>], fold: usize) -> Result<(), Problem> {
    let count = folds.iter().flatten().max().map_or(0, |last| last + 1);
    if fold >= count {
        return Err(Problem::NoFold { fold, folds: count });
    }
    let held_out = rows.iter().zip(folds).any(|(row, fold)| row.part == Part::Test && fold.is_none());
    for (row, of) in rows.iter_mut().zip(folds) {
        if let Some(of) = *of {
            row.part = part_of_fold(row.part, of, fold, count, held_out);
        }
    }
    Ok(())
}

/// The part of an image of fold `of` among `count` when `fold` is for validation; `held_out` where other images are
/// kept for testing.
pub(super) fn part_of_fold(part: Part, of: usize, fold: usize, count: usize, held_out: bool) -> Part {
    match of {
        _ if part == Part::Unused => Part::Unused,
        _ if of == fold => Part::Val,
        _ if !held_out && of == (fold + 1) % count => Part::Test,
        _ => Part::Train,
    }
}

fn patients_in_two_folds(path: &Path, rows: &[Row], folds: &[Option<usize>]) -> Option<DataError> {
    let used = rows.iter().zip(folds).filter(|(row, _)| row.part != Part::Unused);
    shared_patients(path, used.filter_map(|(row, fold)| Some((row.patient.as_deref(), (*fold)?))), "fold")
}

/// The patients who have images in two of the parts, or folds, that must not know each other.
pub(super) fn shared_patients<'a, P: Eq + Hash>(
    path: &Path,
    images: impl Iterator<Item = (Option<&'a str>, P)>,
    of: &'static str,
) -> Option<DataError> {
    let mut parts: BTreeMap<&str, HashSet<P>> = BTreeMap::new();
    for (patient, part) in images {
        if let Some(patient) = patient {
            parts.entry(patient).or_default().insert(part);
        }
    }
    parts.retain(|_, parts| parts.len() > 1);
    let total = parts.len();
    let patients = parts.into_keys().take(IDS_LISTED).map(str::to_owned).collect();
    (total > 0).then(|| DataError::at(path, Problem::SplitPatients { patients, total, of }))
}

/// How many folds the split in `path` has: one more than the largest number in its column `fold`.
///
/// # Errors
/// The file cannot be read, or has no folds.
pub fn count_folds(path: &Path) -> Result<usize, DataError> {
    let mut problems = Vec::new();
    let rows = read_rows(path, &mut problems)?;
    let folds = folds(path, &rows, true, &mut problems);
    if let Some(error) = problems.into_iter().next() {
        return Err(error);
    }
    let last = folds.into_iter().flatten().max();
    last.map(|last| last + 1).ok_or_else(|| DataError::at(path, Problem::NoFold { fold: 0, folds: 0 }))
}

/// The patients that the column `patient` of a `split.csv` names; none where it has none. Rows that [`read`] refuses
/// are left out.
pub(super) fn patients(path: &Path) -> Result<Patients, DataError> {
    let rows = read_rows(path, &mut Vec::new())?;
    Ok(rows.into_iter().filter_map(|row| Some((row.id, row.patient?))).collect())
}

/// A row of a `split.csv`.
struct Row {
    id: String,
    part: Part,
    /// None where there is no column `patient`, or nothing in it.
    patient: Option<String>,
    /// As written; none where there is no column `fold`, or nothing in it.
    fold: Option<String>,
    line: u64,
}

/// The rows that can be read; those that cannot go to `problems`.
fn read_rows(path: &Path, problems: &mut Vec<DataError>) -> Result<Vec<Row>, DataError> {
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, &e))?;
    let bad_csv = |e: csv::Error| DataError::at(path, Problem::SplitCsv { message: e.to_string() });
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(&bytes[..]);
    let columns: Vec<String> = reader.headers().map_err(bad_csv)?.iter().map(str::to_lowercase).collect();
    let column = |name: &'static str| {
        columns.iter().position(|c| c == name).ok_or_else(|| {
            let found = if columns.is_empty() { "an empty file".into() } else { columns.join(", ") };
            let expected = ["id", "split"];
            DataError::at(path, Problem::Columns { missing: name, found, expected })
        })
    };
    let (id_column, split_column) = (column("id")?, column("split")?);
    let (patient_column, fold_column) = (column("patient").ok(), column("fold").ok());
    let mut first_lines: HashMap<String, u64> = HashMap::new();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(bad_csv)?;
        let line = record.position().map_or(0, csv::Position::line);
        let id = record.get(id_column).unwrap_or_default().to_string();
        let word = record.get(split_column).unwrap_or_default();
        if let Some(&first_line) = first_lines.get(&id) {
            problems.push(DataError::at(path, Problem::SplitTwice { id, line, first_line }));
            continue;
        }
        first_lines.insert(id.clone(), line);
        let cell = |column: Option<usize>| {
            column.and_then(|i| record.get(i)).filter(|cell| !cell.is_empty()).map(str::to_owned)
        };
        match Part::parse(word) {
            Some(part) => {
                let (patient, fold) = (cell(patient_column), cell(fold_column));
                rows.push(Row { id, part, patient, fold, line });
            }
            None => {
                problems.push(DataError::at(path, Problem::SplitWord { id, word: word.to_string(), line }))
            }
        }
    }
    Ok(rows)
}

/// A split of `count` images drawn by `seed`; shares are rounded to whole images, at least 1.
pub(super) fn draw(count: usize, seed: u64, val: f64, test: f64) -> Vec<Part> {
    let share = |fraction: f64| ((fraction * count as f64).round() as usize).max(1);
    let (val, test) = (share(val), share(test));
    let mut parts = vec![Part::Train; count];
    for (rank, i) in permutation(count, &mut rng(seed, Purpose::Split, 0)).into_iter().enumerate() {
        if rank < val {
            parts[i] = Part::Val;
        } else if rank < val + test {
            parts[i] = Part::Test;
        }
    }
    parts
}

/// As [`draw`], with all images of a patient in one part: `patients` of each image, where it is known.
///
/// # Errors
/// Fewer than three patients.
pub(super) fn draw_by_patient(
    patients: &[Option<&String>],
    seed: u64,
    val: f64,
    test: f64,
) -> Result<Vec<Part>, Problem> {
    let members: Vec<Member> =
        patients.iter().map(|patient| Member { group: patient.cloned(), kind: 0 }).collect();
    let shares = [1.0 - val - test, val, test];
    let parts = divide(&members, &shares, seed).ok_or_else(|| Problem::FewPatients {
        groups: count_groups(&members),
        parts: shares.len(),
        of: "parts",
    })?;
    Ok(parts.into_iter().map(|part| Part::ALL[part]).collect())
}

/// Writes `split.csv` with the columns `id` and `split`.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write<'a>(path: &Path, rows: impl Iterator<Item = (&'a str, Part)>) -> Result<(), DataError> {
    let mut bytes = Vec::new();
    {
        let mut writer = csv::Writer::from_writer(&mut bytes);
        let failed = |e: csv::Error| DataError::at(path, Problem::Io { message: e.to_string() });
        writer.write_record(["id", "split"]).map_err(failed)?;
        for (id, part) in rows {
            writer.write_record([id, &part.to_string()]).map_err(failed)?;
        }
        writer.flush().map_err(|e| DataError::io(path, &e))?;
    }
    atomic::write(path, &bytes).map_err(|e| DataError::report(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_and_the_draw_is_seeded() {
        let parts = draw(100, 3, 0.15, 0.2);
        let count = |part| parts.iter().filter(|&&p| p == part).count();
        assert_eq!((count(Part::Train), count(Part::Val), count(Part::Test)), (65, 15, 20));
        assert_eq!(parts, draw(100, 3, 0.15, 0.2));
        assert_ne!(parts, draw(100, 4, 0.15, 0.2));
    }

    #[test]
    fn a_patient_is_in_one_part() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("split.csv");
        let problems = |rows: &str| {
            std::fs::write(&path, format!("id,split,patient\n{rows}")).unwrap();
            read(&path, &["a", "b", "c", "d"], None, &Patients::new()).problems
        };
        assert_eq!(problems("a,train,p\nb,train,p\nc,test,\nd,val,\n"), []);
        // An image that is left out does no harm.
        assert_eq!(problems("a,train,p\nb,unused,p\nc,test,q\nd,val,r\n"), []);
        let found = problems("a,train,p\nb,test,p\nc,test,q\nd,val,q\n");
        let [error] = &found[..] else { panic!("{found:?}") };
        let text = error.to_string();
        assert!(text.contains("split.csv: 2 patients have images in more than one part (p, q)"), "{text}");
        assert!(text.contains("Put all images of a patient into one part"), "{text}");
        let rows = "a,train,p\nb,test,\nc,test,q\nd,val,r\n";
        problems(rows);
        let expected = [("a", "p"), ("c", "q"), ("d", "r")].map(|(id, p)| (id.to_owned(), p.to_owned()));
        assert_eq!(patients(&path).unwrap(), expected.into());
    }

    #[test]
    fn a_byte_order_mark_blanks_and_other_columns_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("split.csv");
        std::fs::write(&path, "\u{feff}site, Split ,id\r\nx, train, a\r\ny,VAL,b\r\n").unwrap();
        let read = read(&path, &["a", "b"], None, &Patients::new());
        assert_eq!(read.problems, []);
        assert_eq!(read.parts, [Some(Part::Train), Some(Part::Val)]);
    }

    /// The parts by rows of `id,split,patient,fold`, or the problems.
    fn by_fold(rows: &str, fold: usize) -> Result<Vec<String>, Vec<Problem>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("split.csv");
        std::fs::write(&path, format!("id,split,patient,fold\n{rows}")).unwrap();
        let ids: Vec<&str> = rows.lines().map(|row| row.split(',').next().unwrap()).collect();
        let read = read(&path, &ids, Some(fold), &Patients::new());
        if !read.problems.is_empty() {
            return Err(read.problems.into_iter().map(|error| error.problem).collect());
        }
        Ok(read.parts.iter().map(|part| part.unwrap().to_string()).collect())
    }

    #[test]
    fn each_fold_validates_once_and_the_next_one_tests() {
        let rows = "a,train,,0\nb,train,,1\nc,train,,2\nd,train,,3\ne,unused,,0\nf,train,,\n";
        assert_eq!(by_fold(rows, 0).unwrap(), ["val", "test", "train", "train", "unused", "train"]);
        assert_eq!(by_fold(rows, 3).unwrap(), ["test", "train", "train", "val", "unused", "train"]);
    }

    #[test]
    fn a_part_held_out_tests_in_every_fold() {
        let rows = "a,train,,0\nb,train,,1\nc,train,,2\nd,test,,\n";
        assert_eq!(by_fold(rows, 1).unwrap(), ["train", "val", "train", "test"]);
    }

    #[test]
    fn folds_that_cannot_be_used() {
        let rows = "a,train,,0\nb,train,,1\nc,train,,2\n";
        assert_eq!(by_fold(rows, 3).unwrap_err(), [Problem::NoFold { fold: 3, folds: 3 }]);
        assert_eq!(by_fold("a,train,,\n", 0).unwrap_err(), [Problem::NoFold { fold: 0, folds: 0 }]);
        let word = Problem::FoldWord { id: "b".into(), word: "x".into(), line: 3 };
        assert_eq!(by_fold("a,train,,0\nb,train,,x\n", 0).unwrap_err()[0], word);
        let patient = Problem::SplitPatients { patients: vec!["p".into()], total: 1, of: "fold" };
        let rows = "a,train,,0\nb,train,,1\nc,train,p,2\nd,train,p,3\n";
        assert_eq!(by_fold(rows, 0).unwrap_err(), [patient]);
    }
}

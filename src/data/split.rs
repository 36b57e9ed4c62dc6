//! Which images are for training, validation and testing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::error::{DataError, Problem};
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

/// The part of each of `ids` (which are sorted) by a `split.csv`, none where it does not say, and all that is wrong.
pub(super) fn read(path: &Path, ids: &[&str]) -> (Vec<Option<Part>>, Vec<DataError>) {
    let mut parts = vec![None; ids.len()];
    let mut problems = Vec::new();
    match read_rows(path, &mut problems) {
        Err(error) => problems.push(error),
        Ok(rows) => {
            let refused = problems.len();
            problems.extend(shared_patients(path, &rows));
            let mut missing: Vec<String> = Vec::new();
            for Row { id, part, .. } in rows {
                match ids.binary_search(&id.as_str()) {
                    Ok(i) => parts[i] = Some(part),
                    Err(_) => missing.push(id),
                }
            }
            missing.sort();
            let total = missing.len();
            missing.truncate(IDS_LISTED);
            if total > 0 {
                let problem = Problem::SplitNamesMissing { ids: missing, total };
                problems.push(DataError::at(path, problem));
            }
            // Lines that were refused also leave their images without a part.
            if refused == 0 && total == 0 {
                let unlisted: Vec<String> = ids
                    .iter()
                    .zip(&parts)
                    .filter(|(_, p)| p.is_none())
                    .map(|(id, _)| id.to_string())
                    .collect();
                if !unlisted.is_empty() {
                    let total = unlisted.len();
                    let ids = unlisted.into_iter().take(IDS_LISTED).collect();
                    problems.push(DataError::at(path, Problem::SplitMisses { ids, total }));
                }
            }
        }
    }
    (parts, problems)
}

/// The patient of each image by the column `patient` of a `split.csv`; empty where it has none. Rows
/// that [`read`] refuses are left out.
pub(super) fn patients(path: &Path) -> Result<BTreeMap<String, String>, DataError> {
    let rows = read_rows(path, &mut Vec::new())?;
    Ok(rows.into_iter().filter_map(|row| Some((row.id, row.patient?))).collect())
}

/// The patients who have images in two of the parts that must not know each other.
fn shared_patients(path: &Path, rows: &[Row]) -> Option<DataError> {
    let mut parts: BTreeMap<&str, HashSet<Part>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.part != Part::Unused) {
        if let Some(patient) = &row.patient {
            parts.entry(patient).or_default().insert(row.part);
        }
    }
    parts.retain(|_, parts| parts.len() > 1);
    let total = parts.len();
    let patients = parts.into_keys().take(IDS_LISTED).map(str::to_owned).collect();
    (total > 0).then(|| DataError::at(path, Problem::SplitPatients { patients, total }))
}

/// A row of a `split.csv`.
struct Row {
    id: String,
    part: Part,
    /// None where there is no column `patient`, or nothing in it.
    patient: Option<String>,
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
            DataError::at(path, Problem::SplitColumns { missing: name, found })
        })
    };
    let (id_column, split_column) = (column("id")?, column("split")?);
    let patient_column = column("patient").ok();
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
        match Part::parse(word) {
            Some(part) => {
                let patient =
                    patient_column.and_then(|i| record.get(i)).filter(|patient| !patient.is_empty());
                rows.push(Row { id, part, patient: patient.map(str::to_owned) });
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
            read(&path, &["a", "b", "c", "d"]).1
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
        let (parts, problems) = read(&path, &["a", "b"]);
        assert_eq!(problems, []);
        assert_eq!(parts, [Some(Part::Train), Some(Part::Val)]);
    }
}

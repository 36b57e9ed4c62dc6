//! Which patient an image is of: by `patients.csv` beside the images, or by a pattern of the id.

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;

use super::error::{DataError, Problem};

/// File of a data folder that names the patient of each image, with the columns `id` and `patient`.
pub const PATIENTS: &str = "patients.csv";

/// The patient of each image, by id; images of whom nothing is known are not in it.
pub type Patients = BTreeMap<String, String>;

/// What `patients.csv` in the data folder `dir` says; nothing where there is none. Rows without a patient are left
/// out, and ids of images that are not in the folder do no harm.
///
/// # Errors
/// The file cannot be read, lacks a column or names an image twice.
pub(super) fn read(dir: &Path) -> Result<Patients, DataError> {
    let path = dir.join(PATIENTS);
    if !path.exists() {
        return Ok(Patients::new());
    }
    let bytes = std::fs::read(&path).map_err(|e| DataError::io(&path, &e))?;
    let bad_csv = |e: csv::Error| DataError::at(&path, Problem::SplitCsv { message: e.to_string() });
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(&bytes[..]);
    let columns: Vec<String> = reader.headers().map_err(bad_csv)?.iter().map(str::to_lowercase).collect();
    let column = |missing: &'static str| {
        columns.iter().position(|c| c == missing).ok_or_else(|| {
            let problem =
                Problem::Columns { missing, found: columns.join(", "), expected: ["id", "patient"] };
            DataError::at(&path, problem)
        })
    };
    let (id_column, patient_column) = (column("id")?, column("patient")?);
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    let mut patients = Patients::new();
    for record in reader.records() {
        let record = record.map_err(bad_csv)?;
        let line = record.position().map_or(0, csv::Position::line);
        let id = record.get(id_column).unwrap_or_default().to_owned();
        if let Some(first_line) = lines.insert(id.clone(), line) {
            return Err(DataError::at(&path, Problem::SplitTwice { id, line, first_line }));
        }
        if let Some(patient) = record.get(patient_column).filter(|patient| !patient.is_empty()) {
            patients.insert(id, patient.to_owned());
        }
    }
    Ok(patients)
}

/// Finds the patient in an image's id: what the first group of a regular expression matches, or the whole match
/// where it has no group.
#[derive(Clone, Debug)]
pub struct PatientPattern(Regex);

impl PatientPattern {
    /// The patient in `id`; none where the expression does not match, or matches nothing.
    pub fn patient<'a>(&self, id: &'a str) -> Option<&'a str> {
        let found = self.0.captures(id)?;
        let group = if found.len() > 1 { found.get(1)? } else { found.get(0)? };
        Some(group.as_str()).filter(|patient| !patient.is_empty())
    }

    /// The patient of each of `ids`.
    ///
    /// # Errors
    /// It finds none at all.
    pub(super) fn patients<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Result<Patients, DataError> {
        let mut first = None;
        let found = ids.filter_map(|id| {
            first.get_or_insert(id);
            Some((id.to_owned(), self.patient(id)?.to_owned()))
        });
        let patients: Patients = found.collect();
        if patients.is_empty() {
            let (pattern, id) = (self.0.to_string(), first.unwrap_or_default().to_owned());
            return Err(DataError::bare(Problem::PatientPattern { pattern, id }));
        }
        Ok(patients)
    }
}

impl std::str::FromStr for PatientPattern {
    type Err = regex::Error;

    fn from_str(text: &str) -> Result<Self, regex::Error> {
        Ok(PatientPattern(Regex::new(text)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_gives_its_first_group_or_all_that_it_matches() {
        let patient = |pattern: &str, id: &str| {
            pattern.parse::<PatientPattern>().unwrap().patient(id).map(str::to_owned)
        };
        assert_eq!(patient(r"^nih_(\d{8})", "nih_00012345_007").as_deref(), Some("00012345"));
        assert_eq!(patient(r"^[a-z]+", "anna_2").as_deref(), Some("anna"));
        assert_eq!(patient(r"^nih_(\d{8})", "CHNCXR_0001_0"), None);
        assert_eq!(patient(r"^nih_(\d*)", "nih_"), None);
        assert!("(".parse::<PatientPattern>().is_err());
    }

    #[test]
    fn the_file_of_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Patients::new());
        let written = |text: &str| {
            std::fs::write(dir.path().join(PATIENTS), text).unwrap();
            read(dir.path())
        };
        let expected = [("a", "p"), ("b", "p")].map(|(id, patient)| (id.to_owned(), patient.to_owned()));
        assert_eq!(written("\u{feff}patient, id\np, a\n,c\np,b\n").unwrap(), expected.into());
        let problem = written("id,patient\na,p\na,q\n").unwrap_err().problem;
        assert_eq!(problem, Problem::SplitTwice { id: "a".into(), line: 3, first_line: 2 });
        let error = written("id,subject\na,p\n").unwrap_err().to_string();
        assert!(
            error
                .contains("no column `patient` (found id, subject), expected the columns `id` and `patient`"),
            "{error}"
        );
    }
}

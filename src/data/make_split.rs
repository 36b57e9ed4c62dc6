//! Draws a split of a data folder, by fractions or in folds, and writes it to a file that is used from then on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::dataset::{Scan, first, scan};
use super::decode::decode_mask;
use super::error::{DataError, Problem};
use super::parallel;
use super::partition::{Member, count_groups, divide, kinds_by_size};
use super::patients::{self, PatientPattern, Patients};
use super::split::{self, Part, part_of_fold};
use crate::config::schema::DataConfig;
use crate::report::atomic;

/// The part of an image, and its fold where there are folds.
type Place = (Part, Option<usize>);

/// Kinds that masks with foreground are told apart in, by its size, at most.
const SIZES: usize = 4;

/// How to divide a data folder.
#[derive(Clone, Debug)]
pub struct SplitOptions {
    /// So many folds for cross-validation; none: by fractions alone.
    pub folds: Option<usize>,
    /// Share for validation; not used with folds.
    pub val: f64,
    /// Share for testing; with folds the share held out of all of them, which may be 0.
    pub test: f64,
    /// Whether all images of a patient stay together; none: where patients are known.
    pub by_patient: Option<bool>,
    /// Finds the patient in an id; none: by the column `patient` of `split.csv`, or `patients.csv`.
    pub pattern: Option<PatientPattern>,
    /// Whether each part gets its share of empty masks, and of small and large foreground.
    pub stratify: bool,
    pub seed: u64,
    /// As `data.mask_threshold`.
    pub mask_threshold: Option<f64>,
    /// Threads that read masks.
    pub workers: usize,
    /// The file; none: `split.csv` in the folder.
    pub out: Option<PathBuf>,
    /// Replace a file that is there.
    pub force: bool,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitSummary {
    pub file: PathBuf,
    /// Images for training, validation, testing, and left out; with folds those of fold 0.
    pub parts: [Count; 4],
    pub folds: Vec<Count>,
    /// How many patients the images are of; none where they were not asked for.
    pub patients: Option<usize>,
    /// Images of whom nothing is known, each counted as a patient of its own.
    pub images_without_patient: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    pub images: usize,
    /// Images whose mask has foreground; none where masks were not read.
    pub positives: Option<usize>,
}

/// Draws a split and writes it. It depends on ids, masks, patients, options and seed, and on no order of files.
///
/// The file has the columns `id` and `split`, `patient` where patients are known, `fold` with folds, and whatever else
/// a `split.csv` of the folder has. With folds `split` says what holds in fold 0. Images that a `split.csv` of the
/// folder marks `unused` stay so.
///
/// # Errors
/// The folder is not sound, as for [`super::Dataset::open`]; the file is there and may not be replaced; patients
/// are asked for and not known; there are fewer patients or images than parts; a mask cannot be read; a fraction or
/// number is out of its range.
pub fn make_split(dir: &Path, options: &SplitOptions) -> Result<SplitSummary, DataError> {
    check_options(options)?;
    let own = dir.join("split.csv");
    let file = options.out.clone().unwrap_or_else(|| own.clone());
    if file.exists() && !options.force {
        return Err(DataError::at(&file, Problem::SplitExists));
    }
    let Scan { ids, items, problems } = scan(dir);
    first(problems)?;
    let before = if own.exists() { Table::read(&own)? } else { Table::default() };
    let by_id = patients_of(dir, &own, &ids, options)?;
    let unused: Vec<bool> = ids.iter().map(|id| before.is_unused(id)).collect();
    let used: Vec<usize> = (0..ids.len()).filter(|i| !unused[*i]).collect();

    let foreground = if options.stratify {
        let share = |i: usize| {
            let mask = decode_mask(&items[used[i]].mask, options.mask_threshold)?;
            let on = mask.pixels.iter().filter(|v| **v == 1).count();
            Ok(on as f64 / mask.pixels.len().max(1) as f64)
        };
        Some(parallel::map(used.len(), options.workers, share)?)
    } else {
        None
    };
    let bins =
        options.folds.unwrap_or(Part::ALL.len()) + usize::from(options.folds.is_some() && options.test > 0.0);
    let kinds = foreground.as_ref().map(|shares| kinds_by_size(shares, SIZES, bins));
    let members: Vec<Member> = used
        .iter()
        .enumerate()
        .map(|(i, place)| {
            let group = by_id.as_ref().and_then(|by_id| by_id.get(&ids[*place]).cloned());
            Member { group, kind: kinds.as_ref().map_or(0, |kinds| kinds[i]) }
        })
        .collect();
    let drawn = draw(&members, options).map_err(|problem| DataError::at(dir, problem))?;

    let mut places = vec![(Part::Unused, None); ids.len()];
    used.iter().zip(&drawn).for_each(|(place, of)| places[*place] = *of);
    before.write(&file, &ids, &places, by_id.as_ref())?;
    let positive = |place: usize| {
        let i = used.binary_search(&place).ok()?;
        Some(foreground.as_ref()?[i] > 0.0)
    };
    let count = |test: &dyn Fn(&Place) -> bool| {
        let chosen = (0..ids.len()).filter(|i| test(&places[*i]));
        let positives = chosen.clone().filter(|i| positive(*i) == Some(true)).count();
        Count { images: chosen.count(), positives: foreground.is_some().then_some(positives) }
    };
    let parts = [Part::Train, Part::Val, Part::Test, Part::Unused].map(|part| count(&|(of, _)| *of == part));
    let folds = (0..options.folds.unwrap_or(0)).map(|fold| count(&|(_, of)| *of == Some(fold))).collect();
    let images_without_patient = by_id
        .as_ref()
        .map_or(0, |by_id| used.iter().filter(|place| !by_id.contains_key(&ids[**place])).count());
    Ok(SplitSummary {
        file,
        parts,
        folds,
        patients: by_id.is_some().then(|| count_groups(&members) - images_without_patient),
        images_without_patient,
    })
}

fn check_options(options: &SplitOptions) -> Result<(), DataError> {
    let (val, test) = (options.val, options.test);
    if let Some(folds) = options.folds {
        if !(2..=100).contains(&folds) {
            return Err(DataError::setting("--folds", folds, "2 to 100"));
        }
        if !(0.0..1.0).contains(&test) {
            return Err(DataError::setting("--test-fraction", test, "0 or more and below 1"));
        }
        if folds == 2 && test == 0.0 {
            let expected = "3 or more, or a --test-fraction: one fold validates, the next one tests, and nothing would train";
            return Err(DataError::setting("--folds", folds, expected));
        }
        return Ok(());
    }
    for (key, value) in [("--val-fraction", val), ("--test-fraction", test)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(DataError::setting(key, value, "above 0 and below 1"));
        }
    }
    if val + test >= 1.0 {
        return Err(DataError::setting("--val-fraction", val, "a sum with --test-fraction below 1"));
    }
    Ok(())
}

/// The patient of each image; none where images are divided one by one.
fn patients_of(
    dir: &Path,
    own: &Path,
    ids: &[String],
    options: &SplitOptions,
) -> Result<Option<Patients>, DataError> {
    if options.by_patient == Some(false) {
        // All that reads a split would refuse one that has a patient in two parts.
        let known = match patients::read(dir)?.is_empty() {
            false => Some(dir.join("patients.csv")),
            true if own.exists() && !split::patients(own)?.is_empty() => Some(own.to_owned()),
            true => None,
        };
        return known.map_or(Ok(None), |file| Err(DataError::at(&file, Problem::PatientsKnown)));
    }
    if let Some(pattern) = &options.pattern {
        return pattern.patients(ids.iter().map(String::as_str)).map(Some);
    }
    let mut known = patients::read(dir)?;
    if own.exists() {
        known.extend(split::patients(own)?);
    }
    known.retain(|id, _| ids.binary_search(id).is_ok());
    if known.is_empty() {
        return match options.by_patient {
            Some(true) => Err(DataError::at(dir, Problem::NoPatients)),
            _ => Ok(None),
        };
    }
    Ok(Some(known))
}

/// The part, and with folds the fold, of each image.
fn draw(members: &[Member], options: &SplitOptions) -> Result<Vec<Place>, Problem> {
    let too_few =
        |groups: usize, parts: usize, of: &'static str| match members.iter().any(|m| m.group.is_some()) {
            true => Problem::FewPatients { groups, parts, of },
            false => Problem::FewImages { images: members.len(), parts, of },
        };
    let Some(folds) = options.folds else {
        if members.iter().all(|m| m.group.is_none() && m.kind == 0) && members.len() >= Part::ALL.len() {
            // As without a file.
            let parts = split::draw(members.len(), options.seed, options.val, options.test);
            return Ok(parts.into_iter().map(|part| (part, None)).collect());
        }
        let shares = [1.0 - options.val - options.test, options.val, options.test];
        let parts = divide(members, &shares, options.seed)
            .ok_or_else(|| too_few(count_groups(members), shares.len(), "parts"))?;
        return Ok(parts.into_iter().map(|part| (Part::ALL[part], None)).collect());
    };
    let held_out = options.test > 0.0;
    let mut shares = vec![(1.0 - options.test) / folds as f64; folds];
    shares.extend(held_out.then_some(options.test));
    let of = if held_out { "folds and a test part" } else { "folds" };
    let drawn = divide(members, &shares, options.seed)
        .ok_or_else(|| too_few(count_groups(members), shares.len(), of))?;
    let place = |fold: usize| match fold {
        _ if fold == folds => (Part::Test, None),
        _ => (part_of_fold(Part::Train, fold, 0, folds, held_out), Some(fold)),
    };
    Ok(drawn.into_iter().map(place).collect())
}

/// The rows of a `split.csv` that is there, as written.
#[derive(Default)]
struct Table {
    columns: Vec<String>,
    rows: BTreeMap<String, Vec<String>>,
}

impl Table {
    /// # Errors
    /// The file cannot be read.
    fn read(path: &Path) -> Result<Table, DataError> {
        let bytes = std::fs::read(path).map_err(|e| DataError::io(path, &e))?;
        let bad_csv = |e: csv::Error| DataError::at(path, Problem::SplitCsv { message: e.to_string() });
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(&bytes[..]);
        let columns: Vec<String> = reader.headers().map_err(bad_csv)?.iter().map(str::to_owned).collect();
        let id = columns.iter().position(|column| column.eq_ignore_ascii_case("id"));
        let mut rows = BTreeMap::new();
        for record in reader.records() {
            let cells: Vec<String> = record.map_err(bad_csv)?.iter().map(str::to_owned).collect();
            rows.extend(id.and_then(|id| cells.get(id).cloned()).map(|id| (id, cells)));
        }
        Ok(Table { columns, rows })
    }

    fn cell(&self, id: &str, column: usize) -> &str {
        self.rows.get(id).and_then(|row| row.get(column)).map_or("", String::as_str)
    }

    fn is_unused(&self, id: &str) -> bool {
        let split = self.columns.iter().position(|column| column.eq_ignore_ascii_case("split"));
        split.is_some_and(|split| Part::parse(self.cell(id, split)) == Some(Part::Unused))
    }

    /// Writes the new split, with the columns of this one that it does not make itself.
    fn write(
        &self,
        path: &Path,
        ids: &[String],
        places: &[Place],
        patients: Option<&Patients>,
    ) -> Result<(), DataError> {
        let with_folds = places.iter().any(|(_, fold)| fold.is_some());
        let mut header = vec!["id", "split"];
        header.extend(patients.is_some().then_some("patient"));
        header.extend(with_folds.then_some("fold"));
        let own = |column: &str| {
            ["id", "split", "fold"].iter().any(|name| column.eq_ignore_ascii_case(name))
                || patients.is_some() && column.eq_ignore_ascii_case("patient")
        };
        let kept: Vec<usize> = (0..self.columns.len()).filter(|i| !own(&self.columns[*i])).collect();
        header.extend(kept.iter().map(|i| self.columns[*i].as_str()));
        let mut writer = csv::Writer::from_writer(Vec::new());
        let failed = |message: String| DataError::at(path, Problem::Io { message });
        writer.write_record(header).map_err(|e| failed(e.to_string()))?;
        for (id, (part, fold)) in ids.iter().zip(places) {
            let mut row = vec![id.clone(), part.to_string()];
            row.extend(patients.map(|patients| patients.get(id).cloned().unwrap_or_default()));
            row.extend(with_folds.then(|| fold.map_or(String::new(), |fold| fold.to_string())));
            row.extend(kept.iter().map(|i| self.cell(id, *i).to_owned()));
            writer.write_record(row).map_err(|e| failed(e.to_string()))?;
        }
        let bytes = writer.into_inner().map_err(|e| failed(e.to_string()))?;
        atomic::write(path, &bytes).map_err(|e| DataError::report(path, e))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.images)?;
        self.positives.map_or(Ok(()), |positives| write!(f, ", {positives} with foreground"))
    }
}

impl fmt::Display for SplitSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["train", "val", "test", "unused"];
        if self.folds.is_empty() {
            for (name, count) in names.iter().zip(&self.parts).take(3) {
                writeln!(f, "{name:<12} {count}")?;
            }
        }
        for (fold, count) in self.folds.iter().enumerate() {
            writeln!(f, "{:<12} {count}", format!("fold {fold}"))?;
        }
        let in_folds: usize = self.folds.iter().map(|fold| fold.images).sum();
        let [train, val, test, unused] = self.parts;
        if !self.folds.is_empty() && in_folds < train.images + val.images + test.images {
            writeln!(f, "held out     {test}, for testing in every fold")?;
        }
        if unused.images > 0 {
            writeln!(f, "unused       {}, as before", unused.images)?;
        }
        if let Some(patients) = self.patients {
            let without = match self.images_without_patient {
                0 => String::new(),
                n => format!("; {n} images without one, each as one of its own"),
            };
            writeln!(
                f,
                "patients     {patients}, each in one {}{without}",
                if self.folds.is_empty() { "part" } else { "fold" }
            )?;
        }
        write!(f, "{}", self.file.display())
    }
}

impl Default for SplitOptions {
    fn default() -> Self {
        let DataConfig { val_fraction, test_fraction, seed, mask_threshold, workers, .. } =
            DataConfig::default();
        SplitOptions {
            folds: None,
            val: val_fraction,
            test: test_fraction,
            by_patient: None,
            pattern: None,
            stratify: false,
            seed,
            mask_threshold,
            workers,
            out: None,
            force: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::Dataset;
    use crate::data::testing::{folder, write_grey};

    fn folds(count: usize) -> SplitOptions {
        SplitOptions { folds: Some(count), test: 0.0, ..Default::default() }
    }

    fn text(dir: &Path) -> String {
        std::fs::read_to_string(dir.join("split.csv")).unwrap()
    }

    #[test]
    fn a_split_without_folds_is_the_one_that_is_drawn_without_a_file() {
        let dir = folder(20);
        let config = DataConfig { seed: 7, ..Default::default() };
        let drawn = Dataset::open(dir.path(), &config).unwrap();
        make_split(dir.path(), &SplitOptions { seed: 7, ..Default::default() }).unwrap();
        let written = Dataset::open(dir.path(), &config).unwrap();
        assert!(written.split_file().is_some());
        assert_eq!(Part::ALL.map(|part| drawn.part(part)), Part::ALL.map(|part| written.part(part)));
    }

    #[test]
    fn every_image_validates_once_and_tests_once() {
        let dir = folder(23);
        let summary = make_split(dir.path(), &SplitOptions { stratify: true, ..folds(5) }).unwrap();
        // 12 with foreground, 11 without.
        for fold in &summary.folds {
            assert!([4, 5].contains(&fold.images) && [2, 3].contains(&fold.positives.unwrap()), "{summary}");
        }
        let mut seen = [[0; 23]; 3];
        for fold in 0..5 {
            let config = DataConfig { fold: Some(fold), ..Default::default() };
            let data = Dataset::open(dir.path(), &config).unwrap();
            for (part, seen) in Part::ALL.iter().zip(&mut seen) {
                data.part(*part).into_iter().for_each(|i| seen[i] += 1);
            }
        }
        assert_eq!(seen, [[3; 23], [1; 23], [1; 23]]);
        // Without a fold the column `split` is that of fold 0.
        let parts = |fold| {
            let data = Dataset::open(dir.path(), &DataConfig { fold, ..Default::default() }).unwrap();
            Part::ALL.map(|part| data.part(part))
        };
        assert_eq!(parts(None), parts(Some(0)));
    }

    #[test]
    fn a_held_out_part_tests_in_every_fold() {
        let dir = folder(20);
        let summary = make_split(dir.path(), &SplitOptions { test: 0.2, ..folds(4) }).unwrap();
        assert_eq!(summary.folds.iter().map(|fold| fold.images).collect::<Vec<_>>(), [4; 4]);
        assert!(summary.to_string().contains("held out     4"), "{summary}");
        let test = |fold| {
            let config = DataConfig { fold: Some(fold), ..Default::default() };
            Dataset::open(dir.path(), &config).unwrap().part(Part::Test)
        };
        assert!((1..4).all(|fold| test(fold) == test(0)));
    }

    #[test]
    fn patients_stay_together_by_file_by_column_and_by_pattern() {
        let dir = folder(24);
        let patient = |i: usize| format!("p{}", i / 3);
        let rows: String = (0..24).map(|i| format!("a{i:02},{}\n", patient(i))).collect();
        std::fs::write(dir.path().join("patients.csv"), format!("id,patient\n{rows}")).unwrap();
        let summary = make_split(dir.path(), &folds(4)).unwrap();
        assert_eq!((summary.patients, summary.images_without_patient), (Some(8), 0));
        assert_eq!(summary.folds.iter().map(|fold| fold.images).collect::<Vec<_>>(), [6; 4]);
        let by_file = text(dir.path());
        assert!(by_file.starts_with("id,split,patient,fold\na00,"), "{by_file}");
        // A split by image would be refused by all that reads it.
        let by_image = SplitOptions { force: true, by_patient: Some(false), ..folds(4) };
        let known = |file: &str| {
            let error = make_split(dir.path(), &by_image).unwrap_err();
            assert_eq!((error.path, error.problem), (Some(dir.path().join(file)), Problem::PatientsKnown));
        };
        known("patients.csv");
        // From now on the column says it.
        std::fs::remove_file(dir.path().join("patients.csv")).unwrap();
        known("split.csv");
        let refused = make_split(dir.path(), &folds(4)).unwrap_err();
        assert_eq!(refused.problem, Problem::SplitExists);
        make_split(dir.path(), &SplitOptions { force: true, by_patient: Some(true), ..folds(4) }).unwrap();
        assert_eq!(text(dir.path()), by_file);
        let pattern = "^a(.)".parse().unwrap();
        let options = SplitOptions { pattern: Some(pattern), force: true, ..folds(3) };
        // a00 to a09, a10 to a19, a20 to a23.
        let summary = make_split(dir.path(), &options).unwrap();
        let mut sizes: Vec<usize> = summary.folds.iter().map(|fold| fold.images).collect();
        sizes.sort();
        assert_eq!(sizes, [4, 10, 10]);
        let options = SplitOptions { folds: Some(4), ..options };
        let problem = make_split(dir.path(), &options).unwrap_err().problem;
        assert_eq!(problem, Problem::FewPatients { groups: 3, parts: 4, of: "folds" });
    }

    #[test]
    fn other_columns_and_unused_images_stay() {
        let dir = folder(6);
        let rows: String =
            (0..6).map(|i| format!("site{i},{},a{i:02}\n", ["train", "unused"][i / 5])).collect();
        std::fs::write(dir.path().join("split.csv"), format!("site,split,id\n{rows}")).unwrap();
        make_split(dir.path(), &SplitOptions { force: true, ..folds(3) }).unwrap();
        let written = text(dir.path());
        assert!(written.starts_with("id,split,fold,site\n"), "{written}");
        assert!(written.ends_with("a05,unused,,site5\n"), "{written}");
    }

    #[test]
    fn strata_are_by_size_of_the_foreground() {
        let dir = folder(24);
        for i in 0..24 {
            // Columns of foreground: 0 in the first eight, then 1 in eight and 6 in eight.
            let columns = [0, 1, 6][i / 8];
            let mask: Vec<u8> = (0..64).map(|p| if p % 8 < columns { 255 } else { 0 }).collect();
            write_grey(&dir.path().join(format!("masks/a{i:02}.png")), 8, &mask);
        }
        make_split(dir.path(), &SplitOptions { stratify: true, ..folds(4) }).unwrap();
        let written = text(dir.path());
        let folds: Vec<usize> =
            written.lines().skip(1).map(|row| row.rsplit(',').next().unwrap().parse().unwrap()).collect();
        for kind in folds.chunks(8) {
            assert!((0..4).all(|fold| kind.iter().filter(|f| **f == fold).count() == 2), "{written}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_said_and_nothing_is_written() {
        let dir = folder(4);
        let problem = |options: SplitOptions| make_split(dir.path(), &options).unwrap_err().problem;
        let by_patient = SplitOptions { by_patient: Some(true), ..folds(3) };
        assert_eq!(problem(by_patient), Problem::NoPatients);
        assert_eq!(problem(folds(5)), Problem::FewImages { images: 4, parts: 5, of: "folds" });
        assert!(matches!(problem(folds(2)), Problem::Setting { .. }));
        assert!(matches!(
            problem(SplitOptions { val: 0.6, test: 0.5, ..Default::default() }),
            Problem::Setting { .. }
        ));
        let pattern = Some("^x(.)".parse().unwrap());
        let found = Problem::PatientPattern { pattern: "^x(.)".into(), id: "a00".into() };
        assert_eq!(problem(SplitOptions { pattern, ..folds(3) }), found);
        assert!(!dir.path().join("split.csv").exists());
    }
}

//! Which images of a folder a model is scored on.

use std::path::{Path, PathBuf};

use super::dataset::{Item, Scan, first, scan};
use super::error::{DataError, Problem};
use super::patients::Patients;
use super::split::{self, Assignment, Part};
use crate::config::schema::DataConfig;

/// The images to score a model on, and where that choice comes from.
#[derive(Clone, Debug)]
pub struct Scoring {
    /// Sorted by id; at least one.
    pub items: Vec<Item>,
    /// What was chosen and left out, for the user.
    pub note: String,
}

impl Scoring {
    /// The images of `part` in the folder `dir`, or all of them.
    ///
    /// The split is `config.split_file`, else `run_split`, that of the model's run, if it names any
    /// image of the folder: a test on images that a model was trained on would be worth nothing.
    /// A split with folds gives the images of `config.fold`.
    /// Images that the run never saw take `dir/split.csv`, or are all scored when there is none. Only
    /// the images that are both in the split and in the folder count.
    ///
    /// # Errors
    /// As [`super::Dataset::open`] for the files and a split that cannot be read; no image to score.
    pub fn select(
        dir: &Path,
        config: &DataConfig,
        part: Option<Part>,
        run_split: Option<&Path>,
    ) -> Result<Scoring, DataError> {
        config.validate()?;
        let Scan { ids, items, problems } = scan(dir);
        first(problems)?;
        let images = items.len();
        let Some(part) = part else {
            return Ok(Scoring { items, note: format!("all {images} images of {}", dir.display()) });
        };
        let own = dir.join("split.csv");
        let candidates: Vec<PathBuf> = match &config.split_file {
            Some(file) => vec![file.clone()],
            None => run_split.map(Path::to_owned).into_iter().chain(own.exists().then_some(own)).collect(),
        };
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        for file in &candidates {
            // The run's own split has its fold applied, and another may have none.
            let fold = config.fold.filter(|_| run_split != Some(file) && split::count_folds(file).is_ok());
            let Assignment { parts, problems, .. } = split::read(file, &ids, fold, &Patients::new());
            // That split and folder hold different images is no fault here.
            let differs =
                |p: &Problem| matches!(p, Problem::SplitNamesMissing { .. } | Problem::SplitMisses { .. });
            first(problems.into_iter().filter(|p| !differs(&p.problem)).collect())?;
            let listed = parts.iter().flatten().count();
            if listed == 0 {
                continue;
            }
            let chosen: Vec<Item> =
                items.into_iter().zip(&parts).filter(|(_, p)| **p == Some(part)).map(|(i, _)| i).collect();
            if chosen.is_empty() {
                return Err(DataError::at(file, Problem::EmptyPart { part, images }));
            }
            let mut note = format!("{} {part} images of {images} by {}", chosen.len(), file.display());
            if listed < images {
                note += &format!("; {} are not in that split and are left out", images - listed);
            }
            return Ok(Scoring { items: chosen, note });
        }
        match &config.split_file {
            Some(file) => Err(DataError::at(file, Problem::EmptyPart { part, images })),
            None => {
                let note = format!("no split names these {images} images, so all are scored");
                Ok(Scoring { items, note })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::folder;

    fn select(dir: &Path, part: Option<Part>, run: Option<&Path>) -> Result<Vec<String>, DataError> {
        let config = DataConfig { size: 8, ..DataConfig::default() };
        let scoring = Scoring::select(dir, &config, part, run)?;
        Ok(scoring.items.into_iter().map(|i| i.id).collect())
    }

    #[test]
    fn a_test_set_needs_no_other_parts() {
        let dir = folder(3);
        std::fs::write(dir.path().join("split.csv"), "id,split\na00,test\na01,test\na02,test\n").unwrap();
        assert_eq!(select(dir.path(), Some(Part::Test), None).unwrap().len(), 3);
        let error = select(dir.path(), Some(Part::Val), None).unwrap_err();
        assert!(matches!(error.problem, Problem::EmptyPart { part: Part::Val, .. }));
    }

    #[test]
    fn images_without_a_split_are_all_scored() {
        let dir = folder(3);
        assert_eq!(select(dir.path(), Some(Part::Test), None).unwrap().len(), 3);
        assert_eq!(select(dir.path(), None, None).unwrap().len(), 3);
    }

    #[test]
    fn the_split_of_the_run_comes_first_and_may_name_more_or_fewer_images() {
        let dir = folder(3);
        std::fs::write(dir.path().join("split.csv"), "id,split\na00,train\na01,train\na02,test\n").unwrap();
        let run = dir.path().join("run.csv");
        std::fs::write(&run, "id,split\na00,test\na01,train\ngone,test\n").unwrap();
        assert_eq!(select(dir.path(), Some(Part::Test), Some(&run)).unwrap(), ["a00"]);
        // A run that knows none of the images leaves the folder its own split.
        std::fs::write(&run, "id,split\nx,test\ny,train\n").unwrap();
        assert_eq!(select(dir.path(), Some(Part::Test), Some(&run)).unwrap(), ["a02"]);
    }
}

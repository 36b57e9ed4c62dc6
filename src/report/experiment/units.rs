//! What the statistics count: patients where the data name them, else images. Images of one patient are
//! alike, so to count each of them would make differences look surer than they are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::statistics::mean;
use crate::report::words::count;

/// The patient of each test image that has one, by id.
pub type Patients = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit<'a> {
    Patient(&'a str),
    /// Of no patient that is known.
    Image(&'a str),
}

fn unit<'a>(id: &'a str, patients: &'a Patients) -> Unit<'a> {
    patients.get(id).map_or(Unit::Image(id), |patient| Unit::Patient(patient))
}

/// The values of each unit's images.
pub fn groups(images: &[(&str, f64)], patients: &Patients) -> Vec<Vec<f64>> {
    let mut units: BTreeMap<Unit, Vec<f64>> = BTreeMap::new();
    for (id, value) in images {
        units.entry(unit(id, patients)).or_default().push(*value);
    }
    units.into_values().collect()
}

/// Their means.
pub fn means(images: &[(&str, f64)], patients: &Patients) -> Vec<f64> {
    groups(images, patients).iter().filter_map(|values| mean(values)).collect()
}

/// How many units there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Units {
    pub images: usize,
    pub patients: usize,
    /// Each counts as its own.
    pub images_without_patient: usize,
}

impl Units {
    /// Of these images.
    pub fn of<'a>(ids: impl Iterator<Item = &'a str>, patients: &'a Patients) -> Units {
        let ids: BTreeSet<&str> = ids.collect();
        let named: Vec<&String> = ids.iter().filter_map(|id| patients.get(*id)).collect();
        Units {
            images: ids.len(),
            patients: named.iter().collect::<BTreeSet<_>>().len(),
            images_without_patient: ids.len() - named.len(),
        }
    }

    /// As in "20 patients of 320 images".
    pub fn text(&self) -> String {
        let named = self.images - self.images_without_patient;
        let of_patients = format!("{} of {}", count(self.patients, "patient"), count(named, "image"));
        match (self.patients, self.images_without_patient) {
            (0, _) => count(self.images, "test image"),
            (_, 0) => of_patients,
            (_, alone) => format!("{of_patients} and {} without a patient", count(alone, "image")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patients() -> Patients {
        [("a", "x"), ("b", "x"), ("c", "y")].map(|(id, patient)| (id.to_owned(), patient.to_owned())).into()
    }

    #[test]
    fn images_of_a_patient_count_once_and_others_each() {
        // An image with the name of a patient is not of that patient.
        let images = [("a", 0.25), ("b", 0.75), ("c", 0.125), ("x", 1.0)];
        assert_eq!(means(&images, &patients()), [0.5, 0.125, 1.0]);
        assert_eq!(means(&images, &Patients::new()), [0.25, 0.75, 0.125, 1.0]);
        assert!(means(&[], &patients()).is_empty());
    }

    #[test]
    fn units_are_counted_and_told() {
        let text = |ids: &[&'static str]| Units::of(ids.iter().copied(), &patients()).text();
        assert_eq!(text(&["a", "b", "c"]), "2 patients of 3 images");
        assert_eq!(text(&["a", "d", "e"]), "1 patient of 1 image and 2 images without a patient");
        assert_eq!(text(&["d", "e"]), "2 test images");
    }
}

//! Two methods on the same test images.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bootstrap;
use super::statistics::mean;
use super::units::{self, Patients, Units};
use super::wilcoxon::signed_rank;
use crate::train::metrics::ImageScore;

/// Dice of the test images by one method: for each seed, by image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores(BTreeMap<u64, BTreeMap<String, f64>>);

impl Scores {
    pub fn add(&mut self, seed: u64, images: &[ImageScore]) {
        self.0.insert(seed, images.iter().map(|image| (image.id.clone(), image.dice)).collect());
    }

    pub fn has(&self, seed: u64) -> bool {
        self.0.contains_key(&seed)
    }

    pub fn seeds(&self) -> impl Iterator<Item = u64> {
        self.0.keys().copied()
    }

    /// Mean over all seeds of each image that all of them have, by id.
    pub fn by_image(&self) -> BTreeMap<&str, f64> {
        self.means(&self.0.keys().copied().collect::<Vec<_>>())
    }

    fn means(&self, seeds: &[u64]) -> BTreeMap<&str, f64> {
        let Some((first, rest)) = seeds.split_first() else { return BTreeMap::new() };
        let mean_of = |id: &String, dice: f64| -> Option<f64> {
            let mut sum = dice;
            for seed in rest {
                sum += self.0.get(seed)?.get(id)?;
            }
            Some(sum / seeds.len() as f64)
        };
        let images = self.0.get(first).into_iter().flatten();
        images.filter_map(|(id, dice)| Some((id.as_str(), mean_of(id, *dice)?))).collect()
    }
}

/// A method's Dice less another's, unit by unit; each image's is the mean over the seeds that both have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub seeds: usize,
    #[serde(flatten)]
    pub units: Units,
    /// Mean Dice of both over units.
    pub means: [f64; 2],
    /// Mean over units.
    pub difference: f64,
    /// The same of each seed alone.
    pub difference_by_seed: Vec<f64>,
    /// 95 % bootstrap interval of `difference`; none of a single unit.
    pub interval: Option<[f64; 2]>,
    /// Sum of the ranks of the units that it does better on, less that of those it does worse on.
    pub rank_difference: f64,
    /// Wilcoxon signed-rank test, two-sided; 1 when no unit differs.
    pub p: f64,
    /// Corrected for the number of comparisons; see `statistics.correction`. None in no family of tests.
    pub p_adjusted: Option<f64>,
    /// Images and both means.
    #[serde(skip)]
    pub pairs: Vec<(String, f64, f64)>,
}

/// `one` less `other`; none without a common image. There is no `p_adjusted` as yet.
pub fn compare(one: &Scores, other: &Scores, patients: &Patients) -> Option<Comparison> {
    let seeds: Vec<u64> = one.seeds().filter(|seed| other.has(*seed)).collect();
    let (ones, others) = (one.means(&seeds), other.means(&seeds));
    let pairs: Vec<(String, f64, f64)> =
        ones.iter().filter_map(|(id, dice)| Some(((*id).to_owned(), *dice, *others.get(id)?))).collect();
    let by_unit = |value: fn(f64, f64) -> f64| {
        let images = pairs.iter().map(|(id, one, other)| (id.as_str(), value(*one, *other)));
        units::means(&images.collect::<Vec<_>>(), patients)
    };
    let differences = by_unit(|one, other| one - other);
    let test = signed_rank(&differences);
    let of_seed = |seed: &u64| {
        let (ones, others) = (one.means(&[*seed]), other.means(&[*seed]));
        let images = ones.iter().filter_map(|(id, dice)| Some((*id, dice - others.get(id)?)));
        mean(&units::means(&images.collect::<Vec<_>>(), patients))
    };
    let p = test.map_or(1.0, |test| test.p);
    Some(Comparison {
        seeds: seeds.len(),
        units: Units::of(pairs.iter().map(|(id, ..)| id.as_str()), patients),
        means: [mean(&by_unit(|one, _| one))?, mean(&by_unit(|_, other| other))?],
        difference: mean(&differences)?,
        difference_by_seed: seeds.iter().filter_map(of_seed).collect(),
        interval: bootstrap::interval_of_values(&differences),
        rank_difference: test.map_or(0.0, |test| test.above - test.below),
        p,
        p_adjusted: None,
        pairs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(seeds: &[(u64, &[(&str, f64)])]) -> Scores {
        let mut scores = Scores::default();
        for (seed, images) in seeds {
            scores.0.insert(*seed, images.iter().map(|(id, dice)| ((*id).to_owned(), *dice)).collect());
        }
        scores
    }

    #[test]
    fn seeds_and_images_that_both_have_are_compared() {
        let one =
            scores(&[(0, &[("a", 0.5), ("b", 0.75)]), (1, &[("a", 1.0), ("b", 0.25)]), (2, &[("a", 0.0)])]);
        let other = scores(&[(0, &[("b", 0.25), ("a", 0.5), ("c", 1.0)]), (1, &[("a", 0.5), ("b", 0.25)])]);
        let comparison = compare(&one, &other, &Patients::new()).unwrap();
        let pairs = vec![("a".to_owned(), 0.75, 0.5), ("b".to_owned(), 0.5, 0.25)];
        assert_eq!(comparison.pairs, pairs);
        assert_eq!((comparison.seeds, comparison.units.images, comparison.difference), (2, 2, 0.25));
        assert_eq!(comparison.means, [0.625, 0.375]);
        assert_eq!((comparison.interval, comparison.rank_difference), (Some([0.25, 0.25]), 3.0));
        // Two images: ++ and −− are as far from the middle, of four.
        assert_eq!(comparison.p, 0.5);
        assert_eq!(one.by_image(), BTreeMap::from([("a", 0.5)]));
    }

    /// Patient x gains by 0.5 in two images, y loses 0.25 in one: by image it is two against one.
    #[test]
    fn patients_are_compared_where_they_are_named() {
        let one = scores(&[(0, &[("a", 0.75), ("b", 1.0), ("c", 0.25)])]);
        let other = scores(&[(0, &[("a", 0.25), ("b", 0.5), ("c", 0.5)])]);
        let patients =
            [("a", "x"), ("b", "x"), ("c", "y")].map(|(id, patient)| (id.to_owned(), patient.to_owned()));
        let comparison = compare(&one, &other, &patients.into()).unwrap();
        assert_eq!(comparison.units.text(), "2 patients of 3 images");
        assert_eq!((comparison.difference, comparison.means), (0.125, [0.5625, 0.4375]));
        // Ranks 2 for and 1 against.
        assert_eq!((comparison.rank_difference, comparison.p), (1.0, 1.0));
        assert_eq!((comparison.interval, comparison.pairs.len()), (Some([-0.25, 0.5]), 3));
        let by_image = compare(&one, &other, &Patients::new()).unwrap();
        assert_eq!((by_image.difference, by_image.rank_difference), (0.25, 4.0));
    }

    #[test]
    fn nothing_in_common_or_no_difference() {
        let one = scores(&[(0, &[("a", 0.5)])]);
        let compare = |other: &Scores| compare(&one, other, &Patients::new());
        assert_eq!(compare(&scores(&[(1, &[("a", 0.5)])])), None);
        assert_eq!(compare(&scores(&[(0, &[("b", 0.5)])])), None);
        assert_eq!(compare(&one).map(|c| (c.difference, c.p)), Some((0.0, 1.0)));
    }
}

//! Which images make up the batch of a step.

use rand::{Rng, RngExt};

use super::error::{DataError, Problem};
use super::split::Part;
use crate::config::validate;
use crate::rng::{Purpose, rng};

/// An endless order over images: one seeded permutation after another.
///
/// The batch of any step can be computed without those before it, so a resumed
/// run sees the same batches.
#[derive(Clone, Debug)]
pub struct Sampler {
    seed: u64,
    groups: Vec<Group>,
}

/// Images that fill the same share of every batch.
#[derive(Clone, Debug)]
struct Group {
    members: Vec<usize>,
    /// Places in each batch.
    places: usize,
}

impl Sampler {
    /// An order over the images `0..positives.len()`.
    ///
    /// `positives` says of each image whether its mask has foreground. With a `positive_fraction` f,
    /// round(f · batch_size) images of each batch have, and the others have not; each kind has a
    /// permutation of its own.
    ///
    /// # Errors
    /// No images, a `batch_size` that is 0 or too large, a fraction outside 0..=1, or a kind that is needed but not there.
    pub fn new(
        positives: &[bool],
        batch_size: usize,
        positive_fraction: Option<f64>,
        seed: u64,
    ) -> Result<Self, DataError> {
        validate::batch_size(batch_size)?;
        validate::positive_fraction(positive_fraction)?;
        let of_kind = |kind: bool| (0..positives.len()).filter(|&i| positives[i] == kind).collect();
        let groups = match positive_fraction {
            None if positives.is_empty() => {
                return Err(DataError::bare(Problem::EmptyPart { part: Part::Train, images: 0 }));
            }
            None => vec![Group { members: (0..positives.len()).collect(), places: batch_size }],
            Some(f) => {
                let wanted = (f * batch_size as f64).round() as usize;
                vec![
                    Group { members: of_kind(true), places: wanted },
                    Group { members: of_kind(false), places: batch_size - wanted },
                ]
            }
        };
        for (kind, group) in groups.iter().enumerate() {
            if group.members.is_empty() && group.places > 0 {
                let wanted = group.places;
                let problem = match kind {
                    0 => Problem::NoPositives { wanted },
                    _ => Problem::NoNegatives { wanted },
                };
                return Err(DataError::bare(problem));
            }
        }
        Ok(Sampler { seed, groups })
    }

    /// The images of a step, with foreground first when a fraction was asked for.
    pub fn batch(&self, step: u64) -> Vec<usize> {
        let mut batch = Vec::new();
        for (stream, group) in self.groups.iter().enumerate() {
            let (count, places) = (group.members.len() as u64, group.places as u64);
            let mut order: Option<(u64, Vec<usize>)> = None;
            for place in 0..places {
                let at = step.wrapping_mul(places).wrapping_add(place);
                let (epoch, rank) = (at / count, (at % count) as usize);
                if order.as_ref().is_none_or(|(known, _)| *known != epoch) {
                    // Streams take turns in the counter, so that each epoch of each has its own.
                    let counter = epoch.wrapping_mul(2).wrapping_add(stream as u64);
                    let mut rng = rng(self.seed, Purpose::Order, counter);
                    order = Some((epoch, permutation(group.members.len(), &mut rng)));
                }
                batch.extend(order.iter().map(|(_, order)| group.members[order[rank]]));
            }
        }
        batch
    }
}

/// A uniformly drawn order of `0..n` (Fisher-Yates).
pub(super) fn permutation(n: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_comes_once_in_an_epoch() {
        let sampler = Sampler::new(&[false; 10], 4, None, 7).unwrap();
        let drawn: Vec<usize> = (0..5).flat_map(|s| sampler.batch(s)).collect();
        for epoch in drawn.chunks(10) {
            let mut epoch = epoch.to_vec();
            epoch.sort_unstable();
            assert_eq!(epoch, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(drawn[..10], drawn[10..]);
    }

    #[test]
    fn a_later_step_needs_none_before_it() {
        let positives: Vec<bool> = (0..11).map(|i| i % 3 == 0).collect();
        let whole = Sampler::new(&positives, 4, Some(0.5), 7).unwrap();
        let batches: Vec<_> = (0..30).map(|s| whole.batch(s)).collect();
        let resumed = Sampler::new(&positives, 4, Some(0.5), 7).unwrap();
        assert_eq!(resumed.batch(29), batches[29]);
        let other = Sampler::new(&positives, 4, Some(0.5), 8).unwrap();
        assert!((0..30).any(|s| other.batch(s) != batches[s as usize]));
    }

    #[test]
    fn the_fraction_holds_in_every_batch_and_both_kinds_are_used_up() {
        let positives: Vec<bool> = (0..20).map(|i| i < 3).collect();
        let sampler = Sampler::new(&positives, 8, Some(0.4), 0).unwrap();
        let mut seen = [0usize; 20];
        for step in 0..17 {
            let batch = sampler.batch(step);
            assert_eq!(batch.iter().filter(|&&i| positives[i]).count(), 3);
            batch.iter().for_each(|&i| seen[i] += 1);
        }
        assert_eq!(seen[..3], [17; 3]);
        assert_eq!(seen[3..], [5; 17]);
    }

    #[test]
    fn a_batch_may_be_larger_than_the_data() {
        let sampler = Sampler::new(&[true, false], 5, None, 0).unwrap();
        assert_eq!(sampler.batch(3).len(), 5);
    }

    #[test]
    fn a_kind_that_is_not_there() {
        let problem = |positives: &[bool], f| Sampler::new(positives, 4, Some(f), 0).unwrap_err().problem;
        assert_eq!(problem(&[false; 3], 0.5), Problem::NoPositives { wanted: 2 });
        assert_eq!(problem(&[true; 3], 0.5), Problem::NoNegatives { wanted: 2 });
        assert!(Sampler::new(&[true; 3], 4, Some(1.0), 0).is_ok());
        assert!(Sampler::new(&[false; 3], 4, Some(0.1), 0).is_ok());
    }

    #[test]
    fn settings_that_cannot_be_used() {
        assert!(Sampler::new(&[], 4, None, 0).is_err());
        assert!(Sampler::new(&[true], 0, None, 0).is_err());
        for f in [-0.1, 1.1, f64::NAN] {
            assert!(Sampler::new(&[true, false], 4, Some(f), 0).is_err());
        }
    }
}

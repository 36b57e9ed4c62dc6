//! Divides images into parts of wanted shares, all images of a patient together and each kind of image
//! spread evenly.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::sampler::permutation;
use crate::rng::{Purpose, rng};

/// An image to divide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Images of one group stay together; none: an image on its own.
    pub group: Option<String>,
    /// Which kind of image it is, from 0; each kind is spread evenly.
    pub kind: usize,
}

/// The part of each of `members`, from 0, so that part `b` gets about `shares[b]` of all images and of each
/// kind. The result depends on the members, their order and `seed` alone. None when there are fewer groups
/// than parts.
///
/// Groups are placed one after another, large ones first and equal ones in a drawn order, each where
/// Σ (images − wanted)² / share, over the parts and over all images and each kind, grows least. Without groups
/// and with equal shares, numbers of a kind and of all images differ by one at most; with other shares the sum
/// is what Sainte-Laguë's method of apportionment makes smallest.
pub(super) fn divide(members: &[Member], shares: &[f64], seed: u64) -> Option<Vec<usize>> {
    let kinds = members.iter().map(|m| m.kind + 1).max().unwrap_or_default();
    let mut groups = groups(members, kinds);
    if groups.len() < shares.len() {
        return None;
    }
    let order = permutation(groups.len(), &mut rng(seed, Purpose::Split, 1));
    let mut drawn: Vec<(usize, Group)> = order.into_iter().zip(groups.drain(..)).collect();
    drawn.sort_by_cached_key(|(rank, group)| (Reverse(group.counts.clone()), *rank));

    let mut counts = vec![vec![0usize; kinds + 1]; shares.len()];
    let mut placed: Vec<Vec<Group>> = shares.iter().map(|_| Vec::new()).collect();
    for (_, group) in drawn {
        // What the sum grows by, less what is the same for every part.
        let growth = |part: usize| {
            let squares = counts[part].iter().zip(&group.counts).map(|(c, g)| (2 * c + g) * g);
            squares.sum::<usize>() as f64 / shares[part]
        };
        let part = (0..shares.len()).min_by(|a, b| growth(*a).total_cmp(&growth(*b)))?;
        counts[part].iter_mut().zip(&group.counts).for_each(|(count, g)| *count += g);
        placed[part].push(group);
    }
    // A small share of few images may have come to nothing.
    while let Some(empty) = placed.iter().position(Vec::is_empty) {
        let richest = (0..placed.len()).max_by_key(|part| (placed[*part].len(), Reverse(*part)))?;
        let smallest = placed[richest].pop()?;
        placed[empty].push(smallest);
    }
    let mut parts = vec![0; members.len()];
    for (part, groups) in placed.iter().enumerate() {
        groups.iter().flat_map(|group| &group.members).for_each(|i| parts[*i] = part);
    }
    Some(parts)
}

/// How many groups `members` are of, an image on its own being one.
pub(super) fn count_groups(members: &[Member]) -> usize {
    groups(members, members.iter().map(|m| m.kind + 1).max().unwrap_or_default()).len()
}

struct Group {
    members: Vec<usize>,
    /// Images in all, then of each kind.
    counts: Vec<usize>,
}

/// In the order of their first members.
fn groups(members: &[Member], kinds: usize) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, member) in members.iter().enumerate() {
        let next = groups.len();
        let place = member.group.as_deref().map_or(next, |group| *places.entry(group).or_insert(next));
        if place == next {
            groups.push(Group { members: vec![], counts: vec![0; kinds + 1] });
        }
        let group = &mut groups[place];
        group.members.push(i);
        group.counts[0] += 1;
        group.counts[member.kind + 1] += 1;
    }
    groups
}

/// The kind of each mask by its share of foreground, 0..1: 0 when it has none, else from 1 on by rank in
/// groups of equal number, at most `most` of them and each of at least `least` masks where there are as many.
pub(super) fn kinds_by_size(foreground: &[f64], most: usize, least: usize) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..foreground.len()).filter(|i| foreground[*i] > 0.0).collect();
    ranked.sort_by(|a, b| foreground[*a].total_cmp(&foreground[*b]));
    let groups = (ranked.len() / least.max(1)).clamp(1, most);
    let mut kinds = vec![0; foreground.len()];
    for (rank, i) in ranked.iter().enumerate() {
        kinds[*i] = 1 + rank * groups / ranked.len();
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(kinds: impl IntoIterator<Item = usize>) -> Vec<Member> {
        kinds.into_iter().map(|kind| Member { group: None, kind }).collect()
    }

    fn count(parts: &[usize], members: &[Member], part: usize, kind: usize) -> usize {
        parts.iter().zip(members).filter(|(p, m)| **p == part && m.kind == kind).count()
    }

    #[test]
    fn single_images_are_spread_to_within_one() {
        // 37 of one kind, 18 of another, 7 of a third: by 5 parts 7 to 8, 3 to 4 and 1 to 2.
        let members = alone((0..62).map(|i| if i < 37 { 0 } else { 1 + usize::from(i >= 55) }));
        let parts = divide(&members, &[0.2; 5], 3).unwrap();
        for part in 0..5 {
            assert!([7, 8].contains(&count(&parts, &members, part, 0)));
            assert!([3, 4].contains(&count(&parts, &members, part, 1)));
            assert!([1, 2].contains(&count(&parts, &members, part, 2)));
            assert!([12, 13].contains(&parts.iter().filter(|p| **p == part).count()));
        }
        assert_eq!(parts, divide(&members, &[0.2; 5], 3).unwrap());
        assert_ne!(parts, divide(&members, &[0.2; 5], 4).unwrap());
    }

    #[test]
    fn shares_hold_for_each_kind() {
        let members = alone((0..200).map(|i| usize::from(i < 120)));
        let parts = divide(&members, &[0.7, 0.15, 0.15], 1).unwrap();
        let counts = |kind| [0, 1, 2].map(|part| count(&parts, &members, part, kind));
        assert_eq!((counts(1), counts(0)), ([84, 18, 18], [56, 12, 12]));
    }

    #[test]
    fn a_group_stays_together_and_large_ones_are_balanced() {
        // 30 patients with 1 to 6 images each, 105 in all.
        let members: Vec<Member> = (0..30usize)
            .flat_map(|p| (0..1 + p % 6).map(move |i| (p, i)))
            .map(|(p, i)| Member { group: Some(format!("p{p}")), kind: (p + i) % 2 })
            .collect();
        let parts = divide(&members, &[1.0 / 3.0; 3], 0).unwrap();
        let mut of: BTreeMap<&String, usize> = BTreeMap::new();
        for (member, part) in members.iter().zip(&parts) {
            assert_eq!(of.entry(member.group.as_ref().unwrap()).or_insert(*part), part);
        }
        let sizes = [0, 1, 2].map(|part| parts.iter().filter(|p| **p == part).count());
        assert!(sizes.iter().all(|size| (34..=36).contains(size)), "{sizes:?}");
    }

    #[test]
    fn no_part_is_empty_unless_there_are_too_few_groups() {
        let parts = divide(&alone([0; 4]), &[0.98, 0.01, 0.01], 0).unwrap();
        assert_eq!([0, 1, 2].map(|part| parts.iter().filter(|p| **p == part).count()), [2, 1, 1]);
        let one = |group: &str| Member { group: Some(group.into()), kind: 0 };
        assert_eq!(divide(&[one("a"), one("a"), one("b")], &[1.0 / 3.0; 3], 0), None);
    }

    #[test]
    fn kinds_follow_the_size_of_the_foreground() {
        let foreground = [0.0, 0.4, 0.1, 0.0, 0.3, 0.2];
        assert_eq!(kinds_by_size(&foreground, 4, 1), [0, 4, 1, 0, 3, 2]);
        assert_eq!(kinds_by_size(&foreground, 4, 2), [0, 2, 1, 0, 2, 1]);
        assert_eq!(kinds_by_size(&foreground, 4, 5), [0, 1, 1, 0, 1, 1]);
        assert_eq!(kinds_by_size(&[0.0; 3], 4, 5), [0; 3]);
    }
}

//! Places values in slot buffers by lifetime.
//!
//! WebGPU tracks usage by buffer, so a dispatch may not write one part of a buffer and bind another.
//! A slot therefore holds values of one time side by side only if no dispatch binds both and writes
//! one of them; values of different times share its bytes.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::Access;
use super::lower::{Operand, PendingDispatch};

/// `min_storage_buffer_offset_alignment` of the portable contract.
const ALIGNMENT: u64 = 256;

/// One operand's demand: how many bytes, from which dispatch to which.
#[derive(Clone, Debug)]
pub struct Demand {
    pub operand: Operand,
    pub bytes: u64,
    pub first: usize,
    pub last: usize,
}

impl Demand {
    fn meets(&self, other: &Demand) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Where an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub slot: usize,
    /// In bytes.
    pub offset: u64,
}

/// Pairs of operands that may not be in one slot at a time.
pub type Apart = HashMap<Operand, HashSet<Operand>>;

/// The pairs that a dispatch binds together and writes one of.
pub fn apart(dispatches: &[PendingDispatch]) -> Apart {
    let mut apart = Apart::new();
    for dispatch in dispatches {
        for (written, _) in dispatch.operands.iter().filter(|(_, access)| *access == Access::ReadWrite) {
            for (other, _) in dispatch.operands.iter().filter(|(other, _)| other != written) {
                apart.entry(*written).or_default().insert(*other);
                apart.entry(*other).or_default().insert(*written);
            }
        }
    }
    apart
}

/// Gives each demand a place. Returns the place of each operand and the bytes of each slot.
///
/// Largest first, so no slot grows: the smallest gap in a slot that is large enough, else a new slot.
pub fn place(mut demands: Vec<Demand>, apart: &Apart) -> (HashMap<Operand, Place>, Vec<u64>) {
    demands.sort_by_key(|d| (Reverse(d.bytes), d.first));
    let mut slots: Vec<u64> = vec![];
    let mut held: Vec<Vec<(u64, Demand)>> = vec![];
    let mut placed = HashMap::new();
    for demand in demands {
        let stays_off = apart.get(&demand.operand);
        let gaps = slots.iter().zip(&held).enumerate().filter_map(|(slot, (bytes, held))| {
            let (gap, offset) = gap(*bytes, held, &demand, stays_off)?;
            Some((gap, Place { slot, offset }))
        });
        let place = match gaps.min_by_key(|(gap, _)| *gap) {
            Some((_, place)) => place,
            None => {
                slots.push(demand.bytes);
                held.push(vec![]);
                Place { slot: slots.len() - 1, offset: 0 }
            }
        };
        placed.insert(demand.operand, place);
        held[place.slot].push((place.offset, demand));
    }
    (placed, slots)
}

/// The smallest gap of a slot that takes `demand` for all of its time: its bytes and its offset.
fn gap(
    slot_bytes: u64,
    held: &[(u64, Demand)],
    demand: &Demand,
    stays_off: Option<&HashSet<Operand>>,
) -> Option<(u64, u64)> {
    let mut beside: Vec<&(u64, Demand)> = held.iter().filter(|(_, other)| other.meets(demand)).collect();
    if beside.iter().any(|(_, other)| stays_off.is_some_and(|off| off.contains(&other.operand))) {
        return None;
    }
    beside.sort_by_key(|(offset, _)| *offset);
    let mut best = None;
    let mut end = 0;
    let last = (slot_bytes, 0);
    for (start, bytes) in beside.into_iter().map(|(offset, d)| (*offset, d.bytes)).chain([last]) {
        let gap = start.saturating_sub(end);
        if gap >= demand.bytes && best.is_none_or(|(least, _)| gap < least) {
            best = Some((gap, end));
        }
        end = end.max((start + bytes).next_multiple_of(ALIGNMENT));
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(id: usize, bytes: u64, first: usize, last: usize) -> Demand {
        Demand { operand: Operand::Scratch(id), bytes, first, last }
    }

    #[test]
    fn values_that_live_together_never_share_bytes_and_those_apart_no_slot() {
        let demands: Vec<Demand> =
            (0..60).map(|i| demand(i, 16 + (i as u64 * 37) % 1400, i, i + (i * 7) % 11)).collect();
        let mut apart = Apart::new();
        for i in 1..60 {
            let (a, b) = (Operand::Scratch(i), Operand::Scratch(i - 1));
            apart.entry(a).or_default().insert(b);
            apart.entry(b).or_default().insert(a);
        }
        let (placed, slots) = place(demands.clone(), &apart);
        let mut side_by_side = 0;
        for (i, a) in demands.iter().enumerate() {
            let at = placed[&a.operand];
            assert!(
                at.offset + a.bytes <= slots[at.slot] && at.offset.is_multiple_of(ALIGNMENT),
                "{a:?} {at:?}"
            );
            for b in &demands[i + 1..] {
                let other = placed[&b.operand];
                if a.meets(b) && at.slot == other.slot {
                    let disjoint = at.offset + a.bytes <= other.offset || other.offset + b.bytes <= at.offset;
                    assert!(disjoint, "{a:?} {b:?}");
                    assert!(!apart[&a.operand].contains(&b.operand), "{a:?} {b:?}");
                    side_by_side += 1;
                }
            }
        }
        assert!(side_by_side > 0);
        assert!(slots.len() <= 11, "{}", slots.len());
    }

    #[test]
    fn a_chain_needs_two_slots() {
        let chain = (0..10).map(|i| demand(i, 64, i, i + 1)).collect();
        assert_eq!(place(chain, &Apart::new()).1, vec![64, 64]);
    }

    #[test]
    fn small_values_lie_side_by_side_where_a_large_one_was() {
        let demands =
            vec![demand(0, 1024, 0, 1), demand(1, 512, 2, 5), demand(2, 400, 3, 5), demand(3, 200, 4, 5)];
        let (placed, slots) = place(demands, &Apart::new());
        assert_eq!(slots, vec![1024, 200]);
        assert_eq!(placed[&Operand::Scratch(2)], Place { slot: 0, offset: 512 });
    }
}

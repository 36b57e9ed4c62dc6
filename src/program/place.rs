//! Places values in slot buffers by lifetime.
//!
//! WebGPU tracks usage by buffer, so a dispatch may not read and write one buffer through two
//! bindings. A slot therefore holds one value at a time, and values whose lifetimes do not
//! overlap share it.

use std::collections::HashMap;

use super::lower::Operand;

/// One operand's demand: how many bytes, from which dispatch to which.
#[derive(Clone, Debug)]
pub struct Demand {
    pub operand: Operand,
    pub bytes: u64,
    pub first: usize,
    pub last: usize,
}

/// Gives each demand a slot. Returns the slot of each operand and the bytes of each slot.
///
/// Greedy, in order of first use: the smallest free slot that is large enough, else the
/// largest free one, which grows, else a new one.
pub fn place(mut demands: Vec<Demand>) -> (HashMap<Operand, usize>, Vec<u64>) {
    demands.sort_by_key(|d| d.first);
    let mut slots: Vec<u64> = vec![];
    let mut busy_until: Vec<usize> = vec![];
    let mut placed = HashMap::new();
    for demand in demands {
        let free = (0..slots.len()).filter(|s| busy_until[*s] < demand.first);
        let fitting = free.clone().filter(|s| slots[*s] >= demand.bytes).min_by_key(|s| slots[*s]);
        let slot = fitting.or_else(|| free.max_by_key(|s| slots[*s])).unwrap_or_else(|| {
            slots.push(0);
            busy_until.push(0);
            slots.len() - 1
        });
        slots[slot] = slots[slot].max(demand.bytes);
        busy_until[slot] = demand.last;
        placed.insert(demand.operand, slot);
    }
    (placed, slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(id: usize, bytes: u64, first: usize, last: usize) -> Demand {
        Demand { operand: Operand::Scratch(id), bytes, first, last }
    }

    #[test]
    fn values_that_live_together_never_share_a_slot() {
        let demands: Vec<Demand> =
            (0..60).map(|i| demand(i, 16 + (i as u64 * 37) % 400, i, i + (i * 7) % 11)).collect();
        let (placed, slots) = place(demands.clone());
        for (i, a) in demands.iter().enumerate() {
            assert!(slots[placed[&a.operand]] >= a.bytes);
            for b in &demands[i + 1..] {
                if a.first <= b.last && b.first <= a.last {
                    assert_ne!(placed[&a.operand], placed[&b.operand], "{a:?} {b:?}");
                }
            }
        }
        assert!(slots.len() <= 11, "{}", slots.len());
    }

    #[test]
    fn a_chain_needs_two_slots() {
        let (_, slots) = place((0..10).map(|i| demand(i, 64, i, i + 1)).collect());
        assert_eq!(slots, vec![64, 64]);
    }
}

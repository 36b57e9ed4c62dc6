//! When each value that needs a slot is used, and how many bytes that takes at a time.

use std::collections::HashMap;

use super::lower::{Operand, PendingDispatch};
use super::precision::Values;
use crate::tape::{Source, Tape};

/// An operand that needs a slot, and the dispatches that bind it.
#[derive(Clone, Debug)]
pub struct Lifetime {
    pub operand: Operand,
    pub bytes: u64,
    /// In order; the first makes it.
    pub uses: Vec<usize>,
    /// The host reads it after the run.
    pub kept: bool,
}

impl Lifetime {
    pub fn first(&self) -> usize {
        self.uses.first().copied().unwrap_or(0)
    }

    pub fn last(&self) -> usize {
        if self.kept { usize::MAX } else { self.uses.last().copied().unwrap_or(0) }
    }
}

/// Inputs and states have buffers of their own.
pub fn needs_slot(tape: &Tape, operand: Operand) -> bool {
    match operand {
        Operand::Value(value) => matches!(tape.node(value).source, Source::Op(_)),
        Operand::Scratch(_) => true,
    }
}

pub fn bytes_of(values: Values, scratch: &[u64], operand: Operand) -> u64 {
    match operand {
        Operand::Value(value) => values.bytes(value),
        Operand::Scratch(index) => scratch[index],
    }
}

/// The lifetimes of all operands that need a slot, in order of their first use.
pub fn lifetimes(values: Values, dispatches: &[PendingDispatch], scratch: &[u64]) -> Vec<Lifetime> {
    let mut lifetimes: Vec<Lifetime> = vec![];
    let mut index_of: HashMap<Operand, usize> = HashMap::new();
    for (at, dispatch) in dispatches.iter().enumerate() {
        for (operand, _) in dispatch.operands.iter().filter(|(o, _)| needs_slot(values.tape, *o)) {
            let index = *index_of.entry(*operand).or_insert_with(|| {
                let bytes = bytes_of(values, scratch, *operand);
                lifetimes.push(Lifetime { operand: *operand, bytes, uses: vec![], kept: false });
                lifetimes.len() - 1
            });
            if lifetimes[index].uses.last() != Some(&at) {
                lifetimes[index].uses.push(at);
            }
        }
    }
    for (_, value) in values.tape.outputs() {
        if let Some(index) = index_of.get(&Operand::Value(*value)) {
            lifetimes[*index].kept = true;
        }
    }
    lifetimes
}

/// The most bytes alive at a dispatch, and the first dispatch where they are: what all slots take at
/// least.
pub fn peak(lifetimes: &[Lifetime], dispatches: usize) -> (u64, usize) {
    let mut change = vec![0i128; dispatches + 1];
    for lifetime in lifetimes {
        change[lifetime.first()] += i128::from(lifetime.bytes);
        change[lifetime.last().saturating_add(1).min(dispatches)] -= i128::from(lifetime.bytes);
    }
    let mut alive = 0i128;
    let mut peak = (0, 0);
    for (at, change) in change[..dispatches].iter().enumerate() {
        alive += change;
        if alive > peak.0 {
            peak = (alive, at);
        }
    }
    (peak.0 as u64, peak.1)
}

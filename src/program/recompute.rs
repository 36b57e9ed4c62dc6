//! Makes cheap values again just before a late use, so that they need not be kept until then.
//!
//! Most of a training step's memory is what the forward leaves for the backward. A norm, a
//! concatenation or a pool costs little beside the convolutions around it, and the same kernel on the
//! same inputs gives the same bits. So while the dispatch with the most bytes alive has such a value
//! lying idle, the largest of them is dropped after its last use before and made again after.
//! Nothing is measured: the choice depends on the sizes alone.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::Access;
use super::lifetime::{Lifetime, bytes_of, lifetimes, needs_slot, peak};
use super::lower::{Operand, PendingDispatch};
use super::precision::Values;
use crate::tape::{Source, Tape};

/// A value is made again if that frees at least one part in so many of the peak: a dispatch has its
/// price even where it does little.
const LEAST_SHARE: u64 = 128;

/// Inserts dispatches that make values again where that lowers the bytes alive at their peak.
pub fn recompute(values: Values, dispatches: &mut Vec<PendingDispatch>, scratch: &mut Vec<u64>) {
    // A value that did not help once is left alone.
    let mut refused: HashSet<Operand> = HashSet::new();
    let mut alive = lifetimes(values, dispatches, scratch);
    let (mut most, mut at) = peak(&alive, dispatches.len());
    while let Some(again) = best(values, dispatches, scratch, &alive, (most, at), &refused) {
        let made = again.insert(dispatches, values, scratch);
        let after = lifetimes(values, dispatches, scratch);
        let (most_after, at_after) = peak(&after, dispatches.len());
        if most_after > most {
            again.remove(dispatches, made);
            refused.insert(again.operand);
        } else {
            (alive, most, at) = (after, most_after, at_after);
        }
    }
}

/// A value that is to be made again.
struct Again {
    operand: Operand,
    /// The dispatches that made it.
    by: Range<usize>,
    /// The dispatches of the node that uses it late.
    before: Range<usize>,
    /// Bytes that it frees at the peak.
    gain: u64,
}

/// The value that frees the most bytes at dispatch `at`, where `most` are alive.
fn best(
    values: Values,
    dispatches: &[PendingDispatch],
    scratch: &[u64],
    alive: &[Lifetime],
    (most, at): (u64, usize),
    refused: &HashSet<Operand>,
) -> Option<Again> {
    let last_use: HashMap<Operand, usize> = alive.iter().map(|l| (l.operand, l.last())).collect();
    let mut best: Option<Again> = None;
    for lifetime in alive.iter().filter(|l| !l.kept && !refused.contains(&l.operand)) {
        // The uses around `at`, if it is not used there.
        let next = lifetime.uses.partition_point(|u| *u < at);
        let Some(late) = lifetime.uses.get(next).filter(|late| **late > at) else { continue };
        let by = same_node(dispatches, lifetime.first());
        let before = same_node(dispatches, *late);
        let used_early = next > 0 && lifetime.uses[next - 1] >= by.end;
        if !used_early || before.start <= at || !can_repeat(values.tape, dispatches, &by, before.start) {
            continue;
        }
        // Inputs that are no longer there at the peak have to be kept for it.
        let read: HashSet<Operand> = reads(&dispatches[by.clone()]).collect();
        let missing = read.iter().filter(|o| last_use.get(o).is_some_and(|last| *last < at));
        let cost: u64 = missing.map(|o| bytes_of(values, scratch, *o)).sum();
        let gain = lifetime.bytes.saturating_sub(cost);
        if gain > 0 && gain >= most / LEAST_SHARE && best.as_ref().is_none_or(|b| gain > b.gain) {
            best = Some(Again { operand: lifetime.operand, by, before, gain });
        }
    }
    best
}

/// The dispatches around `at` that compute one node together.
fn same_node(dispatches: &[PendingDispatch], at: usize) -> Range<usize> {
    let other = |d: &PendingDispatch| d.node != dispatches[at].node;
    let start = dispatches[..at].iter().rposition(other).map_or(0, |i| i + 1);
    let end = dispatches[at..].iter().position(other).map_or(dispatches.len(), |i| at + i);
    start..end
}

fn writes(dispatches: &[PendingDispatch]) -> impl Iterator<Item = Operand> {
    let all = dispatches.iter().flat_map(|d| &d.operands);
    all.filter(|(_, access)| *access == Access::ReadWrite).map(|(operand, _)| *operand)
}

/// What the dispatches of a node read and did not make themselves.
fn reads(dispatches: &[PendingDispatch]) -> impl Iterator<Item = Operand> {
    let made: HashSet<Operand> = writes(dispatches).collect();
    let all = dispatches.iter().flat_map(|d| &d.operands).map(|(operand, _)| *operand);
    all.filter(move |operand| !made.contains(operand))
}

/// The dispatches `by` would give the same bits once more before dispatch `before`: the op is cheap,
/// rewrites nothing, and nothing has rewritten its inputs.
fn can_repeat(tape: &Tape, dispatches: &[PendingDispatch], by: &Range<usize>, before: usize) -> bool {
    let first = &dispatches[by.start];
    let cheap = tape.node(first.node).op().is_some_and(|op| op.is_cheap());
    let made = &dispatches[by.clone()];
    if !cheap || writes(made).any(|operand| !needs_slot(tape, operand)) {
        return false;
    }
    reads(made).all(|operand| match operand {
        Operand::Value(value) => match tape.node(value).source {
            // The host may write inputs at a pause.
            Source::Input => first.part == dispatches[before].part,
            Source::State { .. } => writes(&dispatches[by.end..before]).all(|o| o != operand),
            Source::Op(_) => true,
        },
        Operand::Scratch(_) => true,
    })
}

impl Again {
    /// Inserts the dispatches and lets what comes after use what they make. Gives that operand.
    fn insert(
        &self,
        dispatches: &mut Vec<PendingDispatch>,
        values: Values,
        scratch: &mut Vec<u64>,
    ) -> Operand {
        let mut copies = dispatches[self.by.clone()].to_vec();
        let mut renamed: HashMap<Operand, Operand> = HashMap::new();
        for made in writes(&dispatches[self.by.clone()]) {
            renamed.entry(made).or_insert_with(|| {
                scratch.push(bytes_of(values, scratch, made));
                Operand::Scratch(scratch.len() - 1)
            });
        }
        for copy in &mut copies {
            copy.part = dispatches[self.before.start].part;
            for (operand, _) in &mut copy.operands {
                *operand = renamed.get(operand).copied().unwrap_or(*operand);
            }
        }
        let made = renamed[&self.operand];
        rename(&mut dispatches[self.before.start..], self.operand, made);
        dispatches.splice(self.before.start..self.before.start, copies);
        made
    }

    /// Undoes [`Again::insert`].
    fn remove(&self, dispatches: &mut Vec<PendingDispatch>, made: Operand) {
        let start = self.before.start;
        dispatches.drain(start..start + self.by.len());
        rename(&mut dispatches[start..], made, self.operand);
    }
}

fn rename(dispatches: &mut [PendingDispatch], from: Operand, to: Operand) {
    for (operand, _) in dispatches.iter_mut().flat_map(|d| &mut d.operands) {
        if *operand == from {
            *operand = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::Hyper;
    use crate::ops::sgd::Sgd;
    use crate::program::{Caps, Program, compile, compile_keeping_all};
    use crate::tape::{Tape, Value};

    const LEN: usize = 4096;

    /// `w · x` is used early and late, and lies idle while much larger values are worked on; `between`
    /// appends what happens meanwhile.
    fn programs(between: impl FnOnce(&mut Tape, Value)) -> [Program; 2] {
        let mut tape = Tape::new();
        let w = tape.parameter("w", [LEN]).unwrap();
        let x = tape.input("x", [LEN]).unwrap();
        let product = tape.mul(w, x).unwrap();
        let early = tape.sum(product).unwrap();
        let large = tape.concat(&[x, x, x, x]).unwrap();
        let large = tape.sigmoid(large).unwrap();
        let middle = tape.sum(large).unwrap();
        between(&mut tape, w);
        let late = tape.mul(product, product).unwrap();
        let late = tape.sum(late).unwrap();
        for (name, value) in [("early", early), ("middle", middle), ("late", late)] {
            tape.output(name, value);
        }
        let caps = Caps::default();
        [compile(&tape, &caps).unwrap(), compile_keeping_all(&tape, &caps).unwrap()]
    }

    #[test]
    fn an_idle_value_is_made_again() {
        let [again, kept] = programs(|_, _| ());
        assert_eq!(again.dispatches.len(), kept.dispatches.len() + 1);
        assert_eq!(again.peak_bytes() + 4 * LEN as u64, kept.peak_bytes() + 256);
        assert_eq!(again.flops(), kept.flops());
    }

    #[test]
    fn a_value_whose_state_was_rewritten_is_kept() {
        let [again, kept] = programs(|tape, w| {
            let velocity = tape.state("velocity", [LEN]).unwrap();
            let gradient = tape.input("gradient", [LEN]).unwrap();
            let hyper = tape.input("hyper", [Hyper::LEN]).unwrap();
            let sgd = Sgd { momentum: 0.0, weight_decay: 0.0 };
            tape.sgd(sgd, w, gradient, velocity, hyper, None).unwrap();
        });
        assert_eq!(again.dispatches.len(), kept.dispatches.len());
    }

    #[test]
    fn a_value_of_an_input_is_kept_across_a_pause() {
        let [again, kept] = programs(|tape, _| tape.pause());
        assert_eq!(again.dispatches.len(), kept.dispatches.len());
        assert_eq!(again.pauses, kept.pauses);
    }
}

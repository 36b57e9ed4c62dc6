//! Which values of a program are f16: the rule of mixed precision.
//!
//! A value is f16 where the op that makes it can write f16 and every op that uses it can read f16, as the ops
//! themselves say ([`Op::takes_half`], [`Op::gives_half`]). What the host writes or reads stays f32, and so do
//! states. So activations and their gradients are f16, and parameters, their gradients, statistics, logits and
//! losses are not.
//!
//! [`Op::takes_half`]: crate::ops::Op::takes_half
//! [`Op::gives_half`]: crate::ops::Op::gives_half

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::tape::{Shape, Tape, Value};

/// What a program's values are kept in. Sums are f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Precision {
    #[default]
    F32,
    /// Activations and their gradients in f16, all else in f32
    Mixed,
    /// The same, and convolutions multiply cooperative matrices, for which weights are rounded to f16
    MixedMatrices,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Mixed => "mixed",
            Precision::MixedMatrices => "mixed_matrices",
        })
    }
}

/// Type of a tensor's elements on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Element {
    #[default]
    F32,
    F16,
}

impl Element {
    /// Bytes of `shape`, rounded up to a whole vec4 of f32 or two of f16, which kernels may read and write.
    pub fn padded_bytes(self, shape: &Shape) -> u64 {
        match self {
            Element::F32 => shape.padded_bytes(),
            Element::F16 => (shape.len() as u64 * 2).next_multiple_of(16),
        }
    }
}

/// The element type of each value of `tape`; `live` says which are computed.
pub fn elements(tape: &Tape, live: &[bool], precision: Precision) -> Vec<Element> {
    let mut elements = vec![Element::F32; tape.nodes().len()];
    if precision == Precision::F32 {
        return elements;
    }
    let mut may_be_half = vec![true; tape.nodes().len()];
    for (_, value) in tape.outputs() {
        may_be_half[value.index()] = false;
    }
    for (_, node) in live.iter().zip(tape.nodes()).filter(|(live, _)| **live) {
        for (index, input) in node.inputs.iter().enumerate() {
            may_be_half[input.index()] &= node.op().is_some_and(|op| op.takes_half(index));
        }
    }
    for (index, node) in tape.nodes().iter().enumerate() {
        let Some(op) = node.op().filter(|_| live[index] && may_be_half[index]) else { continue };
        let of_inputs: Vec<Element> = node.inputs.iter().map(|v| elements[v.index()]).collect();
        if op.gives_half(&of_inputs) {
            elements[index] = Element::F16;
        }
    }
    elements
}

/// The values of a tape and what their elements are.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    pub tape: &'a Tape,
    pub elements: &'a [Element],
}

impl Values<'_> {
    pub fn element(&self, value: Value) -> Element {
        self.elements[value.index()]
    }

    pub fn bytes(&self, value: Value) -> u64 {
        self.element(value).padded_bytes(self.tape.shape(value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config::Config;
    use crate::program::{BufferKind, Caps, Program, compile, compile_for};
    use crate::train::step::train_step;

    fn step() -> Tape {
        let set = ["model.base_channels=8", "model.depth=2", "train.clip_norm=1.0"].map(str::to_owned);
        train_step(&Config::parse("", "test", &set).unwrap(), 2, 16).unwrap().tape
    }

    #[test]
    fn activations_are_f16_and_what_is_summed_updated_or_read_is_f32() {
        let tape = step();
        let elements = elements(&tape, &vec![true; tape.nodes().len()], Precision::Mixed);
        let mut seen: HashMap<&str, Vec<Element>> = HashMap::new();
        for (index, node) in tape.nodes().iter().enumerate() {
            let name = node.op().map_or("leaf", |op| op.name());
            seen.entry(name).or_default().push(elements[index]);
        }
        for op in ["norm", "norm_grad_input", "max_pool2d", "max_pool2d_grad", "concat", "conv_transpose2d"] {
            assert!(seen[op].iter().all(|e| *e == Element::F16), "{op}: {:?}", seen[op]);
        }
        // All but the logits.
        let convolutions = &seen["conv2d"];
        assert_eq!(convolutions.iter().filter(|e| **e == Element::F32).count(), 1);
        assert_eq!(convolutions.last(), Some(&Element::F32));
        for (op, elements) in &seen {
            let sums =
                ["leaf", "norm_stats", "norm_grad_sums", "conv2d_grad_weight", "channel_sum", "global_norm"];
            if sums.contains(op) || op.contains("dice") || op.contains("bce") {
                assert!(elements.iter().all(|e| *e == Element::F32), "{op}: {elements:?}");
            }
        }
    }

    #[test]
    fn a_mixed_step_needs_less_memory_and_an_f32_step_has_no_f16() {
        let tape = step();
        let caps = Caps::default();
        let full = compile(&tape, &caps).unwrap();
        assert!(full.dispatches.iter().all(|d| !d.kernel.shader.source.contains("f16")));
        let mixed = compile_for(&tape, &caps, Precision::Mixed).unwrap();
        let slots = |p: &Program| -> u64 {
            let slots = p.buffers.iter().filter(|b| b.kind == BufferKind::Slot);
            slots.map(|b| b.bytes).sum()
        };
        assert!(10 * slots(&mixed) < 7 * slots(&full), "{} of {}", slots(&mixed), slots(&full));
    }
}

//! A sum of tensors, each times a weight that the host decides.

use super::registry::Entry;
use super::{Case, Op, expect_same};
use crate::program::{Kernel, Lower, LowerError, Shader, Word};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("weighted_sum/forward");

/// Inputs that one dispatch adds, so that it stays within 8 bindings.
const AT_ONCE: usize = 4;

pub const ENTRY: Entry = Entry {
    name: "weighted_sum",
    parts: &[],
    no_backward: Some("it is taken of gradients, for an update"),
    cases,
};

impl Tape {
    /// `Σ weights[at] · x` over the terms `(at, x)`, which are of one shape, any; `weights [n]`.
    pub fn weighted_sum(&mut self, weights: Value, terms: &[(usize, Value)]) -> Result<Value, TapeError> {
        let at = terms.iter().map(|(at, _)| *at).collect();
        let inputs: Vec<Value> = std::iter::once(weights).chain(terms.iter().map(|(_, x)| *x)).collect();
        self.push(WeightedSum { at }, &inputs)
    }
}

#[derive(Debug)]
pub struct WeightedSum {
    /// Where the weight of each term is among the weights.
    pub at: Vec<usize>,
}

impl Op for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted_sum"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let (Some((weights, terms)), false) = (inputs.split_first(), self.at.is_empty()) else {
            return Err("expected weights and at least one term".to_owned());
        };
        if terms.len() != self.at.len() {
            return Err(format!("expected {} terms, found {}", self.at.len(), terms.len()));
        }
        if let Some(at) = self.at.iter().find(|at| **at >= weights.len()) {
            return Err(format!("no weight {at} in weights {weights}"));
        }
        terms.iter().try_for_each(|term| expect_same(terms[0], term))?;
        Ok(terms[0].clone())
    }

    fn reference(&self, inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let weights = &inputs[0].data;
        let sum = |i: usize| self.at.iter().zip(&inputs[1..]).map(|(at, x)| weights[*at] * x.data[i]).sum();
        vec![(0..output.len()).map(sum).collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let (vectors, output) = (lower.output_shape().len().div_ceil(4), lower.output());
        for (round, at) in self.at.chunks(AT_ONCE).enumerate() {
            let first = 1 + round * AT_ONCE;
            // Places that are left over repeat the first term; the kernel does not read them.
            let place = |i: usize| if i < at.len() { i } else { 0 };
            let mut params = vec![Word::from(vectors), at.len().into(), usize::from(round > 0).into()];
            params.extend((0..AT_ONCE).map(|i| Word::from(at[place(i)])));
            let mut operands = vec![lower.input(0)];
            operands.extend((0..AT_ONCE).map(|i| lower.input(first + place(i))));
            operands.push(output);
            lower.dispatch_items(Kernel::new(&FORWARD), &params, &operands, vectors)?;
        }
        Ok(())
    }

    fn terms(&self, _inputs: &[&Shape], _output: &Shape) -> usize {
        self.at.len()
    }

    fn flops(&self, _inputs: &[&Shape], output: &Shape) -> u64 {
        2 * (self.at.len() * output.len()) as u64
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, at: &[usize], shape: [usize; 2]| {
        let case = Case::new(name, why, WeightedSum { at: at.to_vec() }).input([9]);
        at.iter().fold(case, |case, _| case.input(shape))
    };
    vec![
        case("1 term", "a single element", &[3], [1, 1]),
        case("2 terms", "weights out of order", &[8, 0], [5, 7]),
        case("3 terms", "primes", &[1, 2, 3], [41, 47]),
        case("4 terms", "all places of a dispatch", &[0, 2, 4, 6], [41, 3]),
        case("9 terms", "three dispatches", &[8, 7, 6, 5, 4, 3, 2, 1, 0], [13, 3]),
        case("folded", "the path of more than 65,535 workgroups", &[0, 1, 2, 3, 4], [41, 47])
            .max_workgroups(3),
    ]
}

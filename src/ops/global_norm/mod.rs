//! The Euclidean norm of several tensors taken as one vector.

use super::registry::Entry;
use super::sum_rows::{first_parts, lower_sum_rows};
use super::{Case, Op};
use crate::program::{Kernel, Lower, LowerError, Shader, Word};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static SQUARES: Shader = shader!("global_norm/squares");
static ROOT: Shader = shader!("global_norm/root");

pub const ENTRY: Entry = Entry {
    name: "global_norm",
    parts: &[],
    no_backward: Some("it is taken of gradients, for an update"),
    cases,
};

impl Tape {
    /// `√Σ x²` over the elements of all inputs, of any shapes; of shape `[1]`.
    pub fn global_norm(&mut self, inputs: &[Value]) -> Result<Value, TapeError> {
        self.push(GlobalNorm, inputs)
    }
}

#[derive(Debug)]
pub struct GlobalNorm;

impl Op for GlobalNorm {
    fn name(&self) -> &'static str {
        "global_norm"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        if inputs.is_empty() {
            return Err("expected at least 1 input, found 0".to_owned());
        }
        Ok(Shape::scalar())
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        vec![vec![inputs.iter().flat_map(|t| &t.data).map(|x| x * x).sum::<f64>().sqrt()]]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let counts: Vec<usize> = (0..lower.input_count()).map(|i| lower.input_shape(i).len()).collect();
        let parts = |count: usize| first_parts(count.div_ceil(4));
        let total = counts.iter().map(|count| parts(*count)).sum();
        let partial = lower.scratch(total);
        let mut start = 0;
        for (i, count) in counts.into_iter().enumerate() {
            let params = [count.div_ceil(4), parts(count), count, start].map(Word::from);
            let operands = [lower.input(i), partial];
            lower.dispatch_items(Kernel::new(&SQUARES), &params, &operands, parts(count))?;
            start += parts(count);
        }
        let (sum, output) = (lower.scratch(1), lower.output());
        lower_sum_rows(lower, [1, total, 1], 1.0, partial, sum)?;
        lower.dispatch_items(Kernel::new(&ROOT), &[1usize.into()], &[sum, output], 1)
    }

    fn terms(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        inputs.iter().map(|s| s.len()).sum()
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        inputs.iter().map(|s| 2 * s.len() as u64).sum()
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, shapes: &[&[usize]]| {
        shapes.iter().fold(Case::new(name, why, GlobalNorm), |case, s| case.input(Shape::new(s.to_vec())))
    };
    vec![
        case("1", "a single element", &[&[1]]),
        case("3 and 5", "no multiples of 4: the padding must not enter the sum", &[&[3], &[5, 1]]),
        case("many", "shapes of a network", &[&[3, 3, 1, 5], &[5], &[5], &[3, 3, 5, 41], &[41], &[1]]),
        case("1x41x47x3", "primes, a ragged last round", &[&[1, 41, 47, 3], &[7]]),
        case("3x61x64x4", "three passes", &[&[3, 61, 64, 4], &[5]]),
        case("folded", "the path of more than 65,535 workgroups", &[&[3, 61, 64, 4]]).max_workgroups(6),
    ]
}

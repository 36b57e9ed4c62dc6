//! A tensor of one constant.

use super::elementwise::lower_elementwise;
use super::registry::Entry;
use super::{Case, Op, expect_inputs};
use crate::program::{Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("fill/forward");

pub const ENTRY: Entry = Entry { name: "fill", parts: &[], no_backward: Some("it has no inputs"), cases };

impl Tape {
    /// A tensor whose elements are all `value`.
    pub fn fill(&mut self, shape: impl Into<Shape>, value: f32) -> Result<Value, TapeError> {
        self.push(FillWith { shape: shape.into(), value }, &[])
    }
}

#[derive(Debug)]
pub struct FillWith {
    pub shape: Shape,
    pub value: f32,
}

impl Op for FillWith {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        expect_inputs(inputs, 0)?;
        Ok(self.shape.clone())
    }

    fn reference(&self, _inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        vec![vec![f64::from(self.value); output.len()]]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower_elementwise(lower, &FORWARD, &[self.value.into()])
    }
}

fn cases() -> Vec<Case> {
    let case =
        |name, why, shape: [usize; 2]| Case::new(name, why, FillWith { shape: shape.into(), value: -1.5 });
    vec![
        case("1x1", "a single element", [1, 1]),
        case("41x47", "primes", [41, 47]),
        case("41x47 folded", "the path of more than 65,535 workgroups", [41, 47]).max_workgroups(3),
    ]
}

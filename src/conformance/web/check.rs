//! What `checks.js` reads: a program, what it is given, and what must come out.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::conformance::report::Group;
use crate::program::{self, Family};
use crate::verify::{OpAlone, VerifyError};
use crate::web::{Program, Shaders, Tensors, random};

/// Numbers of a result that are compared at most.
const COMPARED: usize = 2_048;
/// Seed of their places.
const POSITIONS: u32 = 1_000;

/// A data file. Tensors are named by their place in `tensors`.
#[derive(Default, Serialize)]
pub struct Checks {
    pub tensors: Tensors,
    pub checks: Vec<Check>,
}

impl Checks {
    pub fn len(&self) -> usize {
        self.checks.len()
    }
}

#[derive(Serialize)]
pub struct Check {
    pub group: Group,
    pub subject: String,
    pub case: String,
    pub why: String,
    pub family: Family,
    pub form: String,
    pub program: Program,
    /// What inputs and states hold before the first run.
    pub feeds: Vec<(String, usize)>,
    /// Results after one run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expected>,
    /// In place of those, a run for each step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// Floating-point operations, where its time is to be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flops: Option<u64>,
}

#[derive(Serialize)]
pub struct Expected {
    pub port: String,
    /// In f64.
    pub numbers: usize,
    /// Which elements of the port these are; all if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positions: Option<usize>,
    /// For how many numbers in line which difference is allowed.
    pub bounds: Vec<(usize, f64)>,
}

#[derive(Serialize)]
pub struct Steps {
    /// What is given before each step.
    pub feeds: Vec<Vec<(String, usize)>>,
    /// The output that is the loss.
    pub port: &'static str,
    /// The loss of each step, by the reference.
    pub losses: Vec<f64>,
    /// How far each may be off.
    pub bounds: Vec<f64>,
}

impl Check {
    /// An op alone, without what it is given and expected to make.
    pub fn new(
        group: Group,
        alone: &OpAlone,
        why: &str,
        (family, program): &(Family, program::Program),
        shaders: &mut Shaders,
    ) -> Check {
        Check {
            group,
            subject: alone.op.name().to_owned(),
            case: alone.case.to_owned(),
            why: why.to_owned(),
            family: *family,
            form: program.choices.first().map_or(String::new(), |choice| choice.forms[choice.taken].clone()),
            program: Program::new(program, shaders),
            feeds: vec![],
            expect: vec![],
            steps: None,
            flops: None,
        }
    }
}

/// What an op's results are compared with. Of a long one drawn numbers alone are, with the first and the last; the
/// runner looks at all for NaN and infinity.
pub fn expect(alone: &OpAlone, tensors: &mut Tensors) -> Result<Vec<Expected>, VerifyError> {
    let ports = match alone.op.in_place() {
        [] => vec!["result".to_owned()],
        targets => targets.iter().map(|i| format!("input{i}")).collect(),
    };
    let results = ports.into_iter().zip(alone.expected).zip(alone.bounds()?);
    let expected = results.map(|((port, numbers), bounds)| {
        if numbers.len() <= COMPARED {
            let numbers = tensors.f64(numbers);
            return Expected { port, numbers, positions: None, bounds: in_line(&bounds) };
        }
        let last = numbers.len() - 1;
        let place = |i| (f64::from(random(POSITIONS, i) + 1.0) / 2.0 * last as f64) as usize;
        let positions: BTreeSet<usize> = (0..COMPARED as u32).map(place).chain([0, last]).collect();
        let of = |all: &[f64]| positions.iter().map(|i| all[*i]).collect::<Vec<_>>();
        let numbers = tensors.f64(&of(numbers));
        let places: Vec<u32> = positions.iter().map(|i| *i as u32).collect();
        Expected { port, numbers, positions: Some(tensors.u32(&places)), bounds: in_line(&of(&bounds)) }
    });
    Ok(expected.collect())
}

/// Equal numbers in line, counted.
fn in_line(numbers: &[f64]) -> Vec<(usize, f64)> {
    numbers.chunk_by(|a, b| a == b).map(|run| (run.len(), run[0])).collect()
}

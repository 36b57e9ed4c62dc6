//! Checks every kernel against the f64 reference, and every backward by finite differences.

mod gradient;
mod kernels;
pub mod step;
pub mod training;

use std::sync::Arc;

use serde::Serialize;

pub use gradient::check_gradient;
pub(crate) use kernels::{OpAlone, each_op, ops_and_inputs, ops_of, programs};
pub use kernels::{check_altered_kernels, check_kernels, check_repeated_kernels};

use crate::gpu::{Gpu, GpuError};
use crate::ops::registry::{ENTRIES, Entry};
use crate::ops::{Case, fill_numbers};
use crate::program::{CompileError, Family};
use crate::reference::ReferenceError;
use crate::tape::{Tape, TapeError, Value};

/// One check of one op at one case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The op that was run; a part of a backward goes by its own name.
    pub op: String,
    pub case: String,
    /// `kernel`: the device against the reference. `gradient`: backward against differences.
    pub check: &'static str,
    /// Of the kernels, for `kernel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// The kernels that were run, for `kernel`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub shaders: String,
    /// In which form, of an op that has several, and what is not f32.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub form: String,
    pub pass: bool,
    /// Largest difference; `None` when a result was no number.
    pub max_error: Option<f64>,
    /// What the difference may be.
    pub bound: f64,
    /// Results that were NaN or infinite where the reference is finite.
    pub not_finite: usize,
    /// The largest difference in units in the last place of the result that it is in, of the type it is stored in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ulp: Option<f64>,
    /// Runs after the first on the same numbers, and how many of them gave other bits.
    #[serde(skip_serializing_if = "is_zero")]
    pub repeats: usize,
    #[serde(skip_serializing_if = "is_zero")]
    pub other_bits: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub adapter: String,
    pub ops: Vec<Row>,
    pub passed: usize,
    pub failed: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("there is no op {name:?}; the nearest is {nearest:?}; all: {known}")]
    UnknownOp { name: String, nearest: String, known: String },
    #[error(
        "the training step of this network cannot be checked: in each of {draws} draws of numbers roundings alone \
         move the f64 reference's own gradients too far; use a smaller model.base_channels or model.depth"
    )]
    Unsteady { draws: u64 },
    #[error(transparent)]
    Tape(#[from] TapeError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// Checks all ops, or the one named, telling each row to `observe` as it comes.
pub fn verify(
    gpu: &Arc<Gpu>,
    op: Option<&str>,
    mut observe: impl FnMut(&Row),
) -> Result<Report, VerifyError> {
    let entries = select(op)?;
    let mut ops = vec![];
    for entry in entries {
        for case in (entry.cases)() {
            let mut rows = check_kernels(gpu, &case)?;
            rows.extend(check_gradient(entry, &case)?);
            rows.iter().for_each(&mut observe);
            ops.extend(rows);
        }
    }
    let passed = ops.iter().filter(|r| r.pass).count();
    Ok(Report { adapter: gpu.description().to_string(), failed: ops.len() - passed, passed, ops })
}

/// The entry of one op, or of all.
pub(crate) fn select(op: Option<&str>) -> Result<Vec<&'static Entry>, VerifyError> {
    let Some(name) = op else { return Ok(ENTRIES.iter().collect()) };
    if let Some(entry) = crate::ops::registry::find(name) {
        return Ok(vec![entry]);
    }
    let nearest = ENTRIES
        .iter()
        .map(|e| e.name)
        .min_by_key(|known| strsim::levenshtein(known, name))
        .unwrap_or_default()
        .to_owned();
    let known = ENTRIES.iter().map(|e| e.name).collect::<Vec<_>>().join(", ");
    Err(VerifyError::UnknownOp { name: name.to_owned(), nearest, known })
}

/// A gradient in the middle of a graph is multiplied by a factor that is not 1.
const LOSS_FACTOR: f32 = 0.37;

/// A case as a tape: its op, and where it has a gradient a loss over it and the backward.
pub(crate) struct CaseTape {
    pub tape: Tape,
    pub inputs: Vec<Value>,
    pub result: Value,
    pub loss: Option<Value>,
    /// Gradient of each input, where there is one.
    pub gradients: Vec<Option<Value>>,
    /// What the inputs and states hold, by name.
    pub feeds: Vec<(String, Vec<f64>)>,
}

/// Builds the tape of a case. The loss is `LOSS_FACTOR · Σ result · weights`.
pub(crate) fn case_tape(case: &Case) -> Result<CaseTape, TapeError> {
    let mut tape = Tape::new();
    let mut feeds = vec![];
    let mut inputs = vec![];
    let rewritten = case.op.in_place();
    for (i, (input, data)) in case.inputs.iter().zip(case.data()).enumerate() {
        let name = format!("input{i}");
        let value = if rewritten.contains(&i) {
            tape.state(&name, input.shape.clone())?
        } else if input.differentiable && rewritten.is_empty() {
            tape.parameter(&name, input.shape.clone())?
        } else {
            tape.input(&name, input.shape.clone())?
        };
        inputs.push(value);
        feeds.push((name, data));
    }
    let mut operands: Vec<Value> =
        inputs.iter().zip(&case.inputs).filter(|(_, input)| input.direct).map(|(v, _)| *v).collect();
    for made in &case.made {
        let from: Vec<Value> = made.from.iter().map(|i| inputs[*i]).collect();
        operands.push(tape.push_op(Arc::clone(&made.op), &from)?);
    }
    let result = tape.push_op(Arc::clone(&case.op), &operands)?;
    let mut gradients = vec![None; inputs.len()];
    let mut loss = None;
    let entry = crate::ops::registry::find(case.op.name());
    let differentiable = entry.is_some_and(|e| e.no_backward.is_none());
    if differentiable && tape.requires_grad(result) {
        let shape = tape.shape(result).clone();
        feeds.push((
            "weights".to_owned(),
            fill_numbers(crate::ops::Fill::Uniform(-1.0, 1.0), shape.len(), 1_000),
        ));
        let weights = tape.input("weights", shape)?;
        let weighted = tape.mul(result, weights)?;
        let total = tape.sum(weighted)?;
        let scaled = tape.scale(total, LOSS_FACTOR)?;
        let found = tape.backward(scaled)?;
        gradients = inputs.iter().map(|v| found.of(*v)).collect();
        loss = Some(scaled);
    }
    Ok(CaseTape { tape, inputs, result, loss, gradients, feeds })
}

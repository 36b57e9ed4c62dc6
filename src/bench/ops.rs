//! Each op alone, at the shapes of a U-Net: right first, then how fast.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BenchError, Timing};
use crate::gpu::{Gpu, GpuError, Session};
use crate::ops::registry::Entry;
use crate::program::{Program, compile};
use crate::verify::{VerifyError, each_op, ops_of};

/// How long a sample runs, and how many there are.
const SAMPLE: Duration = Duration::from_millis(20);
const SAMPLES: usize = 5;

/// One op at one shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpRow {
    pub op: String,
    pub case: String,
    pub shaders: String,
    /// Floating-point operations, a multiply-add counted as two; a convolution as the direct one.
    pub flops: u64,
    /// Inputs and results, each counted once.
    pub bytes: u64,
    /// Largest difference from the f64 reference, and what it may be.
    pub max_error: Option<f64>,
    pub bound: f64,
    pub pass: bool,
    /// Only where the result was right.
    #[serde(flatten)]
    pub timing: Option<Timing>,
}

/// Times an op and the ops of its backward, telling each row to `observe` as it comes.
pub fn measure(
    gpu: &Arc<Gpu>,
    entry: &Entry,
    observe: &mut dyn FnMut(&OpRow),
) -> Result<Vec<OpRow>, BenchError> {
    measure_altered(gpu, entry, &|_| {}, observe)
}

/// As [`measure`], with each program changed by `alter` before it runs: how a test breaks a kernel
/// on purpose.
pub fn measure_altered(
    gpu: &Arc<Gpu>,
    entry: &Entry,
    alter: &dyn Fn(&mut Program),
    observe: &mut dyn FnMut(&OpRow),
) -> Result<Vec<OpRow>, BenchError> {
    let mut rows: Vec<OpRow> = vec![];
    checked(gpu, entry, alter, &mut |mut row, mut session| {
        if row.pass {
            row.timing = Some(Timing::of(&session.time_runs(SAMPLES, SAMPLE)?));
        }
        observe(&row);
        match rows.iter().position(|r| r.op == row.op && r.case == row.case) {
            Some(at) => rows[at] = row,
            None => rows.push(row),
        }
        Ok(())
    })?;
    Ok(rows)
}

/// Case and op of what [`measure`] times, in its order.
pub fn timed(entry: &Entry) -> Result<Vec<(String, String)>, BenchError> {
    let mut timed = vec![];
    for case in super::cases::cases(entry.name) {
        for op in ops_of(&case)? {
            let pair = (case.name.clone(), op.to_owned());
            if !timed.contains(&pair) {
                timed.push(pair);
            }
        }
    }
    Ok(timed)
}

/// Runs an op and the ops of its backward once at each of their cases, compares the results with the
/// reference and gives `visit` each row, not timed yet, with its session. The backward may use an op
/// several times: one that comes again moves more bytes and takes the place of the one before.
pub fn checked(
    gpu: &Arc<Gpu>,
    entry: &Entry,
    alter: &dyn Fn(&mut Program),
    visit: &mut dyn FnMut(OpRow, Session) -> Result<(), GpuError>,
) -> Result<(), BenchError> {
    for case in super::cases::cases(entry.name) {
        let mut largest: HashMap<&'static str, u64> = HashMap::new();
        each_op(&case, &mut |alone| {
            let output = alone.output()?;
            let shapes: Vec<_> = alone.inputs.iter().map(|t| &t.shape).collect();
            let numbers: usize = shapes.iter().map(|s| s.len()).sum::<usize>()
                + match alone.op.in_place().len() {
                    0 => output.len(),
                    _ => alone.op.in_place().iter().map(|i| shapes[*i].len()).sum(),
                };
            let (flops, bytes) = (alone.op.flops(&shapes, &output), 4 * numbers as u64);
            if largest.get(alone.op.name()).is_some_and(|known| *known >= bytes) {
                return Ok(());
            }
            largest.insert(alone.op.name(), bytes);
            let mut program = compile(&alone.tape()?, gpu.caps()).map_err(VerifyError::from)?;
            alter(&mut program);
            let (session, checked) = alone.check(gpu, program)?;
            let row = OpRow {
                op: checked.op,
                case: checked.case,
                shaders: checked.shaders,
                flops,
                bytes,
                max_error: checked.max_error,
                bound: checked.bound,
                pass: checked.pass,
                timing: None,
            };
            Ok(visit(row, session)?)
        })?;
    }
    Ok(())
}

//! Each op alone, at the shapes of a U-Net: right first, then how fast.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BenchError, Timing};
use crate::gpu::Gpu;
use crate::ops::registry::Entry;
use crate::program::{Program, compile};
use crate::verify::{VerifyError, each_op};

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
    for case in super::cases::cases(entry.name) {
        each_op(&case, &mut |alone| {
            let output = alone.output()?;
            let shapes: Vec<_> = alone.inputs.iter().map(|t| &t.shape).collect();
            let numbers: usize = shapes.iter().map(|s| s.len()).sum::<usize>()
                + match alone.op.in_place().len() {
                    0 => output.len(),
                    _ => alone.op.in_place().iter().map(|i| shapes[*i].len()).sum(),
                };
            let (flops, bytes) = (alone.op.flops(&shapes, &output), 4 * numbers as u64);
            // The backward may use an op several times: the largest counts.
            let known = rows.iter().position(|r| r.op == alone.op.name() && r.case == alone.case);
            if known.is_some_and(|at| rows[at].bytes >= bytes) {
                return Ok(());
            }
            let mut program = compile(&alone.tape()?, gpu.caps()).map_err(VerifyError::from)?;
            alter(&mut program);
            let (mut session, checked) = alone.check(gpu, program)?;
            let timing = match checked.pass {
                true => Some(Timing::of(&session.time_runs(SAMPLES, SAMPLE)?)),
                false => None,
            };
            let row = OpRow {
                op: checked.op,
                case: checked.case,
                shaders: checked.shaders,
                flops,
                bytes,
                max_error: checked.max_error,
                bound: checked.bound,
                pass: checked.pass,
                timing,
            };
            observe(&row);
            match known {
                Some(at) => rows[at] = row,
                None => rows.push(row),
            }
            Ok(())
        })?;
    }
    Ok(rows)
}

//! The device against the reference, node by node.
//!
//! Each node of a case's tape, forward and backward, is run alone on inputs that the reference
//! computed and rounded to f32, so an error is told where it is made and does not add up.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Row, VerifyError, case_tape};
use crate::gpu::{Gpu, Session, States};
use crate::ops::{Case, Op};
use crate::program::{Caps, Family, Program, compile};
use crate::reference::Tensor;
use crate::tape::{Shape, Source, Tape};

/// Roundings that an element may suffer besides those of its sum: exp, log and division of
/// WGSL are allowed a few units in the last place each.
const BASE_ROUNDINGS: f64 = 16.0;

/// Checks each op of the case on each family of kernels that differs from the others.
pub fn check_kernels(gpu: &Arc<Gpu>, case: &Case) -> Result<Vec<Row>, VerifyError> {
    check_altered_kernels(gpu, case, &|_| {})
}

/// As [`check_kernels`], with each program changed by `alter` before it runs: how a check of
/// the checks breaks a kernel on purpose.
pub fn check_altered_kernels(
    gpu: &Arc<Gpu>,
    case: &Case,
    alter: &dyn Fn(&mut Program),
) -> Result<Vec<Row>, VerifyError> {
    let case_tape = case_tape(case)?;
    let tape = &case_tape.tape;
    let mut values: Vec<Tensor> = vec![];
    let mut rows = vec![];
    for (index, node) in tape.nodes().iter().enumerate() {
        let value = match &node.source {
            Source::Op(op) => {
                let inputs: Vec<&Tensor> = node.inputs.iter().map(|v| &values[v.index()]).collect();
                let expected = op.reference(&inputs, &node.shape);
                // The ops that make a loss of the result are checked by cases of their own.
                let makes_loss = index > case_tape.result.index()
                    && case_tape.loss.is_some_and(|loss| index <= loss.index());
                if belongs_to(op.as_ref(), case) && !makes_loss {
                    rows.extend(check_op(gpu, case, op, &inputs, &expected, alter)?);
                }
                match op.in_place().is_empty() {
                    true => {
                        rounded(Tensor::new(node.shape.clone(), expected.into_iter().flatten().collect()))
                    }
                    false => Tensor::zeros(node.shape.clone()),
                }
            }
            _ => {
                let data = case_tape.feeds.iter().find(|(n, _)| *n == node.name).map(|(_, d)| d.clone());
                rounded(Tensor::new(node.shape.clone(), data.unwrap_or_default()))
            }
        };
        values.push(value);
    }
    Ok(rows)
}

fn belongs_to(op: &dyn Op, case: &Case) -> bool {
    let entry = crate::ops::registry::find(case.op.name());
    op.name() == case.op.name() || entry.is_some_and(|e| e.parts.contains(&op.name()))
}

fn rounded(tensor: Tensor) -> Tensor {
    Tensor { data: tensor.data.iter().map(|x| f64::from(*x as f32)).collect(), ..tensor }
}

fn check_op(
    gpu: &Arc<Gpu>,
    case: &Case,
    op: &Arc<dyn Op>,
    inputs: &[&Tensor],
    expected: &[Vec<f64>],
    alter: &dyn Fn(&mut Program),
) -> Result<Vec<Row>, VerifyError> {
    let shapes: Vec<_> = inputs.iter().map(|t| &t.shape).collect();
    let mut tape = Tape::new();
    let mut handles = vec![];
    for (i, shape) in shapes.iter().enumerate() {
        let name = format!("input{i}");
        handles.push(match op.in_place().contains(&i) {
            true => tape.state(&name, (*shape).clone())?,
            false => tape.input(&name, (*shape).clone())?,
        });
    }
    let result = tape.push_op(Arc::clone(op), &handles)?;
    if op.in_place().is_empty() {
        tape.output("result", result);
    }

    let bounds = bounds(op.as_ref(), tape.shape(result), inputs, expected);

    let mut rows: Vec<Row> = vec![];
    for mut program in distinct_programs(gpu, case, &tape)? {
        alter(&mut program);
        let shaders: Vec<&str> = program.dispatches.iter().map(|d| d.kernel.shader.name).collect();
        let shaders = shaders.join(" ");
        let mut states = States::new();
        let mut session = Session::new(gpu, program, &mut states)?;
        for (i, tensor) in inputs.iter().enumerate() {
            let name = format!("input{i}");
            match op.in_place().contains(&i) {
                true => states.write(gpu, &name, &tensor.to_f32())?,
                false if session.program().inputs.iter().any(|p| p.name == name) => {
                    session.write(&name, &tensor.to_f32())?
                }
                false => {}
            }
        }
        session.run()?;
        let found = match op.in_place() {
            [] => vec![session.read("result")?],
            targets => targets
                .iter()
                .map(|i| states.read(gpu, &format!("input{i}")))
                .collect::<Result<Vec<_>, _>>()?,
        };
        let (worst, not_finite) = compare(op.as_ref(), tape.shape(result), &found, expected, &bounds);
        rows.push(Row {
            op: op.name().to_owned(),
            case: case.name.clone(),
            check: "kernel",
            shaders,
            pass: not_finite == 0 && worst.is_some_and(|(error, bound)| error <= bound),
            max_error: worst.map(|(error, _)| error),
            bound: worst.map_or(0.0, |(_, bound)| bound),
            not_finite,
        });
    }
    Ok(rows)
}

/// A quantity of a result: which of the op's results, and [`Op::quantity`] in it.
type Quantity = (usize, usize);

/// What each quantity may differ by: rounding errors of a sum are as good as random, so they grow
/// with the square root of its length, and in proportion to the largest number of its kind, or to
/// the numbers that it is a difference of. Below the smallest normal number devices may flush to 0.
fn bounds(op: &dyn Op, output: &Shape, inputs: &[&Tensor], expected: &[Vec<f64>]) -> HashMap<Quantity, f64> {
    let shapes: Vec<&Shape> = inputs.iter().map(|t| &t.shape).collect();
    let roundings = BASE_ROUNDINGS + 2.0 * (op.terms(&shapes, output) as f64).sqrt();
    let mut largest: HashMap<Quantity, f64> = HashMap::new();
    for (result, data) in expected.iter().enumerate() {
        for (index, x) in data.iter().enumerate() {
            let scale = largest.entry((result, op.quantity(output, index))).or_insert(op.cancelling(inputs));
            *scale = scale.max(if x.is_finite() { x.abs() } else { 0.0 });
        }
    }
    let bound = |scale: f64| (f64::from(f32::EPSILON) * roundings * scale).max(f64::from(f32::MIN_POSITIVE));
    largest.into_iter().map(|(quantity, scale)| (quantity, bound(scale))).collect()
}

/// The tape compiled for each family of kernels, less those that come out alike.
fn distinct_programs(gpu: &Gpu, case: &Case, tape: &Tape) -> Result<Vec<Program>, VerifyError> {
    let mut programs: Vec<Program> = vec![];
    for (family, subgroups) in
        [(Family::Naive, false), (Family::Tiled, false), (Family::Cpu, false), (Family::Cpu, true)]
    {
        let caps = Caps {
            family,
            subgroups: subgroups && gpu.caps().subgroups,
            max_workgroups: case.max_workgroups.unwrap_or(gpu.caps().max_workgroups),
            ..gpu.caps().clone()
        };
        let program = compile(tape, &caps)?;
        let kernels = |p: &Program| -> Vec<String> {
            p.dispatches.iter().map(|d| format!("{:?} {:?}", d.kernel, d.grid)).collect()
        };
        if !programs.iter().any(|p| kernels(p) == kernels(&program)) {
            programs.push(program);
        }
    }
    Ok(programs)
}

/// The difference that is largest beside its bound, with that bound, and the number of results that
/// are not finite where they should be. No difference when there are such results, or too few.
fn compare(
    op: &dyn Op,
    output: &Shape,
    found: &[Vec<f32>],
    expected: &[Vec<f64>],
    bounds: &HashMap<Quantity, f64>,
) -> (Option<(f64, f64)>, usize) {
    let mut worst = (0.0, f64::from(f32::MIN_POSITIVE));
    let mut not_finite = 0;
    for (result, (found, expected)) in found.iter().zip(expected).enumerate() {
        for (index, (f, e)) in found.iter().zip(expected).enumerate() {
            if !(f.is_finite() && e.is_finite()) {
                not_finite += 1;
                continue;
            }
            let error = (f64::from(*f) - e).abs();
            let bound = bounds.get(&(result, op.quantity(output, index))).copied().unwrap_or(0.0);
            if error * worst.1 > worst.0 * bound {
                worst = (error, bound);
            }
        }
    }
    let all_there = found.iter().map(Vec::len).eq(expected.iter().map(Vec::len));
    ((not_finite == 0 && all_there).then_some(worst), not_finite)
}

//! Every op at each of its cases, forward and backward, in the forms that `wgseg verify` checks.
//!
//! Tensors of an op that takes any numbers are drawn by the runner from a seed where they are many, so that they need not
//! be sent. The others are those of `wgseg verify`.

use std::sync::Arc;

use super::check::{Check, Checks, expect};
use crate::conformance::report::Group;
use crate::ops::registry::Entry;
use crate::ops::{Case, Op};
use crate::reference::Tensor;
use crate::tape::Shape;
use crate::verify::{OpAlone, VerifyError, each_op, ops_and_inputs};
use crate::web::{Shaders, Tensors, random};

/// Ops that take any numbers, and whose gradients do.
const ANY_NUMBERS: [&str; 16] = [
    "add",
    "channel_sum",
    "concat",
    "conv2d",
    "conv_transpose2d",
    "global_average_pool",
    "leaky_relu",
    "mean",
    "mul",
    "relu",
    "scale",
    "sigmoid",
    "slice",
    "sum",
    "upsample_bilinear",
    "upsample_nearest",
];

/// Elements of a case's inputs from which on they are drawn.
const MANY: usize = 4_096;

/// The checks of one op and its parts.
pub fn checks(entry: &Entry, shaders: &mut Shaders) -> Result<Checks, VerifyError> {
    let mut found = Checks::default();
    for case in (entry.cases)() {
        let group = (Group::Kernel, case.why);
        if case.elements() >= MANY && ANY_NUMBERS.contains(&entry.name) {
            for (op, shapes) in ops_and_inputs(&case)? {
                drawn(&case, &op, &shapes, &mut |alone| {
                    let feeds = draw(&shapes, &mut found.tensors);
                    add(&mut found, group, alone, &alone.portable_programs(&case)?, &feeds, shaders)
                })?;
            }
        } else {
            each_op(&case, &mut |alone| {
                let feeds = alone.inputs.iter().map(|tensor| found.tensors.f32(&tensor.to_f32())).collect();
                add(&mut found, group, alone, &alone.portable_programs(&case)?, &named(feeds), shaders)
            })?;
        }
    }
    Ok(found)
}

/// Gives `visit` an op with drawn inputs of these shapes, and what the reference makes of them.
pub fn drawn(
    case: &Case,
    op: &Arc<dyn Op>,
    shapes: &[Shape],
    visit: &mut dyn FnMut(&OpAlone) -> Result<(), VerifyError>,
) -> Result<(), VerifyError> {
    let tensor = |(seed, shape): (usize, &Shape)| {
        let numbers = (0..shape.len() as u32).map(|i| f64::from(random(seed as u32, i)));
        Tensor::new(shape.clone(), numbers.collect())
    };
    let inputs: Vec<Tensor> = shapes.iter().enumerate().map(tensor).collect();
    let alone = OpAlone { op, case: &case.name, inputs: inputs.iter().collect(), expected: &[] };
    let expected = op.reference(&alone.inputs, &alone.output()?);
    visit(&OpAlone { expected: &expected, ..alone })
}

/// The same inputs, for the runner to draw.
pub fn draw(shapes: &[Shape], tensors: &mut Tensors) -> Vec<(String, usize)> {
    let seeds = shapes.iter().enumerate();
    named(seeds.map(|(seed, shape)| tensors.random(seed as u32, shape.len())).collect())
}

fn named(feeds: Vec<usize>) -> Vec<(String, usize)> {
    feeds.into_iter().enumerate().map(|(i, tensor)| (format!("input{i}"), tensor)).collect()
}

/// Adds a check for each program of an op.
pub fn add(
    found: &mut Checks,
    (group, why): (Group, &str),
    alone: &OpAlone,
    programs: &[(crate::program::Family, crate::program::Program)],
    feeds: &[(String, usize)],
    shaders: &mut Shaders,
) -> Result<(), VerifyError> {
    for program in programs {
        let mut check = Check::new(group, alone, why, program, shaders);
        // An op may leave an input unread.
        let read = feeds.iter().filter(|(name, _)| check.program.ports.contains_key(name));
        check.feeds = read.cloned().collect();
        check.expect = expect(alone, &mut found.tensors)?;
        found.checks.push(check);
    }
    Ok(())
}

//! The backward of each op against central differences of its reference, all in f64.

use std::collections::HashMap;

use super::{Row, VerifyError, case_tape};
use crate::ops::Case;
use crate::ops::registry::Entry;
use crate::reference::{Tensor, run};

/// Elements of each input whose derivative is measured.
const PROBES: usize = 12;

/// Cases with more elements are left to the smaller ones: a probe takes two runs of the case.
const MAX_ELEMENTS: usize = 30_000;

/// Half the distance of a central difference.
const STEP: f64 = 1e-5;

/// Checks the gradient of each differentiable input of a case.
pub fn check_gradient(entry: &Entry, case: &Case) -> Result<Option<Row>, VerifyError> {
    let case_tape = case_tape(case)?;
    let Some(loss) = case_tape.loss else { return Ok(None) };
    if case.elements() > MAX_ELEMENTS {
        return Ok(None);
    }
    let tape = &case_tape.tape;
    let mut feeds: HashMap<String, Tensor> = HashMap::new();
    for (name, data) in &case_tape.feeds {
        if let Some(value) = tape.named(name) {
            feeds.insert(name.clone(), Tensor::new(tape.shape(value).clone(), data.clone()));
        }
    }
    // Only the forward part is needed to measure a difference.
    let forward = tape.truncated(loss);
    let analytic = run(tape, &feeds)?;
    let (mut max_error, mut not_finite, mut scale) = (0.0f64, 0, 0.0f64);
    for ((value, gradient), input) in case_tape.inputs.iter().zip(&case_tape.gradients).zip(&case.inputs) {
        let name = tape.node(*value).name.clone();
        let len = tape.shape(*value).len();
        // A backward that leaves out an input which has a gradient says that it is 0.
        let gradient = match gradient {
            Some(gradient) => analytic.value(*gradient).data.clone(),
            None if input.differentiable && input.direct => vec![0.0; len],
            None => continue,
        };
        let stride = len.div_ceil(PROBES).max(1);
        for at in (0..len).step_by(stride).map(|i| (i + i / stride) % len) {
            let mut at_offset = |offset: f64| -> Result<f64, VerifyError> {
                if let Some(tensor) = feeds.get_mut(&name) {
                    tensor.data[at] += offset;
                }
                let value = run(&forward, &feeds)?.value(loss).data[0];
                if let Some(tensor) = feeds.get_mut(&name) {
                    tensor.data[at] -= offset;
                }
                Ok(value)
            };
            let difference = (at_offset(STEP)? - at_offset(-STEP)?) / (2.0 * STEP);
            if difference.is_finite() && gradient[at].is_finite() {
                max_error = max_error.max((difference - gradient[at]).abs());
                scale = scale.max(difference.abs());
            } else {
                not_finite += 1;
            }
        }
    }
    let loss_size = analytic.value(loss).data[0].abs();
    // Truncation of the difference, and cancellation between two losses of this size.
    let bound = 1e-6 * scale.max(1e-3) + 1e-9 * loss_size;
    Ok(Some(Row {
        op: entry.name.to_owned(),
        case: case.name.clone(),
        check: "gradient",
        family: None,
        shaders: String::new(),
        form: String::new(),
        pass: not_finite == 0 && max_error <= bound,
        max_error: (not_finite == 0).then_some(max_error),
        bound,
        not_finite,
        max_ulp: None,
        repeats: 0,
        other_bits: 0,
    }))
}

//! Gradients of several losses, looked at by the host before they are put together.
//!
//! The tape has two parts. The first computes, for each loss k, the gradients g_k, and one output
//! [`OBSERVED`]: the losses, and the inner products `⟨g_i, g_j⟩` over the shared parameters. The
//! second takes the input [`WEIGHTS`] and updates by `Σ w_k · g_k`. So any method that weighs
//! gradients by how they lie to each other is a few lines on the host.

use std::collections::BTreeSet;

use crate::tape::{Gradients, Tape, TapeError, Value};

/// Output `[k + k · (k + 1) / 2]`: the k losses, then the lower triangle of the Gram matrix row by row.
pub const OBSERVED: &str = "observed";
/// Input `[2 · k]` of the second part: the weight of each branch in the gradient of the shared
/// parameters, then in that of its own.
pub const WEIGHTS: &str = "weights";

/// Appends the backward of each loss, what the host looks at, a pause, and the weighted sums.
///
/// A parameter is shared when more than one loss reaches it. A loss that does not reach a shared
/// parameter has the gradient 0 there.
pub fn coupled_gradients(tape: &mut Tape, losses: &[(&str, Value)]) -> Result<Gradients, TapeError> {
    let parameters: Vec<Value> = tape.parameters().into_iter().map(|(_, value)| value).collect();
    let mut of_branch = vec![];
    for (name, loss) in losses {
        of_branch.push(tape.scoped(name, |tape| tape.backward(*loss))?);
    }
    let reached_by = |parameter: Value| -> Vec<(usize, Value)> {
        let gradients = of_branch.iter().enumerate();
        gradients.filter_map(|(k, gradients)| Some((k, gradients.of(parameter)?))).collect()
    };
    let shared: BTreeSet<Value> = parameters.iter().copied().filter(|p| reached_by(*p).len() > 1).collect();

    let mut starts = vec![];
    let mut length = 0;
    for parameter in &shared {
        starts.push((length, *parameter));
        length += tape.shape(*parameter).len();
    }
    let mut vectors = vec![];
    for gradients in &of_branch {
        let parts: Vec<(usize, Value)> =
            starts.iter().filter_map(|(start, p)| Some((*start, gradients.of(*p)?))).collect();
        vectors.push(tape.pack(&parts, length)?);
    }
    let mut observed: Vec<Value> = losses.iter().map(|(_, loss)| *loss).collect();
    for i in 0..vectors.len() {
        for j in 0..=i {
            let products = tape.mul(vectors[i], vectors[j])?;
            observed.push(tape.sum(products)?);
        }
    }
    let parts: Vec<(usize, Value)> = observed.into_iter().enumerate().collect();
    let observed = tape.pack(&parts, parts.len())?;
    tape.output(OBSERVED, observed);

    tape.pause();
    let branches = losses.len();
    let weights = tape.input(WEIGHTS, [2 * branches])?;
    let mut total = vec![];
    for parameter in parameters {
        let own = if shared.contains(&parameter) { 0 } else { branches };
        let terms: Vec<(usize, Value)> =
            reached_by(parameter).into_iter().map(|(k, gradient)| (own + k, gradient)).collect();
        if !terms.is_empty() {
            total.push((parameter, tape.weighted_sum(weights, &terms)?));
        }
    }
    Ok(total.into_iter().collect())
}

/// What [`OBSERVED`] says: the losses and the whole Gram matrix.
pub fn read_observed(observed: &[f32], branches: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut numbers = observed.iter().map(|x| f64::from(*x));
    let losses = numbers.by_ref().take(branches).collect();
    let mut gram = vec![vec![0.0; branches]; branches];
    for i in 0..branches {
        for j in 0..=i {
            let product = numbers.next().unwrap_or(f64::NAN);
            gram[i][j] = product;
            gram[j][i] = product;
        }
    }
    (losses, gram)
}

//! Gradients of several losses, looked at by the host before they are put together.
//!
//! The tape has two parts. The first computes, for each loss k, the gradients g_k, and one output
//! [`OBSERVED`]: the losses, and the inner products `⟨g_i, g_j⟩` over the shared parameters. The
//! second takes the input [`WEIGHTS`] and updates by `Σ w_k · g_k`. So any method that weighs
//! gradients by how they lie to each other is a few lines on the host. In mixed precision the gradients are those
//! of scaled losses, and [`read_observed`] undoes that for the host; where they have left the range of f16 it sees
//! inner products that are not finite, and the update is left out whatever it decides.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde_json::Value as Json;

use crate::tape::{Gradients, Tape, TapeError, Value};

/// Output `[k + k · (k + 1) / 2]`: the k losses, then the lower triangle of the Gram matrix row by row; then the
/// scale of the losses where they are scaled.
pub const OBSERVED: &str = "observed";
/// Input `[2 · k]` of the second part: the weight of each branch in the gradient of the shared
/// parameters, then in that of its own.
pub const WEIGHTS: &str = "weights";

/// What one step has computed, before its update.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// From 0.
    pub step: usize,
    /// Loss of each branch.
    pub losses: &'a [f64],
    /// `gram[i][j] = ⟨g_i, g_j⟩` over the shared parameters. A branch that does not reach a parameter
    /// has the gradient 0 there.
    pub gram: &'a [Vec<f64>],
}

/// Weights of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Of each branch's gradient in that of the shared parameters.
    pub shared: Vec<f64>,
    /// Of each branch's gradient in that of its own parameters.
    pub own: Vec<f64>,
}

impl Weights {
    /// Of a weighted sum of losses.
    pub fn of_losses(weights: Vec<f64>) -> Weights {
        Weights { own: weights.clone(), shared: weights }
    }

    /// Of a combination of the shared gradients.
    pub fn of_gradients(shared: Vec<f64>) -> Weights {
        Weights { own: vec![1.0; shared.len()], shared }
    }
}

/// Decides the weights of each step. The methods are in [`crate::method::coupling`].
pub trait Coupling: Debug + Send {
    /// As in the config.
    fn name(&self) -> &'static str;

    /// The weights of this step. Called once a step, in order.
    fn weights(&mut self, observed: &Observed) -> Weights;

    /// All that [`Coupling::restore`] needs to go on with the same bits. Null if a step depends on
    /// none before it.
    fn save(&self) -> Json {
        Json::Null
    }

    /// Goes on from what [`Coupling::save`] gave. Errors with what is wrong with it, and leaves the
    /// method as it was.
    fn restore(&mut self, saved: &Json) -> Result<(), String> {
        match saved {
            Json::Null => Ok(()),
            found => Err(format!(
                "state of the method {}: found {found}, expected null, as it keeps none",
                self.name()
            )),
        }
    }
}

/// Appends the backward of each loss, what the host looks at, a pause, and the weighted sums.
///
/// A parameter is shared when more than one loss reaches it. A loss that does not reach a shared
/// parameter has the gradient 0 there.
///
/// With a `scale [1]` all gradients are those of the losses times it.
pub fn coupled_gradients(
    tape: &mut Tape,
    losses: &[(&str, Value)],
    scale: Option<Value>,
) -> Result<Gradients, TapeError> {
    let parameters: Vec<Value> = tape.parameters().into_iter().map(|(_, value)| value).collect();
    let mut of_branch = vec![];
    for (name, loss) in losses {
        of_branch.push(tape.scoped(name, |tape| match scale {
            None => tape.backward(*loss),
            Some(scale) => tape.backward_scaled(*loss, scale),
        })?);
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
    observed.extend(scale);
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

/// What [`OBSERVED`] says: the losses and the whole Gram matrix, of the gradients of losses that are not scaled.
/// With the scale, which is 1 for those.
pub fn read_observed(observed: &[f32], branches: usize) -> (Vec<f64>, Vec<Vec<f64>>, f64) {
    let mut numbers = observed.iter().map(|x| f64::from(*x));
    let losses = numbers.by_ref().take(branches).collect();
    let products = branches * (branches + 1) / 2;
    let triangle: Vec<f64> = numbers.by_ref().take(products).collect();
    let scale = numbers.next().unwrap_or(1.0);
    // Row i begins after those of 1, 2, …, i numbers.
    let product =
        |i: usize, j: usize| triangle.get(i * (i + 1) / 2 + j).map_or(f64::NAN, |x| x / scale / scale);
    let row = |i: usize| (0..branches).map(|j| product(i.max(j), i.min(j))).collect();
    let gram = (0..branches).map(row).collect();
    (losses, gram, scale)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::reference::{Tensor, run};

    /// `a` is shared by both losses, `b` is the first's own, `c` the second's: with x = [5, 7],
    /// L_0 = Σ a · x + Σ b · b and L_1 = Σ a · a + Σ c · x.
    fn tape(scale: Option<f64>) -> (Tape, HashMap<String, Tensor>, Gradients, [Value; 3]) {
        let mut tape = Tape::new();
        let [a, b, c] = ["a", "b", "c"].map(|name| tape.parameter(name, [2]).unwrap());
        let x = tape.input("x", [2]).unwrap();
        let mut loss = |pairs: [(Value, Value); 2]| {
            let [first, second] = pairs.map(|(u, v)| {
                let product = tape.mul(u, v).unwrap();
                tape.sum(product).unwrap()
            });
            tape.add(first, second).unwrap()
        };
        let losses = [("first", loss([(a, x), (b, b)])), ("second", loss([(a, a), (c, x)]))];
        let state = scale.map(|_| tape.state("scale", [1]).unwrap());
        let gradients = coupled_gradients(&mut tape, &losses, state).unwrap();
        let feeds = [
            ("a", vec![2.0, -3.0]),
            ("b", vec![1.0, 4.0]),
            ("c", vec![0.5, 0.0]),
            ("x", vec![5.0, 7.0]),
            (WEIGHTS, vec![10.0, 100.0, 3.0, 4.0]),
            ("scale", scale.into_iter().collect()),
        ];
        let feeds = feeds.map(|(name, data)| (name.to_owned(), Tensor::new([data.len()], data)));
        (tape, HashMap::from(feeds), gradients, [a, b, c])
    }

    #[test]
    fn the_host_sees_losses_and_inner_products_of_shared_gradients() {
        for scale in [None, Some(1024.0)] {
            let (tape, feeds, ..) = tape(scale);
            let (_, observed) = tape.outputs().iter().find(|(name, _)| name == OBSERVED).unwrap();
            let observed: Vec<f32> =
                run(&tape, &feeds).unwrap().value(*observed).data.iter().map(|x| *x as f32).collect();
            let (losses, gram, found) = read_observed(&observed, 2);
            assert_eq!(found, scale.unwrap_or(1.0));
            // L_0 = 10 − 21 + 1 + 16, L_1 = 4 + 9 + 2.5.
            assert_eq!(losses, [6.0, 15.5]);
            // Over `a` alone: g_0 = x = [5, 7], g_1 = 2a = [4, −6].
            assert_eq!(gram, [[74.0, -22.0], [-22.0, 52.0]]);
        }
    }

    #[test]
    fn shared_and_own_parameters_take_their_own_weights() {
        let (tape, feeds, gradients, [a, b, c]) = tape(None);
        let results = run(&tape, &feeds).unwrap();
        let gradient = |value| results.value(gradients.of(value).unwrap()).data.clone();
        // 10 · [5, 7] + 100 · [4, −6]; 3 · 2b; 4 · x.
        assert_eq!(gradient(a), [450.0, -530.0]);
        assert_eq!(gradient(b), [6.0, 24.0]);
        assert_eq!(gradient(c), [20.0, 28.0]);
    }

    #[test]
    fn the_second_part_holds_all_that_reads_the_weights() {
        let (tape, ..) = tape(None);
        let [nodes] = tape.pauses() else { panic!("one pause") };
        let weights = tape.named(WEIGHTS).unwrap();
        assert!(weights.index() >= *nodes);
        let (_, observed) = tape.outputs().iter().find(|(name, _)| name == OBSERVED).unwrap();
        assert!(observed.index() < *nodes);
    }
}

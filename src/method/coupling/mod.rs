//! How the losses or gradients of several tasks are put together in one step. One file each.
//!
//! Every method here gives the weights of a sum: `gradient of the shared parameters = Σ shared[k] ·
//! g_k`, and `gradient of branch k's own parameters = own[k] · g_k`. What it may look at are the
//! losses and the inner products of the gradients of the shared parameters, which the step has
//! computed on the device. Branch 0 is the target.

use std::fmt::Debug;

use serde_json::Value as Json;

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

/// What a method is told before it starts.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Branches, the target first; at least 2.
    pub branches: usize,
    pub steps_per_epoch: usize,
    pub seed: u64,
}

pub trait Coupling: Debug + Send {
    /// The weights of this step. Called once a step, in order.
    fn weights(&mut self, observed: &Observed) -> Weights;

    /// All that [`Coupling::restore`] needs to go on with the same bits.
    fn save(&self) -> Json {
        Json::Null
    }

    /// Goes on from what [`Coupling::save`] gave. Errors with what is wrong with it.
    fn restore(&mut self, _saved: &Json) -> Result<(), String> {
        Ok(())
    }
}

/// A method that can be named in a config.
pub struct Entry {
    /// As in `method.rivals`, without the `joint_` before it.
    pub name: &'static str,
    /// The formula in one line, and its source.
    pub about: &'static str,
    pub make: fn(Setting) -> Box<dyn Coupling>,
}

/// Every method that couples all tasks.
pub fn all() -> &'static [Entry] {
    &[]
}

//! The tape: a symbolic list of nodes that describes a computation, with no device in it.
//!
//! `tape.backward(loss)` appends the gradient's nodes to the same list, and optimiser
//! updates are nodes too, so a training step is one tape. It is compiled for a device by
//! [`crate::program`] and interpreted on the CPU in f64 by [`crate::reference`].

mod backward;
mod shape;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

pub use backward::Gradients;
pub use shape::Shape;

use crate::ops::Op;

/// A node's result: the handle that other nodes take as an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(crate) usize);

impl Value {
    /// Index of its node in [`Tape::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// Where a node's numbers come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Written by the host before each run.
    Input,
    /// Kept between runs: parameters, running statistics, optimiser moments.
    State { trainable: bool },
    /// Computed from the node's inputs.
    Op(Arc<dyn Op>),
}

#[derive(Clone, Debug)]
pub struct Node {
    pub source: Source,
    pub inputs: Vec<Value>,
    pub shape: Shape,
    /// Name of an input or state; the scope of an op.
    pub name: String,
    /// A trainable state reaches this node.
    pub requires_grad: bool,
}

impl Node {
    pub fn op(&self) -> Option<&Arc<dyn Op>> {
        match &self.source {
            Source::Op(op) => Some(op),
            _ => None,
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum TapeError {
    #[error("{op}: {message} (inputs {inputs}, at {scope:?})")]
    Shape { op: &'static str, inputs: String, message: String, scope: String },
    #[error("the name {0:?} is on this tape already")]
    DuplicateName(String),
    #[error("backward needs a loss of one number, found shape {0}")]
    LossNotScalar(Shape),
    #[error("backward: no trainable parameter reaches this loss")]
    LossWithoutParameters,
    #[error("the backward of {op} gave {found} gradients for {expected} inputs")]
    Backward { op: &'static str, found: usize, expected: usize },
    #[error("{op} has no backward: {reason}")]
    NotDifferentiable { op: &'static str, reason: &'static str },
}

/// A list of nodes in execution order; every node comes after its inputs.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    nodes: Vec<Node>,
    names: HashMap<String, Value>,
    outputs: Vec<(String, Value)>,
    /// The first node after each pause.
    pauses: Vec<usize>,
    scope: Vec<String>,
}

impl Tape {
    pub fn new() -> Tape {
        Tape::default()
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value.0]
    }

    pub fn shape(&self, value: Value) -> &Shape {
        &self.nodes[value.0].shape
    }

    pub fn requires_grad(&self, value: Value) -> bool {
        self.nodes[value.0].requires_grad
    }

    /// The input or state of this name.
    pub fn named(&self, name: &str) -> Option<Value> {
        self.names.get(name).copied()
    }

    /// A tensor that the host writes before each run.
    pub fn input(&mut self, name: &str, shape: impl Into<Shape>) -> Result<Value, TapeError> {
        self.push_named(name, shape.into(), Source::Input, false)
    }

    /// A trainable tensor that stays on the device between runs.
    pub fn parameter(&mut self, name: &str, shape: impl Into<Shape>) -> Result<Value, TapeError> {
        self.push_named(name, shape.into(), Source::State { trainable: true }, true)
    }

    /// A tensor that stays on the device between runs and takes no gradient.
    pub fn state(&mut self, name: &str, shape: impl Into<Shape>) -> Result<Value, TapeError> {
        self.push_named(name, shape.into(), Source::State { trainable: false }, false)
    }

    /// Turns a parameter into a plain state: no gradient, no update. Call it before the
    /// parameter is used.
    pub fn freeze(&mut self, parameter: Value) {
        let node = &mut self.nodes[parameter.0];
        if matches!(node.source, Source::State { .. }) {
            node.source = Source::State { trainable: false };
            node.requires_grad = false;
        }
    }

    /// The trainable states in the order they were made, with their names.
    pub fn parameters(&self) -> Vec<(String, Value)> {
        self.states().filter(|(_, v)| self.requires_grad(*v)).map(|(n, v)| (n.to_owned(), v)).collect()
    }

    /// All states, trainable or not, in the order they were made.
    pub fn states(&self) -> impl Iterator<Item = (&str, Value)> {
        self.nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| matches!(n.source, Source::State { .. }))
            .map(|(i, n)| (n.name.as_str(), Value(i)))
    }

    pub fn inputs(&self) -> impl Iterator<Item = (&str, Value)> {
        self.nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| matches!(n.source, Source::Input))
            .map(|(i, n)| (n.name.as_str(), Value(i)))
    }

    /// Keeps a value so that the host can read it after a run.
    pub fn output(&mut self, name: &str, value: Value) {
        self.outputs.push((name.to_owned(), value));
    }

    pub fn outputs(&self) -> &[(String, Value)] {
        &self.outputs
    }

    /// Ends a part of the tape. A session can run the parts one by one, so that the host may look at
    /// outputs of a part before it writes the inputs of the next.
    pub fn pause(&mut self) {
        self.pauses.push(self.nodes.len());
    }

    /// For each pause, the number of nodes before it.
    pub fn pauses(&self) -> &[usize] {
        &self.pauses
    }

    /// Appends an op. Errors when its inputs' shapes do not fit.
    pub fn push(&mut self, op: impl Op + 'static, inputs: &[Value]) -> Result<Value, TapeError> {
        self.push_op(Arc::new(op), inputs)
    }

    pub fn push_op(&mut self, op: Arc<dyn Op>, inputs: &[Value]) -> Result<Value, TapeError> {
        let shapes: Vec<&Shape> = inputs.iter().map(|v| self.shape(*v)).collect();
        let scope = self.scope.join(".");
        let shape = op.shape(&shapes).map_err(|message| TapeError::Shape {
            op: op.name(),
            inputs: shapes.iter().map(|s| s.to_string()).collect::<Vec<_>>().join(", "),
            message,
            scope: scope.clone(),
        })?;
        let requires_grad = inputs.iter().any(|v| self.requires_grad(*v));
        self.nodes.push(Node {
            source: Source::Op(op),
            inputs: inputs.to_vec(),
            shape,
            name: scope,
            requires_grad,
        });
        Ok(Value(self.nodes.len() - 1))
    }

    /// The part of the tape up to and with `last`.
    pub fn truncated(&self, last: Value) -> Tape {
        let mut tape = self.clone();
        tape.nodes.truncate(last.0 + 1);
        tape.names.retain(|_, v| *v <= last);
        tape.outputs.retain(|(_, v)| *v <= last);
        tape.pauses.retain(|before| *before <= last.0);
        tape
    }

    /// Runs `build` with `name` added to the scope that its ops carry in messages and profiles.
    pub fn scoped<T>(&mut self, name: &str, build: impl FnOnce(&mut Tape) -> T) -> T {
        self.scope.push(name.to_owned());
        let result = build(self);
        self.scope.pop();
        result
    }

    fn push_named(
        &mut self,
        name: &str,
        shape: Shape,
        source: Source,
        requires_grad: bool,
    ) -> Result<Value, TapeError> {
        let value = Value(self.nodes.len());
        match self.names.entry(name.to_owned()) {
            Entry::Occupied(_) => return Err(TapeError::DuplicateName(name.to_owned())),
            Entry::Vacant(entry) => entry.insert(value),
        };
        self.nodes.push(Node { source, inputs: vec![], shape, name: name.to_owned(), requires_grad });
        Ok(value)
    }
}

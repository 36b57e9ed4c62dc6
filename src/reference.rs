//! Interprets a tape on the CPU with plain loops in f64. Slow, obvious, and the judge of
//! every kernel, every backward and a whole training step.

use std::collections::HashMap;

use half::f16;

use crate::program::Element;
use crate::tape::{Shape, Source, Tape, Value};

/// A dense row-major tensor in f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub shape: Shape,
    pub data: Vec<f64>,
}

impl Tensor {
    pub fn new(shape: impl Into<Shape>, data: Vec<f64>) -> Tensor {
        let shape = shape.into();
        assert_eq!(shape.len(), data.len(), "a tensor of shape {shape} from {} numbers", data.len());
        Tensor { shape, data }
    }

    pub fn zeros(shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        Tensor { data: vec![0.0; shape.len()], shape }
    }

    pub fn from_f32(shape: impl Into<Shape>, data: &[f32]) -> Tensor {
        Tensor::new(shape, data.iter().map(|x| f64::from(*x)).collect())
    }

    pub fn to_f32(&self) -> Vec<f32> {
        self.data.iter().map(|x| *x as f32).collect()
    }
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ReferenceError {
    #[error("no numbers were given for {name:?} of shape {shape}")]
    Missing { name: String, shape: Shape },
    #[error("{name:?}: expected shape {expected}, found {found}")]
    Shape { name: String, expected: Shape, found: Shape },
}

/// Every value of one run, as it is at the end: updates have rewritten their states.
pub struct Run {
    values: Vec<Tensor>,
    /// The states by name, after the run.
    pub states: HashMap<String, Tensor>,
}

impl Run {
    pub fn value(&self, value: Value) -> &Tensor {
        &self.values[value.index()]
    }
}

/// Runs `tape` once. `feeds` holds its inputs and states by name.
///
/// An update takes effect where it stands: a later node that reads the state sees it.
pub fn run(tape: &Tape, feeds: &HashMap<String, Tensor>) -> Result<Run, ReferenceError> {
    run_altered(tape, feeds, &mut |_, _| {})
}

/// The same with the values that are f16 by `elements` rounded to f16, as a mixed program stores them; see
/// [`crate::program::elements_of`].
pub fn run_stored(
    tape: &Tape,
    feeds: &HashMap<String, Tensor>,
    elements: &[Element],
) -> Result<Run, ReferenceError> {
    run_altered(tape, feeds, &mut |value, tensor| {
        if elements[value.index()] == Element::F16 {
            tensor.data.iter_mut().for_each(|x| *x = f16::from_f64(*x).to_f64());
        }
    })
}

/// The same with each value handed to `alter` before another reads it.
pub fn run_altered(
    tape: &Tape,
    feeds: &HashMap<String, Tensor>,
    alter: &mut dyn FnMut(Value, &mut Tensor),
) -> Result<Run, ReferenceError> {
    let mut values: Vec<Tensor> = Vec::with_capacity(tape.nodes().len());
    for (index, node) in tape.nodes().iter().enumerate() {
        let mut value = match &node.source {
            Source::Input | Source::State { .. } => {
                let tensor = feeds.get(&node.name).ok_or_else(|| ReferenceError::Missing {
                    name: node.name.clone(),
                    shape: node.shape.clone(),
                })?;
                if tensor.shape != node.shape {
                    return Err(ReferenceError::Shape {
                        name: node.name.clone(),
                        expected: node.shape.clone(),
                        found: tensor.shape.clone(),
                    });
                }
                tensor.clone()
            }
            Source::Op(op) => {
                let inputs: Vec<&Tensor> = node.inputs.iter().map(|v| &values[v.index()]).collect();
                let mut results = op.reference(&inputs, &node.shape);
                if op.in_place().is_empty() {
                    Tensor::new(node.shape.clone(), results.swap_remove(0))
                } else {
                    for (target, data) in op.in_place().iter().zip(results) {
                        values[node.inputs[*target].index()].data = data;
                    }
                    Tensor::zeros(node.shape.clone())
                }
            }
        };
        alter(Value(index), &mut value);
        values.push(value);
    }
    let states = tape.states().map(|(name, v)| (name.to_owned(), values[v.index()].clone())).collect();
    Ok(Run { values, states })
}

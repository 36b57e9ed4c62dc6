//! A case: an op at one shape, and why that shape. The same cases feed the unit tests, the
//! gradient check and `wgseg verify`.

use std::sync::Arc;

use rand::RngExt;

use super::Op;
use crate::rng::{Purpose, rng};
use crate::tape::Shape;

/// What an input of a case is filled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Uniform in `low..high`.
    Uniform(f64, f64),
    /// 0 or 1.
    Binary,
    /// A whole number in `0..classes`.
    Labels(usize),
    /// Numbers in −1..1 of which no two are equal, so that a maximum has no ties.
    Distinct,
    /// One number everywhere.
    Constant(f64),
    /// `value` or `−value`, at random.
    Extreme(f64),
}

/// An input of a case.
#[derive(Clone, Debug)]
pub struct CaseInput {
    pub shape: Shape,
    pub fill: Fill,
    /// The op's gradient with respect to it is checked.
    pub differentiable: bool,
    /// The op takes it; otherwise only what is [`Case::made`] does.
    pub direct: bool,
}

/// An input that an op makes of a case's other inputs.
#[derive(Clone, Debug)]
pub struct Made {
    pub op: Arc<dyn Op>,
    /// Indices in [`Case::inputs`].
    pub from: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub why: &'static str,
    pub op: Arc<dyn Op>,
    pub inputs: Vec<CaseInput>,
    /// Further inputs of the op, after [`Case::inputs`], that other ops make of those: an op whose
    /// backward is also the backward of these ops can only be checked together with them.
    pub made: Vec<Made>,
    /// Pretend that a grid has at most this many workgroups in a dimension, so that a small
    /// case takes the path of a tensor that needs more than 65,535.
    pub max_workgroups: Option<u32>,
}

impl Case {
    pub fn new(name: impl Into<String>, why: &'static str, op: impl Op + 'static) -> Case {
        Case { name: name.into(), why, op: Arc::new(op), inputs: vec![], made: vec![], max_workgroups: None }
    }

    /// Folds the grid at `limit` workgroups.
    pub fn max_workgroups(mut self, limit: u32) -> Case {
        self.max_workgroups = Some(limit);
        self
    }

    /// Adds an input, uniform in −1..1, that takes a gradient.
    pub fn input(self, shape: impl Into<Shape>) -> Case {
        self.filled(shape, Fill::Uniform(-1.0, 1.0))
    }

    /// Adds an input that takes a gradient.
    pub fn filled(mut self, shape: impl Into<Shape>, fill: Fill) -> Case {
        self.inputs.push(CaseInput { shape: shape.into(), fill, differentiable: true, direct: true });
        self
    }

    /// Adds an input that takes no gradient: labels, masks, statistics.
    pub fn fixed(mut self, shape: impl Into<Shape>, fill: Fill) -> Case {
        self.inputs.push(CaseInput { shape: shape.into(), fill, differentiable: false, direct: true });
        self
    }

    /// Adds an input that only what is made of it uses, and that takes no gradient.
    pub fn indirect(mut self, shape: impl Into<Shape>, fill: Fill) -> Case {
        self.inputs.push(CaseInput { shape: shape.into(), fill, differentiable: false, direct: false });
        self
    }

    /// Adds an input, after all others, that `op` makes of the inputs `from`.
    pub fn made(mut self, op: impl Op + 'static, from: &[usize]) -> Case {
        self.made.push(Made { op: Arc::new(op), from: from.to_vec() });
        self
    }

    /// Elements of all inputs.
    pub fn elements(&self) -> usize {
        self.inputs.iter().map(|i| i.shape.len()).sum()
    }

    /// The numbers of each input, the same on every run, and each exact in f32.
    pub fn data(&self) -> Vec<Vec<f64>> {
        self.inputs
            .iter()
            .enumerate()
            .map(|(i, input)| fill(input.fill, input.shape.len(), i as u64))
            .collect()
    }
}

/// `len` numbers by `fill`, the same for the same `stream`, each exact in f32.
pub(crate) fn fill(fill: Fill, len: usize, stream: u64) -> Vec<f64> {
    let mut rng = rng(0, Purpose::Case, stream);
    let mut uniform = |low: f64, high: f64| f64::from(rng.random_range(low as f32..high as f32));
    match fill {
        Fill::Uniform(low, high) => (0..len).map(|_| uniform(low, high)).collect(),
        Fill::Binary => (0..len).map(|_| f64::from(uniform(0.0, 1.0) < 0.5)).collect(),
        Fill::Labels(classes) => (0..len).map(|_| uniform(0.0, classes as f64).floor()).collect(),
        Fill::Distinct => {
            let mut order: Vec<usize> = (0..len).collect();
            for i in (1..len).rev() {
                order.swap(i, uniform(0.0, (i + 1) as f64) as usize);
            }
            order.iter().map(|k| f64::from((2.0 * (*k as f64 + 0.5) / len as f64 - 1.0) as f32)).collect()
        }
        Fill::Constant(value) => vec![f64::from(value as f32); len],
        Fill::Extreme(value) => {
            (0..len).map(|_| if uniform(0.0, 1.0) < 0.5 { value } else { -value }).collect()
        }
    }
}

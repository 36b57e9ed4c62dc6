//! Collects the nodes and constants of an ONNX graph, and lets an op of a tape append its own.

use std::collections::HashMap;

use super::OnnxError;
use super::proto::{AttributeProto, AttributeType, DataType, GraphProto, NodeProto, TensorProto};
use crate::tape::{Node, Shape, Tape, Value};

/// A graph that is being made.
#[derive(Default)]
pub struct Builder {
    pub(super) graph: GraphProto,
}

impl Builder {
    /// Appends a node of one result, which goes by the node's name. Gives that name.
    pub fn node(&mut self, op: &str, name: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute: attributes,
        });
        name.to_owned()
    }

    /// A constant tensor of f32, row-major. Gives its name.
    pub fn floats(&mut self, name: &str, dims: &[usize], data: &[f32]) -> String {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, dims, DataType::Float, bytes)
    }

    /// A constant vector of whole numbers. Gives its name.
    pub fn whole_numbers(&mut self, name: &str, data: &[i64]) -> String {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, &[data.len()], DataType::Int64, bytes)
    }

    fn constant(&mut self, name: &str, dims: &[usize], kind: DataType, raw_data: Vec<u8>) -> String {
        let dims = dims.iter().map(|extent| *extent as i64).collect();
        let tensor = TensorProto { dims, data_type: kind.into(), name: name.to_owned(), raw_data };
        self.graph.initializer.push(tensor);
        name.to_owned()
    }
}

/// An attribute of one whole number.
pub fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto { i: Some(value as i64), ..attribute(name, AttributeType::Int) }
}

/// An attribute of several whole numbers.
pub fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|value| *value as i64).collect();
    AttributeProto { ints, ..attribute(name, AttributeType::Ints) }
}

/// An attribute of one number.
pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

/// An attribute of text.
pub fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, AttributeType::String) }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: kind.into(), ..Default::default() }
}

/// One op of a tape on its way into a graph. Images are `[batch, channels, height, width]` there and
/// weights have PyTorch's layout, see [`crate::nn::layout`].
pub struct Emit<'a> {
    pub(super) tape: &'a Tape,
    pub(super) node: Value,
    pub(super) builder: &'a mut Builder,
    /// What each value of the tape is called in the graph.
    pub(super) names: &'a HashMap<Value, String>,
}

impl<'a> Emit<'a> {
    fn tape_node(&self) -> &'a Node {
        self.tape.node(self.node)
    }

    /// Names of the op's inputs.
    pub fn inputs(&self) -> Vec<&'a str> {
        self.tape_node().inputs.iter().map(|input| self.names[input].as_str()).collect()
    }

    /// Names of what the op that makes input `index` is made from.
    pub fn inputs_of(&self, index: usize) -> Vec<&'a str> {
        let maker = self.tape.node(self.tape_node().inputs[index]);
        maker.inputs.iter().map(|input| self.names[input].as_str()).collect()
    }

    /// Shape of input `index` on the tape: channels are last.
    pub fn input_shape(&self, index: usize) -> &'a Shape {
        self.tape.shape(self.tape_node().inputs[index])
    }

    /// Name of the op's result.
    pub fn output(&self) -> &'a str {
        &self.names[&self.node]
    }

    /// Appends the node that makes the op's result.
    pub fn result(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) {
        self.builder.node(op, self.output(), inputs, attributes);
    }

    /// Appends a node whose result is a step on the way; `step` names it beside the op's result.
    pub fn step(&mut self, op: &str, step: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let name = self.step_name(step);
        self.builder.node(op, &name, inputs, attributes)
    }

    /// A constant of f32 beside the op's result.
    pub fn floats(&mut self, step: &str, data: &[f32]) -> String {
        let name = self.step_name(step);
        self.builder.floats(&name, &[data.len()], data)
    }

    /// Appends a reshape to `dims`, where 0 keeps an extent and −1 takes what is left.
    pub fn reshape(&mut self, step: &str, input: &str, dims: &[i64]) -> String {
        let name = self.step_name(step);
        let shape = self.builder.whole_numbers(&format!("{name}.shape"), dims);
        self.builder.node("Reshape", &name, &[input, &shape], vec![])
    }

    fn step_name(&self, step: &str) -> String {
        format!("{}.{step}", self.output())
    }

    /// Why this op is not written.
    pub fn unsupported(&self) -> OnnxError {
        let node = self.tape_node();
        let op = node.op().map_or("an input", |op| op.name());
        OnnxError::Unsupported { op, scope: node.name.clone() }
    }
}

//! A trained model as an ONNX file, for other runtimes.
//!
//! The graph is made from the tape that `predict` runs: each op appends its nodes by [`Op::onnx`]. Before
//! them stands the standardisation that this program does on the host, so that the graph takes an image
//! as it is read. The messages are written out in [`proto`]: they are few and never change, and a crate of
//! all of `onnx.proto` would need `protoc` or bring a second, older prost.
//!
//! [`Op::onnx`]: crate::ops::Op::onnx

mod graph;
pub mod proto;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use prost::Message;

pub use graph::{Builder, Emit, float, int, ints, text};
use proto::{
    DataType, Dimension, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorShapeProto,
    TensorType, TypeProto, ValueInfoProto,
};

use crate::nn::layout;
use crate::report::{ReportError, atomic};
use crate::tape::{Shape, Source, TapeError, Value};
use crate::train::TrainError;
use crate::train::model::ModelFile;
use crate::train::step::{PROBABILITIES, inference};

/// Version of ONNX's operators; runtimes have it since 2022.
pub const OPSET: i64 = 17;
/// Version of the file format that goes with it.
const IR_VERSION: i64 = 8;
/// The output beside [`PROBABILITIES`].
pub const LOGITS: &str = "logits";
/// A protobuf message holds less than this many bytes.
const MAX_BYTES: usize = i32::MAX as usize;

#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    #[error("{op} at {scope:?} has no form in ONNX; expected an op of a U-Net's inference")]
    Unsupported { op: &'static str, scope: String },
    #[error(
        "the model takes {bytes} bytes, and an ONNX file holds less than {MAX_BYTES}; use a smaller model.base_channels"
    )]
    TooLarge { bytes: usize },
    #[error("{path} cannot be taken for the model; expected a name that ends in .onnx")]
    Name { path: PathBuf },
    #[error(transparent)]
    Tape(#[from] TapeError),
    #[error(transparent)]
    Train(#[from] Box<TrainError>),
    #[error(transparent)]
    Write(#[from] ReportError),
}

/// Writes `model` to `path`. Gives the number of bytes.
///
/// # Errors
/// `path` does not end in `.onnx`, the weights are not those of the model's architecture, the model is too large for
/// a protobuf message, or the file cannot be written.
pub fn write(model: &ModelFile, path: &Path) -> Result<usize, OnnxError> {
    if path.extension().is_none_or(|ending| ending != "onnx") {
        return Err(OnnxError::Name { path: path.to_owned() });
    }
    let proto = export(model)?;
    let bytes = proto.encoded_len();
    if bytes >= MAX_BYTES {
        return Err(OnnxError::TooLarge { bytes });
    }
    atomic::write(path, &proto.encode_to_vec())?;
    Ok(bytes)
}

/// The model as a message.
///
/// Input: `images [batch, in_channels, size, size]`, f32 of any scale. Outputs: `probabilities` and `logits`,
/// both `[batch, out_channels, size, size]`.
///
/// # Errors
/// The weights are not those of the model's architecture.
pub fn export(model: &ModelFile) -> Result<ModelProto, OnnxError> {
    let (config, size) = (&model.config, model.config.data.size);
    let (mut tape, network) = inference(config, 1, size)?;
    tape.output(LOGITS, network.logits);

    let mut builder = Builder::default();
    let mut names: HashMap<Value, String> = HashMap::new();
    for (index, node) in tape.nodes().iter().enumerate() {
        let value = Value(index);
        let name = match &node.source {
            Source::Input => standardise(&mut builder, &node.name, node.shape.len()),
            Source::State { .. } => {
                let data = model.tensor(&node.name, &node.shape).map_err(Box::new)?;
                let dims = layout::torch_shape(&node.shape);
                builder.floats(&node.name, &dims, &layout::to_torch(&node.shape, &data))
            }
            Source::Op(op) => {
                let output = tape.outputs().iter().find(|(_, of)| *of == value);
                output
                    .map_or_else(|| format!("{}/{}_{index}", node.name, op.name()), |(name, _)| name.clone())
            }
        };
        names.insert(value, name);
        if let Source::Op(op) = &node.source {
            op.onnx(&mut Emit { tape: &tape, node: value, builder: &mut builder, names: &names })?;
        }
    }

    let mut graph = builder.graph;
    graph.name = "unet".to_owned();
    for (name, value) in tape.inputs() {
        let about =
            "each image of its own scale; the graph standardises it to mean 0 and standard deviation 1";
        graph.input.push(described(name, tape.shape(value), about));
    }
    for (name, value) in tape.outputs() {
        let about = if name == PROBABILITIES { "of foreground, 0 to 1" } else { "before the sigmoid" };
        graph.output.push(described(name, tape.shape(*value), about));
    }
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: "wgseg".to_owned(),
        producer_version: model.info.version.clone(),
        doc_string: "A pixel is foreground where its probability is above the metadata's threshold."
            .to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata(model),
    })
}

/// What a program that runs the model needs to know of it.
fn metadata(model: &ModelFile) -> Vec<StringStringEntryProto> {
    let info = &model.info;
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
    vec![
        entry("wgseg_version", info.version.clone()),
        entry("threshold", info.threshold.to_string()),
        entry("size", info.size.to_string()),
        // A struct of numbers and names always has a JSON form.
        entry("config", serde_json::json!({ "model": info.model }).to_string()),
        entry("val_dice", info.val_dice.to_string()),
    ]
}

/// `(x − mean) / (std + 1e-6)` of each image of `len` numbers, as [`crate::data`] does it. The lowest value is
/// taken away first, so that f32 is as exact with a large offset, and a flat image becomes 0 whatever its scale.
fn standardise(builder: &mut Builder, input: &str, len: usize) -> String {
    let over = || vec![ints("axes", &[1, 2, 3]), int("keepdims", 1)];
    let name = |step: &str| format!("standardise/{step}");
    let lowest = builder.node("ReduceMin", &name("lowest"), &[input], over());
    let raised = builder.node("Sub", &name("raised"), &[input, &lowest], vec![]);
    let mean = builder.node("ReduceMean", &name("mean"), &[&raised], over());
    let centred = builder.node("Sub", &name("centred"), &[&raised, &mean], vec![]);
    let squares = builder.node("ReduceSumSquare", &name("squares"), &[&centred], over());
    let count = builder.floats(&name("count"), &[], &[len.saturating_sub(1).max(1) as f32]);
    let variance = builder.node("Div", &name("variance"), &[&squares, &count], vec![]);
    let deviation = builder.node("Sqrt", &name("deviation"), &[&variance], vec![]);
    let epsilon = builder.floats(&name("epsilon"), &[], &[1e-6]);
    let divisor = builder.node("Add", &name("divisor"), &[&deviation, &epsilon], vec![]);
    builder.node("Div", &name("image"), &[&centred, &divisor], vec![])
}

/// A port of the graph: any batch of images `[batch, height, width, channels]` on the tape, channels first there.
fn described(name: &str, shape: &Shape, about: &str) -> ValueInfoProto {
    let dims = shape.dims();
    let extent = |axis: usize| Dimension { dim_value: dims.get(axis).map(|n| *n as i64), dim_param: None };
    let batch = Dimension { dim_value: None, dim_param: Some("batch".to_owned()) };
    let shape = TensorShapeProto { dim: vec![batch, extent(3), extent(1), extent(2)] };
    let tensor_type = Some(TensorType { elem_type: DataType::Float.into(), shape: Some(shape) });
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type }),
        doc_string: about.to_owned(),
    }
}

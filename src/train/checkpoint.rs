//! Weights on disk: safetensors with PyTorch's names and layouts, and what made them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::mask_rule::MaskRule;
use super::min_area::MinArea;
use super::threshold::Threshold;
use crate::config::schema::ModelConfig;
use crate::data::fingerprint::hex;
use crate::method::plan::PLAN;
use crate::nn::layout;
use crate::report::{ReportError, atomic};
use crate::tape::Shape;

/// Files of a run folder: the weights of the best epoch, and of the last.
pub const BEST: &str = "best.safetensors";
pub const LAST: &str = "last.safetensors";

/// Key of the metadata entry that holds [`CheckpointInfo`] as JSON.
const METADATA_KEY: &str = "wgseg";

/// What a checkpoint says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    pub version: String,
    pub model: ModelConfig,
    /// Side in pixels that the model was trained at.
    pub size: usize,
    /// Chosen on the validation images.
    pub threshold: Threshold,
    /// Chosen on the validation images at `threshold`; files of before have none.
    #[serde(default)]
    pub min_area: MinArea,
    pub epoch: usize,
    pub step: usize,
    /// Mean Dice on the validation images at `threshold`, no mask emptied.
    pub val_dice: f64,
}

impl CheckpointInfo {
    /// How the model's masks are made.
    pub fn rule(&self) -> MaskRule {
        MaskRule { threshold: self.threshold, min_area: self.min_area }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("{path}: cannot be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is a folder; name a checkpoint in it, such as {path}/{file}")]
    Folder { path: PathBuf, file: &'static str },
    #[error(transparent)]
    Write(#[from] ReportError),
    #[error(
        "{path}: is no complete safetensors file ({message}); expected a model such as best.safetensors; if it is one, it may be truncated: \
         copy it again, or use another checkpoint of the run"
    )]
    Format { path: PathBuf, message: String },
    #[error(
        "{path}: holds no description of its model (metadata entry \"wgseg\"): expected a checkpoint written by wgseg"
    )]
    NoInfo { path: PathBuf },
    #[error(
        "{path}: its description of the model is not understood: {message}; it is of another version of wgseg, or what a \
         training is resumed from and no model, as training_state.safetensors is: give best.safetensors"
    )]
    BadInfo { path: PathBuf, message: String },
    #[error(
        "{path}: tensor {name:?} is missing; the checkpoint is of another architecture than the config's [model]"
    )]
    MissingTensor { path: PathBuf, name: String },
    #[error(
        "{path}: tensor {name:?} has shape {found:?}, expected {expected:?}; the checkpoint is of another architecture than the config's [model]"
    )]
    Shape { path: PathBuf, name: String, found: Vec<usize>, expected: Vec<usize> },
    #[error(
        "{path}: tensor {name:?} is none of the network's; expected those of the config's [model] alone: give a model such as \
         best.safetensors, or a file of PyTorch's `state_dict()` of docs/pytorch_unet.py"
    )]
    ExtraTensor { path: PathBuf, name: String },
    #[error(
        "{path}: is of a network with {key} = {found}, and the config says {wanted}; set {key} to {found}, or give another file"
    )]
    OtherModel { path: PathBuf, key: String, found: String, wanted: String },
    #[error("{path}: tensor {name:?} is {found}, expected F32; save it as f32, by `.float()` in PyTorch")]
    Dtype { path: PathBuf, name: String, found: String },
    #[error(
        "{path}: tensor {name:?} holds a value that is not finite: its training diverged; use an earlier checkpoint"
    )]
    NotFinite { path: PathBuf, name: String },
}

/// Named tensors in this crate's layout.
pub type Tensors = BTreeMap<String, (Shape, Vec<f32>)>;

/// Writes `tensors` in PyTorch's layout with `metadata` as JSON under one key, by way of a
/// temporary file in the same folder: the file is either the old one or the whole new one.
pub fn save<T: Serialize>(path: &Path, tensors: &Tensors, metadata: &T) -> Result<(), CheckpointError> {
    let format_error = |message: String| CheckpointError::Format { path: path.to_owned(), message };
    let data: Vec<(&String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, data))| {
            let bytes = bytemuck::cast_slice(&layout::to_torch(shape, data)).to_vec();
            (name, layout::torch_shape(shape), bytes)
        })
        .collect();
    let views = data
        .iter()
        .map(|(name, shape, bytes)| {
            let view =
                TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|e| format_error(e.to_string()))?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<Vec<_>, CheckpointError>>()?;
    let json = serde_json::to_string(metadata).map_err(|e| format_error(e.to_string()))?;
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), json)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| format_error(e.to_string()))?;
    Ok(atomic::write(path, &bytes)?)
}

/// A checkpoint's bytes, checked to be whole.
pub struct Checkpoint {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Checkpoint {
    pub fn open(path: &Path) -> Result<Checkpoint, CheckpointError> {
        if path.is_dir() {
            let file = match path.join(PLAN).is_file() {
                true => "seed_N/two_stage/best.safetensors",
                false => BEST,
            };
            return Err(CheckpointError::Folder { path: path.to_owned(), file });
        }
        let bytes =
            std::fs::read(path).map_err(|source| CheckpointError::Read { path: path.to_owned(), source })?;
        let checkpoint = Checkpoint { path: path.to_owned(), bytes };
        checkpoint.parse()?;
        Ok(checkpoint)
    }

    fn parse(&self) -> Result<SafeTensors<'_>, CheckpointError> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|e| CheckpointError::Format { path: self.path.clone(), message: e.to_string() })
    }

    /// The JSON description, as `T`.
    pub fn info<T: for<'de> Deserialize<'de>>(&self) -> Result<T, CheckpointError> {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes)
            .map_err(|e| CheckpointError::Format { path: self.path.clone(), message: e.to_string() })?;
        let json = metadata
            .metadata()
            .as_ref()
            .and_then(|m| m.get(METADATA_KEY))
            .ok_or_else(|| CheckpointError::NoInfo { path: self.path.clone() })?;
        serde_json::from_str(json)
            .map_err(|e| CheckpointError::BadInfo { path: self.path.clone(), message: e.to_string() })
    }

    /// Of the whole file, as hexadecimal digits.
    pub fn sha256(&self) -> String {
        hex(Sha256::new_with_prefix(&self.bytes))
    }

    /// The names of all tensors, in alphabetical order.
    pub fn names(&self) -> Result<Vec<String>, CheckpointError> {
        let mut names: Vec<String> = self.parse()?.names().into_iter().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Whether there is a tensor `name`.
    pub fn contains(&self, name: &str) -> Result<bool, CheckpointError> {
        Ok(self.parse()?.tensor(name).is_ok())
    }

    /// The tensor `name` of this crate's `shape`, in this crate's layout.
    pub fn tensor(&self, name: &str, shape: &Shape) -> Result<Vec<f32>, CheckpointError> {
        let tensors = self.parse()?;
        let (path, name) = (self.path.clone(), name.to_owned());
        let Ok(view) = tensors.tensor(&name) else {
            return Err(CheckpointError::MissingTensor { path, name });
        };
        if view.dtype() != Dtype::F32 {
            return Err(CheckpointError::Dtype { path, name, found: format!("{:?}", view.dtype()) });
        }
        let expected = layout::torch_shape(shape);
        if view.shape() != expected {
            return Err(CheckpointError::Shape { path, name, found: view.shape().to_vec(), expected });
        }
        let torch: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        if torch.iter().any(|x| !x.is_finite()) {
            return Err(CheckpointError::NotFinite { path, name });
        }
        Ok(layout::from_torch(shape, &torch))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

//! A model as a static page, which runs it through the WebGPU of a browser: a folder with the inference program and the
//! weights as data, and the few files of JavaScript that read images, run the program and show what it marks.
//!
//! The program is that of `wgseg predict` for one image, with the kernels that any WebGPU device can run: family `tiled`,
//! f32, WebGPU's default limits.

use std::path::Path;

use serde::Serialize;

use crate::program::{Caps, CompileError, compile};
use crate::report::{ReportError, atomic, make_folder};
use crate::tape::TapeError;
use crate::train::TrainError;
use crate::train::model::ModelFile;
use crate::train::step::{IMAGES, PROBABILITIES, inference};
use crate::train::threshold::Threshold;
use crate::web::{COMMON, Numbers, Program, RUNNER, STYLE, Shaders, data_file};

/// The files that are the same whatever the model is.
const PAGE: [(&str, &str); 10] = [
    ("index.html", include_str!("page/index.html")),
    ("style.css", STYLE),
    ("page.css", include_str!("page/page.css")),
    ("runner.js", RUNNER),
    ("common.js", COMMON),
    ("png.js", include_str!("page/png.js")),
    ("jpeg.js", include_str!("page/jpeg.js")),
    ("dicom.js", include_str!("page/dicom.js")),
    ("segment.js", include_str!("page/segment.js")),
    ("page.js", include_str!("page/page.js")),
];

/// Bytes of weights from which on a data file is full. Browsers read no script of more than some hundred MiB.
const FULL: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error(
        "the model does not fit WebGPU's default limits: {0}; train one with a smaller data.size or fewer channels"
    )]
    Compile(#[from] CompileError),
    #[error(
        "the model marks {0} structures, but the page shows one; export a model with model.out_channels = 1"
    )]
    Channels(usize),
    #[error("cannot put the model into data files: {0}")]
    Encode(#[from] serde_json::Error),
    #[error(transparent)]
    Tape(#[from] TapeError),
    #[error(transparent)]
    Model(#[from] TrainError),
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSummary {
    pub files: usize,
    pub bytes: u64,
}

/// The first data file that the page loads.
#[derive(Serialize)]
struct Model<'a> {
    title: &'a str,
    wgseg: &'static str,
    kernels: &'static str,
    /// Of the images that the program takes, in pixels.
    size: usize,
    /// 1 (grey) or 3 (colour).
    channels: usize,
    threshold: Threshold,
    val_dice: f64,
    epoch: usize,
    input: &'static str,
    output: &'static str,
    program: Program,
    /// Data files with the states of the program, by name.
    weights: Vec<String>,
}

/// Writes the page of `model` to `folder`, beside or over what is there. `title` is its heading.
///
/// # Errors
/// A tensor of the model is missing or of another shape; the model marks several structures, or does not fit WebGPU's
/// default limits; the folder cannot be written to.
pub fn write(model: &ModelFile, title: &str, folder: &Path) -> Result<WebSummary, WebError> {
    let (config, size) = (&model.config, model.config.data.size);
    if config.model.out_channels != 1 {
        return Err(WebError::Channels(config.model.out_channels));
    }
    let (tape, _) = inference(config, 1, size)?;
    let mut shaders = Shaders::default();
    let program = Program::new(&compile(&tape, &Caps::default())?, &mut shaders);
    let tensors = model.weights()?;

    make_folder(&folder.join("data"))?;
    let mut summary = WebSummary { files: 0, bytes: 0 };
    let mut put = |path: &str, text: &str| -> Result<(), WebError> {
        atomic::write(&folder.join(path), text.as_bytes())?;
        summary.files += 1;
        summary.bytes += text.len() as u64;
        Ok(())
    };
    let mut names = vec![];
    for tensors in parts(tensors) {
        let name = format!("weights-{}", names.len() + 1);
        let tensors: Vec<_> = tensors.iter().map(|(name, data)| (name, Numbers::f32(data))).collect();
        put(&format!("data/{name}.js"), &data_file(&name, &tensors)?)?;
        names.push(name);
    }
    put("data/shaders.js", &data_file("shaders", &shaders)?)?;
    let manifest = Model {
        title,
        wgseg: env!("CARGO_PKG_VERSION"),
        kernels: env!("WGSEG_KERNELS"),
        size,
        channels: config.model.in_channels,
        threshold: model.info.threshold,
        val_dice: model.info.val_dice,
        epoch: model.info.epoch,
        input: IMAGES,
        output: PROBABILITIES,
        program,
        weights: names,
    };
    put("data/model.js", &data_file("model", &manifest)?)?;
    for (path, text) in PAGE {
        put(path, text)?;
    }
    Ok(summary)
}

/// Tensors in their order, in parts of about [`FULL`] bytes.
fn parts(tensors: Vec<(String, Vec<f32>)>) -> Vec<Vec<(String, Vec<f32>)>> {
    let mut parts: Vec<Vec<_>> = vec![];
    let mut bytes = FULL;
    for (name, data) in tensors {
        if bytes >= FULL {
            parts.push(vec![]);
            bytes = 0;
        }
        bytes += 4 * data.len();
        if let Some(part) = parts.last_mut() {
            part.push((name, data));
        }
    }
    parts
}

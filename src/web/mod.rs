//! Programs as data for `runner.js`, which runs them through the WebGPU of a browser or of Dawn.
//!
//! A data file is a line of JavaScript, `wgseg.data("NAME", {…});`, and not JSON: a page that was opened from disk may
//! load scripts, but no other files. Numbers are base64 of their bytes, little-endian.

mod program;
mod tensors;

use serde::Serialize;

pub use program::{Dispatch, Port, Program, Shaders};
pub use tensors::{Numbers, Tensors, random};

/// Runs a [`Program`]; as well in a page as in Node.
pub const RUNNER: &str = include_str!("runner.js");

/// What pages share: they load data and say why there is no WebGPU.
pub const COMMON: &str = include_str!("common.js");

/// How pages look.
pub const STYLE: &str = include_str!("style.css");

/// A data file.
///
/// # Errors
/// `content` has a map whose keys are no strings.
pub fn data_file(name: &str, content: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(format!("wgseg.data({}, {});\n", serde_json::to_string(name)?, serde_json::to_string(content)?))
}

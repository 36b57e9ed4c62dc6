//! `wgseg export`

mod onnx;
mod web;

use super::Outcome;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Write a model as ONNX, for onnxruntime and others.
    Onnx(onnx::Args),
    /// Write a static page that runs the model through a browser's WebGPU; nothing leaves the browser
    Web(web::Args),
}

pub fn run(command: Command) -> Outcome {
    match command {
        Command::Onnx(args) => onnx::run(args),
        Command::Web(args) => web::run(args),
    }
}

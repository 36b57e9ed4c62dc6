//! `wgseg export`

mod onnx;

use super::Outcome;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Write a model as ONNX, for onnxruntime and others.
    Onnx(onnx::Args),
}

pub fn run(command: Command) -> Outcome {
    match command {
        Command::Onnx(args) => onnx::run(args),
    }
}

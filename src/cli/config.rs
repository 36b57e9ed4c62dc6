//! `wgseg config`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Outcome, say};
use crate::config::{ConfigError, builtin};

#[derive(clap::Args)]
pub struct Args {
    /// A built-in config; without it their names are listed
    name: Option<PathBuf>,
}

pub fn run(args: Args) -> Outcome {
    match args.name {
        None => say!("{}", builtin::names().join("\n")),
        Some(path) => match builtin::find(&path) {
            Some(text) => say!("{}", text.trim_end()),
            None => return Err(ConfigError::NotFound { path, known: builtin::names().join(", ") }.into()),
        },
    }
    Ok(ExitCode::SUCCESS)
}

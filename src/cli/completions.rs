//! `wgseg completions`

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Outcome, say};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wgseg completions bash > ~/.local/share/bash-completion/completions/wgseg
  wgseg completions zsh  > ~/.zfunc/_wgseg            with fpath+=~/.zfunc before compinit
  wgseg completions fish > ~/.config/fish/completions/wgseg.fish")]
pub struct Args {
    shell: Shell,
}

pub fn run(args: Args) -> Outcome {
    let mut text = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "wgseg", &mut text);
    say!("{}", String::from_utf8_lossy(&text).trim_end());
    Ok(ExitCode::SUCCESS)
}

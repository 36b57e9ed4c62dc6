//! `wgseg man`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;

use super::{Cli, Outcome, say};
use crate::report;

#[derive(clap::Args)]
#[command(after_help = "Example:
  wgseg man --out ~/.local/share/man/man1")]
pub struct Args {
    /// Folder for the pages, one a command
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    report::make_folder(&args.out)?;
    let mut command = Cli::command();
    command.build();
    let mut pages = 0;
    page(&command, "wgseg", &args.out, &mut pages)?;
    say!("{pages} pages in {}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and those of its subcommands.
fn page(
    command: &clap::Command,
    name: &str,
    out: &std::path::Path,
    pages: &mut usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut text = vec![];
    clap_mangen::Man::new(command.clone().name(clap::builder::Str::from(name.to_owned())))
        .render(&mut text)?;
    report::atomic::write(&out.join(format!("{name}.1")), &text)?;
    *pages += 1;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        page(sub, &format!("{name}-{}", sub.get_name()), out, pages)?;
    }
    Ok(())
}

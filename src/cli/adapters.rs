//! `wgseg adapters`

use std::process::ExitCode;

use super::{Outcome, print_json, say};
use crate::gpu::{self, GpuError};

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let adapters = gpu::list();
    if args.json {
        print_json(&adapters)?;
    } else {
        for a in &adapters {
            say!("{a}");
            let yes_or_no = |has| if has { "yes" } else { "no" };
            say!(
                "   {}kernels: {}; subgroups: {}; f16: {}; largest binding {} MiB, largest buffer {} MiB",
                if a.is_software() { "software driver, runs on the CPU; " } else { "" },
                a.family,
                yes_or_no(a.subgroups),
                yes_or_no(a.half),
                a.max_binding_bytes >> 20,
                a.max_buffer_bytes >> 20
            );
        }
        if !adapters.is_empty() {
            say!("* is taken when --adapter is not given");
        }
    }
    if adapters.is_empty() {
        return Err(GpuError::NoAdapter.into());
    }
    Ok(ExitCode::SUCCESS)
}

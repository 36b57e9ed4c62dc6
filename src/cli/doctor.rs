//! `wgseg doctor`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{DeviceArg, Outcome, print_json, say};
use crate::config::Config;
use crate::doctor::{Diagnosis, Severity, Wish, examine};
use crate::tune::place::{VARIABLE, Wanted};

#[derive(clap::Args)]
pub struct Args {
    /// A TOML file, or the name of a built-in config: what would it need here?
    #[arg(default_value = "default")]
    config: PathBuf,
    /// Set a key of the config, as in --set train.batch_size=4; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    adapter: DeviceArg,
}

pub fn run(args: Args) -> Outcome {
    let config = Config::load(&args.config, &args.set)?;
    let tuning = Wanted::by(args.adapter.no_tuning, std::env::var_os(VARIABLE), None);
    let name = args.config.display().to_string();
    let wish = Wish { name: &name, set: &args.set, config: &config };
    let found = examine(wish, args.adapter.name().as_deref(), &tuning)?;
    if args.json {
        print_json(&found)?;
    } else {
        print(&name, &found);
    }
    Ok(if found.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(name: &str, found: &Diagnosis) {
    let memory = |bytes: Option<u64>| bytes.map_or("unknown".to_owned(), mib);
    say!("wgseg {} on {}", found.wgseg, found.system);
    say!("host      {} cores, {} free", found.cores, memory(found.free_host_bytes));
    for (index, adapter) in found.adapters.iter().enumerate() {
        say!("{:10}{adapter}", if index == 0 { "adapters" } else { "" });
    }
    if let Some(taken) = &found.taken {
        let adapter = &taken.adapter;
        let tuned = if taken.tuned { "tuned" } else { "not tuned" };
        say!("takes     {}, kernels {} and {tuned}", adapter.name, adapter.family);
        let free = taken.free_bytes.map_or("not told by WebGPU".to_owned(), mib);
        say!("memory    free {free}; largest binding {}", mib(adapter.max_binding_bytes));
    }
    if let Some(needs) = &found.needs {
        let (batch, size) = (needs.batch_size, needs.size);
        say!("config    {name}: {} parameters, batches of {batch} at {size}×{size}", needs.parameters);
        let gflop = needs.step_flops.map_or(String::new(), |f| format!(", {:.1} GFLOP", f as f64 / 1e9));
        let step = needs.step_bytes.map_or("does not fit".to_owned(), mib);
        say!("needs     a training step {step}{gflop}; a prediction {}", memory(needs.predict_bytes));
    }
    for finding in &found.findings {
        let severity = match finding.severity {
            Severity::Error => "ERROR",
            Severity::Slow => "slow",
        };
        say!("{severity:10}{}", finding.what);
        say!("          {}", finding.mend);
    }
    say!("next      {}", found.next);
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

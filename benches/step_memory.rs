//! Prints the memory of a training step for each kernel family, without a device:
//! `cargo bench --bench step_memory -- BATCH SIZE BASE`.

use wgseg::config::Config;
use wgseg::program::{Caps, Family, compile, compile_keeping_all};
use wgseg::train::step::train_step;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo adds an option of its own.
    let arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let numbers: Vec<usize> = arguments.map(|argument| argument.parse()).collect::<Result<_, _>>()?;
    let &[batch, size, base] = numbers.as_slice() else {
        return Err("usage: step_memory BATCH SIZE BASE".into());
    };
    let mut config = Config::default();
    config.model.base_channels = base;
    let step = train_step(&config, batch, size)?;
    for (family, subgroups) in [(Family::Tiled, false), (Family::Cpu, true)] {
        // No adapter's limits: the figure is what the step needs.
        let caps = Caps { family, subgroups, max_binding_bytes: u64::MAX, ..Caps::default() };
        let (program, kept) = (compile(&step.tape, &caps)?, compile_keeping_all(&step.tape, &caps)?);
        println!(
            "{family} {} bytes, {} dispatches; with every value kept {} bytes, {} dispatches",
            program.peak_bytes(),
            program.dispatches.len(),
            kept.peak_bytes(),
            kept.dispatches.len()
        );
    }
    Ok(())
}

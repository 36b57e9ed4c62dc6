//! The config of a command that trains one model at a time.

use std::path::PathBuf;

use crate::config::{Config, ConfigError};

#[derive(clap::Args)]
pub(super) struct ConfigArg {
    /// A TOML file, or the name of a built-in config
    config: PathBuf,
    /// Set a key of the config, as in --set train.epochs=5; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of weights, order and augmentation: train.seed
    #[arg(long)]
    seed: Option<u64>,
}

impl ConfigArg {
    /// The config as it was called, set and seeded.
    ///
    /// # Errors
    /// It cannot be read, or a key or value is not understood.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let seed = self.seed.map(|seed| format!("train.seed={seed}"));
        let set: Vec<String> = self.set.iter().cloned().chain(seed).collect();
        Config::load(&self.config, &set)
    }
}

//! The U-Net that a command looks at: a config's, or the one that `wgseg bench` measures.

use std::path::PathBuf;

use crate::config::{Config, ConfigError};

#[derive(clap::Args, Clone, Debug)]
pub struct UnetArg {
    /// A TOML file, or the name of a built-in config; else the U-Net that `wgseg bench` measures
    config: Option<PathBuf>,
    /// Images in a batch [default: 8, or the config's]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: Option<u16>,
    /// Height and width of the images in pixels [default: 128, or the config's]
    #[arg(long)]
    size: Option<usize>,
    /// Channels of the first level [default: 16, or the config's]
    #[arg(long)]
    base: Option<usize>,
    /// Times the network halves the image [default: 4, or the config's]
    #[arg(long)]
    depth: Option<usize>,
}

impl UnetArg {
    /// The config, with what is said beside it.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut set = vec![];
        let mut put = |key: &str, value: Option<usize>, default: usize| {
            let value = value.or(self.config.is_none().then_some(default));
            set.extend(value.map(|value| format!("{key}={value}")));
        };
        put("data.size", self.size, 128);
        put("model.base_channels", self.base, 16);
        put("model.depth", self.depth, 4);
        put("train.batch_size", self.batch.map(usize::from), 8);
        match &self.config {
            Some(path) => Config::load(path, &set),
            None => Config::parse("", "the U-Net", &set),
        }
    }
}

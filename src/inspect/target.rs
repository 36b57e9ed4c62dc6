//! The chips that kernels can be compiled for.

use crate::program::Matrices;

/// A chip, one of each generation that differs for the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// RDNA 2: Radeon RX 6800, 6900
    #[value(name = "amd:navi21")]
    Navi21,
    /// RDNA 3: Radeon RX 7900
    #[value(name = "amd:navi31")]
    Navi31,
    /// GCN 5: Radeon VII, Instinct MI50, MI60
    #[value(name = "amd:vega20")]
    Vega20,
}

impl Target {
    /// As `--target` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Target::Navi21 => "amd:navi21",
            Target::Navi31 => "amd:navi31",
            Target::Vega20 => "amd:vega20",
        }
    }

    /// The cooperative matrices that the chip has, as its driver offers them to wgpu: subgroups may be of 32 lanes.
    pub fn matrices(self) -> Option<Matrices> {
        match self {
            Target::Navi31 => Matrices::of(16, 32, 64),
            Target::Navi21 | Target::Vega20 => None,
        }
    }

    /// As the driver calls it.
    pub fn chip(self) -> &'static str {
        self.name().trim_start_matches("amd:")
    }
}

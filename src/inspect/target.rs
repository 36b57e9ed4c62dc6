//! What kernels can be compiled for without its hardware.

use naga::valid::Capabilities;

use crate::program::Matrices;

/// Features of a kernel that not every target has, as naga and as a reader calls them.
pub const FEATURES: [(Capabilities, &str); 4] = [
    (Capabilities::SHADER_FLOAT16, "f16"),
    (Capabilities::SHADER_INT64, "64-bit integers"),
    (Capabilities::SUBGROUP, "subgroup operations"),
    (Capabilities::COOPERATIVE_MATRIX, "cooperative matrices"),
];

/// A compiler or a language, in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Spirv(Vulkan),
    Dxil(ShaderModel),
    Msl,
    Glsl(Glsl),
    Amd(Chip),
}

/// A Vulkan version, for the SPIR-V that wgpu makes for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vulkan {
    V1_1,
    V1_3,
}

/// A shader model of DirectX 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShaderModel {
    V6_0,
    V6_2,
    V6_6,
}

/// A GLSL version: the least of OpenGL ES that has compute shaders, and what wgpu writes for desktop OpenGL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glsl {
    Es310,
    Core450,
}

/// An AMD chip, one of each generation that differs for the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// GCN 5: Radeon VII, Instinct MI50, MI60
    Vega20,
    /// RDNA 2: Radeon RX 6800, 6900
    Navi21,
    /// RDNA 3: Radeon RX 7900
    Navi31,
}

/// A word that is the name of no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no target {name:?}; there are {}; the part before the colon names all of its kind",
    Target::ALL.map(Target::name).join(", ")
)]
pub struct TargetError {
    name: String,
}

impl Target {
    /// All there are, in the order in which they are told.
    pub const ALL: [Target; 11] = [
        Target::Spirv(Vulkan::V1_1),
        Target::Spirv(Vulkan::V1_3),
        Target::Dxil(ShaderModel::V6_0),
        Target::Dxil(ShaderModel::V6_2),
        Target::Dxil(ShaderModel::V6_6),
        Target::Msl,
        Target::Glsl(Glsl::Es310),
        Target::Glsl(Glsl::Core450),
        Target::Amd(Chip::Vega20),
        Target::Amd(Chip::Navi21),
        Target::Amd(Chip::Navi31),
    ];

    /// The targets of a name: one, or with the part before the colon alone all of its kind.
    pub fn named(name: &str) -> Result<Vec<Target>, TargetError> {
        let is_named = |target: &Target| {
            let full = target.name();
            full == name || full.split_once(':').is_some_and(|(kind, _)| kind == name)
        };
        let found: Vec<Target> = Target::ALL.into_iter().filter(is_named).collect();
        if found.is_empty() { Err(TargetError { name: name.to_owned() }) } else { Ok(found) }
    }

    /// As `--target` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Target::Spirv(Vulkan::V1_1) => "spirv:vulkan1.1",
            Target::Spirv(Vulkan::V1_3) => "spirv:vulkan1.3",
            Target::Dxil(ShaderModel::V6_0) => "dxil:6.0",
            Target::Dxil(ShaderModel::V6_2) => "dxil:6.2",
            Target::Dxil(ShaderModel::V6_6) => "dxil:6.6",
            Target::Msl => "msl",
            Target::Glsl(Glsl::Es310) => "glsl:es310",
            Target::Glsl(Glsl::Core450) => "glsl:450",
            Target::Amd(Chip::Vega20) => "amd:vega20",
            Target::Amd(Chip::Navi21) => "amd:navi21",
            Target::Amd(Chip::Navi31) => "amd:navi31",
        }
    }

    /// The name as that of a file: a colon is none on Windows.
    pub fn file_name(self) -> String {
        self.name().replace(':', "-")
    }

    /// The cooperative matrices that programs for it are compiled with: on Vulkan those that most GPUs have. Of a chip
    /// as its driver offers them to wgpu: subgroups may be of 32 lanes.
    pub fn matrices(self) -> Option<Matrices> {
        match self {
            Target::Spirv(_) | Target::Amd(Chip::Navi31) => Matrices::of(16, 32, 64),
            _ => None,
        }
    }

    /// Those of [`FEATURES`] that wgpu offers there at best; of cooperative matrices what wgseg takes.
    pub fn offers(self) -> Capabilities {
        let integers_and_subgroups = Capabilities::SHADER_INT64 | Capabilities::SUBGROUP;
        match self {
            Target::Spirv(_) | Target::Amd(_) => {
                integers_and_subgroups | Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX
            }
            Target::Dxil(ShaderModel::V6_0) => integers_and_subgroups,
            Target::Dxil(_) | Target::Msl => integers_and_subgroups | Capabilities::SHADER_FLOAT16,
            Target::Glsl(_) => Capabilities::empty(),
        }
    }

    /// Why a kernel with these `needs` cannot be had there.
    pub fn lacks(self, needs: Capabilities) -> Option<String> {
        let missing = needs - self.offers();
        let names = FEATURES.iter().filter(|(feature, _)| missing.contains(*feature)).map(|(_, name)| *name);
        let names: Vec<&str> = names.collect();
        (!names.is_empty()).then(|| format!("it needs {}", names.join(", ")))
    }
}

impl Chip {
    /// As the driver calls it.
    pub fn name(self) -> &'static str {
        Target::Amd(self).name().trim_start_matches("amd:")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_target_or_all_of_its_kind() {
        for target in Target::ALL {
            assert_eq!(Target::named(target.name()), Ok(vec![target]));
        }
        assert_eq!(
            Target::named("spirv"),
            Ok(vec![Target::Spirv(Vulkan::V1_1), Target::Spirv(Vulkan::V1_3)])
        );
        assert_eq!(Target::named("amd").unwrap().len(), 3);
    }

    #[test]
    fn a_typo_is_told_every_name() {
        for wrong in ["", "amd:", "spirv:", "hlsl", "amd:navi"] {
            let message = Target::named(wrong).unwrap_err().to_string();
            for target in Target::ALL {
                assert!(message.contains(target.name()), "{message}");
            }
        }
    }

    #[test]
    fn what_a_target_lacks_is_named() {
        let needs = Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP;
        let lacks = |name: &str| Target::named(name).unwrap()[0].lacks(needs);
        assert_eq!(lacks("dxil:6.0").as_deref(), Some("it needs f16"));
        assert_eq!(lacks("glsl").as_deref(), Some("it needs f16, subgroup operations"));
        assert_eq!(lacks("dxil:6.2"), None);
        assert_eq!(Target::Msl.lacks(Capabilities::empty()), None);
    }
}

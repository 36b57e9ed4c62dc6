//! A kernel as naga holds it, ready to be written in any language.

use naga::ShaderStage;
use naga::back::pipeline_constants::process_overrides;
use naga::front::wgsl;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

use super::target::FEATURES;
use crate::program::{Access, Kernel};

/// Every kernel's entry point.
pub const ENTRY: &str = "main";
pub const STAGE: ShaderStage = ShaderStage::Compute;

/// What wgpu takes for shaders without run-time checks, which are the ones that a session runs.
pub const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

/// A kernel, its `override` constants filled in, found valid by naga.
#[derive(Debug)]
pub struct Module {
    pub module: naga::Module,
    pub info: ModuleInfo,
    /// Bindings 1, 2, …; binding 0 is the uniform block.
    pub storage: Vec<Access>,
    /// Those of [`FEATURES`] that it does not do without.
    pub needs: Capabilities,
}

impl Module {
    pub fn of(kernel: &Kernel) -> Result<Module, String> {
        let storage = kernel.shader.interface()?.storage.clone();
        let source = kernel.shader.source;
        let module = wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
        let info = validate(&module, Capabilities::all()).map_err(|e| e.emit_to_string(source))?;
        let constants = kernel.overrides.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let (module, info) =
            process_overrides(&module, &info, Some((STAGE, ENTRY)), &constants).map_err(|e| e.to_string())?;
        let needs = FEATURES.iter().map(|(feature, _)| *feature);
        let needs =
            needs.filter(|feature| validate(&module, Capabilities::all() - *feature).is_err()).collect();
        Ok(Module { needs, module: module.into_owned(), info: info.into_owned(), storage })
    }

    /// Its bindings, in order: the uniform block, then storage.
    pub fn bindings(&self) -> impl Iterator<Item = (naga::ResourceBinding, Option<Access>)> {
        let kinds = std::iter::once(None).chain(self.storage.iter().map(|access| Some(*access)));
        (0..).zip(kinds).map(|(binding, access)| (naga::ResourceBinding { group: 0, binding }, access))
    }
}

fn validate(
    module: &naga::Module,
    capabilities: Capabilities,
) -> Result<ModuleInfo, Box<naga::WithSpan<naga::valid::ValidationError>>> {
    Validator::new(ValidationFlags::all(), capabilities).validate(module).map_err(Box::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Shader;

    fn needs(shader: &'static Shader) -> Capabilities {
        Module::of(&Kernel::new(shader)).unwrap().needs
    }

    #[test]
    fn what_a_kernel_needs_is_read_from_it() {
        static PLAIN: Shader = Shader {
            name: "plain",
            source: "@group(0) @binding(0) var<uniform> n: u32;\n\
                @group(0) @binding(1) var<storage, read_write> output: array<u32>;\n\
                @compute @workgroup_size(1) fn main() { output[0] = n; }",
        };
        static WIDE: Shader = Shader {
            name: "wide",
            source: "enable f16; @group(0) @binding(0) var<uniform> n: u32;\n\
                @group(0) @binding(1) var<storage, read_write> output: array<u64>;\n\
                @group(0) @binding(2) var<storage, read_write> halves: array<f16>;\n\
                @compute @workgroup_size(8) fn main(@builtin(local_invocation_index) i: u32) {\n\
                    output[i] = u64(subgroupAdd(n)); halves[i] = f16(i); }",
        };
        assert_eq!(needs(&PLAIN), Capabilities::empty());
        assert_eq!(
            needs(&WIDE),
            Capabilities::SHADER_INT64 | Capabilities::SUBGROUP | Capabilities::SHADER_FLOAT16
        );
    }

    #[test]
    fn what_does_not_parse_is_told_with_its_place() {
        static BROKEN: Shader = Shader { name: "broken", source: "fn main() { let x = ; }" };
        let message = Module::of(&Kernel::new(&BROKEN)).unwrap_err();
        assert!(message.contains("broken") && message.contains("let x = ;"), "{message}");
    }
}

//! A kernel as the SPIR-V that wgpu gives to a Vulkan driver.

use naga::back::{pipeline_constants::process_overrides, spv};
use naga::front::wgsl;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};

use super::InspectError;
use crate::program::Kernel;

/// Translates a kernel, its `override` constants filled in, with the options that wgpu's Vulkan backend
/// takes for shaders without run-time checks, which are the ones that a session runs.
pub fn translate(kernel: &Kernel) -> Result<Vec<u32>, InspectError> {
    let failed = |message: String| InspectError::Translate { shader: kernel.shader.name.to_owned(), message };
    let source = kernel.shader.source;
    let module = wgsl::parse_str(source).map_err(|e| failed(e.emit_to_string(source)))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|e| failed(e.emit_to_string(source)))?;
    let constants = kernel.overrides.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let stage = naga::ShaderStage::Compute;
    let (module, info) = process_overrides(&module, &info, Some((stage, "main")), &constants)
        .map_err(|e| failed(e.to_string()))?;
    let unchecked = BoundsCheckPolicy::Unchecked;
    let options = spv::Options {
        // Of Vulkan 1.3.
        lang_version: (1, 6),
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let entry = spv::PipelineOptions { shader_stage: stage, entry_point: "main".to_owned() };
    spv::write_vec(&module, &info, &options, Some(&entry)).map_err(|e| failed(e.to_string()))
}

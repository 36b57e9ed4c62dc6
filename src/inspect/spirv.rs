//! A kernel as the SPIR-V that wgpu gives to a Vulkan driver.

use naga::back::spv;

use super::module::{ENTRY, Module, STAGE, UNCHECKED};
use super::target::Vulkan;

/// What wgpu's Vulkan backend lets naga use on a device of which all is asked that kernels use. Dot products of bytes
/// and the like are offered by some drivers; no kernel has any.
const CAPABILITIES: [spv::Capability; 18] = [
    spv::Capability::Shader,
    spv::Capability::Matrix,
    spv::Capability::Sampled1D,
    spv::Capability::Image1D,
    spv::Capability::ImageQuery,
    spv::Capability::DerivativeControl,
    spv::Capability::StorageImageExtendedFormats,
    spv::Capability::GroupNonUniform,
    spv::Capability::GroupNonUniformVote,
    spv::Capability::GroupNonUniformArithmetic,
    spv::Capability::GroupNonUniformBallot,
    spv::Capability::GroupNonUniformShuffle,
    spv::Capability::GroupNonUniformShuffleRelative,
    spv::Capability::GroupNonUniformQuad,
    spv::Capability::Int64,
    spv::Capability::Float16,
    spv::Capability::CooperativeMatrixKHR,
    spv::Capability::VulkanMemoryModel,
];

/// Translates a kernel with the options of wgpu's Vulkan backend on a device of this version.
pub fn translate(kernel: &Module, vulkan: Vulkan) -> Result<Vec<u32>, String> {
    let options = spv::Options {
        lang_version: match vulkan {
            Vulkan::V1_1 => (1, 3),
            Vulkan::V1_3 => (1, 6),
        },
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        capabilities: Some(CAPABILITIES.into_iter().collect()),
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let entry = spv::PipelineOptions { shader_stage: STAGE, entry_point: ENTRY.to_owned() };
    spv::write_vec(&kernel.module, &kernel.info, &options, Some(&entry)).map_err(|e| e.to_string())
}

//! A kernel as the HLSL that wgpu gives to DXC.

use naga::back::hlsl;

use super::dxc::Job;
use super::module::{ENTRY, Module, STAGE};
use super::target::ShaderModel;
use crate::program::Access;

/// Translates a kernel with the options of wgpu's DirectX 12 backend on a device of this shader model.
pub fn translate(kernel: &Module, model: ShaderModel) -> Result<Job, String> {
    let (shader_model, profile) = match model {
        ShaderModel::V6_0 => (hlsl::ShaderModel::V6_0, "cs_6_0"),
        ShaderModel::V6_2 => (hlsl::ShaderModel::V6_2, "cs_6_2"),
        ShaderModel::V6_6 => (hlsl::ShaderModel::V6_6, "cs_6_6"),
    };
    // Registers of constants, of what is read and of what is written are each counted by themselves.
    let (mut constants, mut read, mut written) = (0, 0, 0);
    let mut take = |access| {
        let next = match access {
            None => &mut constants,
            Some(Access::Read) => &mut read,
            Some(Access::ReadWrite) => &mut written,
        };
        let register = *next;
        *next += 1;
        hlsl::BindTarget { register, ..Default::default() }
    };
    let binding_map = kernel.bindings().map(|(binding, access)| (binding, take(access))).collect();
    let options = hlsl::Options {
        shader_model,
        binding_map,
        fake_missing_bindings: false,
        // The number of workgroups comes from there.
        special_constants_binding: Some(take(None)),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let of_entry = hlsl::PipelineOptions { entry_point: Some((STAGE, ENTRY.to_owned())) };
    let mut source = String::new();
    let written = hlsl::Writer::new(&mut source, &options, &of_entry)
        .write(&kernel.module, &kernel.info, None)
        .map_err(|e| e.to_string())?;
    let entry = written.entry_point_names.into_iter().next().ok_or("naga wrote no entry point")?;
    let half = kernel.needs.contains(naga::valid::Capabilities::SHADER_FLOAT16);
    Ok(Job { source, entry: entry.map_err(|e| e.to_string())?, profile: profile.to_owned(), half })
}

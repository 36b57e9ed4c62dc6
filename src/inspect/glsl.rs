//! A kernel as the GLSL that wgpu gives to an OpenGL driver.

use naga::back::glsl;

use super::module::{ENTRY, Module, STAGE, UNCHECKED};
use super::target::Glsl;

/// Translates a kernel with the options of wgpu's OpenGL backend on a driver of this version.
pub fn translate(kernel: &Module, version: Glsl) -> Result<String, String> {
    // Uniform blocks and storage blocks are each counted by themselves.
    let (mut uniform, mut storage) = (0..u8::MAX, 0..u8::MAX);
    let slots = kernel.bindings().filter_map(|(binding, access)| {
        let counter = if access.is_some() { &mut storage } else { &mut uniform };
        Some((binding, counter.next()?))
    });
    let options = glsl::Options {
        version: match version {
            Glsl::Es310 => glsl::Version::Embedded { version: 310, is_webgl: false },
            Glsl::Core450 => glsl::Version::Desktop(450),
        },
        writer_flags: glsl::WriterFlags::ADJUST_COORDINATE_SPACE | glsl::WriterFlags::FORCE_POINT_SIZE,
        binding_map: slots.collect(),
        zero_initialize_workgroup_memory: false,
    };
    let of_entry =
        glsl::PipelineOptions { shader_stage: STAGE, entry_point: ENTRY.to_owned(), multiview: None };
    let mut text = String::new();
    glsl::Writer::new(&mut text, &kernel.module, &kernel.info, &options, &of_entry, UNCHECKED)
        .and_then(|mut writer| writer.write())
        .map_err(|e| e.to_string())?;
    Ok(text)
}

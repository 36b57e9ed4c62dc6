//! A kernel as the Metal Shading Language that wgpu gives to Apple's compiler.

use naga::back::msl;

use super::module::{ENTRY, Module, STAGE, UNCHECKED};
use crate::program::Access;

/// Of macOS 14 and iOS 17. wgpu takes the newest that the system has.
pub const VERSION: (u8, u8) = (3, 1);

/// Translates a kernel with the options of wgpu's Metal backend.
pub fn translate(kernel: &Module) -> Result<String, String> {
    let target = |(slot, (binding, access))| {
        let mutable = access == Some(Access::ReadWrite);
        (binding, msl::BindTarget { buffer: Some(slot), mutable, ..Default::default() })
    };
    let resources = (0..).zip(kernel.bindings()).map(target).collect();
    let resources = msl::EntryPointResources {
        resources,
        immediates_buffer: None,
        // After the others: the lengths of the storage buffers.
        sizes_buffer: Some(kernel.storage.len() as u8 + 1),
    };
    let options = msl::Options {
        lang_version: VERSION,
        per_entry_point_map: [(ENTRY.to_owned(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let of_entry = msl::PipelineOptions {
        entry_point: Some((STAGE, ENTRY.to_owned())),
        vertex_pulling_transform: true,
        ..Default::default()
    };
    let (text, written) =
        msl::write_string(&kernel.module, &kernel.info, &options, &of_entry).map_err(|e| e.to_string())?;
    match written.entry_point_names.into_iter().next() {
        Some(Ok(_)) => Ok(text),
        Some(Err(why)) => Err(why.to_string()),
        None => Err("naga wrote no entry point".to_owned()),
    }
}

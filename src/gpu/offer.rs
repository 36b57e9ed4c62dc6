//! What an adapter offers, whatever a device of it was opened with.

use std::collections::BTreeMap;

use super::Gpu;

/// What an adapter offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Name of the vendor, or its PCI number.
    pub vendor: String,
    /// Those that compute shaders meet, by WebGPU's names.
    pub limits: BTreeMap<String, u64>,
    /// By wgpu's names.
    pub features: Vec<String>,
}

impl Gpu {
    /// What its adapter offers.
    pub fn offer(&self) -> Offer {
        let limits = self.adapter.limits();
        let named = [
            ("maxBindGroups", limits.max_bind_groups.into()),
            ("maxBufferSize", limits.max_buffer_size),
            ("maxComputeInvocationsPerWorkgroup", limits.max_compute_invocations_per_workgroup.into()),
            ("maxComputeWorkgroupSizeX", limits.max_compute_workgroup_size_x.into()),
            ("maxComputeWorkgroupSizeY", limits.max_compute_workgroup_size_y.into()),
            ("maxComputeWorkgroupSizeZ", limits.max_compute_workgroup_size_z.into()),
            ("maxComputeWorkgroupStorageSize", limits.max_compute_workgroup_storage_size.into()),
            ("maxComputeWorkgroupsPerDimension", limits.max_compute_workgroups_per_dimension.into()),
            ("maxStorageBufferBindingSize", limits.max_storage_buffer_binding_size),
            ("maxStorageBuffersPerShaderStage", limits.max_storage_buffers_per_shader_stage.into()),
            ("maxUniformBufferBindingSize", limits.max_uniform_buffer_binding_size),
            ("minStorageBufferOffsetAlignment", limits.min_storage_buffer_offset_alignment.into()),
            ("minUniformBufferOffsetAlignment", limits.min_uniform_buffer_offset_alignment.into()),
        ];
        let features = self.adapter.features();
        Offer {
            vendor: vendor(self.adapter.get_info().vendor),
            limits: named.into_iter().map(|(name, limit): (&str, u64)| (name.to_owned(), limit)).collect(),
            features: features.iter_names().map(|(name, _)| name.to_owned()).collect(),
        }
    }
}

/// By PCI's and Khronos' numbers.
fn vendor(number: u32) -> String {
    let name = match number {
        0x1002 => "AMD",
        0x1010 => "Imagination",
        0x106b => "Apple",
        0x10de => "NVIDIA",
        0x13b5 => "Arm",
        0x1414 => "Microsoft",
        0x1ae0 => "Google",
        0x5143 => "Qualcomm",
        0x8086 => "Intel",
        0x10005 => "Mesa",
        0 => "",
        _ => return format!("{number:#06x}"),
    };
    name.to_owned()
}

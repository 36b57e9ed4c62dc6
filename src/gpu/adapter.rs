//! Which adapters this machine offers, and which one is taken.

use serde::{Deserialize, Serialize};

use super::GpuError;
use crate::program::{Caps, Choices, Family, Matrices};

/// An adapter as `wgseg adapters` tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdapterDescription {
    /// Its number in the list; `--adapter` takes it.
    pub index: usize,
    pub name: String,
    pub backend: String,
    pub device_type: String,
    pub driver: String,
    pub family: Family,
    pub subgroups: bool,
    /// f16 in shaders, which training in mixed precision needs.
    #[serde(default)]
    pub half: bool,
    pub max_binding_bytes: u64,
    pub max_buffer_bytes: u64,
    /// It is the one taken when none is named.
    pub chosen: bool,
}

impl AdapterDescription {
    /// Whether it is no GPU, but a driver that computes on the CPU.
    pub fn is_software(&self) -> bool {
        self.device_type == "Cpu"
    }
}

impl std::fmt::Display for AdapterDescription {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(
            f,
            "{}: {} ({}, {}, {}){}",
            self.index,
            self.name,
            self.backend,
            self.device_type,
            self.driver,
            if self.chosen { " *" } else { "" }
        )
    }
}

/// Adapters with compute shaders and the portable limits, best first, with what is to be told of each.
fn adapters() -> Vec<(wgpu::Adapter, AdapterDescription)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    found.retain(|a| {
        a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
            && wgpu::Limits::default().check_limits(&a.limits())
    });
    found.sort_by_key(|a| {
        let info = a.get_info();
        let device = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        (device, info.backend == wgpu::Backend::Gl, info.name)
    });
    found
        .into_iter()
        .enumerate()
        .map(|(index, adapter)| {
            let info = adapter.get_info();
            let limits = adapter.limits();
            let caps = caps(&adapter);
            let description = AdapterDescription {
                index,
                name: info.name.clone(),
                backend: info.backend.to_string(),
                device_type: format!("{:?}", info.device_type),
                driver: driver(&info),
                family: caps.family,
                subgroups: caps.subgroups,
                half: adapter.features().contains(wgpu::Features::SHADER_F16),
                max_binding_bytes: limits.max_storage_buffer_binding_size,
                max_buffer_bytes: limits.max_buffer_size,
                chosen: index == 0,
            };
            (adapter, description)
        })
        .collect()
}

fn driver(info: &wgpu::AdapterInfo) -> String {
    // OpenGL has no name of the driver, and its version begins with a bare number.
    let name = if info.backend == wgpu::Backend::Gl { "OpenGL" } else { &info.driver };
    format!("{name} {}", info.driver_info).trim().to_owned()
}

/// What the kernels of [`Caps::subgroups`] ask of a device.
pub(super) const SUBGROUP_FEATURES: wgpu::Features =
    wgpu::Features::SUBGROUP.union(wgpu::Features::SHADER_INT64);

/// What the compiler may use of an adapter.
pub(super) fn caps(adapter: &wgpu::Adapter) -> Caps {
    let info = adapter.get_info();
    let limits = adapter.limits();
    let software = info.device_type == wgpu::DeviceType::Cpu;
    Caps {
        family: if software { Family::Cpu } else { Family::Tiled },
        subgroups: adapter.features().contains(SUBGROUP_FEATURES)
            && info.subgroup_min_size == info.subgroup_max_size
            && info.subgroup_min_size == 8,
        matrices: None,
        max_binding_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
        max_workgroups: limits.max_compute_workgroups_per_dimension.min(65_535),
        memory_bytes: if software { free_host_memory() } else { None },
        choices: Choices::default(),
    }
}

/// What the compiler may use of an adapter's cooperative matrices. On Vulkan: naga's Metal Shading Language cannot load
/// them from the vectors in which the kernels stage numbers.
pub(super) fn matrices(
    adapter: &wgpu::Adapter,
    offered: &[wgpu::CooperativeMatrixProperties],
) -> Option<Matrices> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let info = adapter.get_info();
    if info.backend != wgpu::Backend::Vulkan {
        return None;
    }
    let is_offered = |side: &usize| {
        let is_of = |m: &&wgpu::CooperativeMatrixProperties| {
            [m.m_size, m.n_size, m.k_size] == [*side as u32; 3] && m.ab_type == F16 && m.cr_type == F32
        };
        offered.iter().any(|m| is_of(&m))
    };
    let side = [16, 8].into_iter().find(is_offered)?;
    Matrices::of(side, info.subgroup_min_size, info.subgroup_max_size)
}

/// Bytes of free memory of the host, which is what a software driver allocates from. Linux only.
pub fn free_host_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Every usable adapter, best first.
pub fn list() -> Vec<AdapterDescription> {
    adapters().into_iter().map(|(_, description)| description).collect()
}

/// The adapter that `wanted` names, or the best one.
pub fn choose(wanted: Option<&str>) -> Result<(wgpu::Adapter, AdapterDescription), GpuError> {
    let mut all = adapters();
    if all.is_empty() {
        return Err(GpuError::NoAdapter);
    }
    let Some(wanted) = wanted else { return Ok(all.swap_remove(0)) };
    let named = named(wanted, all.iter().map(|(_, description)| description));
    let listed = |indices: &[usize]| -> String {
        indices.iter().map(|i| all[*i].1.to_string()).collect::<Vec<_>>().join("\n")
    };
    match named[..] {
        [index] => Ok(all.swap_remove(index)),
        [] => {
            let available = listed(&(0..all.len()).collect::<Vec<_>>());
            Err(GpuError::UnknownAdapter { wanted: wanted.to_owned(), available })
        }
        _ => Err(GpuError::AmbiguousAdapter { wanted: wanted.to_owned(), matching: listed(&named) }),
    }
}

/// Numbers of the adapters that are the same as `one` in name, backend and driver, as `--adapter` takes them; `one` is the
/// first.
pub fn alike(one: &AdapterDescription) -> Vec<usize> {
    same(one, &list())
}

fn same(one: &AdapterDescription, all: &[AdapterDescription]) -> Vec<usize> {
    let is_same = |a: &&AdapterDescription| {
        a.index != one.index && (&a.name, &a.backend, &a.driver) == (&one.name, &one.backend, &one.driver)
    };
    let others = all.iter().filter(is_same).map(|a| a.index);
    [one.index].into_iter().chain(others).collect()
}

/// The places of the adapters that `wanted` names: by number (below 100), or by words that are each a part of the name or of the
/// driver, or the backend.
fn named<'a>(wanted: &str, all: impl Iterator<Item = &'a AdapterDescription>) -> Vec<usize> {
    // No machine has a hundred adapters, and "4090" or "780" is a part of a name.
    let number = wanted.parse::<usize>().ok().filter(|number| *number < 100);
    let wanted = wanted.to_lowercase();
    let is_named = |a: &AdapterDescription| {
        if let Some(number) = number {
            return a.index == number;
        }
        let text = format!("{} {}", a.name, a.driver).to_lowercase();
        wanted.split_whitespace().all(|word| match BACKENDS.contains(&word) {
            // As a part of a name it would match too much: "gl" is in "Google".
            true => a.backend == word,
            false => text.contains(word),
        })
    };
    all.enumerate().filter(|(_, adapter)| is_named(adapter)).map(|(place, _)| place).collect()
}

/// As wgpu calls those that wgseg is built with.
const BACKENDS: [&str; 4] = ["vulkan", "gl", "metal", "dx12"];

#[cfg(test)]
mod tests {
    use super::*;

    fn described(index: usize, name: &str, backend: &str, driver: &str) -> AdapterDescription {
        AdapterDescription {
            index,
            name: name.to_owned(),
            backend: backend.to_owned(),
            device_type: "Cpu".to_owned(),
            driver: driver.to_owned(),
            family: Family::Cpu,
            subgroups: false,
            half: false,
            max_binding_bytes: 1 << 27,
            max_buffer_bytes: 1 << 27,
            chosen: index == 0,
        }
    }

    #[test]
    fn each_of_several_adapters_of_one_name_can_be_named() {
        let llvmpipe = "llvmpipe (LLVM 15.0.6, 256 bits)";
        let all = [
            described(0, llvmpipe, "vulkan", "llvmpipe Mesa 25.0.7 (LLVM 15.0.6)"),
            described(1, llvmpipe, "vulkan", "llvmpipe Mesa 22.3.6 (LLVM 15.0.6)"),
            described(2, "Google SwiftShader", "vulkan", "SwiftShader driver"),
            described(3, llvmpipe, "gl", "OpenGL 4.5 (Core Profile) Mesa 25.0.7"),
            described(4, llvmpipe, "gl", "OpenGL 4.5 (Core Profile) Mesa 25.0.7"),
        ];
        let named = |wanted| named(wanted, all.iter());
        assert_eq!(named("llvmpipe"), [0, 1, 3, 4]);
        assert_eq!(named("llvmpipe vulkan"), [0, 1]);
        assert_eq!(named("Vulkan LLVMpipe 22.3"), [1]);
        assert_eq!(named("gl"), [3, 4]);
        assert_eq!(named("OpenGL 25"), [3, 4]);
        assert_eq!(named(llvmpipe), [0, 1, 3, 4]);
        assert_eq!(named("SwiftShader"), [2]);
        assert_eq!(named("4"), [4]);
        // A number of two digits is never a part of a name.
        assert!(named("15").is_empty());
        assert_eq!(same(&all[0], &all), [0]);
        assert_eq!(same(&all[4], &all), [4, 3]);
        let card = [described(0, "NVIDIA GeForce RTX 4090", "vulkan", "NVIDIA 570.86")];
        assert_eq!(super::named("4090", card.iter()), [0]);
        assert!(named("GeForce").is_empty());
    }
}

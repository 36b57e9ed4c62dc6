//! AMD's compiler by way of RADV's null device, which builds machine code and needs no GPU.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};

use ash::{ext, khr, vk};
use serde::{Deserialize, Serialize};

/// What the driver made of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Built {
    /// Lanes of a wave.
    pub wave: u32,
    /// Its statistics by the driver's own names.
    pub statistics: BTreeMap<String, u64>,
    /// The machine code as text.
    pub assembly: String,
}

/// Why the driver gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("there is no Vulkan loader: {0}")]
    NoLoader(#[from] ash::LoadingError),
    #[error("the driver offers {found}, and no device of {wanted}; Mesa 25.0's RADV has such a null device")]
    NoDevice { wanted: String, found: String },
    #[error("the driver does not tell of pipelines: {0} is missing")]
    NoExtension(String),
    #[error("{call}: {result}")]
    Vulkan { call: &'static str, result: vk::Result },
}

/// Says which call a Vulkan error came from.
fn in_call(call: &'static str) -> impl Fn(vk::Result) -> DriverError {
    move |result| DriverError::Vulkan { call, result }
}

/// A null device, open.
pub struct Driver {
    instance: ash::Instance,
    device: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    name: String,
    /// The loader's library; unloaded last.
    _entry: ash::Entry,
}

impl Driver {
    /// Opens the device of this chip, which `RADV_FORCE_FAMILY` has to name in this process's environment.
    pub fn open(chip: &str) -> Result<Driver, DriverError> {
        // SAFETY: the loader is the system's own, and stays loaded as long as the driver lives.
        let entry = unsafe { ash::Entry::load() }?;
        let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let create = vk::InstanceCreateInfo::default().application_info(&app);
        // SAFETY: `create` and what it points to live through the call.
        let instance =
            unsafe { entry.create_instance(&create, None) }.map_err(in_call("vkCreateInstance"))?;
        match open_device(&instance, chip) {
            Ok((device, name)) => {
                let executables = khr::pipeline_executable_properties::Device::new(&instance, &device);
                Ok(Driver { instance, device, executables, name, _entry: entry })
            }
            Err(error) => {
                // SAFETY: nothing was made of the instance.
                unsafe { instance.destroy_instance(None) };
                Err(error)
            }
        }
    }

    /// The device and driver as they call themselves.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compiles a kernel that has one uniform block and then `storage` storage buffers.
    pub fn compile(&self, words: &[u32], storage: usize) -> Result<Built, DriverError> {
        let binding = |(index, kind)| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(index)
                .descriptor_count(1)
                .descriptor_type(kind)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let mut kinds = vec![vk::DescriptorType::UNIFORM_BUFFER];
        kinds.resize(storage + 1, vk::DescriptorType::STORAGE_BUFFER);
        let bindings: Vec<_> = (0..).zip(kinds).map(binding).collect();
        let device = &self.device;
        // SAFETY: the words are naga's; each create structure and what it points to lives through its
        // call, each handle is destroyed once, after its last use, and nothing is ever submitted.
        unsafe {
            let create = vk::ShaderModuleCreateInfo::default().code(words);
            let shader =
                device.create_shader_module(&create, None).map_err(in_call("vkCreateShaderModule"))?;
            let create = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let set = device
                .create_descriptor_set_layout(&create, None)
                .map_err(in_call("vkCreateDescriptorSetLayout"))?;
            let sets = [set];
            let create = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout =
                device.create_pipeline_layout(&create, None).map_err(in_call("vkCreatePipelineLayout"))?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(shader)
                .name(c"main");
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let create = vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(flags);
            let built = device
                .create_compute_pipelines(vk::PipelineCache::null(), &[create], None)
                .map_err(|(_, result)| in_call("vkCreateComputePipelines")(result))
                .and_then(|pipelines| {
                    let built = self.describe(pipelines[0]);
                    pipelines.iter().for_each(|p| device.destroy_pipeline(*p, None));
                    built
                });
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(set, None);
            device.destroy_shader_module(shader, None);
            built
        }
    }

    /// # Safety
    /// `pipeline` is one of this device, made with both capture flags, and has one executable.
    unsafe fn describe(&self, pipeline: vk::Pipeline) -> Result<Built, DriverError> {
        let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
        let call = in_call("vkGetPipelineExecutablePropertiesKHR");
        // SAFETY: the caller's promise.
        let executables =
            unsafe { self.executables.get_pipeline_executable_properties(&info) }.map_err(call)?;
        let wave = executables.first().map_or(0, |executable| executable.subgroup_size);
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        let call = in_call("vkGetPipelineExecutableStatisticsKHR");
        // SAFETY: the caller's promise.
        let found = unsafe { self.executables.get_pipeline_executable_statistics(&info) }.map_err(call)?;
        let whole = found.iter().filter(|s| s.format == vk::PipelineExecutableStatisticFormatKHR::UINT64);
        // SAFETY: the format says which member of the union is set.
        let statistics = whole.map(|s| (text(&s.name), unsafe { s.value.u64 })).collect();
        // SAFETY: the caller's promise.
        let assembly = unsafe { self.assembly(&info) }?;
        Ok(Built { wave, statistics, assembly })
    }

    /// # Safety
    /// As [`Driver::describe`].
    unsafe fn assembly(&self, info: &vk::PipelineExecutableInfoKHR) -> Result<String, DriverError> {
        let call = "vkGetPipelineExecutableInternalRepresentationsKHR";
        let get = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        // SAFETY: the caller's promise; this first call asks for the sizes alone.
        let mut found = unsafe { self.executables.get_pipeline_executable_internal_representations(info) }
            .map_err(in_call(call))?;
        let mut texts: Vec<Vec<u8>> = found.iter().map(|r| vec![0; r.data_size]).collect();
        for (representation, text) in found.iter_mut().zip(&mut texts) {
            representation.p_data = text.as_mut_ptr().cast();
        }
        let mut count = found.len() as u32;
        // SAFETY: each entry points to as many bytes as the first call asked for, and `texts` outlives it.
        let result = unsafe { get(self.device.handle(), info, &mut count, found.as_mut_ptr()) };
        result.result().map_err(in_call(call))?;
        let assembly = found.iter().zip(&texts).find(|(r, _)| text(&r.name) == "Assembly");
        Ok(assembly.map(|(_, bytes)| bytes_text(bytes)).unwrap_or_default())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: all that was made on them is destroyed by now.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

/// The device of this chip with what wgpu enables that bears on the code, and its name.
fn open_device(instance: &ash::Instance, chip: &str) -> Result<(ash::Device, String), DriverError> {
    // SAFETY: `instance` is alive.
    let found = unsafe { instance.enumerate_physical_devices() };
    let found = found.map_err(in_call("vkEnumeratePhysicalDevices"))?;
    let mut names = vec![];
    let mut chosen = None;
    for physical in found {
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
        // SAFETY: the chain is of the two structures above, which live through the call.
        unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
        let name = text(&properties.properties.device_name);
        let is_radv = driver.driver_id == vk::DriverId::MESA_RADV;
        // A real GPU is there as well, or instead where the driver has no null device.
        if is_radv && name.to_lowercase().contains(chip) {
            chosen = Some((physical, format!("{name}, {}", text(&driver.driver_info))));
        }
        names.push(name);
    }
    let (physical, name) = chosen.ok_or_else(|| DriverError::NoDevice {
        wanted: chip.to_owned(),
        found: if names.is_empty() { "no device".to_owned() } else { names.join(", ") },
    })?;

    // SAFETY: `physical` is of this instance.
    let offered = unsafe { instance.enumerate_device_extension_properties(physical) };
    let offered = offered.map_err(in_call("vkEnumerateDeviceExtensionProperties"))?;
    let mut extensions = vec![];
    for name in [khr::pipeline_executable_properties::NAME, ext::robustness2::NAME] {
        if !offered.iter().any(|e| e.extension_name_as_c_str() == Ok(name)) {
            return Err(DriverError::NoExtension(name.to_string_lossy().into_owned()));
        }
        extensions.push(name.as_ptr());
    }
    let has_matrices =
        offered.iter().any(|e| e.extension_name_as_c_str() == Ok(khr::cooperative_matrix::NAME));
    if has_matrices {
        extensions.push(khr::cooperative_matrix::NAME.as_ptr());
    }
    // SAFETY: `physical` is of this instance.
    let families = unsafe { instance.get_physical_device_queue_family_properties(physical) };
    let family = families.iter().position(|f| f.queue_flags.contains(vk::QueueFlags::COMPUTE));
    let queues = [vk::DeviceQueueCreateInfo::default()
        .queue_family_index(family.unwrap_or_default() as u32)
        .queue_priorities(&[1.0])];
    let features = vk::PhysicalDeviceFeatures::default().robust_buffer_access(true);
    let mut robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default().robust_buffer_access2(true);
    let mut executables =
        vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
    let mut matrices =
        vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(has_matrices);
    let mut narrow = vk::PhysicalDeviceVulkan11Features::default().storage_buffer16_bit_access(true);
    let mut half =
        vk::PhysicalDeviceVulkan12Features::default().shader_float16(true).vulkan_memory_model(true);
    let create = vk::DeviceCreateInfo::default()
        .queue_create_infos(&queues)
        .enabled_extension_names(&extensions)
        .enabled_features(&features)
        .push_next(&mut robustness)
        .push_next(&mut executables)
        .push_next(&mut narrow)
        .push_next(&mut half);
    let create = if has_matrices { create.push_next(&mut matrices) } else { create };
    // SAFETY: `create` and what it points to live through the call.
    let device = unsafe { instance.create_device(physical, &create, None) };
    Ok((device.map_err(in_call("vkCreateDevice"))?, name))
}

/// The text before the first NUL.
fn text(chars: &[c_char]) -> String {
    bytes_text(bytemuck::cast_slice(chars))
}

fn bytes_text(bytes: &[u8]) -> String {
    match CStr::from_bytes_until_nul(bytes) {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

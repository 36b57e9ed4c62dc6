//! An open device, its queue, and the pipelines made on it so far.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::GpuError;
use super::adapter::{self, AdapterDescription};
use crate::program::{Access, Caps, Kernel};

/// How a device is opened.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// An adapter's number or a part of its name. `None`: the best one.
    pub adapter: Option<String>,
    pub extra: Extra,
}

/// What a device is opened with besides what training needs, where its adapter offers it: for
/// measuring only, so that training takes nothing that it does not use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extra {
    #[default]
    None,
    /// The device's own clock, see [`super::Timestamps`].
    Timestamps,
    /// f16 in shaders.
    Half,
    /// Cooperative matrices, and f16 in shaders for those of f16; see [`Gpu::matrices`].
    CooperativeMatrix,
}

impl Extra {
    fn features(self) -> wgpu::Features {
        match self {
            Extra::None => wgpu::Features::empty(),
            Extra::Timestamps => wgpu::Features::TIMESTAMP_QUERY,
            Extra::Half => wgpu::Features::SHADER_F16,
            Extra::CooperativeMatrix => {
                wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SHADER_F16
            }
        }
    }
}

type PipelineKey = (&'static str, Vec<(&'static str, u64)>);

/// A pipeline and the layout of its bind group.
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    description: AdapterDescription,
    caps: Caps,
    matrices: Vec<wgpu::CooperativeMatrixProperties>,
    pipelines: Mutex<HashMap<PipelineKey, Arc<Pipeline>>>,
    /// The first error that the device told outside a call that could return it.
    error: Arc<Mutex<Option<wgpu::Error>>>,
}

impl Gpu {
    pub fn open(options: &GpuOptions) -> Result<Arc<Gpu>, GpuError> {
        let (adapter, description) = adapter::choose(options.adapter.as_deref())?;
        let offered = adapter.limits();
        let limits = wgpu::Limits {
            max_buffer_size: offered.max_buffer_size,
            max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
            ..wgpu::Limits::default()
        };
        let caps = adapter::caps(&adapter);
        let mut features = options.extra.features() & adapter.features();
        if caps.subgroups {
            features |= adapter::SUBGROUP_FEATURES;
        }
        let mut matrices = vec![];
        let mut experimental = wgpu::ExperimentalFeatures::disabled();
        if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            matrices = adapter.cooperative_matrix_properties();
            // SAFETY: only the bench asks for this, for one kernel of its own whose result it checks.
            experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        if !features.contains(wgpu::Features::SHADER_F16) {
            let f16 = wgpu::CooperativeScalarType::F16;
            matrices.retain(|m| m.ab_type != f16 && m.cr_type != f16);
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgseg"),
            required_features: features,
            required_limits: limits,
            experimental_features: experimental,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| GpuError::NoDevice { adapter: description.to_string(), message: e.to_string() })?;
        let error = Arc::new(Mutex::new(None));
        let sink = Arc::clone(&error);
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            sink.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(e);
        }));
        let pipelines = Mutex::default();
        Ok(Arc::new(Gpu { device, queue, description, caps, matrices, pipelines, error }))
    }

    pub fn description(&self) -> &AdapterDescription {
        &self.description
    }

    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Kinds of cooperative matrices that its kernels may use; none unless it was opened with
    /// [`Extra::CooperativeMatrix`].
    pub fn matrices(&self) -> &[wgpu::CooperativeMatrixProperties] {
        &self.matrices
    }

    /// Most invocations that the device runs in step as one subgroup.
    pub fn subgroup_lanes(&self) -> u32 {
        self.device.adapter_info().subgroup_max_size
    }

    /// Whether it was opened with `extra`, which its adapter must offer.
    pub fn has(&self, extra: Extra) -> bool {
        self.device.features().contains(extra.features())
    }

    /// Returns what the device has complained of since the last call.
    pub(super) fn check(&self, needed: u64) -> Result<(), GpuError> {
        let adapter = self.description.name.clone();
        match self.error.lock().unwrap_or_else(|e| e.into_inner()).take() {
            None => Ok(()),
            Some(wgpu::Error::OutOfMemory { source }) => {
                Err(GpuError::OutOfMemory { adapter, needed, message: source.to_string() })
            }
            Some(error) => Err(GpuError::Device { adapter, message: error.to_string() }),
        }
    }

    /// The pipeline of a kernel, made on first use.
    pub(super) fn pipeline(&self, kernel: &Kernel) -> Result<Arc<Pipeline>, GpuError> {
        let overrides = kernel.overrides.iter().map(|(n, v)| (*n, v.to_bits())).collect();
        let key = (kernel.shader.name, overrides);
        let mut pipelines = self.pipelines.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(pipeline) = pipelines.get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        let pipeline = Arc::new(self.make_pipeline(kernel)?);
        pipelines.insert(key, Arc::clone(&pipeline));
        Ok(pipeline)
    }

    fn make_pipeline(&self, kernel: &Kernel) -> Result<Pipeline, GpuError> {
        let interface = kernel.shader.interface().map_err(GpuError::Shader)?;
        let buffer = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let mut entries = vec![buffer(0, wgpu::BufferBindingType::Uniform)];
        entries.extend(interface.storage.iter().enumerate().map(|(i, access)| {
            buffer(i as u32 + 1, wgpu::BufferBindingType::Storage { read_only: *access == Access::Read })
        }));
        let label = Some(kernel.shader.name);
        let layout = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let descriptor = wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(kernel.shader.source.into()),
        };
        // SAFETY: the sources are the ones in this binary; they clamp or select every index
        // that may leave its buffer, and each is run against the reference at sizes that divide
        // by nothing. Without checks a software driver runs the convolutions four times as fast.
        let module = unsafe {
            self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        };
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &kernel.overrides,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        self.check(0)?;
        Ok(Pipeline { pipeline, layout })
    }
}

//! An open device and its queue.

use std::sync::{Arc, Mutex};

use super::GpuError;
use super::adapter::{self, AdapterDescription};
use super::pipelines::Pipelines;
use crate::program::{Caps, Precision};
use crate::tune::Table;

/// How a device is opened.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// An adapter's number, or words of its name, driver and backend. `None`: the best one.
    pub adapter: Option<String>,
    pub extra: Extra,
    /// What its programs are to be kept in.
    pub precision: Precision,
    /// Nothing beyond WebGPU's default limits and no feature is requested, whatever the adapter offers.
    pub default_limits: bool,
}

/// What a device is opened with besides what training needs, where its adapter offers it: for
/// measuring and checking only, so that training takes nothing that it does not use. Training by matrices
/// takes what [`Extra::CooperativeMatrix`] does.
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

pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    description: AdapterDescription,
    caps: Caps,
    tuning: Option<Arc<Table>>,
    matrices: Vec<wgpu::CooperativeMatrixProperties>,
    pub(super) adapter: wgpu::Adapter,
    options: GpuOptions,
    pub(super) pipelines: Pipelines,
    /// The first error that the device told outside a call that could return it.
    error: Arc<Mutex<Option<wgpu::Error>>>,
}

impl Gpu {
    /// Errors where there is no such adapter, or where it cannot do [`GpuOptions::precision`].
    pub fn open(options: &GpuOptions) -> Result<Arc<Gpu>, GpuError> {
        Gpu::open_tuned(options, |_| Ok(None))
    }

    /// Opens it with the table of measured kernels that `table` gives for the adapter; see [`crate::tune`].
    pub fn open_tuned<E: From<GpuError>>(
        options: &GpuOptions,
        table: impl FnOnce(&AdapterDescription) -> Result<Option<Arc<Table>>, E>,
    ) -> Result<Arc<Gpu>, E> {
        let (adapter, description) = adapter::choose(options.adapter.as_deref())?;
        let tuning = table(&description)?;
        Ok(Arc::new(Gpu::open_on(adapter, description, options, tuning)?))
    }

    /// Another device of the same adapter, opened alike.
    pub(super) fn open_another(&self) -> Result<Gpu, GpuError> {
        Gpu::open_on(self.adapter.clone(), self.description.clone(), &self.options, self.tuning.clone())
    }

    fn open_on(
        adapter: wgpu::Adapter,
        description: AdapterDescription,
        options: &GpuOptions,
        tuning: Option<Arc<Table>>,
    ) -> Result<Gpu, GpuError> {
        let offered = adapter.limits();
        let mut limits = wgpu::Limits {
            max_buffer_size: offered.max_buffer_size,
            max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
            ..wgpu::Limits::default()
        };
        let mut caps = adapter::caps(&adapter);
        if options.default_limits {
            limits = wgpu::Limits::default();
            caps.subgroups = false;
            caps.max_binding_bytes = limits.max_storage_buffer_binding_size;
        }
        caps.choices = tuning.as_ref().map(|table| table.choices()).unwrap_or_default();
        let mut features = options.extra.features() & adapter.features();
        if options.default_limits {
            features = wgpu::Features::empty();
        }
        let precision = options.precision;
        if precision != Precision::F32 {
            if !adapter.features().contains(wgpu::Features::SHADER_F16) {
                return Err(GpuError::NoHalf { adapter: description.to_string(), precision });
            }
            features |= wgpu::Features::SHADER_F16;
        }
        if precision == Precision::MixedMatrices {
            features |= Extra::CooperativeMatrix.features() & adapter.features();
        }
        if caps.subgroups {
            features |= adapter::SUBGROUP_FEATURES;
        }
        let mut matrices = vec![];
        let mut experimental = wgpu::ExperimentalFeatures::disabled();
        if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            matrices = adapter.cooperative_matrix_properties();
            // SAFETY: experimental features may have faults of their own in wgpu. This one is taken where it is asked
            // for: to measure and check such kernels, and for a training by them.
            experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        if !features.contains(wgpu::Features::SHADER_F16) {
            let f16 = wgpu::CooperativeScalarType::F16;
            matrices.retain(|m| m.ab_type != f16 && m.cr_type != f16);
        }
        caps.matrices = adapter::matrices(&adapter, &matrices);
        if precision == Precision::MixedMatrices && caps.matrices.is_none() {
            return Err(GpuError::NoMatrices { adapter: description.to_string() });
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
        let (pipelines, options) = (Pipelines::default(), options.clone());
        Ok(Gpu { device, queue, description, caps, tuning, matrices, adapter, options, pipelines, error })
    }

    pub fn description(&self) -> &AdapterDescription {
        &self.description
    }

    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The table that its kernels' forms are from.
    pub fn tuning(&self) -> Option<&Arc<Table>> {
        self.tuning.as_ref()
    }

    /// What it was opened for.
    pub fn precision(&self) -> Precision {
        self.options.precision
    }

    /// Kinds of cooperative matrices that its kernels may use; none unless it was opened with
    /// [`Extra::CooperativeMatrix`] or for [`Precision::MixedMatrices`].
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
}

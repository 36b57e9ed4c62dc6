//! Pipelines: one for each kernel and its constants, made on all cores before a program runs.
//!
//! Most drivers compile a kernel when its pipeline is made. Mesa's lavapipe does so when it is first dispatched,
//! in the one thread of the device's queue, and keeps the result on disk for all devices. There, each core has a
//! device of its own that dispatches its share of the kernels once; the device that the program runs on then finds
//! them compiled.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Gpu, GpuError};
use crate::program::{Access, Dispatch, Kernel, Program};

/// A pipeline and the layout of its bind group.
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// Name of the shader and bits of its constants.
type Key = (&'static str, Vec<(&'static str, u64)>);

fn key(kernel: &Kernel) -> Key {
    (kernel.shader.name, kernel.overrides.iter().map(|(n, v)| (*n, v.to_bits())).collect())
}

/// The pipelines of a device so far.
#[derive(Default)]
pub(super) struct Pipelines(Mutex<HashMap<Key, Arc<Pipeline>>>);

impl Pipelines {
    fn made(&self) -> MutexGuard<'_, HashMap<Key, Arc<Pipeline>>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Gpu {
    /// The pipeline of a kernel, made on first use.
    pub(super) fn pipeline(&self, kernel: &Kernel) -> Result<Arc<Pipeline>, GpuError> {
        let key = key(kernel);
        if let Some(pipeline) = self.pipelines.made().get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        let pipeline = Arc::new(self.make_pipeline(kernel)?);
        Ok(Arc::clone(self.pipelines.made().entry(key).or_insert(pipeline)))
    }

    /// For each kernel of `program` that has no pipeline yet a dispatch of it, those with the longest source first:
    /// they take longest to compile.
    fn without_pipeline<'a>(&self, program: &'a Program) -> Vec<&'a Dispatch> {
        let made = self.pipelines.made();
        let mut seen = HashSet::new();
        let mut missing: Vec<_> = program
            .dispatches
            .iter()
            .filter(|d| !made.contains_key(&key(&d.kernel)) && seen.insert(key(&d.kernel)))
            .collect();
        missing.sort_by_key(|d| std::cmp::Reverse(d.kernel.shader.source.len()));
        missing
    }

    /// Kernels of `program` that the driver compiles before its first run, if its own cache lacks them: on a
    /// software driver it takes seconds each. 0 where the driver is not known for it.
    pub fn kernels_to_compile(&self, program: &Program) -> usize {
        if self.compiles_late() { self.without_pipeline(program).len() } else { 0 }
    }

    /// Makes the pipelines that `program` needs and the device lacks.
    pub(super) fn make_pipelines(&self, program: &Program) -> Result<(), GpuError> {
        let missing = self.without_pipeline(program);
        // On OpenGL one thread at a time has the context, and wgpu panics where another waits six seconds for it.
        let cores = match self.adapter.get_info().backend {
            wgpu::Backend::Gl => 1,
            _ => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), GpuError> {
            // A device that cannot be had costs time alone.
            let other = if self.compiles_late() && cores > 1 { self.open_another().ok() } else { None };
            while let Some(dispatch) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(other) = &other {
                    other.dispatch_once(dispatch, program);
                }
                self.pipeline(&dispatch.kernel)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores.min(missing.len())).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .try_for_each(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    /// Whether the driver compiles a kernel at its first dispatch, and keeps it on disk for other devices.
    fn compiles_late(&self) -> bool {
        self.adapter.get_info().driver == "llvmpipe"
            && std::env::var("MESA_SHADER_CACHE_DISABLE")
                .map_or(true, |off| !matches!(off.as_str(), "1" | "true"))
    }

    /// One workgroup of a dispatch, over buffers of its own that are too small for it: the driver checks bounds.
    /// An error is left for the device that needs the kernel.
    fn dispatch_once(&self, dispatch: &Dispatch, program: &Program) {
        let Ok(pipeline) = self.make_pipeline(&dispatch.kernel) else { return };
        let start = dispatch.params_offset as usize;
        let params = &program.params[start..start + dispatch.params_bytes as usize];
        let make = |usage, size| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("compile"),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let uniform =
            make(wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST, dispatch.params_bytes.max(16));
        self.queue.write_buffer(&uniform, 0, params);
        let mut buffers = vec![uniform];
        buffers.extend(dispatch.bindings.iter().map(|_| make(wgpu::BufferUsages::STORAGE, 256)));
        let entries: Vec<_> = buffers
            .iter()
            .enumerate()
            .map(|(i, buffer)| wgpu::BindGroupEntry {
                binding: i as u32,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("compile"),
            layout: &pipeline.layout,
            entries: &entries,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(1, 1, 1);
        }
        self.queue.submit([encoder.finish()]);
        let _ = self.device.poll(wgpu::PollType::wait_indefinitely());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::gpu::GpuOptions;
    use crate::program::compile;
    use crate::train::step::train_step;

    #[test]
    fn a_program_has_all_its_pipelines_after_they_were_made_together() {
        let mut config = Config::default();
        (config.model.base_channels, config.model.depth) = (2, 1);
        let gpu = Gpu::open(&GpuOptions::default()).unwrap();
        let program = compile(&train_step(&config, 1, 8).unwrap().tape, gpu.caps()).unwrap();
        let kernels: HashSet<_> = program.dispatches.iter().map(|d| key(&d.kernel)).collect();
        assert_eq!(gpu.without_pipeline(&program).len(), kernels.len());
        gpu.make_pipelines(&program).unwrap();
        assert!(gpu.without_pipeline(&program).is_empty());
        assert_eq!(gpu.pipelines.made().len(), kernels.len());
    }
}

//! Replays a program: upload the inputs, encode, submit, read back what was asked for.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, mpsc};

use half::f16;

use super::GpuError;
use super::device::Gpu;
use super::pipelines::Pipeline;
use crate::program::{BufferKind, Element, Port, Program};
use crate::tape::Shape;

/// Work in one submission at most, so that a driver's time-out of about two seconds does not kill
/// it even on a device that does 10 GFLOP/s. A single dispatch is not divided.
pub(super) const FLOPS_PER_SUBMISSION: u64 = 10_000_000_000;

/// Readings of outputs that may be under way at once.
const READBACKS_IN_FLIGHT: usize = 2;

/// Device buffers that outlive a program: parameters, running statistics, optimiser moments.
/// Sessions made with one `States` share them by name.
#[derive(Default)]
pub struct States(HashMap<String, (wgpu::Buffer, Shape)>);

impl States {
    pub fn new() -> States {
        States::default()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Sets a state that a session has made.
    pub fn write(&self, gpu: &Gpu, name: &str, data: &[f32]) -> Result<(), GpuError> {
        let (buffer, shape) = self.find(name)?;
        check_length(name, shape, data)?;
        gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(data));
        Ok(())
    }

    /// Reads a state after all work submitted so far. Waits for it.
    pub fn read(&self, gpu: &Gpu, name: &str) -> Result<Vec<f32>, GpuError> {
        let (buffer, shape) = self.find(name)?;
        Ok(read_buffers(gpu, &[(buffer, 0, shape.len(), Element::F32)])?.swap_remove(0))
    }

    /// Reads several states with one wait.
    pub fn read_all(&self, gpu: &Gpu, names: &[&str]) -> Result<Vec<Vec<f32>>, GpuError> {
        let sources = names
            .iter()
            .map(|n| self.find(n).map(|(b, s)| (b, 0, s.len(), Element::F32)))
            .collect::<Result<Vec<_>, _>>()?;
        read_buffers(gpu, &sources)
    }

    fn find(&self, name: &str) -> Result<&(wgpu::Buffer, Shape), GpuError> {
        self.0.get(name).ok_or_else(|| GpuError::UnknownPort {
            kind: "state",
            name: name.to_owned(),
            known: format!("{} states", self.0.len()),
        })
    }
}

fn check_length(name: &str, shape: &Shape, data: &[f32]) -> Result<(), GpuError> {
    if data.len() == shape.len() {
        return Ok(());
    }
    Err(GpuError::Length {
        name: name.to_owned(),
        shape: shape.clone(),
        expected: shape.len(),
        found: data.len(),
    })
}

pub(super) struct Step {
    pipeline: Arc<Pipeline>,
    bind_group: wgpu::BindGroup,
    grid: [u32; 3],
    pub(super) flops: u64,
}

struct Readback {
    staging: wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
    mapped: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

/// A program with its buffers, pipelines and bind groups on a device.
pub struct Session {
    gpu: Arc<Gpu>,
    program: Program,
    buffers: Vec<wgpu::Buffer>,
    /// The uniform blocks of all dispatches.
    params: wgpu::Buffer,
    steps: Vec<Step>,
    /// Staging memory of the uploads, used again step after step.
    uploads: wgpu::util::StagingBelt,
    /// Outputs of one number that `run_step` reads without a stall: buffer, first byte there and in
    /// the staging buffers.
    scalars: Vec<(usize, u64, u64)>,
    free_staging: Vec<wgpu::Buffer>,
    in_flight: VecDeque<Readback>,
    flops_per_submission: u64,
}

impl Session {
    /// Makes everything that replaying needs. States not yet in `states` start as zeros.
    pub fn new(gpu: &Arc<Gpu>, program: Program, states: &mut States) -> Result<Session, GpuError> {
        let needed = program.peak_bytes();
        let make = |label: &str, size: u64, usage| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: size.max(16),
                usage,
                mapped_at_creation: false,
            })
        };
        let storage =
            wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let shape_of: HashMap<usize, &Shape> = program.states.iter().map(|p| (p.buffer, &p.shape)).collect();
        let mut buffers = Vec::with_capacity(program.buffers.len());
        for (index, spec) in program.buffers.iter().enumerate() {
            let buffer = match &spec.kind {
                BufferKind::State(name) => match states.0.get(name) {
                    Some((buffer, shape)) if shape == shape_of[&index] => buffer.clone(),
                    Some((_, shape)) => {
                        return Err(GpuError::Length {
                            name: name.clone(),
                            shape: shape_of[&index].clone(),
                            expected: shape_of[&index].len(),
                            found: shape.len(),
                        });
                    }
                    None => {
                        let buffer = make(name, spec.bytes, storage);
                        states.0.insert(name.clone(), (buffer.clone(), shape_of[&index].clone()));
                        buffer
                    }
                },
                BufferKind::Input(name) => make(name, spec.bytes, storage),
                BufferKind::Slot => make("slot", spec.bytes, storage),
            };
            buffers.push(buffer);
        }
        let params = make(
            "params",
            program.params.len() as u64,
            wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        );
        gpu.check(needed)?;
        gpu.queue.write_buffer(&params, 0, &program.params);

        gpu.make_pipelines(&program)?;
        let mut steps = Vec::with_capacity(program.dispatches.len());
        for dispatch in &program.dispatches {
            let pipeline = gpu.pipeline(&dispatch.kernel)?;
            let mut entries = vec![wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &params,
                    offset: dispatch.params_offset,
                    size: std::num::NonZeroU64::new(dispatch.params_bytes),
                }),
            }];
            entries.extend(dispatch.bindings.iter().enumerate().map(|(i, part)| wgpu::BindGroupEntry {
                binding: i as u32 + 1,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &buffers[part.buffer],
                    offset: part.offset,
                    size: std::num::NonZeroU64::new(part.bytes),
                }),
            }));
            let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(dispatch.kernel.shader.name),
                layout: &pipeline.layout,
                entries: &entries,
            });
            steps.push(Step { pipeline, bind_group, grid: dispatch.grid, flops: dispatch.flops });
        }
        gpu.check(needed)?;

        let mut scalars = vec![];
        let mut staging_bytes = 0;
        for port in program.outputs.iter().filter(|p| p.shape.len() == 1) {
            scalars.push((port.buffer, port.offset, staging_bytes));
            staging_bytes += 4;
        }
        let free_staging = (0..=READBACKS_IN_FLIGHT)
            .map(|_| {
                make("readback", staging_bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)
            })
            .collect();
        gpu.check(needed)?;
        let largest_input = program.inputs.iter().map(|p| p.shape.padded_bytes()).max().unwrap_or(0);
        let uploads = wgpu::util::StagingBelt::new(gpu.device.clone(), largest_input.max(1024));
        Ok(Session {
            gpu: Arc::clone(gpu),
            program,
            buffers,
            params,
            steps,
            uploads,
            scalars,
            free_staging,
            in_flight: VecDeque::new(),
            flops_per_submission: FLOPS_PER_SUBMISSION,
        })
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Bytes of the buffers that the program runs in, as they were made. Staging memory of uploads and
    /// readings is the host's.
    pub fn allocated_bytes(&self) -> u64 {
        self.params.size() + self.buffers.iter().map(wgpu::Buffer::size).sum::<u64>()
    }

    pub(super) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Names of the outputs of one number, in the order that [`Session::run_step`] gives them.
    pub fn scalar_names(&self) -> Vec<&str> {
        self.program.outputs.iter().filter(|p| p.shape.len() == 1).map(|p| p.name.as_str()).collect()
    }

    /// Sets an input for the following runs.
    pub fn write(&mut self, name: &str, data: &[f32]) -> Result<(), GpuError> {
        let port = find(&self.program.inputs, "input", name)?;
        check_length(name, &port.shape, data)?;
        let bytes = to_bytes(port.element, data);
        let Some(size) = std::num::NonZeroU64::new(bytes.len() as u64) else { return Ok(()) };
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        let buffer = &self.buffers[port.buffer];
        self.uploads.write_buffer(&mut encoder, buffer, 0, size).copy_from_slice(&bytes);
        self.uploads.finish();
        self.gpu.queue.submit([encoder.finish()]);
        self.uploads.recall();
        Ok(())
    }

    /// Runs the program once. Returns before the device is done.
    pub fn run(&mut self) -> Result<(), GpuError> {
        self.submit(0, self.steps.len())
    }

    /// Runs the part of the program before pause `part` of its tape, from the pause before that; the
    /// part after the last pause has the number of pauses. A run is all parts in order.
    pub fn run_part(&mut self, part: usize) -> Result<(), GpuError> {
        let pauses = &self.program.pauses;
        let start = part.checked_sub(1).and_then(|before| pauses.get(before)).copied().unwrap_or(0);
        let end = pauses.get(part).copied().unwrap_or(self.steps.len());
        self.submit(start, end)
    }

    fn submit(&mut self, start: usize, stop: usize) -> Result<(), GpuError> {
        for portion in self.portions(start, stop) {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            encode(&mut encoder, &self.steps[portion]);
            self.gpu.queue.submit([encoder.finish()]);
        }
        self.gpu.check(self.program.peak_bytes())
    }

    /// Divides the work into submissions of so many operations at most from now on; 0 makes one of each dispatch that has
    /// any. Results are the same.
    pub fn submit_at_most(&mut self, flops: u64) {
        self.flops_per_submission = flops;
    }

    /// The dispatches `start..stop` in portions of one submission each.
    pub(super) fn portions(&self, mut start: usize, stop: usize) -> Vec<Range<usize>> {
        let mut portions = vec![];
        while start < stop {
            let mut flops = 0;
            let mut end = start;
            while end < stop && (end == start || flops + self.steps[end].flops <= self.flops_per_submission) {
                flops += self.steps[end].flops;
                end += 1;
            }
            portions.push(start..end);
            start = end;
        }
        portions
    }

    /// Runs the program once and queues a reading of its outputs of one number. Returns the
    /// oldest readings that must be taken to keep at most two under way, oldest first.
    pub fn run_step(&mut self) -> Result<Vec<Vec<f32>>, GpuError> {
        self.run()?;
        let mut done = vec![];
        while self.in_flight.len() >= READBACKS_IN_FLIGHT {
            done.extend(self.take_oldest()?);
        }
        let Some(staging) = self.free_staging.pop() else { return Ok(done) };
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for (buffer, from, to) in &self.scalars {
            encoder.copy_buffer_to_buffer(&self.buffers[*buffer], *from, &staging, *to, 4);
        }
        let submission = self.gpu.queue.submit([encoder.finish()]);
        let (sender, mapped) = mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only when the session is.
            let _ = sender.send(result);
        });
        self.in_flight.push_back(Readback { staging, submission, mapped });
        Ok(done)
    }

    /// Takes the readings still under way, oldest first. Waits for the device.
    pub fn finish_steps(&mut self) -> Result<Vec<Vec<f32>>, GpuError> {
        let mut done = vec![];
        while let Some(values) = self.take_oldest()? {
            done.push(values);
        }
        Ok(done)
    }

    fn take_oldest(&mut self) -> Result<Option<Vec<f32>>, GpuError> {
        let Some(readback) = self.in_flight.pop_front() else { return Ok(None) };
        wait_for(&self.gpu, &readback.submission, &readback.mapped)?;
        let values = mapped_f32(&self.gpu, &readback.staging, self.scalars.len())?;
        readback.staging.unmap();
        self.free_staging.push(readback.staging);
        Ok(Some(values))
    }

    /// Reads an output of the last run. Waits for the device.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, GpuError> {
        let port = find(&self.program.outputs, "output", name)?;
        let source = (&self.buffers[port.buffer], port.offset, port.shape.len(), port.element);
        Ok(read_buffers(&self.gpu, &[source])?.swap_remove(0))
    }

    /// Waits until the device has done all that was submitted.
    pub fn wait(&self) -> Result<(), GpuError> {
        wait_idle(&self.gpu)
    }
}

pub(super) fn encode(encoder: &mut wgpu::CommandEncoder, steps: &[Step]) {
    encode_pass(encoder, steps, None);
}

/// One pass over `steps`; its beginning and end are noted where `stamps` says.
pub(super) fn encode_pass(
    encoder: &mut wgpu::CommandEncoder,
    steps: &[Step],
    stamps: Option<wgpu::ComputePassTimestampWrites>,
) {
    let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: stamps };
    let mut pass = encoder.begin_compute_pass(&descriptor);
    for step in steps {
        pass.set_pipeline(&step.pipeline.pipeline);
        pass.set_bind_group(0, &step.bind_group, &[]);
        pass.dispatch_workgroups(step.grid[0], step.grid[1], step.grid[2]);
    }
}

fn find<'a>(ports: &'a [Port], kind: &'static str, name: &str) -> Result<&'a Port, GpuError> {
    ports.iter().find(|p| p.name == name).ok_or_else(|| GpuError::UnknownPort {
        kind,
        name: name.to_owned(),
        known: ports.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

pub(super) fn device_error(gpu: &Gpu, message: impl ToString) -> GpuError {
    GpuError::Device { adapter: gpu.description().name.clone(), message: message.to_string() }
}

pub(super) fn wait_idle(gpu: &Gpu) -> Result<(), GpuError> {
    wait_until(gpu, None)
}

/// Waits for `submission`, or for all, however long it takes.
pub(super) fn wait_until(gpu: &Gpu, submission: Option<&wgpu::SubmissionIndex>) -> Result<(), GpuError> {
    loop {
        let wait = wgpu::PollType::Wait { submission_index: submission.cloned(), timeout: None };
        match gpu.device.poll(wait) {
            Ok(_) => return gpu.check(0),
            // On OpenGL wgpu gives up after two seconds, though no time-out was set.
            Err(wgpu::PollError::Timeout) => gpu.check(0)?,
            Err(e) => return Err(device_error(gpu, e)),
        }
    }
}

/// Waits for `submission`, and so for the mapping that `mapped` tells of.
pub(super) fn wait_for(
    gpu: &Gpu,
    submission: &wgpu::SubmissionIndex,
    mapped: &mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
) -> Result<(), GpuError> {
    wait_until(gpu, Some(submission))?;
    mapped.recv().map_err(|e| device_error(gpu, e))?.map_err(|e| device_error(gpu, e))
}

pub(super) fn mapped(gpu: &Gpu, staging: &wgpu::Buffer) -> Result<wgpu::BufferView, GpuError> {
    staging.get_mapped_range(..).map_err(|e| device_error(gpu, e))
}

fn mapped_f32(gpu: &Gpu, staging: &wgpu::Buffer, len: usize) -> Result<Vec<f32>, GpuError> {
    let view = mapped(gpu, staging)?;
    Ok(view.chunks_exact(4).take(len).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn mapped_f16(gpu: &Gpu, staging: &wgpu::Buffer, len: usize) -> Result<Vec<f32>, GpuError> {
    let view = mapped(gpu, staging)?;
    Ok(view.chunks_exact(2).take(len).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect())
}

/// What a buffer of `element`s is to hold, in whole words.
fn to_bytes(element: Element, data: &[f32]) -> Cow<'_, [u8]> {
    match element {
        Element::F32 => Cow::Borrowed(bytemuck::cast_slice(data)),
        Element::F16 => {
            let mut bytes: Vec<u8> = data.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            Cow::Owned(bytes)
        }
    }
}

/// Copies whole tensors to the host: buffer, first byte, length and element type of each.
fn read_buffers(
    gpu: &Gpu,
    sources: &[(&wgpu::Buffer, u64, usize, Element)],
) -> Result<Vec<Vec<f32>>, GpuError> {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let staging: Vec<wgpu::Buffer> = sources
        .iter()
        .map(|(source, offset, len, element)| {
            let size = match element {
                Element::F32 => *len as u64 * 4,
                Element::F16 => (*len as u64 * 2).next_multiple_of(4),
            };
            let staging = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read"),
                size: size.max(4),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            encoder.copy_buffer_to_buffer(source, *offset, &staging, 0, size);
            staging
        })
        .collect();
    let submission = gpu.queue.submit([encoder.finish()]);
    let receivers: Vec<_> = staging
        .iter()
        .map(|buffer| {
            let (sender, receiver) = mpsc::channel();
            buffer.map_async(wgpu::MapMode::Read, .., move |result| {
                let _ = sender.send(result);
            });
            receiver
        })
        .collect();
    staging
        .iter()
        .zip(&receivers)
        .zip(sources)
        .map(|((buffer, receiver), (_, _, len, element))| {
            wait_for(gpu, &submission, receiver)?;
            match element {
                Element::F32 => mapped_f32(gpu, buffer, *len),
                Element::F16 => mapped_f16(gpu, buffer, *len),
            }
        })
        .collect()
}

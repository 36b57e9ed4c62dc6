//! The device's own clock: when each dispatch of a program began and ended.

use std::ops::Range;
use std::sync::mpsc;

use super::device::{Extra, Gpu};
use super::session::{Session, encode_pass, mapped, wait_for};
use crate::gpu::GpuError;

/// A query of the beginning and one of the end for each span, in as few sets as hold them.
const SPANS_PER_SET: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;
const BYTES_PER_SPAN: u64 = 2 * wgpu::QUERY_SIZE as u64;

/// Room for the timestamps of one run of a session, or of some runs that are timed as wholes.
pub struct Timestamps {
    /// Of which each begins and ends: dispatches or runs.
    spans: usize,
    sets: Vec<wgpu::QuerySet>,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
}

/// When a dispatch ran, in ticks of the device's clock; see [`Gpu::tick_ns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub begin: u64,
    pub end: u64,
}

impl Span {
    pub fn ticks(&self) -> u64 {
        self.end.saturating_sub(self.begin)
    }
}

impl Timestamps {
    /// Where the pass of a span notes its beginning and its end.
    pub(super) fn writes(&self, span: usize) -> wgpu::ComputePassTimestampWrites<'_> {
        let first = 2 * (span % SPANS_PER_SET) as u32;
        wgpu::ComputePassTimestampWrites {
            query_set: &self.sets[span / SPANS_PER_SET],
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }
}

impl Gpu {
    /// Nanoseconds of a tick of the device's clock.
    pub fn tick_ns(&self) -> f64 {
        f64::from(self.queue.get_timestamp_period())
    }
}

impl Session {
    /// Room for the timestamps of a run; `None` where the device has none.
    pub fn timestamps(&self) -> Option<Timestamps> {
        self.timestamps_of(self.steps().len())
    }

    /// Room for so many spans; `None` where the device has no timestamps.
    pub(super) fn timestamps_of(&self, spans: usize) -> Option<Timestamps> {
        let gpu = self.gpu();
        if !gpu.has(Extra::Timestamps) {
            return None;
        }
        let sets = (0..spans.div_ceil(SPANS_PER_SET).max(1))
            .map(|set| {
                let left = spans - set * SPANS_PER_SET;
                gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: 2 * left.clamp(1, SPANS_PER_SET) as u32,
                })
            })
            .collect();
        let make = |usage| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: spans.max(1) as u64 * BYTES_PER_SPAN,
                usage,
                mapped_at_creation: false,
            })
        };
        let resolved = make(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let staging = make(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        Some(Timestamps { spans, sets, resolved, staging })
    }

    /// Runs the program once, as [`Session::run`] does, but with a pass for each dispatch.
    pub fn run_stamped(&mut self, stamps: &Timestamps) -> Result<(), GpuError> {
        for portion in self.portions(0, self.steps().len()) {
            let mut encoder = self.gpu().device.create_command_encoder(&Default::default());
            self.encode_stamped(&mut encoder, portion, stamps);
            self.gpu().queue.submit([encoder.finish()]);
        }
        self.gpu().check(self.program().peak_bytes())
    }

    pub(super) fn encode_stamped(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        dispatches: Range<usize>,
        stamps: &Timestamps,
    ) {
        for index in dispatches {
            encode_pass(encoder, &self.steps()[index..=index], Some(stamps.writes(index)));
        }
    }

    /// When each dispatch of the last run with `stamps`, or each run, began and ended. Waits for the device.
    pub fn read_timestamps(&self, stamps: &Timestamps) -> Result<Vec<Span>, GpuError> {
        let gpu = self.gpu();
        if stamps.spans == 0 {
            return Ok(vec![]);
        }
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        for (index, set) in stamps.sets.iter().enumerate() {
            let before = index * SPANS_PER_SET;
            let queries = 2 * (stamps.spans - before).min(SPANS_PER_SET) as u32;
            let offset = before as u64 * BYTES_PER_SPAN;
            encoder.resolve_query_set(set, 0..queries, &stamps.resolved, offset);
        }
        encoder.copy_buffer_to_buffer(&stamps.resolved, 0, &stamps.staging, 0, stamps.resolved.size());
        let submission = gpu.queue.submit([encoder.finish()]);
        let (sender, receiver) = mpsc::channel();
        stamps.staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only when this function has returned.
            let _ = sender.send(result);
        });
        wait_for(gpu, &submission, &receiver)?;
        let ticks: Vec<u64> = mapped(gpu, &stamps.staging)?
            .chunks_exact(8)
            .map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect();
        stamps.staging.unmap();
        Ok(ticks.chunks_exact(2).map(|pair| Span { begin: pair[0], end: pair[1] }).collect())
    }
}

//! What the host and the device did when, in runs of a session.

use std::ops::Range;
use std::time::Instant;

use super::session::{Session, encode, wait_until};
use super::timestamps::Timestamps;
use crate::gpu::GpuError;

/// Something that the host did; nanoseconds since its log was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEvent {
    pub what: &'static str,
    pub begin_ns: u64,
    pub end_ns: u64,
}

/// Notes what the host does, one thing after the other.
pub struct HostLog {
    start: Instant,
    pub events: Vec<HostEvent>,
}

impl Default for HostLog {
    fn default() -> HostLog {
        HostLog { start: Instant::now(), events: vec![] }
    }
}

impl HostLog {
    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Does `work` and notes how long it took.
    pub fn note<T>(&mut self, what: &'static str, work: impl FnOnce() -> T) -> T {
        let begin_ns = self.now_ns();
        let result = work();
        self.events.push(HostEvent { what, begin_ns, end_ns: self.now_ns() });
        result
    }
}

/// Dispatches that were submitted together.
#[derive(Clone, Debug)]
pub struct Submitted {
    pub dispatches: Range<usize>,
    /// When the host began to submit them, by its log.
    pub begin_ns: u64,
    index: wgpu::SubmissionIndex,
}

impl Session {
    /// Runs the program once, as [`Session::run`] does, and notes `encode` and `submit` of each
    /// submission. With `stamps` each dispatch is a pass of its own.
    pub fn run_noted(
        &mut self,
        log: &mut HostLog,
        stamps: Option<&Timestamps>,
    ) -> Result<Vec<Submitted>, GpuError> {
        let mut submitted = vec![];
        for dispatches in self.portions(0, self.steps().len()) {
            let commands = log.note("encode", || {
                let mut encoder = self.gpu().device.create_command_encoder(&Default::default());
                match stamps {
                    Some(stamps) => self.encode_stamped(&mut encoder, dispatches.clone(), stamps),
                    None => encode(&mut encoder, &self.steps()[dispatches.clone()]),
                }
                encoder.finish()
            });
            let begin_ns = log.now_ns();
            let index = log.note("submit", || self.gpu().queue.submit([commands]));
            submitted.push(Submitted { dispatches, begin_ns, index });
        }
        self.gpu().check(self.program().peak_bytes())?;
        Ok(submitted)
    }

    /// Waits until the device has done what was submitted, and notes it as `wait`. Gives when that
    /// was known, by the log.
    pub fn wait_noted(&self, log: &mut HostLog, submitted: &Submitted) -> Result<u64, GpuError> {
        log.note("wait", || wait_until(self.gpu(), Some(&submitted.index)))?;
        Ok(log.now_ns())
    }
}

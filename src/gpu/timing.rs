//! How long things take on a device: whole programs, single dispatches, copies.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::device::Gpu;
use super::session::{FLOPS_PER_SUBMISSION, Session, encode, encode_pass, wait_idle};
use crate::gpu::GpuError;

/// Runs in one submission at most.
const MOST_RUNS: u64 = 1_000;

/// What a dispatch was timed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Timestamps that the device wrote before and after the dispatch.
    Timestamps,
    /// The host's clock, from before the submission to the end of the wait for it.
    Host,
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Clock::Timestamps => "timestamps of the device",
            Clock::Host => "the host's clock, a submission each",
        })
    }
}

/// Times of the dispatches of a program, in their order.
#[derive(Clone, Debug)]
pub struct DispatchTimes {
    pub clock: Clock,
    pub seconds: Vec<f64>,
}

impl Session {
    /// Seconds of one run of the program, measured `samples` times, shortest first. Each sample is
    /// as many runs in one submission as take about `least`, so that the cost of a submission
    /// hardly counts. The first runs, in which a driver compiles, are not among them.
    pub fn time_runs(&mut self, samples: usize, least: Duration) -> Result<Vec<f64>, GpuError> {
        let most = self.most_runs();
        self.time_submission(1)?;
        let mut runs = 1;
        loop {
            let seconds = self.time_submission(runs)?;
            if seconds >= least.as_secs_f64() || runs == most {
                break;
            }
            let wanted = runs as f64 * least.as_secs_f64() / seconds.max(1e-6);
            runs = (wanted.ceil() as u64).clamp(runs + 1, most);
        }
        let mut times = (0..samples)
            .map(|_| Ok(self.time_submission(runs)? / runs as f64))
            .collect::<Result<Vec<_>, GpuError>>()?;
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    /// Runs that may be in one submission.
    pub fn most_runs(&self) -> u64 {
        let flops: u64 = self.steps().iter().map(|s| s.flops).sum();
        (FLOPS_PER_SUBMISSION / flops.max(1)).clamp(1, MOST_RUNS)
    }

    /// Seconds of `runs` runs, in as few submissions as may be.
    pub fn time_many(&mut self, mut runs: u64) -> Result<f64, GpuError> {
        let most = self.most_runs();
        let mut seconds = 0.0;
        while runs > 0 {
            seconds += self.time_submission(runs.min(most))?;
            runs -= runs.min(most);
        }
        Ok(seconds)
    }

    /// Seconds of `runs` runs, the wait for them included. One run is submitted as in training, in
    /// portions that no driver's time-out ends; more of them, which must be small, all at once.
    pub fn time_submission(&mut self, runs: u64) -> Result<f64, GpuError> {
        if runs == 1 {
            let start = Instant::now();
            self.run()?;
            self.wait()?;
            return Ok(start.elapsed().as_secs_f64());
        }
        let mut encoder = self.gpu().device.create_command_encoder(&Default::default());
        for _ in 0..runs {
            encode(&mut encoder, self.steps());
        }
        let commands = encoder.finish();
        let start = Instant::now();
        self.gpu().queue.submit([commands]);
        self.wait()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds of each of `runs` runs, at most [`Session::most_runs`], in one submission: by the device's clock from
    /// the beginning of a run to its end where it has one, else an equal share of the host's time.
    pub fn time_each(&mut self, runs: u64) -> Result<Vec<f64>, GpuError> {
        match self.timestamps_of(runs as usize) {
            Some(stamps) => {
                let mut encoder = self.gpu().device.create_command_encoder(&Default::default());
                (0..runs as usize)
                    .for_each(|run| encode_pass(&mut encoder, self.steps(), Some(stamps.writes(run))));
                self.gpu().queue.submit([encoder.finish()]);
                let second = self.gpu().tick_ns() * 1e-9;
                Ok(self.read_timestamps(&stamps)?.iter().map(|span| span.ticks() as f64 * second).collect())
            }
            None => Ok(vec![self.time_submission(runs)? / runs as f64; runs as usize]),
        }
    }

    /// The median of `repetitions` times of each dispatch: by the device's clock in whole runs of the
    /// program where it has one, else by the host's, each dispatch submitted alone.
    pub fn time_dispatches(&mut self, repetitions: usize) -> Result<DispatchTimes, GpuError> {
        let mut samples = vec![vec![]; self.steps().len()];
        let clock = match self.timestamps() {
            Some(stamps) => {
                for _ in 0..repetitions {
                    self.run_stamped(&stamps)?;
                    let spans = self.read_timestamps(&stamps)?;
                    let second = self.gpu().tick_ns() * 1e-9;
                    for (span, samples) in spans.iter().zip(&mut samples) {
                        samples.push(span.ticks() as f64 * second);
                    }
                }
                Clock::Timestamps
            }
            None => {
                for _ in 0..repetitions {
                    for (step, samples) in self.steps().iter().zip(&mut samples) {
                        let mut encoder = self.gpu().device.create_command_encoder(&Default::default());
                        encode(&mut encoder, std::slice::from_ref(step));
                        let start = Instant::now();
                        self.gpu().queue.submit([encoder.finish()]);
                        wait_idle(self.gpu())?;
                        samples.push(start.elapsed().as_secs_f64());
                    }
                }
                Clock::Host
            }
        };
        let median = |mut samples: Vec<f64>| {
            samples.sort_by(f64::total_cmp);
            samples.get(samples.len() / 2).copied().unwrap_or(0.0)
        };
        Ok(DispatchTimes { clock, seconds: samples.into_iter().map(median).collect() })
    }
}

impl Gpu {
    /// Seconds that the device takes to copy `bytes` from one buffer to another, the least of
    /// `repetitions`.
    pub fn time_copy(&self, bytes: u64, repetitions: usize) -> Result<f64, GpuError> {
        let make = || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("copy"),
                size: bytes,
                usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let (from, to) = (make(), make());
        self.check(2 * bytes)?;
        let mut least = f64::MAX;
        // One more: the first touches the memory.
        for _ in 0..=repetitions {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&from, 0, &to, 0, bytes);
            let start = Instant::now();
            self.queue.submit([encoder.finish()]);
            wait_idle(self)?;
            least = least.min(start.elapsed().as_secs_f64());
        }
        Ok(least)
    }
}

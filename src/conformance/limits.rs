//! A device's limits used to the full: the largest binding, more workgroups than one dimension has, all of the workgroup
//! memory, a dispatch near a driver's time-out, and more memory than there is.
//!
//! Each kernel makes numbers of 24 bits, which f32 has exactly, so a result is right to the bit or wrong.

use std::sync::Arc;
use std::time::Instant;

use super::report::{Check, Group, Outcome};
use super::{Alter, ConformanceError};
use crate::gpu::{Gpu, GpuError, Session, States};
use crate::ops::Op;
use crate::program::{CompileError, Kernel, Lower, LowerError, Program, Shader, compile};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape};

static NUMBERS: Shader = shader!("conformance/numbers");
static WORKGROUP_MEMORY: Shader = shader!("conformance/workgroup_memory");
static LONG_DISPATCH: Shader = shader!("conformance/long_dispatch");

/// Invocations of a workgroup of `numbers.wgsl`.
const GROUP: usize = 64;
/// Largest binding that is exercised: the host reads it back.
const MOST_BYTES: u64 = 1 << 30;
/// WebGPU's default, which every device must give.
const DEFAULT_BINDING: u64 = 128 << 20;
/// Numbers in 16 KiB.
const SHARED: usize = 4096;
/// Workgroups that use all of the workgroup memory.
const SHARED_GROUPS: usize = 64;
/// Windows takes a device away after a dispatch of 2 s.
const LONG_SECONDS: f64 = 1.5;
const LONG_ENOUGH: f64 = 0.7 * LONG_SECONDS;
/// Buffers that are asked for until one is refused.
const MOST_BUFFERS: usize = 64;

/// A check of one of a device's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    LargestBinding,
    ManyWorkgroups,
    WorkgroupMemory,
    LongDispatch,
    OutOfMemory,
}

impl Limit {
    pub const ALL: [Limit; 5] = [
        Limit::LargestBinding,
        Limit::ManyWorkgroups,
        Limit::WorkgroupMemory,
        Limit::LongDispatch,
        Limit::OutOfMemory,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Limit::LargestBinding => "largest binding",
            Limit::ManyWorkgroups => "many workgroups",
            Limit::WorkgroupMemory => "workgroup memory",
            Limit::LongDispatch => "long dispatch",
            Limit::OutOfMemory => "out of memory",
        }
    }

    pub fn group(self) -> Group {
        match self {
            Limit::OutOfMemory => Group::Memory,
            _ => Group::Limits,
        }
    }
}

/// Checks one limit.
pub fn check(gpu: &Arc<Gpu>, limit: Limit, alter: Alter) -> Result<Check, ConformanceError> {
    match limit {
        Limit::LargestBinding => largest_binding(gpu, alter),
        Limit::ManyWorkgroups => {
            let most = gpu.caps().max_workgroups as usize;
            let op = Numbers { count: 2 * most * GROUP + 1 };
            let told = format!("{} workgroups, {most} in a dimension", 2 * most + 1);
            exact(gpu, limit, "in two dimensions", &told, Arc::new(op), alter)
        }
        Limit::WorkgroupMemory => {
            let told = format!("{SHARED_GROUPS} workgroups of 256 invocations");
            exact(gpu, limit, "WebGPU's 16 KiB", &told, Arc::new(SharedNumbers), alter)
        }
        Limit::LongDispatch => long_dispatch(gpu, alter),
        Limit::OutOfMemory => out_of_memory(gpu),
    }
}

fn largest_binding(gpu: &Arc<Gpu>, alter: Alter) -> Result<Check, ConformanceError> {
    let offered = gpu.caps().max_binding_bytes;
    // The device's buffer, the one it is read through, and the numbers, found and expected.
    let memory = gpu.caps().memory_bytes.map_or(MOST_BYTES, |bytes| bytes / 8);
    let mut bytes = offered.min(MOST_BYTES).min(memory) & !15;
    let mut refused = String::new();
    loop {
        let told = format!("{} MiB of {} that are offered{refused}", bytes >> 20, offered >> 20);
        let op = Arc::new(Numbers { count: (bytes / 4) as usize });
        match exact(gpu, Limit::LargestBinding, "as one buffer", &told, op, alter) {
            // A device may allow larger buffers than it has memory for.
            Err(ConformanceError::Gpu(GpuError::OutOfMemory { .. })) if bytes > DEFAULT_BINDING => {
                refused = format!("; {} MiB were refused as out of memory", bytes >> 20);
                bytes = (bytes / 2).max(DEFAULT_BINDING) & !15;
            }
            done => return done,
        }
    }
}

/// Runs an op whose result is known to the bit.
fn exact(
    gpu: &Arc<Gpu>,
    limit: Limit,
    case: &str,
    told: &str,
    op: Arc<dyn Op>,
    alter: Alter,
) -> Result<Check, ConformanceError> {
    let found = run(gpu, Arc::clone(&op), alter)?.1;
    let shape = op.shape(&[]).map_err(LowerError::Shader).map_err(CompileError::from)?;
    let expected = op.reference(&[], &shape).swap_remove(0);
    let check = Check::new(limit.group(), limit.name(), case, Outcome::Pass).because(told);
    Ok(judged(check, &found, &expected))
}

/// The check failed if any number is another than expected.
fn judged(check: Check, found: &[f32], expected: &[f64]) -> Check {
    let wrong = |(found, expected): (&f32, &f64)| f64::from(*found) != *expected;
    let count = found.iter().zip(expected).filter(|pair| wrong(*pair)).count();
    if count == 0 && found.len() == expected.len() {
        return check;
    }
    let first = found.iter().zip(expected).position(wrong).unwrap_or(0);
    let reason = format!(
        "{}; {count} of {} numbers are wrong, the first at {first}: {} in place of {}",
        check.reason,
        expected.len(),
        found.get(first).copied().unwrap_or(f32::NAN),
        expected.get(first).copied().unwrap_or(f64::NAN)
    );
    Check { outcome: Outcome::Fail, ..check }.because(reason)
}

fn program(gpu: &Gpu, op: Arc<dyn Op>) -> Result<Program, ConformanceError> {
    let mut tape = Tape::new();
    let result = tape.push_op(op, &[])?;
    tape.output("result", result);
    Ok(compile(&tape, gpu.caps())?)
}

/// Runs an op alone; the seconds from its submission to its end, and its result.
fn run(gpu: &Arc<Gpu>, op: Arc<dyn Op>, alter: Alter) -> Result<(f64, Vec<f32>), ConformanceError> {
    let mut program = program(gpu, op)?;
    alter(&mut program);
    let mut session = Session::new(gpu, program, &mut States::new())?;
    let start = Instant::now();
    session.run()?;
    session.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    Ok((seconds, session.read("result")?))
}

/// Finds how many steps take long enough, then takes them in one dispatch.
fn long_dispatch(gpu: &Arc<Gpu>, alter: Alter) -> Result<Check, ConformanceError> {
    let mut steps: u32 = 1 << 16;
    // The first run compiles the kernel.
    run(gpu, Arc::new(Chain { steps }), alter)?;
    let (seconds, found) = loop {
        let (seconds, found) = run(gpu, Arc::new(Chain { steps }), alter)?;
        if seconds > LONG_ENOUGH || steps == u32::MAX {
            break (seconds, found);
        }
        // In small leaps, so that a wrong guess does not go far past the goal.
        let leap = (LONG_SECONDS / seconds.max(1e-4)).min(8.0);
        steps = (f64::from(steps) * leap).min(f64::from(u32::MAX)) as u32;
    };
    let expected = Chain { steps }.reference(&[], &Shape::new(vec![GROUP])).swap_remove(0);
    // Where all steps together are no time, the driver has found a shorter way, and nothing was near a time-out.
    let outcome = if seconds > LONG_ENOUGH { Outcome::Pass } else { Outcome::Skipped };
    let check = Check::new(Group::Limits, Limit::LongDispatch.name(), "near a time-out of 2 s", outcome);
    Ok(judged(check.because(format!("one dispatch took {seconds:.2} s")), &found, &expected))
}

/// Asks for buffers that are as large as the device allows until it refuses one, then sees that it still computes.
fn out_of_memory(gpu: &Arc<Gpu>) -> Result<Check, ConformanceError> {
    let check =
        |outcome| Check::new(Group::Memory, Limit::OutOfMemory.name(), "refused by an error", outcome);
    if let Some(memory) = gpu.caps().memory_bytes {
        return Ok(refused_beforehand(gpu, memory, check));
    }
    let each = gpu.max_buffer_bytes();
    let (granted, end) = gpu.allocate_until_refused(each, MOST_BUFFERS);
    let told = match end {
        None => {
            let reason =
                format!("the driver granted {MOST_BUFFERS} buffers of {} MiB and refused none", each >> 20);
            return Ok(check(Outcome::Skipped).because(reason));
        }
        Some(GpuError::OutOfMemory { .. }) => format!("told after {granted} buffers of {} MiB", each >> 20),
        Some(other) => return Ok(check(Outcome::Fail).because(format!("another error was told: {other}"))),
    };
    let op = Arc::new(Numbers { count: 1000 });
    let expected = op.reference(&[], &Shape::new(vec![op.count])).swap_remove(0);
    let after = run(gpu, op, &|_| {})?.1;
    Ok(judged(check(Outcome::Pass).because(told), &after, &expected))
}

/// A software driver takes the host's memory, which is not used up on purpose: a program that needs more must be refused before
/// anything is allocated.
fn refused_beforehand(gpu: &Gpu, memory: u64, check: impl Fn(Outcome) -> Check) -> Check {
    let count = (gpu.caps().max_binding_bytes / 4).min(1 << 28) as usize;
    let mut tape = Tape::new();
    for index in 0..=memory / (4 * count as u64) {
        let Ok(result) = tape.push_op(Arc::new(Numbers { count }), &[]) else { break };
        tape.output(&format!("result{index}"), result);
    }
    match compile(&tape, gpu.caps()) {
        Err(CompileError::OutOfMemory { needed, limit }) => check(Outcome::Pass).because(format!(
            "a program of {} MiB is refused before it allocates, of {} that are free",
            needed >> 20,
            limit >> 20
        )),
        Err(other) => check(Outcome::Fail).because(format!("another error was told: {other}")),
        Ok(program) => check(Outcome::Fail).because(format!(
            "a program of {} MiB was not refused, of {} that are free",
            program.peak_bytes() >> 20,
            memory >> 20
        )),
    }
}

fn number(i: u32) -> f64 {
    f64::from(i.wrapping_mul(2_654_435_761) >> 8)
}

#[derive(Debug)]
struct Numbers {
    count: usize,
}

impl Op for Numbers {
    fn name(&self) -> &'static str {
        "numbers"
    }

    fn shape(&self, _inputs: &[&Shape]) -> Result<Shape, String> {
        Ok(Shape::new(vec![self.count]))
    }

    fn reference(&self, _inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        vec![(0..self.count as u32).map(number).collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        lower.dispatch_items(Kernel::new(&NUMBERS), &[self.count.into()], &[lower.output()], self.count)
    }
}

#[derive(Debug)]
struct SharedNumbers;

impl Op for SharedNumbers {
    fn name(&self) -> &'static str {
        "workgroup_memory"
    }

    fn shape(&self, _inputs: &[&Shape]) -> Result<Shape, String> {
        Ok(Shape::new(vec![SHARED_GROUPS, SHARED]))
    }

    fn reference(&self, _inputs: &[&Tensor], output: &Shape) -> Vec<Vec<f64>> {
        let of = |index: usize| {
            let (group, i) = (index / SHARED, SHARED - 1 - index % SHARED);
            let of_round = |round: usize| number(((2 * group + round) * SHARED + i) as u32);
            of_round(0) - of_round(1)
        };
        vec![(0..output.len()).map(of).collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let grid = [SHARED_GROUPS as u32, 1, 1];
        lower.dispatch(Kernel::new(&WORKGROUP_MEMORY), &[SHARED_GROUPS.into()], &[lower.output()], grid)
    }
}

#[derive(Debug)]
struct Chain {
    steps: u32,
}

impl Op for Chain {
    fn name(&self) -> &'static str {
        "long_dispatch"
    }

    fn shape(&self, _inputs: &[&Shape]) -> Result<Shape, String> {
        Ok(Shape::new(vec![GROUP]))
    }

    fn reference(&self, _inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        // The map x -> a x + c taken `steps` times, by squaring.
        let (mut factor, mut addend) = (1u32, 0u32);
        let (mut a, mut c) = (1_664_525u32, 1_013_904_223u32);
        let mut steps = self.steps;
        while steps > 0 {
            if steps & 1 == 1 {
                (factor, addend) = (factor.wrapping_mul(a), addend.wrapping_mul(a).wrapping_add(c));
            }
            (a, c) = (a.wrapping_mul(a), c.wrapping_mul(a).wrapping_add(c));
            steps >>= 1;
        }
        let end = |x: u32| f64::from(x.wrapping_mul(factor).wrapping_add(addend) >> 8);
        vec![(0..GROUP as u32).map(end).collect()]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let params = [(self.steps as usize).into()];
        lower.dispatch(Kernel::new(&LONG_DISPATCH), &params, &[lower.output()], [1, 1, 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_chain_is_that_of_its_steps() {
        for steps in [0, 1, 2, 7, 1000] {
            let found = Chain { steps }.reference(&[], &Shape::new(vec![GROUP])).swap_remove(0);
            for (lane, found) in found.into_iter().enumerate() {
                let mut x = lane as u32;
                for _ in 0..steps {
                    x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                }
                assert_eq!(found, f64::from(x >> 8));
            }
        }
    }

    #[test]
    fn one_wrong_number_or_none_fails() {
        let check = || Check::new(Group::Limits, "a", "b", Outcome::Pass);
        assert_eq!(judged(check(), &[1.0, 2.0], &[1.0, 2.0]).outcome, Outcome::Pass);
        for found in [vec![1.0, 3.0], vec![1.0, f32::NAN], vec![1.0]] {
            assert_eq!(judged(check(), &found, &[1.0, 2.0]).outcome, Outcome::Fail, "{found:?}");
        }
    }
}

//! A training step dispatch by dispatch.

use serde::{Deserialize, Serialize};

use super::{BenchError, Ceilings, Timing, roofline_percent};
use crate::gpu::{Clock, Session};
use crate::program::{Access, Binding, BufferKind, Dispatch, Program};

/// A dispatch of the training step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DispatchRow {
    /// Its kernel.
    pub shader: String,
    pub op: String,
    pub scope: String,
    /// The median.
    pub ms: f64,
    /// Floating-point operations of the op, on its first dispatch; 0 on the others.
    pub flops: u64,
    /// What it binds, each counted once; what it rewrites in place, twice.
    #[serde(default)]
    pub bytes: u64,
    /// Of the time that the adapter's ceilings allow at least, of the time taken.
    #[serde(default)]
    pub roofline_percent: f64,
}

/// Times each dispatch of a session, slowest first, and says by which clock.
pub fn measure(
    session: &mut Session,
    repetitions: usize,
    ceilings: &Ceilings,
) -> Result<(Clock, Vec<DispatchRow>), BenchError> {
    let times = session.time_dispatches(repetitions)?;
    let program = session.program();
    let mut rows: Vec<DispatchRow> = program
        .dispatches
        .iter()
        .zip(times.seconds)
        .map(|(dispatch, seconds)| {
            let timing = Timing { median_ms: seconds * 1e3, spread_percent: 0.0 };
            let bytes = bytes(program, dispatch);
            DispatchRow {
                shader: dispatch.kernel.shader.name.to_owned(),
                op: dispatch.op.to_owned(),
                scope: dispatch.scope.clone(),
                ms: timing.median_ms,
                flops: dispatch.flops,
                bytes,
                roofline_percent: roofline_percent(ceilings, dispatch.flops, bytes, &timing),
            }
        })
        .collect();
    rows.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    Ok((times.clock, rows))
}

/// Bytes that a dispatch moves at least. A state that is written is rewritten in place: read as well.
fn bytes(program: &Program, dispatch: &Dispatch) -> u64 {
    let of = |binding: &Binding| {
        let state = matches!(program.buffers[binding.buffer].kind, BufferKind::State(_));
        if state && binding.access == Access::ReadWrite { 2 * binding.bytes } else { binding.bytes }
    };
    dispatch.bindings.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Hyper;
    use crate::ops::sgd::Sgd;
    use crate::program::{Caps, compile};
    use crate::tape::Tape;

    #[test]
    fn bytes_are_what_is_bound_and_twice_what_is_rewritten() {
        let mut tape = Tape::new();
        let weight = tape.parameter("weight", [100]).expect("a parameter");
        let velocity = tape.state("velocity", [100]).expect("a state");
        let gradient = tape.input("gradient", [100]).expect("an input");
        let half = tape.scale(gradient, 0.5).expect("a value");
        let hyper = tape.input("hyper", [Hyper::LEN]).expect("an input");
        let sgd = Sgd { momentum: 0.9, weight_decay: 0.0 };
        let scale = tape.input("scale", [1]).expect("an input");
        tape.sgd(sgd, weight, half, velocity, hyper, Some(scale)).expect("an update");
        let program = compile(&tape, &Caps::default()).expect("a program");
        let found: Vec<u64> = program.dispatches.iter().map(|d| bytes(&program, d)).collect();
        // Tensors are padded to 16 bytes.
        let small = 16 * Hyper::LEN.div_ceil(4) as u64 + 16;
        assert_eq!(found, [2 * 400, (2 + 1 + 2) * 400 + small]);
    }
}

//! A tape compiled for an adapter: a flat list of dispatches over buffers placed by lifetime.
//!
//! A program is data. Its memory is known before anything is allocated, and it can be printed,
//! timed dispatch by dispatch and replayed by [`crate::gpu::Session`].

mod lower;
mod place;
mod shader;

use std::collections::HashMap;
use std::fmt;

pub use lower::{Kernel, Lower, LowerError, Operand, Word, spread};
pub use shader::{Access, ByWidth, Interface, Shader};

use crate::tape::{Shape, Source, Tape, Value};
use lower::PendingDispatch;
use place::{Demand, place};

/// A set of kernels of the same ops, made for one kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// One invocation, one result. The check on the device itself.
    Naive,
    /// Workgroup memory and register tiles, for GPUs.
    Tiled,
    /// No workgroup memory and no barriers, for software drivers.
    Cpu,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Family::Naive => "naive",
            Family::Tiled => "tiled",
            Family::Cpu => "cpu",
        })
    }
}

/// What an adapter can do, as far as the compiler cares.
#[derive(Clone, Debug, PartialEq)]
pub struct Caps {
    pub family: Family,
    /// Subgroups of 8 lanes and 64-bit integers are offered: the fast kernels of a software driver
    /// exchange values between lanes and load two floats at once.
    pub subgroups: bool,
    /// Largest storage binding in bytes.
    pub max_binding_bytes: u64,
    /// Most workgroups in one dimension of a grid.
    pub max_workgroups: u32,
    /// Memory that a program may take, where known.
    pub memory_bytes: Option<u64>,
}

/// The portable contract, `wgpu::Limits::default()`.
impl Default for Caps {
    fn default() -> Caps {
        Caps {
            family: Family::Tiled,
            subgroups: false,
            max_binding_bytes: 128 << 20,
            max_workgroups: 65_535,
            memory_bytes: None,
        }
    }
}

/// What a buffer of a program holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BufferKind {
    Input(String),
    State(String),
    /// Values whose lifetimes do not overlap.
    Slot,
}

#[derive(Clone, Debug)]
pub struct BufferSpec {
    pub kind: BufferKind,
    pub bytes: u64,
}

/// One kernel launch.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The node of the tape that it computes, its op and its scope.
    pub node: Value,
    pub op: &'static str,
    pub scope: String,
    pub kernel: Kernel,
    /// Place of its uniform block in [`Program::params`], in bytes.
    pub params_offset: u64,
    pub params_bytes: u64,
    /// Index in [`Program::buffers`], bytes bound, and access, for bindings 1, 2, ….
    pub bindings: Vec<(usize, u64, Access)>,
    pub grid: [u32; 3],
    /// Floating-point operations of the node, on its first dispatch; 0 on the others.
    pub flops: u64,
}

/// A named tensor of a program and the buffer that holds it.
#[derive(Clone, Debug)]
pub struct Port {
    pub name: String,
    pub buffer: usize,
    pub shape: Shape,
}

#[derive(Clone, Debug)]
pub struct Program {
    pub buffers: Vec<BufferSpec>,
    pub dispatches: Vec<Dispatch>,
    /// The uniform blocks of all dispatches, each at a multiple of [`PARAMS_ALIGNMENT`].
    pub params: Vec<u8>,
    pub inputs: Vec<Port>,
    pub states: Vec<Port>,
    pub outputs: Vec<Port>,
    /// For each pause of the tape, the number of dispatches before it.
    pub pauses: Vec<usize>,
}

/// `min_uniform_buffer_offset_alignment` of the portable contract.
pub const PARAMS_ALIGNMENT: usize = 256;

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum CompileError {
    #[error(transparent)]
    Lower(#[from] LowerError),
    #[error(
        "the program needs {needed} bytes of memory, but {limit} are available; \
         use a smaller train.batch_size, data.size or model.base_channels"
    )]
    OutOfMemory { needed: u64, limit: u64 },
}

/// Compiles the nodes of `tape` that its outputs and updates need.
pub fn compile(tape: &Tape, caps: &Caps) -> Result<Program, CompileError> {
    let live = live_nodes(tape);
    let mut pending: Vec<PendingDispatch> = vec![];
    let mut scratch: Vec<u64> = vec![];
    for (index, node) in tape.nodes().iter().enumerate() {
        if !live[index] {
            continue;
        }
        check_size(tape, Value(index), node.shape.padded_bytes(), caps)?;
        if let Some(op) = node.op() {
            let mut lower =
                Lower { tape, node: Value(index), caps, dispatches: &mut pending, scratch: &mut scratch };
            let before = lower.scratch.len();
            op.lower(&mut lower)?;
            for bytes in &scratch[before..] {
                check_size(tape, Value(index), *bytes, caps)?;
            }
        }
    }
    let program = assemble(tape, &live, pending, &scratch);
    if let Some(limit) = caps.memory_bytes
        && program.peak_bytes() > limit
    {
        return Err(CompileError::OutOfMemory { needed: program.peak_bytes(), limit });
    }
    Ok(program)
}

/// Kernels count elements in u32, and an adapter binds so many bytes at most.
fn check_size(tape: &Tape, value: Value, bytes: u64, caps: &Caps) -> Result<(), LowerError> {
    let limit = caps.max_binding_bytes.min(4 * u64::from(u32::MAX));
    if bytes <= limit {
        return Ok(());
    }
    let node = tape.node(value);
    Err(LowerError::TensorTooLarge {
        op: node.op().map_or(node.name.clone(), |op| op.name().to_owned()),
        scope: node.name.clone(),
        shape: node.shape.clone(),
        bytes,
        limit,
    })
}

/// Nodes that an output or an update depends on.
fn live_nodes(tape: &Tape) -> Vec<bool> {
    let mut live = vec![false; tape.nodes().len()];
    for (_, value) in tape.outputs() {
        live[value.index()] = true;
    }
    for (index, node) in tape.nodes().iter().enumerate().rev() {
        if node.op().is_some_and(|op| !op.in_place().is_empty()) {
            live[index] = true;
        }
        if live[index] {
            for input in &node.inputs {
                live[input.index()] = true;
            }
        }
    }
    live
}

/// Gives every operand a buffer and every dispatch its place in the uniform buffer.
fn assemble(tape: &Tape, live: &[bool], pending: Vec<PendingDispatch>, scratch: &[u64]) -> Program {
    let mut buffers = vec![];
    let mut buffer_of: HashMap<Operand, usize> = HashMap::new();
    let (mut inputs, mut states) = (vec![], vec![]);
    for (index, node) in tape.nodes().iter().enumerate() {
        let (kind, ports) = match node.source {
            Source::Input if live[index] => (BufferKind::Input(node.name.clone()), &mut inputs),
            Source::State { .. } if live[index] => (BufferKind::State(node.name.clone()), &mut states),
            _ => continue,
        };
        buffer_of.insert(Operand::Value(Value(index)), buffers.len());
        ports.push(Port { name: node.name.clone(), buffer: buffers.len(), shape: node.shape.clone() });
        buffers.push(BufferSpec { kind, bytes: node.shape.padded_bytes() });
    }

    let bytes_of = |operand: Operand| match operand {
        Operand::Value(value) => tape.shape(value).padded_bytes(),
        Operand::Scratch(index) => scratch[index],
    };
    let mut demands: Vec<Demand> = vec![];
    let mut demand_of: HashMap<Operand, usize> = HashMap::new();
    for (at, dispatch) in pending.iter().enumerate() {
        for (operand, _) in &dispatch.operands {
            if buffer_of.contains_key(operand) {
                continue;
            }
            let demand = *demand_of.entry(*operand).or_insert_with(|| {
                demands.push(Demand { operand: *operand, bytes: bytes_of(*operand), first: at, last: at });
                demands.len() - 1
            });
            demands[demand].last = at;
        }
    }
    for (_, value) in tape.outputs() {
        if let Some(demand) = demand_of.get(&Operand::Value(*value)) {
            demands[*demand].last = usize::MAX;
        }
    }
    let (slot_of, slots) = place(demands);
    let first_slot = buffers.len();
    buffers.extend(slots.into_iter().map(|bytes| BufferSpec { kind: BufferKind::Slot, bytes }));
    buffer_of.extend(slot_of.into_iter().map(|(operand, slot)| (operand, first_slot + slot)));

    let mut params: Vec<u8> = vec![];
    let mut dispatches: Vec<Dispatch> = vec![];
    for dispatch in pending {
        let node = tape.node(dispatch.node);
        let Some(op) = node.op() else { continue };
        let first_of_node = dispatches.last().is_none_or(|d| d.node != dispatch.node);
        let shapes: Vec<&Shape> = node.inputs.iter().map(|v| tape.shape(*v)).collect();
        params.resize(params.len().next_multiple_of(PARAMS_ALIGNMENT), 0);
        let params_offset = params.len() as u64;
        params.extend(dispatch.params.iter().flat_map(|word| word.0.to_le_bytes()));
        params.resize(params.len().next_multiple_of(16).max(params_offset as usize + 16), 0);
        dispatches.push(Dispatch {
            node: dispatch.node,
            op: op.name(),
            scope: node.name.clone(),
            kernel: dispatch.kernel,
            params_offset,
            params_bytes: params.len() as u64 - params_offset,
            bindings: dispatch.operands.iter().map(|(o, a)| (buffer_of[o], bytes_of(*o), *a)).collect(),
            grid: dispatch.grid,
            flops: if first_of_node { op.flops(&shapes, &node.shape) } else { 0 },
        });
    }
    let outputs = tape
        .outputs()
        .iter()
        .filter_map(|(name, value)| {
            let buffer = *buffer_of.get(&Operand::Value(*value))?;
            Some(Port { name: name.clone(), buffer, shape: tape.shape(*value).clone() })
        })
        .collect();
    let pauses = tape.pauses().iter();
    let pauses = pauses.map(|nodes| dispatches.partition_point(|d| d.node.index() < *nodes)).collect();
    Program { buffers, dispatches, params, inputs, states, outputs, pauses }
}

impl Program {
    /// Bytes of all its buffers on the device, known before the first allocation.
    pub fn peak_bytes(&self) -> u64 {
        self.params.len() as u64 + self.buffers.iter().map(|b| b.bytes).sum::<u64>()
    }

    pub fn flops(&self) -> u64 {
        self.dispatches.iter().map(|d| d.flops).sum()
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "{} dispatches, {} buffers, {:.1} MiB, {:.2} GFLOP",
            self.dispatches.len(),
            self.buffers.len(),
            self.peak_bytes() as f64 / f64::from(1 << 20),
            self.flops() as f64 / 1e9
        )?;
        for (i, d) in self.dispatches.iter().enumerate() {
            let bindings: Vec<String> = d
                .bindings
                .iter()
                .map(|(b, _, a)| format!("{}{b}", if *a == Access::Read { "" } else { "=" }))
                .collect();
            let scope = if d.scope.is_empty() { String::new() } else { format!("  {}", d.scope) };
            writeln!(f, "{i:4} {} {:?} [{}]{scope}", d.kernel.shader.name, d.grid, bindings.join(" "))?;
        }
        Ok(())
    }
}

//! A tape compiled for an adapter: a flat list of dispatches over buffers placed by lifetime.
//!
//! A program is data. Its memory is known before anything is allocated, and it can be printed,
//! timed dispatch by dispatch and replayed by [`crate::gpu::Session`].

mod choice;
mod lifetime;
mod lower;
mod place;
mod precision;
mod recompute;
mod shader;

use std::collections::{HashMap, HashSet};
use std::fmt;

pub use choice::{Choice, Choices, Point};
pub use lower::{Kernel, Lower, LowerError, Operand, Word, spread};
pub use precision::{Element, Precision};
pub use shader::{Access, BySide, ByWidth, Interface, Shader};

use crate::tape::{Shape, Source, Tape, Value};
use lifetime::{bytes_of, lifetimes};
use lower::PendingDispatch;
use place::{Demand, Place, apart, place};
use precision::{Values, elements};
use recompute::recompute;

/// A set of kernels of the same ops, made for one kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
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

/// Cooperative matrices of f16, whose products are summed in f32: tensor cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrices {
    /// Rows and columns: 8 or 16.
    pub side: usize,
    /// Most invocations that run in step as a subgroup.
    pub lanes: u32,
    /// Subgroups of a workgroup; 1 where they may be smaller than `lanes`.
    pub subgroups: u32,
}

impl Matrices {
    /// Those of `side` on a device whose subgroups have from `least` to `most` lanes; `None` where the kernels cannot
    /// take such subgroups: a lane loads 1 to 32 pixels.
    pub fn of(side: usize, least: u32, most: u32) -> Option<Matrices> {
        let subgroups = if least == most { (256 / most.max(1)).min(4) } else { 1 };
        let fits = most.is_power_of_two() && (8..=128).contains(&most);
        fits.then_some(Matrices { side, lanes: most, subgroups })
    }
}

/// What an adapter can do, as far as the compiler cares.
#[derive(Clone, Debug, PartialEq)]
pub struct Caps {
    pub family: Family,
    /// Subgroups of 8 lanes and 64-bit integers are offered: the fast kernels of a software driver
    /// exchange values between lanes and load two floats at once.
    pub subgroups: bool,
    /// For [`Precision::MixedMatrices`].
    pub matrices: Option<Matrices>,
    /// Largest storage binding in bytes.
    pub max_binding_bytes: u64,
    /// Most workgroups in one dimension of a grid.
    pub max_workgroups: u32,
    /// Memory that a program may take, where known.
    pub memory_bytes: Option<u64>,
    /// What was measured to be faster than the rule's forms.
    pub choices: Choices,
}

/// The portable contract, `wgpu::Limits::default()`.
impl Default for Caps {
    fn default() -> Caps {
        Caps {
            family: Family::Tiled,
            subgroups: false,
            matrices: None,
            max_binding_bytes: 128 << 20,
            max_workgroups: 65_535,
            memory_bytes: None,
            choices: Choices::default(),
        }
    }
}

/// What a buffer of a program holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BufferKind {
    Input(String),
    State(String),
    /// Values that share its bytes at different times.
    Slot,
}

#[derive(Clone, Debug)]
pub struct BufferSpec {
    pub kind: BufferKind,
    pub bytes: u64,
}

/// A part of a buffer that a dispatch binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Index in [`Program::buffers`].
    pub buffer: usize,
    /// First byte and number of bytes.
    pub offset: u64,
    pub bytes: u64,
    pub access: Access,
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
    /// For bindings 1, 2, ….
    pub bindings: Vec<Binding>,
    pub grid: [u32; 3],
    /// Of the node's floating-point operations those that are counted here: all on its first dispatch, or as the
    /// op shares them out; 0 where it is computed again.
    pub flops: u64,
}

/// A named tensor of a program and the buffer that holds it.
#[derive(Clone, Debug)]
pub struct Port {
    pub name: String,
    pub buffer: usize,
    /// Its first byte there.
    pub offset: u64,
    pub shape: Shape,
    pub element: Element,
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
    /// Of nodes whose op lists the forms in which it can be computed, in their order.
    pub choices: Vec<Choice>,
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

/// Compiles the nodes of `tape` that its outputs and updates need, in f32. Cheap values are made again for
/// a late use where that takes less memory.
pub fn compile(tape: &Tape, caps: &Caps) -> Result<Program, CompileError> {
    compile_for(tape, caps, Precision::F32)
}

/// As [`compile`], in `precision`. The kernels for software drivers have no form for f16: a mixed program takes
/// those for GPUs in their place.
pub fn compile_for(tape: &Tape, caps: &Caps, precision: Precision) -> Result<Program, CompileError> {
    let mut caps = caps.clone();
    if precision != Precision::F32 && caps.family == Family::Cpu {
        caps.family = Family::Tiled;
    }
    if precision != Precision::MixedMatrices {
        caps.matrices = None;
    }
    compile_by(tape, &caps, &elements_of(tape, precision), true)
}

/// The type of each value's elements, in the order of the tape's nodes.
pub fn elements_of(tape: &Tape, precision: Precision) -> Vec<Element> {
    elements(tape, &live_nodes(tape), precision)
}

/// As [`compile`], with an element type for each value of the tape, which its ops must take.
pub(crate) fn compile_of(tape: &Tape, caps: &Caps, elements: &[Element]) -> Result<Program, CompileError> {
    compile_by(tape, caps, elements, true)
}

/// The same with every value made once and kept: the same results in more memory, to compare with.
pub fn compile_keeping_all(tape: &Tape, caps: &Caps) -> Result<Program, CompileError> {
    compile_by(tape, caps, &vec![Element::F32; tape.nodes().len()], false)
}

fn compile_by(tape: &Tape, caps: &Caps, elements: &[Element], again: bool) -> Result<Program, CompileError> {
    let values = Values { tape, elements };
    let live = live_nodes(tape);
    let mut pending: Vec<PendingDispatch> = vec![];
    let mut scratch: Vec<u64> = vec![];
    let mut choices: Vec<Choice> = vec![];
    for (index, node) in tape.nodes().iter().enumerate() {
        if !live[index] {
            continue;
        }
        check_size(tape, Value(index), values.bytes(Value(index)), caps)?;
        if let Some(op) = node.op() {
            let mut lower = Lower {
                tape,
                node: Value(index),
                caps,
                elements,
                dispatches: &mut pending,
                scratch: &mut scratch,
                choices: &mut choices,
            };
            let before = lower.scratch.len();
            op.lower(&mut lower)?;
            for bytes in &scratch[before..] {
                check_size(tape, Value(index), *bytes, caps)?;
            }
        }
    }
    if again {
        recompute(values, &mut pending, &mut scratch);
    }
    let program = Program { choices, ..assemble(values, &live, pending, &scratch) };
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
fn assemble(values: Values, live: &[bool], pending: Vec<PendingDispatch>, scratch: &[u64]) -> Program {
    let tape = values.tape;
    let mut buffers = vec![];
    // Buffer and first byte.
    let mut place_of: HashMap<Operand, (usize, u64)> = HashMap::new();
    let (mut inputs, mut states) = (vec![], vec![]);
    for (index, node) in tape.nodes().iter().enumerate() {
        let (kind, ports) = match node.source {
            Source::Input if live[index] => (BufferKind::Input(node.name.clone()), &mut inputs),
            Source::State { .. } if live[index] => (BufferKind::State(node.name.clone()), &mut states),
            _ => continue,
        };
        place_of.insert(Operand::Value(Value(index)), (buffers.len(), 0));
        let (name, shape) = (node.name.clone(), node.shape.clone());
        let element = values.element(Value(index));
        ports.push(Port { name, buffer: buffers.len(), offset: 0, shape, element });
        buffers.push(BufferSpec { kind, bytes: values.bytes(Value(index)) });
    }

    let demands = lifetimes(values, &pending, scratch)
        .into_iter()
        .map(|l| Demand { operand: l.operand, bytes: l.bytes, first: l.first(), last: l.last() })
        .collect();
    let (placed, slots) = place(demands, &apart(&pending));
    let first_slot = buffers.len();
    buffers.extend(slots.into_iter().map(|bytes| BufferSpec { kind: BufferKind::Slot, bytes }));
    let in_buffer = |Place { slot, offset }| (first_slot + slot, offset);
    place_of.extend(placed.into_iter().map(|(operand, place)| (operand, in_buffer(place))));

    let mut params: Vec<u8> = vec![];
    let mut dispatches: Vec<Dispatch> = vec![];
    let mut computed: HashSet<Value> = HashSet::new();
    let mut work_of: HashMap<Value, u64> = HashMap::new();
    for dispatch in &pending {
        *work_of.entry(dispatch.node).or_default() += dispatch.work;
    }
    let pauses = (0..tape.pauses().len()).map(|pause| pending.partition_point(|d| d.part <= pause)).collect();
    for dispatch in pending {
        let node = tape.node(dispatch.node);
        let Some(op) = node.op() else { continue };
        let first_of_node = computed.insert(dispatch.node);
        let shapes: Vec<&Shape> = node.inputs.iter().map(|v| tape.shape(*v)).collect();
        let flops = match (work_of[&dispatch.node], first_of_node) {
            (0, true) => op.flops(&shapes, &node.shape),
            (0, false) => 0,
            (all, _) => {
                (u128::from(op.flops(&shapes, &node.shape)) * u128::from(dispatch.work) / u128::from(all))
                    as u64
            }
        };
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
            bindings: dispatch
                .operands
                .iter()
                .map(|(operand, access)| {
                    let (buffer, offset) = place_of[operand];
                    Binding { buffer, offset, bytes: bytes_of(values, scratch, *operand), access: *access }
                })
                .collect(),
            grid: dispatch.grid,
            flops,
        });
    }
    let outputs = tape
        .outputs()
        .iter()
        .filter_map(|(name, value)| {
            let (buffer, offset) = *place_of.get(&Operand::Value(*value))?;
            let (shape, element) = (tape.shape(*value).clone(), values.element(*value));
            Some(Port { name: name.clone(), buffer, offset, shape, element })
        })
        .collect();
    Program { buffers, dispatches, params, inputs, states, outputs, pauses, choices: vec![] }
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
                .map(|b| {
                    let offset = if b.offset == 0 { String::new() } else { format!("+{}", b.offset) };
                    format!("{}{}{offset}", if b.access == Access::Read { "" } else { "=" }, b.buffer)
                })
                .collect();
            let scope = if d.scope.is_empty() { String::new() } else { format!("  {}", d.scope) };
            writeln!(f, "{i:4} {} {:?} [{}]{scope}", d.kernel.shader.name, d.grid, bindings.join(" "))?;
        }
        Ok(())
    }
}

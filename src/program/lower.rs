//! What an op's `lower` writes to: dispatches over operands that have no place yet.

use super::precision::Element;
use super::{Access, Caps, Choice, Family, Point, Shader};
use crate::tape::{Node, Shape, Tape, Value};

/// A kernel with the values of its `override` constants.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub shader: &'static Shader,
    pub overrides: Vec<(&'static str, f64)>,
}

impl Kernel {
    pub fn new(shader: &'static Shader) -> Kernel {
        Kernel { shader, overrides: vec![] }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<f64>) -> Kernel {
        self.overrides.push((name, value.into()));
        self
    }
}

/// A 4-byte member of a kernel's uniform block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Word(pub u32);

impl From<u32> for Word {
    fn from(x: u32) -> Word {
        Word(x)
    }
}

/// Extents: the compiler refuses tensors of 2³² elements or more before it lowers them.
impl From<usize> for Word {
    fn from(x: usize) -> Word {
        Word(x as u32)
    }
}

impl From<f32> for Word {
    fn from(x: f32) -> Word {
        Word(x.to_bits())
    }
}

/// A tensor that a dispatch binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The result of a node, an input or a state.
    Value(Value),
    /// Scratch space between the dispatches of one node, or a value that is made again.
    Scratch(usize),
}

/// A dispatch whose operands have no buffer yet.
#[derive(Clone, Debug)]
pub struct PendingDispatch {
    pub node: Value,
    /// Pauses of the tape before it.
    pub part: usize,
    pub kernel: Kernel,
    pub params: Vec<Word>,
    pub operands: Vec<(Operand, Access)>,
    pub grid: [u32; 3],
    /// Its share of the node's operations, in any unit; where no dispatch of a node has one, the first has all.
    pub work: u64,
}

/// Why a node cannot be computed on this adapter.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum LowerError {
    #[error(
        "{op} at {scope:?}: a tensor of shape {shape} takes {bytes} bytes, but this adapter binds at most {limit}; \
         use a smaller train.batch_size, data.size or model.base_channels"
    )]
    TensorTooLarge { op: String, scope: String, shape: Shape, bytes: u64, limit: u64 },
    #[error("{0}")]
    Shader(String),
}

/// Collects the dispatches of one node.
pub struct Lower<'a> {
    pub(super) tape: &'a Tape,
    pub(super) node: Value,
    pub(super) caps: &'a Caps,
    /// Of each value of the tape.
    pub(super) elements: &'a [Element],
    pub(super) dispatches: &'a mut Vec<PendingDispatch>,
    /// Bytes of each scratch operand of the program.
    pub(super) scratch: &'a mut Vec<u64>,
    pub(super) choices: &'a mut Vec<Choice>,
}

impl Lower<'_> {
    fn node(&self) -> &Node {
        self.tape.node(self.node)
    }

    pub fn caps(&self) -> &Caps {
        self.caps
    }

    pub fn family(&self) -> Family {
        self.caps.family
    }

    pub fn input_count(&self) -> usize {
        self.node().inputs.len()
    }

    pub fn input(&self, index: usize) -> Operand {
        Operand::Value(self.node().inputs[index])
    }

    pub fn input_shape(&self, index: usize) -> &Shape {
        self.tape.shape(self.node().inputs[index])
    }

    pub fn output(&self) -> Operand {
        Operand::Value(self.node)
    }

    pub fn output_shape(&self) -> &Shape {
        &self.node().shape
    }

    /// The form in which to compute `kernel` at `shape`: the table's, else the first of `forms`, which must not
    /// be empty.
    pub fn choose<F: Copy + ToString>(&mut self, kernel: &str, shape: &impl ToString, forms: &[F]) -> F {
        let point = Point { family: self.caps.family, kernel: kernel.to_owned(), shape: shape.to_string() };
        let names: Vec<String> = forms.iter().map(F::to_string).collect();
        let wanted = self.caps.choices.form(&point);
        let taken = wanted.and_then(|wanted| names.iter().position(|name| name == wanted)).unwrap_or(0);
        self.choices.push(Choice { node: self.node, point, forms: names, taken });
        forms[taken]
    }

    /// Scratch space of `len` f32.
    pub fn scratch(&mut self, len: usize) -> Operand {
        self.scratch.push((len as u64 * 4).next_multiple_of(16));
        Operand::Scratch(self.scratch.len() - 1)
    }

    /// Whether it is kept in f16.
    pub fn is_half(&self, operand: Operand) -> bool {
        self.element(operand) == Element::F16
    }

    fn element(&self, operand: Operand) -> Element {
        match operand {
            Operand::Value(value) => self.elements[value.index()],
            Operand::Scratch(_) => Element::F32,
        }
    }

    /// Appends a dispatch. `operands` are the kernel's storage bindings 1, 2, … in order,
    /// `params` the members of its uniform block, `grid` its workgroups. The kernel's form is the one for the
    /// operands that are f16.
    pub fn dispatch(
        &mut self,
        mut kernel: Kernel,
        params: &[Word],
        operands: &[Operand],
        grid: [u32; 3],
    ) -> Result<(), LowerError> {
        let half: Vec<bool> = operands.iter().map(|o| self.element(*o) == Element::F16).collect();
        kernel.shader = kernel.shader.with_half(&half).map_err(LowerError::Shader)?;
        let interface = kernel.shader.interface().map_err(LowerError::Shader)?;
        if interface.storage.len() != operands.len() {
            return Err(LowerError::Shader(format!(
                "shader {}: {} storage bindings, {} operands",
                kernel.shader.name,
                interface.storage.len(),
                operands.len()
            )));
        }
        let limit = self.caps.max_workgroups;
        if grid.iter().any(|extent| *extent == 0 || *extent > limit) {
            return Err(LowerError::Shader(format!(
                "shader {}: grid {grid:?} has an extent outside 1..={limit}",
                kernel.shader.name
            )));
        }
        let operands = operands.iter().copied().zip(interface.storage.iter().copied()).collect();
        let params = params.to_vec();
        let part = self.tape.pauses().partition_point(|before| *before <= self.node.index());
        self.dispatches.push(PendingDispatch {
            node: self.node,
            part,
            kernel,
            params,
            operands,
            grid,
            work: 0,
        });
        Ok(())
    }

    /// Says that the last dispatch does `work` of the node's operations, in a unit that is the same for all of its
    /// dispatches.
    pub fn does(&mut self, work: u64) {
        if let Some(last) = self.dispatches.last_mut() {
            last.work = work;
        }
    }

    /// A dispatch of one invocation for each of `count` items, with the kernel's own workgroup
    /// size. The kernel finds its item as `(group.y * groups.x + group.x) * SIZE + local`.
    pub fn dispatch_items(
        &mut self,
        kernel: Kernel,
        params: &[Word],
        operands: &[Operand],
        count: usize,
    ) -> Result<(), LowerError> {
        let interface = kernel.shader.interface().map_err(LowerError::Shader)?;
        let groups = (count as u64).div_ceil(u64::from(interface.workgroup[0])).max(1);
        let grid = spread(groups, self.caps.max_workgroups);
        self.dispatch(kernel, params, operands, grid)
    }
}

/// Workgroups laid out in x and y so that no extent passes `limit`.
pub fn spread(groups: u64, limit: u32) -> [u32; 3] {
    if groups <= u64::from(limit) {
        return [groups as u32, 1, 1];
    }
    let rows = groups.div_ceil(u64::from(limit));
    [groups.div_ceil(rows) as u32, rows as u32, 1]
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn spread_covers_all_groups_within_the_limit() {
        for groups in [1u64, 7, 65_535, 65_536, 65_537, 131_070, 1_000_003, 40_000_000] {
            let [x, y, z] = spread(groups, 65_535);
            assert!(x <= 65_535 && y <= 65_535 && z == 1);
            assert!(u64::from(x) * u64::from(y) >= groups);
            assert!(u64::from(x) * (u64::from(y) - 1) < groups, "{groups}: no empty row");
        }
    }
}

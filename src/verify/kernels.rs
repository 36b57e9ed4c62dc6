//! The device against the reference, node by node.
//!
//! Each node of a case's tape, forward and backward, is run alone on inputs that the reference
//! computed and rounded to f32, so an error is told where it is made and does not add up. A kernel that has
//! forms for f16 is run in them as well where the device takes f16, on inputs rounded to f16.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::{CaseTape, Row, VerifyError, case_tape};
use half::f16;

use crate::gpu::{Extra, Gpu, Session, States};
use crate::ops::{Case, Op};
use crate::program::{Caps, Choices, Element, Family, Matrices, Program, compile_of};
use crate::reference::Tensor;
use crate::tape::{Shape, Source, Tape, TapeError, Value};

/// Roundings that an element may suffer besides those of its sum: exp, log and division of
/// WGSL are allowed a few units in the last place each.
const BASE_ROUNDINGS: f64 = 16.0;

/// Elements of the cases that are also run with f16 and f32 in one kernel.
const MIXTURES_UP_TO: usize = 2_000;

/// Checks each op of the case on each family of kernels, in each of its forms, where it differs from the others.
pub fn check_kernels(gpu: &Arc<Gpu>, case: &Case) -> Result<Vec<Row>, VerifyError> {
    check_altered_kernels(gpu, case, &|_| true)
}

/// As [`check_kernels`], with each program changed by `alter` before it runs, and left out where that gives false: how
/// a check of the checks breaks a kernel on purpose.
pub fn check_altered_kernels(
    gpu: &Arc<Gpu>,
    case: &Case,
    alter: &dyn Fn(&mut Program) -> bool,
) -> Result<Vec<Row>, VerifyError> {
    let mut rows = vec![];
    check_repeated_kernels(gpu, case, 0, alter, &mut |row| rows.push(row))?;
    Ok(rows)
}

/// As [`check_altered_kernels`], with each program run so many times more on the same numbers: a row counts the runs
/// that gave other bits. Each row is given to `observe` as it comes.
pub fn check_repeated_kernels(
    gpu: &Arc<Gpu>,
    case: &Case,
    repeats: usize,
    alter: &dyn Fn(&mut Program) -> bool,
    observe: &mut dyn FnMut(Row),
) -> Result<(), VerifyError> {
    each_op(case, &mut |alone| {
        for kept in &Kept::all(alone.op.as_ref(), alone.inputs.len(), case, gpu.has(Extra::Half)) {
            let programs = distinct_programs(gpu.caps(), &ALL, case, &alone.tape()?, kept)?;
            let (by_matrices, others): (Vec<_>, Vec<_>) =
                programs.into_iter().partition(|(_, program)| multiplies_matrices(program));
            for (kept, programs) in [(kept, others), (&kept.with_staged_weights(), by_matrices)] {
                if programs.is_empty() {
                    continue;
                }
                let inputs = kept.rounded(&alone.inputs);
                let expected = match kept.inputs.contains(&Element::F16) {
                    true => alone.op.reference(&inputs.iter().collect::<Vec<_>>(), &alone.output()?),
                    false => alone.expected.to_vec(),
                };
                let alone = OpAlone { inputs: inputs.iter().collect(), expected: &expected, ..*alone };
                for (family, mut program) in programs {
                    if !alter(&mut program) {
                        continue;
                    }
                    let row = alone.check(gpu, program.clone())?.1;
                    let other_bits = alone.other_bits(gpu, &program, repeats)?;
                    let form = [row.form.as_str(), &kept.to_string()].join(" ").trim().to_owned();
                    observe(Row { family: Some(family), form, repeats, other_bits, ..row });
                }
            }
        }
        Ok(())
    })
}

/// The programs that [`check_kernels`] runs of a case on a device that can do `caps` and takes f16.
pub(crate) fn programs(case: &Case, caps: &Caps) -> Result<Vec<Program>, VerifyError> {
    let case_tape = case_tape(case)?;
    let nodes = case_tape.tape.nodes();
    let mut programs = vec![];
    for (index, node) in nodes.iter().enumerate() {
        let Some(op) = node.op().filter(|op| is_checked(&case_tape, index, op.as_ref(), case)) else {
            continue;
        };
        let shapes: Vec<&Shape> = node.inputs.iter().map(|v| &nodes[v.index()].shape).collect();
        let tape = tape_of(op, &shapes)?;
        for kept in &Kept::all(op.as_ref(), shapes.len(), case, true) {
            programs.extend(
                distinct_programs(caps, &ALL, case, &tape, kept)?.into_iter().map(|(_, program)| program),
            );
        }
    }
    Ok(programs)
}

/// Gives `visit` each op that a case is about, those of its backward as well, with the inputs that
/// the reference computed for it, rounded to f32, and the results that it expects.
pub(crate) fn each_op(
    case: &Case,
    visit: &mut dyn FnMut(&OpAlone) -> Result<(), VerifyError>,
) -> Result<(), VerifyError> {
    let case_tape = case_tape(case)?;
    let tape = &case_tape.tape;
    let mut values: Vec<Tensor> = vec![];
    for (index, node) in tape.nodes().iter().enumerate() {
        let value = match &node.source {
            Source::Op(op) => {
                let inputs: Vec<&Tensor> = node.inputs.iter().map(|v| &values[v.index()]).collect();
                let expected = op.reference(&inputs, &node.shape);
                if is_checked(&case_tape, index, op.as_ref(), case) {
                    visit(&OpAlone { op, case: &case.name, inputs, expected: &expected })?;
                }
                match op.in_place().is_empty() {
                    true => {
                        rounded(Tensor::new(node.shape.clone(), expected.into_iter().flatten().collect()))
                    }
                    false => Tensor::zeros(node.shape.clone()),
                }
            }
            _ => {
                let data = case_tape.feeds.iter().find(|(n, _)| *n == node.name).map(|(_, d)| d.clone());
                rounded(Tensor::new(node.shape.clone(), data.unwrap_or_default()))
            }
        };
        values.push(value);
    }
    Ok(())
}

/// Names of the ops that [`each_op`] visits, in its order.
pub(crate) fn ops_of(case: &Case) -> Result<Vec<&'static str>, VerifyError> {
    Ok(ops_and_inputs(case)?.into_iter().map(|(op, _)| op.name()).collect())
}

/// An op with the shapes of its inputs.
pub(crate) type OpAndInputs = (Arc<dyn Op>, Vec<Shape>);

/// The ops that [`each_op`] visits, in its order.
pub(crate) fn ops_and_inputs(case: &Case) -> Result<Vec<OpAndInputs>, VerifyError> {
    let case_tape = case_tape(case)?;
    let tape = &case_tape.tape;
    let nodes = tape.nodes().iter().enumerate();
    let ops = nodes.filter_map(|(index, node)| Some((index, node, node.op()?)));
    let checked = ops.filter(|(index, _, op)| is_checked(&case_tape, *index, op.as_ref(), case));
    let shapes = |inputs: &[Value]| inputs.iter().map(|v| tape.shape(*v).clone()).collect();
    Ok(checked.map(|(_, node, op)| (Arc::clone(op), shapes(&node.inputs))).collect())
}

/// Whether a node is of the op that the case is about or of its backward. The ops that make a loss of
/// the result are checked by cases of their own.
fn is_checked(case_tape: &CaseTape, index: usize, op: &dyn Op, case: &Case) -> bool {
    let makes_loss =
        index > case_tape.result.index() && case_tape.loss.is_some_and(|loss| index <= loss.index());
    belongs_to(op, case) && !makes_loss
}

fn belongs_to(op: &dyn Op, case: &Case) -> bool {
    let entry = crate::ops::registry::find(case.op.name());
    op.name() == case.op.name() || entry.is_some_and(|e| e.parts.contains(&op.name()))
}

fn rounded(tensor: Tensor) -> Tensor {
    Tensor { data: tensor.data.iter().map(|x| f64::from(*x as f32)).collect(), ..tensor }
}

/// What the operands of an op are kept in.
struct Kept {
    inputs: Vec<Element>,
    output: Element,
}

impl Kept {
    /// All in f32.
    fn full(inputs: usize) -> Kept {
        Kept { inputs: vec![Element::F32; inputs], output: Element::F32 }
    }

    /// The ways that are checked of an op with this many inputs; those with f16 too where the device takes it.
    fn all(op: &dyn Op, inputs: usize, case: &Case, has_half: bool) -> Vec<Kept> {
        let full = Kept::full(inputs);
        let halves = has_half.then(|| full.halves(op, case.elements() <= MIXTURES_UP_TO));
        std::iter::once(full).chain(halves.into_iter().flatten()).collect()
    }

    /// With the second operand, weights as a rule, rounded to f16 as it is when it is staged for cooperative matrices.
    fn with_staged_weights(&self) -> Kept {
        let inputs = self.inputs.iter().enumerate();
        let staged = inputs.map(|(i, element)| if i == 1 { Element::F16 } else { *element });
        Kept { inputs: staged.collect(), output: self.output }
    }

    /// All that may be f16; with `mixtures` also the inputs alone, and the result alone. Bindings are converted each
    /// by itself, so further mixtures would show nothing new.
    fn halves(&self, op: &dyn Op, mixtures: bool) -> Vec<Kept> {
        let full = &self.inputs;
        let of_input = |i| if op.takes_half(i) { Element::F16 } else { Element::F32 };
        let half: Vec<Element> = (0..full.len()).map(of_input).collect();
        let mut forms = vec![];
        for (inputs, output) in [(&half, Element::F16), (&half, Element::F32), (full, Element::F16)] {
            let has_half = output == Element::F16 || inputs.contains(&Element::F16);
            if has_half && (output == Element::F32 || op.gives_half(inputs)) {
                forms.push(Kept { inputs: inputs.clone(), output });
            }
        }
        if !mixtures {
            forms.truncate(1);
        }
        forms
    }

    /// The inputs as they are once they are stored.
    fn rounded(&self, inputs: &[&Tensor]) -> Vec<Tensor> {
        let round = |(element, tensor): (&Element, &&Tensor)| match element {
            Element::F32 => (*tensor).clone(),
            Element::F16 => {
                let data = tensor.data.iter().map(|x| f16::from_f64(*x).to_f64()).collect();
                Tensor { data, ..(*tensor).clone() }
            }
        };
        self.inputs.iter().zip(inputs).map(round).collect()
    }

    /// The element types of [`OpAlone::tape`], whose last node is the op.
    fn of_tape(&self, tape: &Tape) -> Vec<Element> {
        let mut elements = self.inputs.clone();
        elements.resize(tape.nodes().len(), self.output);
        elements
    }
}

/// Empty where all is f32.
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (self.inputs.contains(&Element::F16), self.output) {
            (false, Element::F32) => Ok(()),
            (false, Element::F16) => f.write_str("f32 to f16"),
            (true, Element::F32) => f.write_str("f16 to f32"),
            (true, Element::F16) => f.write_str("f16 to f16"),
        }
    }
}

/// An op with its inputs and what the reference makes of them, to be run alone on a device.
pub(crate) struct OpAlone<'a> {
    pub op: &'a Arc<dyn Op>,
    pub case: &'a str,
    pub inputs: Vec<&'a Tensor>,
    pub expected: &'a [Vec<f64>],
}

impl OpAlone<'_> {
    /// The op on a tape of its own; its inputs are `input0`, `input1`, …, its result `result`.
    pub fn tape(&self) -> Result<Tape, VerifyError> {
        let shapes: Vec<&Shape> = self.inputs.iter().map(|input| &input.shape).collect();
        Ok(tape_of(self.op, &shapes)?)
    }

    /// Shape of the result.
    pub fn output(&self) -> Result<Shape, VerifyError> {
        let tape = self.tape()?;
        Ok(tape.nodes().last().map_or_else(|| Shape::new(vec![]), |node| node.shape.clone()))
    }

    /// Runs `program`, which is [`OpAlone::tape`] compiled, and compares what it makes with what is
    /// expected. The session is given back so that it can run again.
    pub fn check(&self, gpu: &Arc<Gpu>, program: Program) -> Result<(Session, Row), VerifyError> {
        let shaders: Vec<&str> = program.dispatches.iter().map(|d| d.kernel.shader.name).collect();
        let shaders = shaders.join(" ");
        let form = program.choices.first().map_or(String::new(), |choice| choice.forms[choice.taken].clone());
        let (session, found) = self.run(gpu, program)?;
        let output = self.output()?;
        let result = session.program().outputs.first().map_or(Element::F32, |port| port.element);
        let bounds = bounds(self.op.as_ref(), &output, &self.inputs, self.expected);
        let bound = |result_index: usize, index: usize, expected: f64| {
            bound_of(&bounds, self.op.as_ref(), &output, result_index, index) + storing(result, expected)
        };
        let (worst, not_finite) = compare(&found, self.expected, &bound);
        let max_ulp = worst.map(|_| largest_ulp(&found, self.expected, result));
        let row = Row {
            op: self.op.name().to_owned(),
            case: self.case.to_owned(),
            check: "kernel",
            family: None,
            shaders,
            form,
            max_ulp,
            repeats: 0,
            other_bits: 0,
            pass: not_finite == 0 && worst.is_some_and(|(error, bound)| error <= bound),
            max_error: worst.map(|(error, _)| error),
            bound: worst.map_or(0.0, |(_, bound)| bound),
            not_finite,
        };
        Ok((session, row))
    }

    /// Runs `program` once and `repeats` times more on the same numbers, and counts the runs that give other bits.
    fn other_bits(&self, gpu: &Arc<Gpu>, program: &Program, repeats: usize) -> Result<usize, VerifyError> {
        if repeats == 0 {
            return Ok(0);
        }
        let (mut session, first) = self.run(gpu, program.clone())?;
        let mut others = 0;
        for repeat in 0..repeats {
            // In turn, unless the op rewrites its inputs, in buffers that keep what the run before left in them, where
            // reading what was not written shows; and in new ones, where a dispatch that is left out does.
            let again = if self.op.in_place().is_empty() && repeat % 2 == 0 {
                session.run()?;
                vec![session.read("result")?]
            } else {
                self.run(gpu, program.clone())?.1
            };
            let bits = |results: &[Vec<f32>]| -> Vec<u32> {
                results.iter().flatten().map(|x| x.to_bits()).collect()
            };
            others += usize::from(bits(&again) != bits(&first));
        }
        Ok(others)
    }

    /// What each number of each result in f32 may differ by.
    pub fn bounds(&self) -> Result<Vec<Vec<f64>>, VerifyError> {
        let output = self.output()?;
        let bounds = bounds(self.op.as_ref(), &output, &self.inputs, self.expected);
        let of = |result, index| bound_of(&bounds, self.op.as_ref(), &output, result, index);
        let results = self.expected.iter().enumerate();
        Ok(results.map(|(result, data)| (0..data.len()).map(|index| of(result, index)).collect()).collect())
    }

    /// Its programs in f32 for any device with WebGPU's default limits: of the families that need neither subgroups
    /// nor 64-bit integers, in each form. The family of a program is the first that it came out of.
    pub fn portable_programs(&self, case: &Case) -> Result<Vec<(Family, Program)>, VerifyError> {
        let families = [(Family::Naive, false), (Family::Tiled, false)];
        distinct_programs(&Caps::default(), &families, case, &self.tape()?, &Kept::full(self.inputs.len()))
    }

    /// Runs `program` and gives what it makes: the result, or what it rewrites.
    pub fn run(&self, gpu: &Arc<Gpu>, program: Program) -> Result<(Session, Vec<Vec<f32>>), VerifyError> {
        let mut states = States::new();
        let mut session = Session::new(gpu, program, &mut states)?;
        for (i, tensor) in self.inputs.iter().enumerate() {
            let name = format!("input{i}");
            match self.op.in_place().contains(&i) {
                true => states.write(gpu, &name, &tensor.to_f32())?,
                false if session.program().inputs.iter().any(|p| p.name == name) => {
                    session.write(&name, &tensor.to_f32())?
                }
                false => {}
            }
        }
        session.run()?;
        let found = match self.op.in_place() {
            [] => vec![session.read("result")?],
            targets => targets
                .iter()
                .map(|i| states.read(gpu, &format!("input{i}")))
                .collect::<Result<Vec<_>, _>>()?,
        };
        Ok((session, found))
    }
}

/// A quantity of a result: which of the op's results, and [`Op::quantity`] in it.
type Quantity = (usize, usize);

/// What each quantity may differ by: rounding errors of a sum are as good as random, so they grow
/// with the square root of its length, and in proportion to the largest number of its kind, or to
/// the numbers that it is a difference of. Below the smallest normal number devices may flush to 0.
fn bounds(op: &dyn Op, output: &Shape, inputs: &[&Tensor], expected: &[Vec<f64>]) -> HashMap<Quantity, f64> {
    let shapes: Vec<&Shape> = inputs.iter().map(|t| &t.shape).collect();
    let roundings = BASE_ROUNDINGS + 2.0 * (op.terms(&shapes, output) as f64).sqrt();
    let cancelling = op.cancelling(inputs);
    let mut largest: HashMap<Quantity, f64> = HashMap::new();
    for (result, data) in expected.iter().enumerate() {
        for (index, x) in data.iter().enumerate() {
            let scale = largest.entry((result, op.quantity(output, index))).or_insert(cancelling);
            *scale = scale.max(if x.is_finite() { x.abs() } else { 0.0 });
        }
    }
    let bound = |scale: f64| (f64::from(f32::EPSILON) * roundings * scale).max(f64::from(f32::MIN_POSITIVE));
    largest.into_iter().map(|(quantity, scale)| (quantity, bound(scale))).collect()
}

/// The bound of element `index` of a result.
fn bound_of(
    bounds: &HashMap<Quantity, f64>,
    op: &dyn Op,
    output: &Shape,
    result: usize,
    index: usize,
) -> f64 {
    bounds.get(&(result, op.quantity(output, index))).copied().unwrap_or(0.0)
}

/// What storing a result adds to its error. WGSL lets a conversion to f16 take either neighbour, and flush what
/// is below the smallest normal number.
fn storing(element: Element, expected: f64) -> f64 {
    match element {
        Element::F32 => 0.0,
        Element::F16 => f16::EPSILON.to_f64() * expected.abs() + f16::MIN_POSITIVE.to_f64(),
    }
}

/// The tape of [`OpAlone::tape`], of inputs of these shapes.
fn tape_of(op: &Arc<dyn Op>, inputs: &[&Shape]) -> Result<Tape, TapeError> {
    let mut tape = Tape::new();
    let mut handles = vec![];
    for (i, shape) in inputs.iter().enumerate() {
        let name = format!("input{i}");
        handles.push(match op.in_place().contains(&i) {
            true => tape.state(&name, (*shape).clone())?,
            false => tape.input(&name, (*shape).clone())?,
        });
    }
    let result = tape.push_op(Arc::clone(op), &handles)?;
    if op.in_place().is_empty() {
        tape.output("result", result);
    }
    Ok(tape)
}

/// Families of kernels, and whether with subgroups.
const ALL: [(Family, bool); 4] =
    [(Family::Naive, false), (Family::Tiled, false), (Family::Cpu, false), (Family::Cpu, true)];

/// The tape compiled for each of these families of kernels that takes what is `kept` so, and in f32 in each form of a
/// convolution, less those that come out alike.
fn distinct_programs(
    device: &Caps,
    families: &[(Family, bool)],
    case: &Case,
    tape: &Tape,
    kept: &Kept,
) -> Result<Vec<(Family, Program)>, VerifyError> {
    let elements = kept.of_tape(tape);
    let mut programs: Vec<(Family, Program)> = vec![];
    let has_half = elements.contains(&Element::F16);
    let matrices = device.matrices.filter(|_| has_half);
    // As on a device whose subgroups may be half as large as the largest.
    let doubtful = matrices.and_then(|m| Matrices::of(m.side, m.lanes, 2 * m.lanes));
    let by_family = families.iter().flat_map(|(family, subgroups)| {
        let matrices = if *family == Family::Tiled { vec![None, matrices, doubtful] } else { vec![None] };
        matrices.into_iter().map(|matrices| (*family, *subgroups, matrices))
    });
    for (family, subgroups, matrices) in by_family {
        if family == Family::Cpu && has_half {
            continue;
        }
        let of_family = Caps {
            family,
            matrices,
            subgroups: subgroups && device.subgroups,
            max_workgroups: case.max_workgroups.unwrap_or(device.max_workgroups),
            choices: Choices::default(),
            ..device.clone()
        };
        let by_rule = compile_of(tape, &of_family, &elements)?;
        // Forms differ in how they divide the work, and each converts what it loads and stores in the same lines; but
        // matrices are of f16 alone.
        let others = by_rule.choices.iter().flat_map(|choice| {
            let wanted = |form: &&String| !has_half || form.starts_with("matrix");
            let forms = choice.forms[1..].iter().filter(wanted);
            forms.map(|form| Choices::new([(choice.point.clone(), form.clone())]))
        });
        let others =
            others.map(|choices| compile_of(tape, &Caps { choices, ..of_family.clone() }, &elements));
        let others = others.collect::<Result<Vec<_>, _>>()?;
        for program in std::iter::once(by_rule).chain(others) {
            let kernels = |p: &Program| -> Vec<String> {
                p.dispatches.iter().map(|d| format!("{:?} {:?}", d.kernel, d.grid)).collect()
            };
            if !programs.iter().any(|(_, p)| kernels(p) == kernels(&program)) {
                programs.push((family, program));
            }
        }
    }
    Ok(programs)
}

fn multiplies_matrices(program: &Program) -> bool {
    program.dispatches.iter().any(|d| d.kernel.shader.multiplies_matrices())
}

/// The largest difference of finite results, in units in the last place of a number of their type as large as the one
/// expected.
fn largest_ulp(found: &[Vec<f32>], expected: &[Vec<f64>], element: Element) -> f64 {
    let (epsilon, least) = match element {
        Element::F32 => (f64::from(f32::EPSILON), f64::from(f32::MIN_POSITIVE)),
        Element::F16 => (f16::EPSILON.to_f64(), f16::MIN_POSITIVE.to_f64()),
    };
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    let ulps = pairs.map(|(f, e)| {
        let power = e.abs().max(least).log2().floor().exp2();
        (f64::from(*f) - e).abs() / (power * epsilon)
    });
    ulps.fold(0.0, f64::max)
}

/// The difference that is largest beside its bound, with that bound, and the number of results that
/// are not finite where they should be. No difference when there are such results, or too few. `bound` is told
/// which result, which of its elements, and what is expected of it.
fn compare(
    found: &[Vec<f32>],
    expected: &[Vec<f64>],
    bound: &dyn Fn(usize, usize, f64) -> f64,
) -> (Option<(f64, f64)>, usize) {
    let mut worst = (0.0, f64::from(f32::MIN_POSITIVE));
    let mut not_finite = 0;
    for (result, (found, expected)) in found.iter().zip(expected).enumerate() {
        for (index, (f, e)) in found.iter().zip(expected).enumerate() {
            if !(f.is_finite() && e.is_finite()) {
                not_finite += 1;
                continue;
            }
            let error = (f64::from(*f) - e).abs();
            let bound = bound(result, index, *e);
            if error * worst.1 > worst.0 * bound {
                worst = (error, bound);
            }
        }
    }
    let all_there = found.iter().map(Vec::len).eq(expected.iter().map(Vec::len));
    ((not_finite == 0 && all_there).then_some(worst), not_finite)
}

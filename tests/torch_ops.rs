//! Single ops, forward and backward, and steps of the optimisers against PyTorch's numbers in
//! `tests/fixtures/torch_ops.safetensors` (made by `make_torch_ops.py` beside it).

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value as Json;
use wgseg::gpu::{Gpu, Session, States};
use wgseg::ops::Hyper;
use wgseg::ops::adam::Adam;
use wgseg::ops::conv_transpose2d::ConvTranspose2d;
use wgseg::ops::conv2d::Conv2d;
use wgseg::ops::sgd::Sgd;
use wgseg::ops::soft_dice::{Per, SoftDice};
use wgseg::program::compile;
use wgseg::reference::{Run, Tensor, run};
use wgseg::tape::{Shape, Tape, TapeError, Value};

/// Cases of settings that this crate does not have.
const WITHOUT_EQUAL: &[&str] = &[
    // No output_padding: up-sampling by a transposed convolution takes a kernel that divides.
    "conv_transpose2d_3x3_s2_p1_op1",
];

/// What the numbers may differ by, as a share of the largest: the fixture's are rounded to f32.
const REFERENCE_TOLERANCE: f64 = 1e-6;
const DEVICE_TOLERANCE: f64 = 1e-5;

/// How a tensor of PyTorch's is laid out in this crate.
#[derive(Clone, Copy)]
enum Layout {
    /// As it is there.
    Same,
    /// NCHW to NHWC.
    Image,
    /// `[out, in, kernel_h, kernel_w]` to `[kernel_h, kernel_w, in, out]`, and the same for a
    /// transposed convolution with in and out exchanged.
    Kernel,
    /// `[out, in]` to `[in, out]`.
    Matrix,
    /// `[batch, height, width]` to `[batch, height, width, 1]`.
    Labels,
}

/// An input: its name in the fixture and its layout.
type Input = (&'static str, Layout);

/// One of this crate's ops as the fixture describes it.
struct Row {
    /// PyTorch's name.
    op: &'static str,
    /// Inputs that take a gradient.
    trained: &'static [Input],
    /// Inputs that take none. Where the fixture has it as `<name>_after`, it is a state.
    fixed: &'static [Input],
    /// Builds the op on both kinds of inputs, in their order, with a case's settings.
    build: fn(&mut Tape, &[Value], &Settings) -> Result<Value, TapeError>,
}

const X: Input = ("x", Layout::Image);
const TARGET: Input = ("target", Layout::Image);
const TEACHER: Input = ("teacher", Layout::Image);
const BIAS: Input = ("bias", Layout::Same);
const CONV: &[Input] = &[X, ("weight", Layout::Kernel), BIAS];
const NORM: &[Input] = &[X, ("weight", Layout::Same), BIAS];
const RUNNING: &[Input] = &[("running_mean", Layout::Same), ("running_var", Layout::Same)];

const ROWS: &[Row] = &[
    Row {
        op: "conv2d",
        trained: CONV,
        fixed: &[],
        build: |tape, v, s| {
            let conv = Conv2d { stride: s.count("stride"), padding: s.count("padding") };
            tape.conv2d(v[0], v[1], Some(v[2]), conv)
        },
    },
    Row {
        op: "conv_transpose2d",
        trained: CONV,
        fixed: &[],
        build: |tape, v, s| {
            let conv = ConvTranspose2d { stride: s.count("stride"), padding: s.count("padding") };
            tape.conv_transpose2d(v[0], v[1], Some(v[2]), conv)
        },
    },
    Row {
        op: "linear",
        trained: &[("x", Layout::Same), ("weight", Layout::Matrix), BIAS],
        fixed: &[],
        build: |tape, v, _| tape.linear(v[0], v[1], Some(v[2])),
    },
    Row {
        op: "max_pool2d",
        trained: &[X],
        fixed: &[],
        build: |tape, v, s| tape.max_pool2d(v[0], s.count("kernel"), s.count("stride"), s.count("padding")),
    },
    Row {
        op: "adaptive_avg_pool2d",
        trained: &[X],
        fixed: &[],
        build: |tape, v, _| tape.global_average_pool(v[0]),
    },
    Row {
        op: "upsample_nearest",
        trained: &[X],
        fixed: &[],
        build: |tape, v, s| tape.upsample_nearest(v[0], s.count("scale")),
    },
    Row {
        op: "upsample_bilinear",
        trained: &[X],
        fixed: &[],
        build: |tape, v, s| tape.upsample_bilinear(v[0], s.count("scale")),
    },
    Row {
        op: "batch_norm",
        trained: NORM,
        fixed: RUNNING,
        build: |tape, v, s| {
            if s.0["training"] == false {
                return tape.batch_norm_inference(v[0], v[1], v[2], v[3], v[4], s.number("eps"), false);
            }
            let (y, stats) = tape.batch_norm_train(v[0], v[1], v[2], s.number("eps"), false)?;
            let pixels = tape.shape(v[0]).pixels();
            tape.running_update(v[3], v[4], stats, pixels, s.number("momentum"))?;
            Ok(y)
        },
    },
    Row {
        op: "instance_norm",
        trained: NORM,
        fixed: &[],
        build: |tape, v, s| tape.instance_norm(v[0], v[1], v[2], s.number("eps"), false),
    },
    Row {
        op: "group_norm",
        trained: NORM,
        fixed: &[],
        build: |tape, v, s| tape.group_norm(v[0], v[1], v[2], s.count("groups"), s.number("eps"), false),
    },
    Row { op: "softmax", trained: &[X], fixed: &[], build: |tape, v, _| tape.softmax(v[0]) },
    Row { op: "sigmoid", trained: &[X], fixed: &[], build: |tape, v, _| tape.sigmoid(v[0]) },
    Row {
        op: "leaky_relu",
        trained: &[X],
        fixed: &[],
        build: |tape, v, s| tape.leaky_relu(v[0], s.number("negative_slope")),
    },
    Row {
        op: "bce_with_logits",
        trained: &[X],
        fixed: &[TARGET],
        build: |tape, v, s| tape.bce_with_logits(v[0], v[1], s.number("pos_weight")),
    },
    Row {
        op: "soft_dice",
        trained: &[X],
        fixed: &[TARGET],
        build: |tape, v, s| {
            let per = if s.0["over"] == "batch" { Per::Batch } else { Per::Sample };
            tape.soft_dice(v[0], v[1], SoftDice { smooth: s.number("smooth"), per })
        },
    },
    Row {
        op: "cross_entropy",
        trained: &[X],
        fixed: &[("target", Layout::Labels)],
        build: |tape, v, _| tape.cross_entropy(v[0], v[1]),
    },
    Row { op: "mse", trained: &[X], fixed: &[TARGET], build: |tape, v, _| tape.mse(v[0], v[1]) },
    Row { op: "l1", trained: &[X], fixed: &[TARGET], build: |tape, v, _| tape.l1(v[0], v[1]) },
    Row {
        op: "kl_distill",
        trained: &[X],
        fixed: &[TEACHER],
        build: |tape, v, s| tape.kl_distillation(v[0], v[1], s.number("temperature")),
    },
    Row {
        op: "kl_distill_binary",
        trained: &[X],
        fixed: &[TEACHER],
        build: |tape, v, s| tape.kl_distillation_binary(v[0], v[1], s.number("temperature")),
    },
];

/// The settings of a case.
struct Settings(Json);

impl Settings {
    fn count(&self, key: &str) -> usize {
        self.0[key].as_u64().unwrap_or_else(|| panic!("no count {key:?} in {}", self.0)) as usize
    }

    fn number(&self, key: &str) -> f32 {
        self.precise(key) as f32
    }

    fn precise(&self, key: &str) -> f64 {
        self.0[key].as_f64().unwrap_or_else(|| panic!("no number {key:?} in {}", self.0))
    }
}

struct Fixture {
    tensors: HashMap<String, Tensor>,
    /// Settings of each case.
    cases: Vec<(String, Settings)>,
    /// Settings of each case of an optimiser.
    optimizers: Vec<(String, Settings)>,
}

impl Fixture {
    fn open() -> Fixture {
        let bytes = std::fs::read(common::fixture("torch_ops.safetensors")).expect("the fixture");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("a safetensors file");
        let settings = |key: &str| -> Vec<(String, Settings)> {
            let json = &metadata.metadata().as_ref().expect("metadata")[key];
            let cases: serde_json::Map<String, Json> = serde_json::from_str(json).expect("JSON");
            cases.into_iter().map(|(name, settings)| (name, Settings(settings))).collect()
        };
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensors = file.tensors().into_iter().map(|(name, view)| {
            let data = match view.dtype() {
                Dtype::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(view.data()),
                Dtype::I64 => {
                    bytemuck::pod_collect_to_vec::<u8, i64>(view.data()).iter().map(|x| *x as f32).collect()
                }
                other => panic!("{name}: {other:?}"),
            };
            // A single number has no extents in PyTorch and one here.
            let dims = if view.shape().is_empty() { vec![1] } else { view.shape().to_vec() };
            (name, Tensor::from_f32(Shape::new(dims), &data))
        });
        Fixture { tensors: tensors.collect(), cases: settings("cases"), optimizers: settings("optimizers") }
    }

    fn get(&self, case: &str, name: &str, layout: Layout) -> Option<Tensor> {
        let tensor = self.tensors.get(&format!("{case}.{name}"))?.clone();
        Some(match layout {
            Layout::Same => tensor,
            Layout::Image if tensor.shape.dims().len() != 4 => tensor,
            Layout::Image => permute(&tensor, [0, 2, 3, 1]),
            Layout::Kernel => permute(&tensor, [2, 3, 1, 0]),
            Layout::Matrix => {
                let [rows, columns] = *tensor.shape.dims() else { panic!("{case}.{name}: no matrix") };
                let kernel = permute(&Tensor::new([rows, columns, 1, 1], tensor.data), [2, 3, 1, 0]);
                Tensor::new([columns, rows], kernel.data)
            }
            Layout::Labels => {
                let dims = [tensor.shape.dims(), &[1]].concat();
                Tensor::new(Shape::new(dims), tensor.data)
            }
        })
    }
}

/// The tensor whose axis `i` is axis `axes[i]` of this one.
fn permute(tensor: &Tensor, axes: [usize; 4]) -> Tensor {
    let from = tensor.shape.nhwc().expect("four axes");
    let to = axes.map(|axis| from[axis]);
    let strides = [from[1] * from[2] * from[3], from[2] * from[3], from[3], 1];
    let [a, b, c, d] = axes.map(|axis| strides[axis]);
    let mut data = vec![];
    for i in 0..to[0] {
        for j in 0..to[1] {
            for k in 0..to[2] {
                data.extend((0..to[3]).map(|l| tensor.data[i * a + j * b + k * c + l * d]));
            }
        }
    }
    Tensor::new(to, data)
}

/// What a case's tape gives, and what PyTorch gave.
struct Compared {
    name: String,
    place: Place,
    expected: Tensor,
}

/// Where a result is found.
enum Place {
    /// An output, by the name of the comparison.
    Output(Value),
    /// A state after the run, by its own name.
    State(&'static str),
}

/// The tape of a case, with its inputs' numbers.
struct CaseTape {
    tape: Tape,
    feeds: HashMap<String, Tensor>,
    compared: Vec<Compared>,
}

/// `loss = Σ y · grad_y`, so that the gradient of y is PyTorch's `grad_y`; a loss is its own.
fn case_tape(fixture: &Fixture, case: &str, settings: &Settings, row: &Row) -> CaseTape {
    let get = |name: &str, layout| {
        fixture.get(case, name, layout).unwrap_or_else(|| panic!("{case}: no {name} in the fixture"))
    };
    let mut tape = Tape::new();
    let mut feeds = HashMap::new();
    let mut inputs = vec![];
    for (name, layout) in row.trained {
        let tensor = get(name, *layout);
        inputs.push(tape.parameter(name, tensor.shape.clone()).expect("a parameter"));
        feeds.insert((*name).to_owned(), tensor);
    }
    let mut compared = vec![];
    for (name, layout) in row.fixed {
        let tensor = get(name, *layout);
        let after = format!("{name}_after");
        inputs.push(match fixture.get(case, &after, *layout) {
            Some(expected) => {
                compared.push(Compared { name: after, place: Place::State(name), expected });
                tape.state(name, tensor.shape.clone()).expect("a state")
            }
            None => tape.input(name, tensor.shape.clone()).expect("an input"),
        });
        feeds.insert((*name).to_owned(), tensor);
    }
    let y = (row.build)(&mut tape, &inputs, settings).unwrap_or_else(|e| panic!("{case}: {e}"));
    let mut output = |tape: &mut Tape, name: &str, value, expected: Tensor| {
        assert_eq!(*tape.shape(value), expected.shape, "{case}: shape of {name}");
        tape.output(name, value);
        compared.push(Compared { name: name.to_owned(), place: Place::Output(value), expected });
    };
    output(&mut tape, "y", y, get("y", Layout::Image));
    let loss = match fixture.get(case, "grad_y", Layout::Image) {
        Some(tensor) => {
            let grad_y = tape.input("grad_y", tensor.shape.clone()).expect("an input");
            feeds.insert("grad_y".to_owned(), tensor);
            let weighted = tape.mul(y, grad_y).expect("y and its gradient are of one shape");
            tape.sum(weighted).expect("a sum")
        }
        None => y,
    };
    let gradients = tape.backward(loss).expect("a backward");
    for ((name, layout), input) in row.trained.iter().zip(&inputs) {
        let name = format!("grad_{name}");
        let value = gradients.of(*input).unwrap_or_else(|| panic!("{case}: no {name}"));
        output(&mut tape, &name, value, get(&name, *layout));
    }
    for input in &inputs[row.trained.len()..] {
        assert_eq!(gradients.of(*input), None, "{case}: a fixed input has a gradient");
    }
    CaseTape { tape, feeds, compared }
}

/// Largest difference as a share of the largest expected number. NaN where anything is.
fn error(found: impl Iterator<Item = f64>, expected: &Tensor) -> f64 {
    let largest = expected.data.iter().fold(1e-30, |m: f64, x| m.max(x.abs()));
    let difference = found.zip(&expected.data).map(|(f, e)| (f - e).abs());
    difference.fold(0.0, |m: f64, d| if d.is_nan() || m.is_nan() { f64::NAN } else { m.max(d) }) / largest
}

/// `None` where both are right, else what they are off by. Written so that NaN fails.
fn judge(what: &str, reference: &Tensor, device: &[f32], expected: &Tensor) -> Option<String> {
    let reference = error(reference.data.iter().copied(), expected);
    let device = error(device.iter().map(|x| f64::from(*x)), expected);
    let pass = reference <= REFERENCE_TOLERANCE && device <= DEVICE_TOLERANCE;
    (!pass).then(|| format!("{what}: reference {reference:.1e}, device {device:.1e}"))
}

#[test]
fn ops_give_what_pytorch_gives() {
    let fixture = Fixture::open();
    let gpu = common::gpu();
    let mut failures = vec![];
    for (case, settings) in &fixture.cases {
        if WITHOUT_EQUAL.contains(&case.as_str()) {
            continue;
        }
        let op = settings.0["op"].as_str().expect("an op");
        let row =
            ROWS.iter().find(|row| row.op == op).unwrap_or_else(|| panic!("{case}: {op} is not covered"));
        let case_tape = case_tape(&fixture, case, settings, row);
        let reference = run(&case_tape.tape, &case_tape.feeds).expect("the reference runs");
        let device = run_on(&gpu, &case_tape);
        for (item, found) in case_tape.compared.iter().zip(&device) {
            let reference = match item.place {
                Place::Output(value) => reference.value(value),
                Place::State(name) => &reference.states[name],
            };
            failures.extend(judge(&format!("{case}.{}", item.name), reference, found, &item.expected));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Results of a case on the device, in the order of `compared`.
fn run_on(gpu: &Arc<Gpu>, case: &CaseTape) -> Vec<Vec<f32>> {
    let program = compile(&case.tape, gpu.caps()).expect("a program");
    let mut states = States::new();
    let mut session = Session::new(gpu, program, &mut states).expect("a session");
    for (name, tensor) in &case.feeds {
        match states.contains(name) {
            true => states.write(gpu, name, &tensor.to_f32()).expect("a state"),
            false if session.program().inputs.iter().any(|port| port.name == *name) => {
                session.write(name, &tensor.to_f32()).expect("an input")
            }
            // The result does not depend on it.
            false => {}
        }
    }
    session.run().expect("a run");
    let read = |item: &Compared| match item.place {
        Place::Output(_) => session.read(&item.name).expect("a result"),
        Place::State(name) => states.read(gpu, name).expect("a state"),
    };
    case.compared.iter().map(read).collect()
}

/// Every op here and every exception is in the fixture.
#[test]
fn no_name_is_stale() {
    let fixture = Fixture::open();
    for row in ROWS {
        assert!(fixture.cases.iter().any(|(_, s)| s.0["op"] == row.op), "{} is not in the fixture", row.op);
    }
    for case in WITHOUT_EQUAL {
        assert!(fixture.cases.iter().any(|(name, _)| name == case), "{case} is not in the fixture");
    }
}

const STEPS: usize = 3;
const PARAMETERS: [&str; 2] = ["a", "b"];

/// A step of an optimiser on the fixture's parameters. Its outputs: the norm, where it clips.
fn optimizer_tape(fixture: &Fixture, case: &str, settings: &Settings) -> (Tape, Option<Value>) {
    let mut tape = Tape::new();
    let hyper = tape.input("hyper", [Hyper::LEN]).expect("an input");
    let mut pairs = vec![];
    for name in PARAMETERS {
        let shape = &fixture.tensors[&format!("{case}.{name}.0")].shape;
        let parameter = tape.parameter(name, shape.clone()).expect("a parameter");
        let gradient = tape.input(&format!("grad_{name}"), shape.clone()).expect("an input");
        pairs.push((name, parameter, gradient));
    }
    let mut clip = None;
    if !settings.0["max_norm"].is_null() {
        let gradients: Vec<Value> = pairs.iter().map(|(_, _, gradient)| *gradient).collect();
        let found = tape.clip_by_global_norm(&gradients, settings.number("max_norm")).expect("a norm");
        tape.output("norm", found.0);
        clip = Some(found);
    }
    let (norm, scale) = clip.unzip();
    for (name, parameter, gradient) in pairs {
        let shape = tape.shape(parameter).clone();
        let state = |tape: &mut Tape, what: &str| {
            tape.state(&format!("{name}.{what}"), shape.clone()).expect("a state")
        };
        let weight_decay = settings.number("weight_decay");
        let adam = match settings.0["kind"].as_str() {
            Some("adam") => Adam::new(weight_decay),
            Some("adamw") => Adam::adamw(weight_decay),
            _ => {
                let sgd = Sgd { momentum: settings.number("momentum"), weight_decay };
                let velocity = state(&mut tape, "velocity");
                tape.sgd(sgd, parameter, gradient, velocity, hyper, scale).expect("an update");
                continue;
            }
        };
        let [first, second] = ["first", "second"].map(|what| state(&mut tape, what));
        tape.adam(adam, parameter, gradient, first, second, hyper, scale).expect("an update");
    }
    (tape, norm)
}

#[test]
fn optimisers_step_as_pytorchs_do() {
    let fixture = Fixture::open();
    let gpu = common::gpu();
    let mut failures = vec![];
    for (case, settings) in &fixture.optimizers {
        let get = |name: &str| &fixture.tensors[&format!("{case}.{name}")];
        let (tape, norm) = optimizer_tape(&fixture, case, settings);
        let mut states = States::new();
        let program = compile(&tape, gpu.caps()).expect("a program");
        let mut session = Session::new(&gpu, program, &mut states).expect("a session");
        let mut feeds: HashMap<String, Tensor> = HashMap::new();
        for (name, value) in tape.states() {
            let start = match PARAMETERS.contains(&name) {
                true => get(&format!("{name}.0")).clone(),
                false => Tensor::zeros(tape.shape(value).clone()),
            };
            states.write(&gpu, name, &start.to_f32()).expect("a state");
            feeds.insert(name.to_owned(), start);
        }
        for step in 1..=STEPS {
            let hyper = Hyper::adam_defaults(settings.precise("lr"), step).to_array();
            feeds.insert("hyper".to_owned(), Tensor::from_f32([Hyper::LEN], &hyper));
            for name in PARAMETERS {
                let name = format!("grad_{name}");
                let gradient = get(&format!("{name}.{step}")).clone();
                feeds.insert(name, gradient);
            }
            for (name, _) in tape.inputs() {
                session.write(name, &feeds[name].to_f32()).expect("an input");
            }
            let reference: Run = run(&tape, &feeds).expect("the reference runs");
            session.run().expect("a step");
            for name in PARAMETERS {
                let what = format!("{name}.{step}");
                let found = states.read(&gpu, name).expect("a parameter");
                let wrong = judge(&what, &reference.states[name], &found, get(&what));
                failures.extend(wrong.map(|message| format!("{case}.{message}")));
            }
            if let Some(norm) = norm {
                let what = format!("norm.{step}");
                let found = session.read("norm").expect("a norm");
                let wrong = judge(&what, reference.value(norm), &found, get(&what));
                failures.extend(wrong.map(|message| format!("{case}.{message}")));
            }
            feeds.extend(reference.states);
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

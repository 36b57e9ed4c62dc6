//! Single ops, forward and backward, against PyTorch's numbers in
//! `tests/fixtures/torch_ops.safetensors` (made by `make_torch_ops.py` beside it).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value as Json;
use wgseg::gpu::{Gpu, GpuOptions, Session, States};
use wgseg::ops::conv_transpose2d::ConvTranspose2d;
use wgseg::ops::conv2d::Conv2d;
use wgseg::ops::soft_dice::{Per, SoftDice};
use wgseg::program::compile;
use wgseg::reference::{Tensor, run};
use wgseg::tape::{Tape, TapeError, Value};

/// Ops of the fixture that are not covered yet, by PyTorch's names.
const PENDING_OPS: &[&str] = &[
    "adaptive_avg_pool2d",
    "batch_norm",
    "group_norm",
    "instance_norm",
    "linear",
    "max_pool2d",
    "softmax",
    "upsample_bilinear",
    "upsample_nearest",
];

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
    /// Inputs that take none.
    fixed: &'static [Input],
    /// Builds the op on both kinds of inputs, in their order, with a case's settings.
    build: fn(&mut Tape, &[Value], &Settings) -> Result<Value, TapeError>,
}

const X: Input = ("x", Layout::Image);
const TARGET: Input = ("target", Layout::Image);
const TEACHER: Input = ("teacher", Layout::Image);
const CONV: &[Input] = &[X, ("weight", Layout::Kernel), ("bias", Layout::Same)];

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
        self.0[key].as_f64().unwrap_or_else(|| panic!("no number {key:?} in {}", self.0)) as f32
    }
}

struct Fixture {
    tensors: HashMap<String, Tensor>,
    /// Settings of each case, in the order of the file.
    cases: Vec<(String, Settings)>,
}

impl Fixture {
    fn open() -> Fixture {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch_ops.safetensors");
        let bytes = std::fs::read(path).expect("the fixture");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("a safetensors file");
        let cases = &metadata.metadata().as_ref().expect("metadata")["cases"];
        let cases: serde_json::Map<String, Json> = serde_json::from_str(cases).expect("JSON");
        let cases = cases.into_iter().map(|(name, settings)| (name, Settings(settings))).collect();
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
            (name, Tensor::from_f32(wgseg::tape::Shape::new(dims), &data))
        });
        Fixture { tensors: tensors.collect(), cases }
    }

    fn get(&self, case: &str, name: &str, layout: Layout) -> Option<Tensor> {
        let tensor = self.tensors.get(&format!("{case}.{name}"))?.clone();
        Some(match layout {
            Layout::Same => tensor,
            Layout::Image if tensor.shape.dims().len() != 4 => tensor,
            Layout::Image => permute(&tensor, [0, 2, 3, 1]),
            Layout::Kernel => permute(&tensor, [2, 3, 1, 0]),
            Layout::Labels => {
                let dims = [tensor.shape.dims(), &[1]].concat();
                Tensor::new(wgseg::tape::Shape::new(dims), tensor.data)
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
    value: Value,
    expected: Tensor,
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
    for (name, layout) in row.fixed {
        let tensor = get(name, *layout);
        inputs.push(tape.input(name, tensor.shape.clone()).expect("an input"));
        feeds.insert((*name).to_owned(), tensor);
    }
    let y = (row.build)(&mut tape, &inputs, settings).unwrap_or_else(|e| panic!("{case}: {e}"));
    let mut compared = vec![Compared { name: "y".to_owned(), value: y, expected: get("y", Layout::Image) }];
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
        let expected = get(&name, *layout);
        compared.push(Compared { name, value, expected });
    }
    for input in &inputs[row.trained.len()..] {
        assert_eq!(gradients.of(*input), None, "{case}: a fixed input has a gradient");
    }
    for item in &compared {
        assert_eq!(*tape.shape(item.value), item.expected.shape, "{case}: shape of {}", item.name);
        tape.output(&item.name, item.value);
    }
    CaseTape { tape, feeds, compared }
}

/// Largest difference as a share of the largest expected number. NaN where anything is.
fn error(found: impl Iterator<Item = f64>, expected: &Tensor) -> f64 {
    let largest = expected.data.iter().fold(1e-30, |m: f64, x| m.max(x.abs()));
    let difference = found.zip(&expected.data).map(|(f, e)| (f - e).abs());
    difference.fold(0.0, |m: f64, d| if d.is_nan() || m.is_nan() { f64::NAN } else { m.max(d) }) / largest
}

#[test]
fn ops_give_what_pytorch_gives() {
    let fixture = Fixture::open();
    let gpu =
        Gpu::open(&GpuOptions::default()).expect("an adapter; scripts/setup.sh installs a software one");
    let mut failures = vec![];
    let mut covered = 0;
    for (case, settings) in &fixture.cases {
        let op = settings.0["op"].as_str().expect("an op");
        if PENDING_OPS.contains(&op) || WITHOUT_EQUAL.contains(&case.as_str()) {
            continue;
        }
        let Some(row) = ROWS.iter().find(|row| row.op == op) else {
            failures.push(format!("{case}: {op} is not covered"));
            continue;
        };
        covered += 1;
        let case_tape = case_tape(&fixture, case, settings, row);
        let reference = run(&case_tape.tape, &case_tape.feeds).expect("the reference runs");
        let device = run_on(&gpu, &case_tape);
        for (item, found) in case_tape.compared.iter().zip(&device) {
            let reference = error(reference.value(item.value).data.iter().copied(), &item.expected);
            let device = error(found.iter().map(|x| f64::from(*x)), &item.expected);
            // Written so that NaN fails.
            let pass = reference <= REFERENCE_TOLERANCE && device <= DEVICE_TOLERANCE;
            if !pass {
                let name = &item.name;
                failures.push(format!("{case}.{name}: reference {reference:.1e}, device {device:.1e}"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(covered > 0);
}

/// Each list names what is in the fixture, and no op is both covered and pending.
#[test]
fn no_name_is_stale() {
    let fixture = Fixture::open();
    let in_fixture = |op: &str| fixture.cases.iter().any(|(_, s)| s.0["op"] == op);
    for op in PENDING_OPS.iter().copied().chain(ROWS.iter().map(|row| row.op)) {
        assert!(in_fixture(op), "{op} is not in the fixture");
    }
    for case in WITHOUT_EQUAL {
        assert!(fixture.cases.iter().any(|(name, _)| name == case), "{case} is not in the fixture");
    }
    for row in ROWS {
        assert!(!PENDING_OPS.contains(&row.op), "{} is covered", row.op);
    }
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
    case.compared.iter().map(|item| session.read(&item.name).expect("a result")).collect()
}

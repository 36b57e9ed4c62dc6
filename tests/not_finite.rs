//! No op hides a NaN or an infinity: a run that has gone wrong must show it in its loss.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use wgseg::gpu::{Gpu, Session, States};
use wgseg::ops::Case;
use wgseg::ops::registry::ENTRIES;
use wgseg::program::compile;
use wgseg::reference::{Tensor, run};
use wgseg::tape::{Tape, Value};

/// What is put in an input, and whether everywhere or at one place in its middle.
const BAD: [(f64, bool); 4] =
    [(f64::NAN, true), (f64::NAN, false), (f64::INFINITY, false), (f64::NEG_INFINITY, false)];

/// Cases of mixed precision whose very purpose is to leave a step out when its gradients are not finite. The norm that
/// says so is an output of the step, and a scale that falls without end is an error (`tests/mixed.rs`).
fn leaves_out(case: &Case) -> bool {
    case.op.name() == "loss_scale_update" || case.name.ends_with("left out")
}

/// A case's op, with what other ops make for it, and no gradient.
fn forward(case: &Case) -> (Tape, Value) {
    let mut tape = Tape::new();
    let mut inputs = vec![];
    for (i, input) in case.inputs.iter().enumerate() {
        let (name, shape) = (format!("input{i}"), input.shape.clone());
        let value =
            if case.op.in_place().contains(&i) { tape.state(&name, shape) } else { tape.input(&name, shape) };
        inputs.push(value.expect("names differ"));
    }
    let direct = inputs.iter().zip(&case.inputs).filter(|(_, input)| input.direct);
    let mut operands: Vec<Value> = direct.map(|(value, _)| *value).collect();
    for made in &case.made {
        let from: Vec<Value> = made.from.iter().map(|i| inputs[*i]).collect();
        operands.push(tape.push_op(Arc::clone(&made.op), &from).expect("shapes fit"));
    }
    let result = tape.push_op(Arc::clone(&case.op), &operands).expect("shapes fit");
    if case.op.in_place().is_empty() {
        tape.output("result", result);
    }
    (tape, result)
}

/// Spoils each input of a case in turn. Says where the device's result is finite and the reference's
/// is not. The other way round nothing is hidden: a kernel may multiply the padding by NaN.
fn hidden(gpu: &Arc<Gpu>, case: &Case) -> Vec<String> {
    let (tape, result) = forward(case);
    let mut states = States::new();
    let program = compile(&tape, gpu.caps()).expect("a program");
    let mut session = Session::new(gpu, program, &mut states).expect("a session");
    let good: Vec<Tensor> = case
        .inputs
        .iter()
        .zip(case.data())
        .map(|(input, data)| Tensor::new(input.shape.clone(), data))
        .collect();
    let mut found = vec![];
    for (i, input) in case.inputs.iter().enumerate() {
        for (bad, everywhere) in BAD {
            let mut tensors = good.clone();
            match everywhere {
                true => tensors[i].data.fill(bad),
                false => tensors[i].data[input.shape.len() / 2] = bad,
            }
            for (k, tensor) in tensors.iter().enumerate() {
                let name = format!("input{k}");
                match states.contains(&name) {
                    true => states.write(gpu, &name, &tensor.to_f32()).expect("a state"),
                    false => session.write(&name, &tensor.to_f32()).expect("an input"),
                }
            }
            session.run().expect("a run");
            let feeds: HashMap<String, Tensor> =
                tensors.into_iter().enumerate().map(|(k, tensor)| (format!("input{k}"), tensor)).collect();
            let reference = run(&tape, &feeds).expect("the reference runs");
            let pairs: Vec<(Vec<f32>, &Tensor)> = match case.op.in_place() {
                [] => vec![(session.read("result").expect("a result"), reference.value(result))],
                rewritten => rewritten
                    .iter()
                    .map(|k| format!("input{k}"))
                    .map(|name| (states.read(gpu, &name).expect("a state"), &reference.states[&name]))
                    .collect(),
            };
            let what = format!("{}: {}: {bad} in input {i}", case.op.name(), case.name);
            let shown = pairs.iter().any(|(_, expected)| expected.data.iter().any(|x| !x.is_finite()));
            if everywhere && !shown {
                found.push(format!("{what}: the reference hides it"));
            }
            for (device, expected) in pairs {
                let hides = |(d, e): (&f32, &f64)| d.is_finite() && !e.is_finite();
                if let Some(at) = device.iter().zip(&expected.data).position(hides) {
                    let (d, e) = (device[at], expected.data[at]);
                    found.push(format!("{what}: {d} at {at}, reference {e}"));
                }
            }
        }
    }
    found
}

#[test]
fn what_is_not_finite_in_the_reference_is_not_on_the_device() {
    let gpu = common::gpu();
    let mut found = vec![];
    for entry in ENTRIES {
        // A folded case runs the kernels of its twin.
        let small = |c: &&Case| c.elements() < 10_000 && c.max_workgroups.is_none();
        for case in (entry.cases)().iter().filter(small).filter(|c| !leaves_out(c)) {
            found.extend(hidden(&gpu, case));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// A label that is no class must not pass for another one.
#[test]
fn a_label_that_is_no_class_makes_its_pixel_nan() {
    let gpu = common::gpu();
    let mut tape = Tape::new();
    let logits = tape.parameter("logits", [1, 1, 3, 2]).expect("a parameter");
    let labels = tape.input("labels", [1, 1, 3, 1]).expect("an input");
    let loss = tape.cross_entropy(logits, labels).expect("it fits");
    let grad = tape.backward(loss).expect("gradients").of(logits).expect("a gradient");
    tape.output("loss", loss);
    tape.output("grad", grad);
    let program = compile(&tape, gpu.caps()).expect("a program");
    let mut states = States::new();
    let mut session = Session::new(&gpu, program, &mut states).expect("a session");
    let numbers = [0.5, -1.0, 2.0, 0.0, 1.0, 1.0];
    states.write(&gpu, "logits", &numbers).expect("a state");
    for bad in [2.0, -1.0, 0.5, f32::NAN, f32::INFINITY] {
        let label = [0.0, bad, 1.0];
        session.write("labels", &label).expect("an input");
        session.run().expect("a run");
        let feeds = HashMap::from([
            ("logits".to_owned(), Tensor::from_f32([1, 1, 3, 2], &numbers)),
            ("labels".to_owned(), Tensor::from_f32([1, 1, 3, 1], &label)),
        ]);
        let reference = run(&tape, &feeds).expect("the reference runs");
        let grads = [session.read("grad").expect("a result"), reference.value(grad).to_f32()];
        for grad in grads {
            let nan: Vec<bool> = grad.iter().map(|x| x.is_nan()).collect();
            assert_eq!(nan, [false, false, true, true, false, false], "label {bad}");
        }
        let losses = [session.read("loss").expect("a result"), reference.value(loss).to_f32()];
        assert!(losses.iter().all(|loss| loss[0].is_nan()), "label {bad}: {losses:?}");
    }
}

/// A maximum loses NaN by a comparison that is false, and which place is compared with which matters.
#[test]
fn a_nan_is_the_largest_of_its_window() {
    let (nan, low) = (f32::NAN, f32::NEG_INFINITY);
    // Windows of 2×2 in a row: NaN first, in the middle, last; −∞ only; one with an infinity.
    let rows = [
        [nan, 5.0, 1.0, nan, 1.0, 2.0, low, low, 1.0, f32::INFINITY],
        [1.0, 2.0, 9.0, 3.0, 4.0, nan, low, low, 0.0, 2.0],
    ];
    let expected = [None, None, None, Some(low), Some(f32::INFINITY)];
    let gpu = common::gpu();
    for channels in [1, 4] {
        let data: Vec<f32> = rows.concat().iter().flat_map(|x| std::iter::repeat_n(*x, channels)).collect();
        // The kernel for 2×2 windows side by side; the one for any, whose windows are every second.
        for (stride, every) in [(2, 1), (4, 2)] {
            let mut tape = Tape::new();
            let input = tape.input("input", [1, 2, 10, channels]).expect("an input");
            let result = tape.max_pool2d(input, 2, stride, 0).expect("it fits");
            tape.output("result", result);
            let program = compile(&tape, gpu.caps()).expect("a program");
            let mut session = Session::new(&gpu, program, &mut States::new()).expect("a session");
            session.write("input", &data).expect("an input");
            session.run().expect("a run");
            // NaN as `None`, so that results can be compared.
            let found: Vec<Option<f32>> = session
                .read("result")
                .expect("a result")
                .iter()
                .map(|x| (!x.is_nan()).then_some(*x))
                .collect();
            let windows = expected.iter().step_by(every);
            let expected: Vec<_> = windows.flat_map(|x| std::iter::repeat_n(*x, channels)).collect();
            assert_eq!(found, expected, "{channels} channels, stride {stride}");
        }
    }
}

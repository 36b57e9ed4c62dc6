//! No kernel hides a NaN: a run that has gone wrong must show it in its loss.

use std::collections::HashMap;
use std::sync::Arc;

use wgseg::gpu::{Gpu, GpuOptions, Session, States};
use wgseg::ops::Case;
use wgseg::ops::registry::ENTRIES;
use wgseg::program::compile;
use wgseg::tape::Tape;

/// Runs a case with input `bad` all NaN. Whether its result, or a state that it rewrites, has any.
fn shows_nan(gpu: &Arc<Gpu>, case: &Case, bad: usize) -> bool {
    let mut tape = Tape::new();
    let mut inputs = vec![];
    let mut feeds = HashMap::new();
    let rewritten = case.op.in_place();
    for (i, (input, data)) in case.inputs.iter().zip(case.data()).enumerate() {
        let name = format!("input{i}");
        let data = data.iter().map(|x| if i == bad { f32::NAN } else { *x as f32 }).collect::<Vec<_>>();
        inputs.push(match rewritten.contains(&i) {
            true => tape.state(&name, input.shape.clone()).expect("a state"),
            false => tape.input(&name, input.shape.clone()).expect("an input"),
        });
        feeds.insert(name, data);
    }
    // An op that takes what other ops make of the case's inputs cannot run alone.
    let Ok(result) = tape.push_op(Arc::clone(&case.op), &inputs) else { return true };
    if rewritten.is_empty() {
        tape.output("result", result);
    }
    let program = compile(&tape, gpu.caps()).expect("a program");
    let mut states = States::new();
    let mut session = Session::new(gpu, program, &mut states).expect("a session");
    for (name, data) in &feeds {
        match states.contains(name) {
            true => states.write(gpu, name, data).expect("a state"),
            false => session.write(name, data).expect("an input"),
        }
    }
    session.run().expect("a run");
    let found = match rewritten {
        [] => session.read("result").expect("a result"),
        _ => {
            rewritten.iter().flat_map(|i| states.read(gpu, &format!("input{i}")).expect("a state")).collect()
        }
    };
    found.iter().any(|x| x.is_nan())
}

#[test]
fn nan_in_an_input_shows_in_the_result() {
    let gpu =
        Gpu::open(&GpuOptions::default()).expect("an adapter; scripts/setup.sh installs a software one");
    let mut hidden = vec![];
    for entry in ENTRIES {
        for case in
            (entry.cases)().into_iter().filter(|c| c.elements() < 10_000 && c.max_workgroups.is_none())
        {
            // Where nothing is differentiable, as in an update, every input counts.
            let none = case.inputs.iter().all(|i| !i.differentiable);
            for bad in (0..case.inputs.len()).filter(|i| none || case.inputs[*i].differentiable) {
                if !shows_nan(&gpu, &case, bad) {
                    hidden.push(format!("{} {}: input {bad}", entry.name, case.name));
                }
            }
        }
    }
    assert!(hidden.is_empty(), "{hidden:#?}");
}

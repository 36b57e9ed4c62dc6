//! The training of [`TrainingCase`] by each family of kernels, step by step beside the f64 reference.

use super::check::{Check, Checks, Steps};
use crate::conformance::checks::TRAINED;
use crate::conformance::report::Group;
use crate::program::{Caps, Family, compile};
use crate::train::step::{HYPER, LOSS};
use crate::verify::VerifyError;
use crate::verify::training::{STEPS, TrainingCase, hyper};
use crate::web::{Program, Shaders};

pub fn checks(shaders: &mut Shaders) -> Result<Checks, VerifyError> {
    let case = TrainingCase::new()?;
    let tape = &case.step.step.tape;
    let mut found = Checks::default();
    let tensors = &mut found.tensors;
    let names = tape.states().chain(tape.inputs()).map(|(name, _)| name).filter(|name| *name != HYPER);
    let start: Vec<_> =
        names.map(|name| (name.to_owned(), tensors.f32(&case.step.feeds[name].to_f32()))).collect();
    let feeds: Vec<_> = (1..=STEPS).map(|step| vec![(HYPER.to_owned(), tensors.f32(&hyper(step)))]).collect();
    for family in [Family::Tiled, Family::Naive] {
        let program = compile(tape, &Caps { family, ..Caps::default() })?;
        found.checks.push(Check {
            group: Group::Training,
            subject: TRAINED.to_owned(),
            case: format!("losses of {STEPS} steps"),
            why: "a small U-Net on one batch: forward, backward, AdamW".to_owned(),
            family,
            form: String::new(),
            program: Program::new(&program, shaders),
            feeds: start.clone(),
            expect: vec![],
            steps: Some(Steps {
                feeds: feeds.clone(),
                losses: case.losses.clone(),
                bounds: case.bounds.clone(),
                port: LOSS,
            }),
            flops: None,
        });
    }
    Ok(found)
}

//! Every op, every case, every family of kernels, on the adapter of this machine; and that a
//! broken kernel is found.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use wgseg::ops::Case;
use wgseg::ops::registry::ENTRIES;
use wgseg::program::{Program, Shader};
use wgseg::verify::{check_altered_kernels, verify};

#[test]
fn every_kernel_and_every_gradient_agrees_with_the_reference() {
    let gpu = common::gpu();
    let report = verify(&gpu, None, |_| {}).expect("verify runs");
    let failed: Vec<_> = report.ops.iter().filter(|r| !r.pass).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!((report.passed, report.failed), (report.ops.len(), 0));

    let checked: BTreeSet<&str> = report.ops.iter().map(|r| r.op.as_str()).collect();
    let gradients: BTreeSet<&str> =
        report.ops.iter().filter(|r| r.check == "gradient").map(|r| r.op.as_str()).collect();
    for entry in ENTRIES {
        assert!(checked.contains(entry.name), "{} was not run", entry.name);
        for part in entry.parts {
            assert!(checked.contains(part), "{part}, a part of {}, was not run", entry.name);
        }
        let differentiable = entry.no_backward.is_none();
        assert_eq!(gradients.contains(entry.name), differentiable, "gradient check of {}", entry.name);
    }
}

/// How a kernel is broken: what is written to each of its results instead of `x`.
const BREAKS: [(&str, &str); 2] =
    [("one percent off", "(x) * 1.01 + 0.001"), ("NaN", "((x) - (x)) / ((x) - (x))")];

#[test]
fn a_broken_kernel_is_found() {
    let gpu = common::gpu();
    // The smallest cases in which each shader is used.
    let mut users: BTreeMap<&'static str, (&'static Shader, Vec<Case>)> = BTreeMap::new();
    for entry in ENTRIES {
        let mut cases = (entry.cases)();
        cases.sort_by_key(Case::elements);
        for case in cases.into_iter().filter(|c| c.elements() < 100_000) {
            let seen = std::cell::RefCell::new(vec![]);
            let note = |program: &mut Program| {
                seen.borrow_mut().extend(program.dispatches.iter().map(|d| d.kernel.shader));
            };
            check_altered_kernels(&gpu, &case, &note).expect("the case runs");
            for shader in seen.into_inner() {
                let cases = &mut users.entry(shader.name).or_insert((shader, vec![])).1;
                if cases.len() < 3 && cases.iter().all(|c| c.name != case.name) {
                    cases.push(case.clone());
                }
            }
        }
    }
    assert!(users.len() > 30, "{:?}", users.keys());
    for (name, (shader, cases)) in users {
        for (how, replacement) in BREAKS {
            let broken: &'static Shader = Box::leak(Box::new(Shader {
                name: format!("{name}, {how}").leak(),
                source: break_stores(shader.source, replacement).leak(),
            }));
            let alter = |program: &mut Program| {
                for dispatch in &mut program.dispatches {
                    if dispatch.kernel.shader.name == name {
                        dispatch.kernel.shader = broken;
                    }
                }
            };
            // Where a result is 0 a factor changes nothing, so one case that shows it is enough.
            let found = cases.iter().any(|case| {
                let rows = check_altered_kernels(&gpu, case, &alter).expect("the broken kernel runs");
                rows.iter().any(|r| !r.pass && (how != "NaN" || r.not_finite > 0))
            });
            assert!(
                found,
                "{name}: {how}: not found by {:?}",
                cases.iter().map(|c| &c.name).collect::<Vec<_>>()
            );
        }
    }
}

/// Replaces what is stored to the kernel's results: `name[i] = x;` for each `read_write` name.
fn break_stores(source: &str, replacement: &str) -> String {
    let names: Vec<&str> = source
        .split("var<storage, read_write> ")
        .skip(1)
        .map(|rest| rest.split(':').next().unwrap_or_default().trim())
        .collect();
    let mut broken = String::new();
    let mut stores = 0;
    for line in source.lines() {
        let code = line.trim_start();
        let store = names.iter().find(|n| code.starts_with(&format!("{n}[")));
        match (store, code.split_once("] = "), code.strip_suffix(';')) {
            (Some(_), Some((target, value)), Some(_)) => {
                let value = value.trim_end_matches(';');
                broken += &format!("{target}] = {};\n", replacement.replace('x', &format!("({value})")));
                stores += 1;
            }
            _ => broken += &format!("{line}\n"),
        }
    }
    assert!(stores > 0, "no store found to break in:\n{source}");
    broken
}

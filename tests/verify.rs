//! Every op, every case, every family of kernels, on the adapter of this machine; and that a
//! broken kernel is found.

mod common;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use naga::{AddressSpace, Block, Expression, Function, Handle, Module, Statement};
use wgseg::gpu::{Extra, Gpu};
use wgseg::ops::Case;
use wgseg::ops::registry::{ENTRIES, find};
use wgseg::program::{Program, Shader};
use wgseg::verify::{check_altered_kernels, verify};

/// Ops that have forms for f16.
const HALF: [&str; 13] = [
    "add",
    "channel_sum",
    "concat",
    "conv2d",
    "conv_transpose2d",
    "global_average_pool",
    "leaky_relu",
    "max_pool2d",
    "norm",
    "relu",
    "slice",
    "upsample_bilinear",
    "upsample_nearest",
];

#[test]
fn every_kernel_and_every_gradient_agrees_with_the_reference() {
    let gpu = common::gpu_with_half();
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
        // Every form that training in mixed precision takes.
        let half = report.ops.iter().any(|r| r.op == entry.name && r.shaders.contains(" f16 "));
        assert_eq!(half, gpu.has(Extra::Half) && HALF.contains(&entry.name), "f16 forms of {}", entry.name);
        let differentiable = entry.no_backward.is_none();
        assert_eq!(gradients.contains(entry.name), differentiable, "gradient check of {}", entry.name);
    }
}

/// The forms in which the kernels of convolutions are checked.
fn forms_checked(gpu: &Arc<Gpu>) -> BTreeMap<String, BTreeSet<String>> {
    let forms: RefCell<BTreeMap<String, BTreeSet<String>>> = RefCell::default();
    let note = |program: &mut Program| {
        for choice in &program.choices {
            let taken = choice.forms[choice.taken].clone();
            forms.borrow_mut().entry(choice.point.kernel.clone()).or_default().insert(taken);
        }
        false
    };
    for case in (find("conv2d").expect("the op").cases)() {
        check_altered_kernels(gpu, &case, &note).expect("the case is compiled");
    }
    forms.into_inner()
}

#[test]
fn every_width_of_the_matrix_kernels_is_checked() {
    let gpu = common::gpu_with_half();
    let Some(matrices) = gpu.caps().matrices else {
        eprintln!("skipped: {} has no cooperative matrices that kernels take", gpu.description());
        return;
    };
    let forms = forms_checked(&gpu);
    for kernel in ["conv2d f16", "conv2d_grad_input f16", "conv2d_grad_weight f16"] {
        // Of one subgroup as well: where some may be smaller than others.
        for subgroups in BTreeSet::from([1, matrices.subgroups as usize]) {
            for columns in 1..=4 {
                let (rows, channels) = (2 * matrices.side * subgroups, columns * matrices.side);
                let name = format!("matrix {rows}x{channels}");
                let is_it = |form: &String| *form == name || form.starts_with(&format!("{name} in "));
                assert!(
                    forms[kernel].iter().any(is_it),
                    "{kernel}: {name} is not checked: {:?}",
                    forms[kernel]
                );
            }
        }
    }
}

#[test]
fn every_form_of_the_convolutions_is_checked() {
    let gpu = common::gpu();
    let forms = forms_checked(&gpu);
    // Of each kernel and tile, in how many sizes of portions or numbers of parts at least.
    let tiles = ["tiled 512x8", "tiled 256x16", "tiled 256x32", "tiled 128x32", "tiled 128x64"];
    let any = ["tiled any 256x16", "tiled any 128x32", "tiled any 64x64"];
    let of_conv =
        [&tiles[..], &any, &["cpu by 1", "cpu by 2", "cpu plain", "cpu any", "naive", "im2col"]].concat();
    let of_weight = [&tiles[..], &any, &["im2col"]].concat();
    let is_subgroups = |form: &str| {
        form == "cpu" || ["cpu by", "winograd", "im2col"].iter().any(|name| form.starts_with(name))
    };
    let expected = [
        ("conv2d", of_conv.clone(), vec!["winograd"]),
        ("conv2d_grad_input", of_conv, vec!["winograd"]),
        ("conv2d_grad_weight", of_weight, vec!["cpu", "cpu plain", "cpu any", "winograd"]),
    ];
    for (kernel, plain, in_sizes) in expected {
        let found = &forms[kernel];
        let number = |form: &&str| {
            let of_form = |found: &&String| {
                let rest = found.strip_prefix(*form).unwrap_or("no");
                let rest = rest.trim_start_matches(" in ").trim_start_matches(" by ");
                rest.is_empty() || rest.parse::<usize>().is_ok()
            };
            found.iter().filter(of_form).count()
        };
        let here = |form: &&str| gpu.caps().subgroups || !is_subgroups(form);
        for form in plain.iter().filter(|form| here(form)) {
            assert!(number(form) >= 1, "{kernel}: {form} is not checked; {found:?}");
        }
        for form in in_sizes.iter().filter(|form| here(form)) {
            assert!(number(form) >= 3, "{kernel}: {form} is checked in few sizes; {found:?}");
        }
    }
}

/// How a kernel is broken: what is stored instead of `x`. NaN is stored to all results at once; a
/// little off is each store alone, so that a result that nothing compares is found.
const OFF: &str = "(x) * 1.01 + 0.001";
const NAN: &str = "(x) + zero / zero";

/// What [`NAN`] needs: division by a zero that the compiler sees is an error of WGSL.
const ZERO: &str = "var<private> zero: f32 = 0.0;\n";

#[test]
fn a_broken_kernel_is_found() {
    let gpu = common::gpu_with_half();
    // The smallest cases in which each shader is used.
    let mut users: BTreeMap<&'static str, (&'static Shader, Vec<Case>)> = BTreeMap::new();
    for entry in ENTRIES {
        let mut cases = (entry.cases)();
        cases.sort_by_key(Case::elements);
        for case in cases.into_iter().filter(|c| c.elements() < 100_000) {
            let seen = RefCell::new(vec![]);
            let note = |program: &mut Program| {
                seen.borrow_mut().extend(program.dispatches.iter().map(|d| d.kernel.shader));
                false
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
    // A shader in two widths goes by two names, one for matrices by their side, of which an adapter has one or none.
    let named =
        |file: &str, ending: &str| users.keys().any(|name| name.starts_with(&format!("{file} {ending}")));
    let used = |file: &str| match file.ends_with("_matrix") {
        true => gpu.caps().matrices.is_none_or(|m| named(file, &format!("{0}x{0}", m.side))),
        false => users.contains_key(file) || ["x1", "x4"].iter().all(|width| named(file, width)),
    };
    // What measures an adapter's ceilings or uses its limits to the full is no op's; each run of it checks it.
    let of_ops = shader_files()
        .into_iter()
        .filter(|file| !file.starts_with("bench/") && !file.starts_with("conformance/"));
    let unused: Vec<String> = of_ops.filter(|file| !used(file)).collect();
    assert!(unused.is_empty(), "no small case uses {unused:?}");
    let mut missed = vec![];
    for (name, (shader, cases)) in users {
        let stores = stores(shader);
        let mut ways = vec![("NaN", NAN, stores.clone())];
        ways.extend(stores.iter().map(|at| ("one percent off", OFF, vec![*at])));
        for (how, replacement, lines) in ways {
            let broken: &'static Shader = Box::leak(Box::new(Shader {
                name: format!("{name}, {how} in lines {lines:?}").leak(),
                source: break_stores(shader, &lines, replacement).leak(),
            }));
            let alter = |program: &mut Program| {
                let of_shader = program.dispatches.iter_mut().filter(|d| d.kernel.shader.name == name);
                of_shader.map(|dispatch| dispatch.kernel.shader = broken).count() > 0
            };
            // Where a result is 0 a factor changes nothing, so one case that shows it is enough.
            let found = cases.iter().any(|case| {
                let rows = check_altered_kernels(&gpu, case, &alter).expect("the broken kernel runs");
                rows.iter().any(|r| !r.pass && (how != "NaN" || r.not_finite > 0))
            });
            if !found {
                let cases: Vec<_> = cases.iter().map(|c| &c.name).collect();
                missed.push(format!("{}: not found by {cases:?}", broken.name));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// The lines, from 1, that store to the kernel's results: `name[i] = x;` for each `read_write` name, or
/// `coopStoreT(kept, &name[i], pitch);`.
/// Panics when the shader stores in any other form, which would stay unbroken.
fn stores(shader: &Shader) -> Vec<usize> {
    let names: Vec<&str> = shader
        .source
        .split("var<storage, read_write> ")
        .skip(1)
        .map(|rest| rest.split(':').next().unwrap_or_default().trim())
        .collect();
    let is_store = |line: &str| {
        let code = line.trim_start();
        let to_result = names.iter().any(|name| code.starts_with(&format!("{name}[")));
        let matrix = names.iter().any(|name| code.starts_with(&format!("coopStoreT(kept, &{name}[")));
        (to_result && code.contains("] = ") || matrix) && code.ends_with(';')
    };
    let lines: Vec<usize> =
        (1..).zip(shader.source.lines()).filter(|(_, line)| is_store(line)).map(|(at, _)| at).collect();
    let module = naga::front::wgsl::parse_str(shader.source).expect("the shader parses");
    let count: usize = module
        .functions
        .iter()
        .map(|(_, function)| function)
        .chain(module.entry_points.iter().map(|entry| &entry.function))
        .map(|function| stores_to_results(&module, function, &function.body))
        .sum();
    assert_eq!(lines.len(), count, "{}: stores in a form that is not broken here", shader.name);
    assert!(count > 0, "{}: stores nothing", shader.name);
    lines
}

/// Replaces what these lines, which are stores, write.
fn break_stores(shader: &Shader, lines: &[usize], replacement: &str) -> String {
    let mut broken = String::new();
    for (number, line) in (1..).zip(shader.source.lines()) {
        match line.split_once("] = ") {
            Some((target, value)) if lines.contains(&number) => {
                // What is stored as another type is broken before it becomes that.
                let (stored_as, value) = match value.trim_end_matches(';').split_once('(') {
                    Some((name, value)) if shader.source.contains(&format!("alias {name} =")) => {
                        (name, value.strip_suffix(')').unwrap_or(value))
                    }
                    _ => ("", value.trim_end_matches(';')),
                };
                let value = replacement.replace('x', &format!("({value})"));
                broken += &format!("{target}] = {stored_as}({value});\n");
            }
            // Of a matrix the first number.
            None if lines.contains(&number) => {
                let target = line.split_once('&').and_then(|(_, rest)| Some(rest.split_once(']')?.0));
                let target = format!("{}]", target.expect("a store of a matrix"));
                broken += &format!("{line} {target} = {};\n", replacement.replace("(x)", &target));
            }
            _ => broken += &format!("{line}\n"),
        }
    }
    broken + ZERO
}

/// Statements of a block, and of the blocks in it, that store to a storage buffer.
fn stores_to_results(module: &Module, function: &Function, block: &Block) -> usize {
    let inner = |blocks: &[&Block]| -> usize {
        blocks.iter().map(|block| stores_to_results(module, function, block)).sum()
    };
    let count = |statement: &Statement| match statement {
        Statement::Store { pointer, .. } => usize::from(is_result(module, function, *pointer)),
        Statement::CooperativeStore { data, .. } => usize::from(is_result(module, function, data.pointer)),
        Statement::Block(block) => inner(&[block]),
        Statement::If { accept, reject, .. } => inner(&[accept, reject]),
        Statement::Loop { body, continuing, .. } => inner(&[body, continuing]),
        Statement::Switch { cases, .. } => inner(&cases.iter().map(|case| &case.body).collect::<Vec<_>>()),
        _ => 0,
    };
    block.iter().map(count).sum()
}

/// Whether a pointer leads into a storage buffer.
fn is_result(module: &Module, function: &Function, pointer: Handle<Expression>) -> bool {
    match function.expressions[pointer] {
        Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => {
            is_result(module, function, base)
        }
        Expression::GlobalVariable(variable) => {
            matches!(module.global_variables[variable].space, AddressSpace::Storage { .. })
        }
        Expression::LocalVariable(_) => false,
        // A pointer that was handed to a function may lead anywhere.
        _ => true,
    }
}

/// Names of all files below `shaders/`, as [`Shader::name`] has them.
fn shader_files() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let list = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    };
    let files = list(&root).into_iter().flat_map(|folder| list(&folder));
    let name = |file: PathBuf| {
        let name = file.strip_prefix(&root).expect("below the root").with_extension("");
        name.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    };
    files.map(name).collect()
}

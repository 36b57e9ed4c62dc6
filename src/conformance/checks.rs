//! The checks in their order, in units that run one by one: a driver that dies of a unit takes that one down alone.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::limits::{self, Limit};
use super::report::{Check, Group, Outcome};
use super::{Alter, ConformanceError, Options};
use crate::bench::ceilings::{self, Ceilings};
use crate::bench::{ops, roofline_percent};
use crate::gpu::Gpu;
use crate::ops::registry::Entry;
use crate::program::{Caps, Choices, Family, Program, compile};
use crate::verify::training::{STEPS, Trained, TrainingCase};
use crate::verify::{Row, VerifyError, check_gradient, check_repeated_kernels, select};

/// What is trained.
pub const TRAINED: &str = "U-Net";

/// Runs after the first that must give the same bits.
const REPEATS: usize = 9;
const QUICK_REPEATS: usize = 1;

/// Some checks that are run together.
#[derive(Clone)]
pub enum Unit {
    /// An op and its backward at one of its cases, in all families and forms.
    Op {
        entry: &'static Entry,
        case: usize,
        name: String,
    },
    Limit(Limit),
    /// A training by one family of kernels.
    Training(Family),
    /// Times of an op and its backward at the shapes of a U-Net.
    Speed(&'static Entry),
}

impl Unit {
    /// Group, subject and case of a check that stands for the whole unit, where it did not come to its end.
    pub fn label(&self) -> (Group, String, String) {
        match self {
            Unit::Op { entry, name, .. } => (Group::Kernel, entry.name.to_owned(), name.clone()),
            Unit::Limit(limit) => (limit.group(), limit.name().to_owned(), "all".to_owned()),
            Unit::Training(family) => (Group::Training, TRAINED.to_owned(), format!("all, {family} kernels")),
            Unit::Speed(entry) => (Group::Speed, entry.name.to_owned(), "all".to_owned()),
        }
    }
}

/// All units, in the order in which they run: it is the same in each process.
///
/// # Errors
/// There is no such op.
pub fn units(options: &Options) -> Result<Vec<Unit>, VerifyError> {
    let mut units = vec![];
    let entries = select(options.op.as_deref())?;
    for entry in &entries {
        let cases = (entry.cases)().into_iter().enumerate();
        units.extend(cases.map(|(case, made)| Unit::Op { entry, case, name: made.name }));
    }
    if options.op.is_none() {
        let limits = Limit::ALL.into_iter().filter(|l| !(options.quick && *l == Limit::LongDispatch));
        units.extend(limits.map(Unit::Limit));
        units.extend([Family::Naive, Family::Tiled, Family::Cpu].map(Unit::Training));
    }
    if !options.quick {
        let timed = |entry: &&'static Entry| !crate::bench::cases::cases(entry.name).is_empty();
        units.extend(entries.into_iter().filter(timed).map(Unit::Speed));
    }
    Ok(units)
}

/// A device and what has been measured of it.
pub struct Bench {
    pub gpu: Arc<Gpu>,
    pub options: Options,
    ceilings: Option<Ceilings>,
}

impl Bench {
    pub fn new(gpu: Arc<Gpu>, options: Options) -> Bench {
        Bench { gpu, options, ceilings: None }
    }

    /// Runs a unit, with each program that it compiles changed by `alter`, and gives its checks to `observe` as they come.
    /// What goes wrong is a check that failed; whether the device may go on after it.
    pub fn run(&mut self, unit: &Unit, alter: Alter, observe: &mut dyn FnMut(Check)) -> bool {
        // A defect of this program in one unit must not take the others' results.
        let done = catch_unwind(AssertUnwindSafe(|| match unit {
            Unit::Op { entry, case, .. } => self.op(entry, *case, alter, observe),
            Unit::Limit(limit) => limits::check(&self.gpu, *limit, alter).map(&mut *observe),
            Unit::Training(family) => self.training(*family, alter, observe),
            Unit::Speed(entry) => self.speed(entry, alter, observe),
        }));
        let error = match done {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("wgseg panicked: {}", words(panic.as_ref())),
        };
        let (group, subject, case) = unit.label();
        observe(Check::new(group, &subject, &case, Outcome::Fail).because(error));
        false
    }

    fn op(
        &self,
        entry: &Entry,
        case: usize,
        alter: Alter,
        observe: &mut dyn FnMut(Check),
    ) -> Result<(), ConformanceError> {
        let case = (entry.cases)().swap_remove(case);
        let repeats = if self.options.quick { QUICK_REPEATS } else { REPEATS };
        let change = |program: &mut Program| {
            alter(program);
            true
        };
        check_repeated_kernels(&self.gpu, &case, repeats, &change, &mut |row| {
            observe(of_row(&row));
            observe(repeated(&row));
        })?;
        check_gradient(entry, &case)?.iter().map(of_row).for_each(observe);
        Ok(())
    }

    fn training(
        &self,
        family: Family,
        alter: Alter,
        observe: &mut dyn FnMut(Check),
    ) -> Result<(), ConformanceError> {
        let case = TrainingCase::new()?;
        let caps = Caps { family, choices: Choices::default(), ..self.gpu.caps().clone() };
        let program = || -> Result<Program, ConformanceError> {
            let mut program = compile(&case.step.step.tape, &caps)?;
            alter(&mut program);
            Ok(program)
        };
        let first = case.train(&self.gpu, program()?, None)?;
        let (step, error, bound) = case.worst(&first.losses);
        let outcome = if error <= bound { Outcome::Pass } else { Outcome::Fail };
        let name = format!("losses of {STEPS} steps");
        let mut check =
            Check { family: family.to_string(), ..Check::new(Group::Training, TRAINED, &name, outcome) };
        let (from, to) = (first.losses.first(), first.losses.last());
        check.reason = match error.is_finite() {
            true => format!("nearest to its bound at step {step}"),
            false => format!("the loss of step {step} is no number"),
        };
        if let (Some(from), Some(to)) = (from, to) {
            check.reason += &format!("; from {from:.4} to {to:.4}");
        }
        (check.max_error, check.bound) = (error.is_finite().then_some(error), Some(bound));
        observe(check);

        let repeats = if self.options.quick { QUICK_REPEATS } else { REPEATS };
        let mut others = 0;
        for _ in 0..repeats {
            others += usize::from(!case.train(&self.gpu, program()?, None)?.same_bits(&first));
        }
        let mut same = |case: &str, others, repeats| {
            observe(Check { family: family.to_string(), ..bits(TRAINED, case, others, repeats) });
        };
        same(&format!("trainings of {STEPS} steps"), others, repeats);
        let differs = |t: &Trained| usize::from(!t.same_bits(&first));
        let single = case.train(&self.gpu, program()?, Some(0))?;
        let some = case.train(&self.gpu, program()?, Some(200_000))?;
        same("work submitted in other portions", differs(&single) + differs(&some), 2);
        Ok(())
    }

    fn speed(
        &mut self,
        entry: &Entry,
        alter: Alter,
        observe: &mut dyn FnMut(Check),
    ) -> Result<(), ConformanceError> {
        let ceilings = match self.ceilings {
            Some(ceilings) => ceilings,
            None => *self.ceilings.insert(ceilings::measure(&self.gpu)?),
        };
        let change = |program: &mut Program| alter(program);
        let rows = ops::measure_altered(&self.gpu, entry, &change, &mut |_| {})?;
        let of = |row: ops::OpRow| {
            let outcome = if row.pass { Outcome::Pass } else { Outcome::Fail };
            let timing = row.timing.as_ref();
            Check {
                family: self.gpu.caps().family.to_string(),
                shaders: names(&row.shaders),
                max_error: row.max_error,
                bound: Some(row.bound),
                milliseconds: timing.map(|t| t.median_ms),
                percent_of_peak: timing.map(|t| roofline_percent(&ceilings, row.flops, row.bytes, t)),
                reason: if row.pass { String::new() } else { "wrong, so not timed".to_owned() },
                ..Check::new(Group::Speed, &row.op, &row.case, outcome)
            }
        };
        rows.into_iter().map(of).for_each(observe);
        Ok(())
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn names(shaders: &str) -> Vec<String> {
    // A kernel made for four channels or for f16 has spaces in its name, its folder none.
    let mut names: Vec<String> = vec![];
    for word in shaders.split(' ').filter(|word| !word.is_empty()) {
        match names.last_mut() {
            Some(name) if !word.contains('/') => *name = format!("{name} {word}"),
            _ => names.push(word.to_owned()),
        }
    }
    names
}

fn of_row(row: &Row) -> Check {
    let group = if row.check == "gradient" { Group::Gradient } else { Group::Kernel };
    let outcome = if row.pass { Outcome::Pass } else { Outcome::Fail };
    let reason = match (row.pass, row.not_finite, row.max_error) {
        (true, ..) => String::new(),
        (_, 1.., _) => format!("{} results are NaN or infinite", row.not_finite),
        (.., Some(error)) => format!("off by {error:.2e}, where {:.2e} is allowed", row.bound),
        (.., None) => "there are fewer results than there should be".to_owned(),
    };
    Check {
        family: row.family.map_or(String::new(), |family| family.to_string()),
        form: row.form.clone(),
        shaders: names(&row.shaders),
        max_error: row.max_error,
        bound: Some(row.bound),
        max_ulp: row.max_ulp,
        not_finite: row.not_finite,
        ..Check::new(group, &row.op, &row.case, outcome)
    }
    .because(reason)
}

/// What repeating a kernel showed.
fn repeated(row: &Row) -> Check {
    let check = bits(&row.op, &row.case, row.other_bits, row.repeats);
    let family = row.family.map_or(String::new(), |family| family.to_string());
    Check { family, form: row.form.clone(), shaders: names(&row.shaders), ..check }
}

/// Of `repeats` runs after the first `others` gave other bits.
fn bits(subject: &str, case: &str, others: usize, repeats: usize) -> Check {
    let (outcome, reason) = match others {
        0 => (Outcome::Pass, format!("the same bits in {} runs", repeats + 1)),
        _ => (Outcome::Fail, format!("{others} of {repeats} runs after the first gave other bits")),
    };
    Check::new(Group::Determinism, subject, case, outcome).because(reason)
}

/// Checks by their outcome.
pub fn counts<'a>(checks: impl IntoIterator<Item = &'a Check>) -> HashMap<Outcome, usize> {
    let mut counts = HashMap::new();
    for check in checks {
        *counts.entry(check.outcome).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::registry::ENTRIES;

    #[test]
    fn names_of_kernels_keep_their_spaces() {
        assert_eq!(
            names("norm/stats x4 norm/forward x4 f16 f32 conv2d/conv_cpu"),
            ["norm/stats x4", "norm/forward x4 f16 f32", "conv2d/conv_cpu"]
        );
        assert!(names("").is_empty());
    }

    #[test]
    fn one_op_has_its_own_units_alone_and_an_unknown_one_none() {
        let of = |op: &str| units(&Options { op: Some(op.to_owned()), ..Options::default() });
        let found = of("relu").unwrap();
        let cases = (crate::ops::registry::find("relu").unwrap().cases)().len();
        assert_eq!(found.len(), cases + 1, "and its speed");
        assert!(of("rellu").is_err());
    }

    #[test]
    fn the_quick_units_are_among_all() {
        let of = |quick| units(&Options { quick, ..Options::default() }).unwrap();
        let (all, quick) = (of(false), of(true));
        assert!(quick.len() < all.len());
        let cases: usize = ENTRIES.iter().map(|entry| (entry.cases)().len()).sum();
        for units in [&all, &quick] {
            assert_eq!(units.iter().filter(|unit| matches!(unit, Unit::Op { .. })).count(), cases);
        }
    }
}

//! What differs between two devices, or between two drivers of one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::ConformanceError;
use super::report::{self, AdapterReport, Check, Device, Group, Outcome, Report};

/// A kernel is told as slower or faster from this ratio of times on.
const TIME_RATIO: f64 = 1.5;
/// An error is told as larger from this ratio on, and if it takes this share of its bound.
const ERROR_RATIO: f64 = 2.0;
const ERROR_SHARE: f64 = 0.25;

/// Which check of two reports it is, and what each found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub group: Group,
    pub subject: String,
    pub case: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub family: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub form: String,
    pub kind: Kind,
    /// What A and B have of it; the more there is between them, the worse.
    pub a: String,
    pub b: String,
    #[serde(skip)]
    weight: f64,
    /// One of them failed or crashed.
    #[serde(skip)]
    pub is_bad: bool,
}

impl Difference {
    /// Whether it is about what came of a check, and not about what was checked or how long it took.
    pub fn is_of_results(&self) -> bool {
        self.is_bad || matches!(self.kind, Kind::Outcome | Kind::Error)
    }
}

/// How two checks differ, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One passes and the other does not.
    Outcome,
    /// Both are right, and one is nearer to its bound.
    Error,
    Time,
    /// Only A has it: a form that B's device has no feature for, or an option of one run.
    OnlyA,
    /// Only B has it.
    OnlyB,
    /// What the devices offer.
    Offer,
}

/// A report's adapter: a folder or file, and after a colon the adapter's number where it has several.
///
/// # Errors
/// It is no report of this schema, or has no such adapter.
pub fn load(wanted: &Path) -> Result<(Report, AdapterReport), ConformanceError> {
    let (path, number) = split(wanted);
    let path = if path.is_dir() { path.join("report.json") } else { path };
    let mut report = report::read(&path)?;
    let adapters = &mut report.adapters;
    if adapters.is_empty() {
        return Err(ConformanceError::NoAdapter { path });
    }
    let index = match number {
        Some(number) => number,
        None if adapters.len() == 1 => 0,
        None => usize::MAX,
    };
    if index >= adapters.len() {
        let names = adapters.iter().map(|a| a.device.name.clone()).collect();
        return Err(ConformanceError::WhichAdapter { path, names });
    }
    let adapter = adapters.swap_remove(index);
    Ok((report, adapter))
}

/// Why two reports do not compare check by check.
pub fn uneven(a: &Report, b: &Report) -> Vec<String> {
    let mut found = vec![];
    for (name, report) in [("A", a), ("B", b)] {
        if !report.complete {
            found.push(format!("{name} is not complete: its checks were interrupted, or still run"));
        }
    }
    if a.kernels != b.kernels {
        found.push("they were made with other kernels: make both with one build of wgseg".to_owned());
    }
    if a.op != b.op {
        let told = |op: &Option<String>| op.clone().unwrap_or_else(|| "all ops".to_owned());
        found.push(format!("A is of {}, B of {}", told(&a.op), told(&b.op)));
    }
    for (a, b, what) in
        [(a.quick, b.quick, "--quick"), (a.default_limits, b.default_limits, "--default-limits")]
    {
        if a != b {
            found.push(format!("{} alone was made with {what}", if a { "A" } else { "B" }));
        }
    }
    if a.runner != b.runner {
        found.push("one was made through wgpu and one by the page, which has fewer checks".to_owned());
    }
    found
}

fn split(wanted: &Path) -> (PathBuf, Option<usize>) {
    if !wanted.exists()
        && let Some((path, number)) = wanted.to_str().and_then(|text| text.rsplit_once(':'))
        && let Ok(number) = number.parse()
    {
        return (path.into(), Some(number));
    }
    (wanted.to_owned(), None)
}

/// What tells a check from others of its report.
type Key<'a> = (Group, &'a str, &'a str, &'a str, &'a str, usize);

/// A report's checks; those of one name are numbered in their order.
fn keyed(report: &AdapterReport) -> BTreeMap<Key<'_>, &Check> {
    let mut keyed = BTreeMap::new();
    for check in &report.checks {
        let key =
            |n| (check.group, check.subject.as_str(), check.case.as_str(), &*check.family, &*check.form, n);
        let number = (0..).find(|n| !keyed.contains_key(&key(*n))).unwrap_or_default();
        keyed.insert(key(number), check);
    }
    keyed
}

/// All differences, the worst first.
pub fn differences(report_a: &AdapterReport, report_b: &AdapterReport) -> Vec<Difference> {
    let (a, b) = (keyed(report_a), keyed(report_b));
    let keys: BTreeSet<_> = a.keys().chain(b.keys()).copied().collect();
    let mut found: Vec<Difference> = keys
        .into_iter()
        .filter_map(|key| difference(key, a.get(&key).copied(), b.get(&key).copied()))
        .collect();
    found.extend(devices(&report_a.device, &report_b.device));
    found.sort_by(|x, y| (!x.is_bad, x.kind).cmp(&(!y.is_bad, y.kind)).then(y.weight.total_cmp(&x.weight)));
    found
}

fn difference(key: Key, a: Option<&Check>, b: Option<&Check>) -> Option<Difference> {
    let (group, subject, case, family, form, _) = key;
    let is_bad = [a, b].iter().flatten().any(|check| check.outcome.is_bad());
    let of = |kind, a: String, b: String, weight| {
        let [subject, case, family, form] = [subject, case, family, form].map(str::to_owned);
        Some(Difference { group, subject, case, family, form, kind, a, b, weight, is_bad })
    };
    let (Some(a), Some(b)) = (a, b) else {
        let told = |check: Option<&Check>| check.map_or("is not there".to_owned(), outcome);
        let kind = if b.is_none() { Kind::OnlyA } else { Kind::OnlyB };
        return of(kind, told(a), told(b), 0.0);
    };
    if a.outcome != b.outcome {
        let weight = if a.outcome.is_bad() != b.outcome.is_bad() { 1.0 } else { 0.0 };
        return of(Kind::Outcome, outcome(a), outcome(b), weight);
    }
    let share = |check: &Check| Some(check.max_error? / check.bound.filter(|bound| *bound > 0.0)?);
    if let (Some(x), Some(y)) = (share(a), share(b))
        && x.max(y) >= ERROR_SHARE
        && x.max(y) >= ERROR_RATIO * x.min(y)
    {
        let told = |share: f64| format!("{:.0} % of the bound", 100.0 * share);
        return of(Kind::Error, told(x), told(y), (x - y).abs());
    }
    if let (Some(x), Some(y)) = (a.milliseconds, b.milliseconds)
        && x.max(y) >= TIME_RATIO * x.min(y)
    {
        let told = |ms: f64| format!("{ms:.3} ms");
        return of(Kind::Time, told(x), told(y), (x / y).ln().abs());
    }
    None
}

/// Limits and features that one offers and the other does not, or otherwise.
fn devices(a: &Device, b: &Device) -> Vec<Difference> {
    let of = |case: &str, a: String, b: String| Difference {
        group: Group::Device,
        subject: "offers".to_owned(),
        case: case.to_owned(),
        family: String::new(),
        form: String::new(),
        kind: Kind::Offer,
        a,
        b,
        weight: 0.0,
        is_bad: false,
    };
    let names: BTreeSet<&String> = a.limits.keys().chain(b.limits.keys()).collect();
    let limit = |device: &Device, name: &String| {
        device.limits.get(name).map_or("not told".to_owned(), |limit| limit.to_string())
    };
    let unequal = names.into_iter().filter(|name| a.limits.get(*name) != b.limits.get(*name));
    let mut found: Vec<Difference> = unequal.map(|name| of(name, limit(a, name), limit(b, name))).collect();
    let features: BTreeSet<&String> = a.features.iter().chain(&b.features).collect();
    for feature in features {
        let [x, y] = [a, b].map(|device| device.features.contains(feature));
        if x != y {
            let told = |has: bool| if has { "yes" } else { "no" }.to_owned();
            found.push(of(feature, told(x), told(y)));
        }
    }
    found
}

fn outcome(check: &Check) -> String {
    let word = word(check.outcome);
    if check.reason.is_empty() { word.to_owned() } else { format!("{word}: {}", check.reason) }
}

/// An outcome in a word.
pub fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "FAIL",
        Outcome::Crashed => "CRASHED",
        Outcome::Known => "known failure",
        Outcome::Skipped => "skipped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: Vec<Check>) -> AdapterReport {
        AdapterReport { device: Device::default(), seconds: 1.0, checks }
    }

    fn check(case: &str, error: f64, milliseconds: Option<f64>) -> Check {
        let check = Check::new(Group::Kernel, "conv2d", case, Outcome::Pass);
        Check { max_error: Some(error), bound: Some(1.0), milliseconds, ..check }
    }

    #[test]
    fn a_report_does_not_differ_from_itself() {
        let report = report(vec![check("a", 0.5, Some(1.0)), check("a", 0.4, None), check("b", 0.1, None)]);
        assert_eq!(differences(&report, &report), []);
    }

    #[test]
    fn the_worst_comes_first() {
        let a = report(vec![
            check("slow", 0.1, Some(1.0)),
            check("near", 0.1, None),
            check("nearer", 0.1, None),
            check("gone", 0.1, None),
            check("broken", 0.1, None),
            check("alike", 0.1, Some(2.0)),
        ]);
        let mut broken = check("broken", 9.0, None);
        broken.outcome = Outcome::Fail;
        let b = report(vec![
            broken,
            check("slow", 0.1, Some(4.0)),
            check("near", 0.6, None),
            check("nearer", 0.9, None),
            check("alike", 0.12, Some(2.2)),
        ]);
        let found = differences(&a, &b);
        let cases: Vec<&str> = found.iter().map(|d| d.case.as_str()).collect();
        assert_eq!(cases, ["broken", "nearer", "near", "slow", "gone"]);
        assert_eq!(found[0].b, "FAIL");
        assert_eq!((found[4].kind, found[4].b.as_str()), (Kind::OnlyA, "is not there"));
        let of_results: Vec<bool> = found.iter().map(Difference::is_of_results).collect();
        assert_eq!(of_results, [true, true, true, false, false]);
        assert_eq!((found[3].a.as_str(), found[3].b.as_str()), ("1.000 ms", "4.000 ms"));
    }

    #[test]
    fn one_of_several_adapters_is_taken_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let device = |name: &str| AdapterReport {
            device: Device { name: name.to_owned(), ..Device::default() },
            ..report(vec![])
        };
        let path = folder.path().join("report.json");
        let write = |adapters: &[AdapterReport], schema: u32| {
            let report = report::Report {
                schema,
                wgseg: "0.1.0".to_owned(),
                kernels: String::new(),
                made: String::new(),
                system: String::new(),
                runner: report::Runner::Wgpu,
                quick: false,
                default_limits: false,
                op: None,
                complete: true,
                adapters: adapters.to_vec(),
            };
            std::fs::write(&path, serde_json::to_vec(&report).unwrap()).unwrap();
        };
        let numbered = |n: usize| PathBuf::from(format!("{}:{n}", folder.path().display()));
        write(&[device("one"), device("two")], report::SCHEMA);
        assert_eq!(load(&numbered(1)).unwrap().1.device.name, "two");
        for wanted in [folder.path().to_owned(), numbered(2)] {
            let error = load(&wanted).unwrap_err().to_string();
            assert!(error.contains("0: one, 1: two"), "{error}");
        }
        write(&[device("one")], report::SCHEMA);
        assert_eq!(load(&path).unwrap().1.device.name, "one");
        write(&[device("one")], report::SCHEMA + 1);
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("schema 2") && error.contains("schema 1"), "{error}");
        std::fs::write(&path, "{}").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("schema"));
    }
}

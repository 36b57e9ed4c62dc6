//! What a run is made of, and whether that is still so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::MethodError;
use super::material::Fingerprint;
use super::run::{Candidates, CouplingChoice, RunSpec, TargetStart, Work};
use crate::config::schema::DataConfig;
use crate::data::fingerprint::hex;
use crate::tasks;

/// File in a run's folder that says what the run is made of: an [`Inputs`]. It is the first to be made.
pub const SPEC: &str = "spec.json";

/// Everything that the result of a run depends on, but the adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    pub spec: RunSpec,
    /// Hash of the images that it reads itself, of a [`Fingerprint`].
    pub data: String,
    /// As [`code`] gives it.
    pub code: String,
    /// Hash of the inputs of each run that it needs.
    pub needs: BTreeMap<String, String>,
}

/// Why a run is no longer what it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key of the config, with its values then and now.
    Config {
        key: String,
        was: String,
        now: String,
    },
    Data,
    /// By other sources, as [`code`] told of them.
    Code {
        was: String,
    },
    /// Its kernels' forms are from another table, or from none where there was one.
    Tuning,
    /// A run that it needs was changed.
    Needs(String),
    /// Its folder holds a result that cannot be read.
    Unreadable,
    /// A file of weights is not there any more.
    Lost(String),
    /// A file of weights has another size, in bytes, than when the run ended.
    Damaged {
        file: String,
        found: u64,
        expected: u64,
    },
}

/// Version of wgseg and of the sources that results depend on, and the table that kernels' forms are from, where
/// there is one: another sums in another order.
pub fn code(tuning: Option<&str>) -> String {
    let table = tuning.map_or(String::new(), |id| format!("{TABLE}{id}"));
    format!("{}+{}{table}", env!("CARGO_PKG_VERSION"), env!("WGSEG_SOURCES"))
}

/// What [`code`] gives, as short as users can tell versions apart by.
pub fn short(code: &str) -> String {
    let (version, rest) = code.split_once('+').unwrap_or((code, ""));
    match rest.chars().take(8).collect::<String>() {
        sources if sources.is_empty() => version.to_owned(),
        sources => format!("{version}+{sources}"),
    }
}

/// What stands before the name of the table in what [`code`] gives.
const TABLE: &str = "+tuning.";

impl Inputs {
    pub fn new(spec: &RunSpec, data: &Fingerprint, code: &str, needs: BTreeMap<String, String>) -> Inputs {
        let data = if spec.work.reads_unlabelled() { &data.all } else { &data.labelled };
        let mut spec = spec.clone();
        // Threads change how long it takes and nothing else.
        spec.config.data.workers = DataConfig::default().workers;
        Inputs { spec, data: data.clone(), code: code.to_owned(), needs }
    }

    /// SHA-256 of all of it, as 64 hexadecimal digits.
    ///
    /// # Errors
    /// A path in the config that is not UTF-8.
    pub fn hash(&self) -> Result<String, MethodError> {
        let text = serde_json::to_vec(self)
            .map_err(|error| MethodError::Encode { id: self.spec.id.clone(), message: error.to_string() })?;
        Ok(hex(Sha256::new_with_prefix(text)))
    }

    /// The first thing that is no longer as in `was`, a run of the same id; none when all is.
    pub fn change_since(&self, was: &Inputs) -> Option<Change> {
        let config = || {
            let (key, then, now) = was.spec.config.first_difference(&self.spec.config);
            if key.is_empty() { work_change(&was.spec.work, &self.spec.work) } else { Some((key, then, now)) }
        };
        // First, as another version may have other defaults, which are in the config.
        if self.code != was.code {
            let sources = |code: &str| code.split(TABLE).next().map(str::to_owned);
            let same = sources(&self.code) == sources(&was.code);
            return Some(if same { Change::Tuning } else { Change::Code { was: was.code.clone() } });
        }
        if self.spec != was.spec
            && let Some((key, was, now)) = config()
        {
            return Some(Change::Config { key, was, now });
        }
        if self.data != was.data {
            return Some(Change::Data);
        }
        let changed = self.needs.iter().find(|(id, hash)| was.needs.get(*id) != Some(*hash));
        changed.map(|(id, _)| Change::Needs(id.clone()))
    }
}

/// The key of the config by which the work of a run differs, with its values then and now.
fn work_change(was: &Work, now: &Work) -> Option<(String, String, String)> {
    let fixed = |work: &Work| match work {
        Work::Joint { tasks, coupling: CouplingChoice::Fixed(weights) } => {
            Some((tasks.clone(), weights.clone()))
        }
        _ => None,
    };
    if let (Some((tasks, was)), Some((same, now))) = (fixed(was), fixed(now))
        && tasks == same
    {
        let mut changed = tasks.iter().zip(was.iter().zip(&now)).filter(|(_, (was, now))| was != now);
        return changed
            .next()
            .map(|(task, (was, now))| (format!("lambda.{task}"), format!("{was:?}"), format!("{now:?}")));
    }
    if let (Some(was), Some(now)) = (candidates(was), candidates(now))
        && let Some((was, now)) =
            was.iter().zip(now).find(|(was, now)| was.name == now.name && was.runs != now.runs)
    {
        let searched = [&was.runs, &now.runs].into_iter().all(|runs| runs.len() > 2);
        let is_task = tasks::by_name(&was.name).is_some();
        let key = if is_task && !searched {
            format!("lambda.{}", was.name)
        } else {
            "method.lambda_candidates".into()
        };
        let by = |of: &Candidates| format!("one that makes the runs {}", of.runs.join(", "));
        return Some((key, by(was), by(now)));
    }
    if let (Work::Target { start: was }, Work::Target { start: now }) = (was, now) {
        // How many members the seed ensemble has to a place goes by the λ that are searched.
        let by = |start: &TargetStart| match start.run() {
            Some(run) => format!("one by which this run starts from {run}"),
            None => "one by which this run starts from scratch".to_owned(),
        };
        return (was != now).then(|| ("[lambda] or method.lambda_candidates".to_owned(), by(was), by(now)));
    }
    (was != now).then(|| ("method.tasks".to_owned(), names(was), names(now)))
}

fn candidates(work: &Work) -> Option<&[Candidates]> {
    match work {
        Work::Distil { teachers } | Work::Ensemble { teachers } => Some(teachers),
        _ => None,
    }
}

/// The tasks of a run, or its teachers, which are named after them.
fn names(work: &Work) -> String {
    let names: Vec<&str> = match work {
        Work::Target { .. } => vec![],
        Work::Joint { tasks, .. } | Work::Pretrain { tasks } => tasks.iter().map(String::as_str).collect(),
        Work::Distil { teachers } | Work::Ensemble { teachers } => {
            teachers.iter().map(|teacher| teacher.name.as_str()).collect()
        }
    };
    format!("{names:?}")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Config;
    use crate::method::run::TargetStart;

    pub fn spec(id: &str, needs: &[&str]) -> RunSpec {
        let needs = needs.iter().map(|id| (*id).to_owned()).collect();
        let config = Config::default();
        RunSpec {
            id: id.to_owned(),
            seed: 0,
            needs,
            work: Work::Target { start: TargetStart::Scratch },
            config,
        }
    }

    /// The hashes of the same images with and without masks.
    pub fn images(hash: &str) -> Fingerprint {
        Fingerprint { labelled: hash.to_owned(), all: hash.to_owned() }
    }

    fn inputs() -> Inputs {
        Inputs::new(
            &spec("student", &["teacher"]),
            &images("images"),
            "1",
            [("teacher".into(), "7".into())].into(),
        )
    }

    #[track_caller]
    fn changed(change: fn(&mut Inputs), expected: Change) {
        let mut now = inputs();
        change(&mut now);
        assert_ne!(now.hash().unwrap(), inputs().hash().unwrap());
        assert_eq!(now.change_since(&inputs()), Some(expected));
    }

    #[test]
    fn each_part_changes_the_hash_and_is_told() {
        assert_eq!(inputs().change_since(&inputs()), None);
        assert_eq!(inputs().hash().unwrap(), inputs().hash().unwrap());
        let (key, was, now) = ("train.batch_size".into(), "8".into(), "3".into());
        changed(|i| i.spec.config.train.batch_size = 3, Change::Config { key, was, now });
        changed(|i| i.data.push('2'), Change::Data);
        changed(|i| i.code.push('2'), Change::Code { was: "1".into() });
        changed(|i| i.code.push_str("+tuning.2"), Change::Tuning);
        changed(
            |i| i.needs.insert("teacher".into(), "8".into()).map_or((), drop),
            Change::Needs("teacher".into()),
        );
    }

    #[test]
    fn a_table_is_part_of_what_a_run_is_made_of() {
        let of = |tuning| Inputs { code: code(tuning), ..inputs() };
        assert_eq!(of(Some("a")).change_since(&of(Some("b"))), Some(Change::Tuning));
        assert_eq!(of(None).change_since(&of(Some("b"))), Some(Change::Tuning));
        assert_eq!(of(Some("a")).change_since(&of(Some("a"))), None);
        let older = Inputs { code: format!("0+{TABLE}a"), ..inputs() };
        assert_eq!(of(Some("a")).change_since(&older), Some(Change::Code { was: older.code.clone() }));
    }

    #[test]
    fn what_the_graph_made_of_a_key_is_told_as_the_key() {
        let joint = |lambda| Work::Joint {
            tasks: vec!["edges".into()],
            coupling: CouplingChoice::Fixed(vec![lambda]),
        };
        let (mut was, mut now) = (inputs(), inputs());
        (was.spec.work, now.spec.work) = (joint(0.1), joint(0.3));
        let (key, a, b) = ("lambda.edges".into(), "0.1".into(), "0.3".into());
        assert_eq!(now.change_since(&was), Some(Change::Config { key, was: a, now: b }));

        let teachers = |names: &[&str]| Work::Ensemble {
            teachers: names.iter().map(|n| Candidates { name: (*n).into(), runs: vec![] }).collect(),
        };

        let searched = |runs: &[&str]| Work::Ensemble {
            teachers: vec![Candidates {
                name: "edges".into(),
                runs: runs.iter().map(|r| (*r).into()).collect(),
            }],
        };
        (was.spec.work, now.spec.work) =
            (searched(&["joint", "finetune"]), searched(&["joint_1", "joint_2", "finetune"]));
        let Some(Change::Config { key, now: runs, .. }) = now.change_since(&was) else { panic!("a change") };
        assert_eq!(
            (key.as_str(), runs.as_str()),
            ("lambda.edges", "one that makes the runs joint_1, joint_2, finetune")
        );
        was.spec.work = searched(&["joint_1", "joint_3", "finetune"]);
        let Some(Change::Config { key, .. }) = now.change_since(&was) else { panic!("a change") };
        assert_eq!(key, "method.lambda_candidates");

        (was.spec.work, now.spec.work) = (teachers(&["edges"]), teachers(&["edges", "jigsaw"]));
        let (key, a, b) = ("method.tasks".into(), "[\"edges\"]".into(), "[\"edges\", \"jigsaw\"]".into());
        assert_eq!(now.change_since(&was), Some(Change::Config { key, was: a, now: b }));
    }

    #[test]
    fn unlabelled_images_are_inputs_of_what_reads_them() {
        let images = Fingerprint { labelled: "labelled".into(), all: "all".into() };
        let data = |work| {
            let mut spec = spec("run", &[]);
            spec.work = work;
            Inputs::new(&spec, &images, "", BTreeMap::new()).data
        };
        assert_eq!(data(Work::Target { start: TargetStart::Scratch }), "labelled");
        assert_eq!(data(Work::Ensemble { teachers: vec![] }), "labelled");
        assert_eq!(data(Work::Pretrain { tasks: vec![] }), "all");
        assert_eq!(data(Work::Distil { teachers: vec![] }), "all");
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let mut spec = spec("student", &[]);
        let hash = |spec: &RunSpec| Inputs::new(spec, &images(""), "", BTreeMap::new()).hash().unwrap();
        let before = hash(&spec);
        spec.config.data.workers += 1;
        assert_eq!(hash(&spec), before);
    }

    #[test]
    fn inputs_read_back_with_the_same_hash() {
        let mut inputs = inputs();
        inputs.spec.config.train.learning_rate = 1.0 / 3.0;
        inputs.spec.config.lambda.insert("edges".into(), crate::config::schema::Lambda::Fixed(1.0));
        let text = serde_json::to_string(&inputs).unwrap();
        let read: Inputs = serde_json::from_str(&text).unwrap();
        assert_eq!(read, inputs);
        assert_eq!(read.hash().unwrap(), inputs.hash().unwrap());
    }
}

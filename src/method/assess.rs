//! What of a graph is done already, as its folder says, and what is to be removed before it goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::MethodError;
use super::inputs::{Change, Inputs, SPEC, short};
use super::material::Fingerprint;
use super::only::is_named;
use super::run::{RESULT, RunResult, RunSpec, best_of};
use crate::report::run_folder::LOCK;
use crate::report::words::{count, listed};

/// Folder that runs are moved to while they are removed, so that none is ever half there.
const REMOVED: &str = ".removed";
/// How the name of a file begins that is being written.
pub(crate) const TEMPORARY: &str = ".wgseg-";

/// A run, and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub spec: RunSpec,
    pub inputs: Inputs,
    /// Of `inputs`.
    pub hash: String,
    /// Places of the runs that it needs in the list of all.
    pub needs: Vec<usize>,
    /// It is among those asked for.
    pub wanted: bool,
    pub state: State,
    /// It is complete, but its weights were removed, and nothing needs them.
    pub weights_gone: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Complete(Box<RunResult>),
    New,
    /// It was begun and goes on where it was.
    Begun,
    /// It is of something else than it would be now.
    Stale(Change),
}

impl Job {
    /// As users are told of it: its folder, which `--only` takes too.
    pub fn label(&self) -> String {
        self.spec.folder()
    }

    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete(_))
    }
}

/// Looks at the folder of each run in `root`. Runs stand after those that they need. Of the first `asked`
/// of them `only` names those wanted, by id for all seeds or by folder for one; all when it is empty.
/// The others are of an earlier command. Each of `finals` are the ids of the runs of which a method takes the best
/// model, which it ends with: where that is wanted and its weights are gone, its run is not complete.
///
/// # Errors
/// A run that is wanted and needs one that is neither wanted nor complete, a folder
/// that is not of a run or cannot be read.
pub fn assess(
    root: &Path,
    runs: &[RunSpec],
    asked: usize,
    data: &Fingerprint,
    code: &str,
    only: &[String],
    finals: &[Vec<String>],
) -> Result<Vec<Job>, MethodError> {
    let mut jobs: Vec<Job> = vec![];
    let mut places: HashMap<(u64, &str), usize> = HashMap::new();
    for spec in runs {
        let mut needs = vec![];
        let mut hashes = BTreeMap::new();
        for id in &spec.needs {
            let Some(&place) = places.get(&(spec.seed, id.as_str())) else {
                return Err(MethodError::Missing { run: spec.folder(), missing: id.clone() });
            };
            needs.push(place);
            hashes.insert(id.clone(), jobs[place].hash.clone());
        }
        let inputs = Inputs::new(spec, data, code, hashes);
        let hash = inputs.hash()?;
        let state = state(&root.join(spec.folder()), &inputs, &hash)?;
        let wanted = jobs.len() < asked && (only.is_empty() || only.iter().any(|name| is_named(name, spec)));
        places.insert((spec.seed, &spec.id), jobs.len());
        jobs.push(Job { spec: spec.clone(), inputs, hash, needs, wanted, state, weights_gone: false });
    }
    let finals = finals_of(&jobs, finals);
    // From the last to the first, as a run that is done anew needs others again.
    for i in (0..jobs.len()).rev() {
        if let State::Complete(result) = &jobs[i].state
            && let Some(weights) = &result.weights
            && let Some(flaw) = weights.flaw(&root.join(jobs[i].spec.folder()))?
        {
            let needed = jobs.iter().any(|job| job.wanted && !job.is_complete() && job.needs.contains(&i));
            let is_final = jobs[i].wanted && finals.contains(&i);
            // Weights on the way may be removed to make room: what came out still stands, but a run that
            // starts from them must have them, and a method is nothing without the model that it ends
            // with. A damaged file is no one's wish.
            if needed || is_final || matches!(flaw, Change::Damaged { .. }) {
                jobs[i].state = State::Stale(flaw);
            } else {
                jobs[i].weights_gone = true;
            }
        }
    }
    for job in jobs.iter().filter(|job| job.wanted && !job.is_complete()) {
        if let Some(need) =
            job.needs.iter().map(|i| &jobs[*i]).find(|need| !need.wanted && !need.is_complete())
        {
            return Err(MethodError::Missing { run: job.label(), missing: need.label() });
        }
    }
    Ok(jobs)
}

/// Places of the runs that are the best, of those complete, of one of `finals` in their seed.
fn finals_of(jobs: &[Job], finals: &[Vec<String>]) -> BTreeSet<usize> {
    let mut best: BTreeMap<(u64, usize), Vec<(usize, f64)>> = BTreeMap::new();
    for (i, job) in jobs.iter().enumerate() {
        let State::Complete(result) = &job.state else { continue };
        let val_dice = result.segmentation.as_ref().map_or(f64::NEG_INFINITY, |scores| scores.val_dice);
        for (method, _) in finals.iter().enumerate().filter(|(_, runs)| runs.contains(&job.spec.id)) {
            best.entry((job.spec.seed, method)).or_default().push((i, val_dice));
        }
    }
    best.into_values().filter_map(|models| Some(best_of(models, |model| model.1)?.0)).collect()
}

/// Of each run after the first `asked`, whether the plan keeps it: what is complete, and all that this
/// needs, complete or not, so that every plan has what its runs need.
pub fn kept(jobs: &[Job], asked: usize) -> Vec<bool> {
    let mut kept: Vec<bool> = jobs.iter().map(Job::is_complete).collect();
    // Runs stand after those that they need.
    for (i, job) in jobs.iter().enumerate().skip(asked).rev() {
        if kept[i] {
            job.needs.iter().for_each(|need| kept[*need] = true);
        }
    }
    kept.split_off(asked)
}

/// How far the run in `folder` is.
fn state(folder: &Path, inputs: &Inputs, hash: &str) -> Result<State, MethodError> {
    let Some(spec) = read(&folder.join(SPEC))? else {
        return match foreign(folder)? {
            None => Ok(State::New),
            Some(_) => Err(MethodError::Foreign { path: folder.into() }),
        };
    };
    let Ok(was) = serde_json::from_slice::<Inputs>(&spec) else {
        // Another version may have had other keys: what it made is not ours to remove.
        return Ok(State::Stale(match serde_json::from_slice::<serde_json::Value>(&spec) {
            Ok(was) => Change::Code { was: was["code"].as_str().unwrap_or("unknown").to_owned() },
            Err(_) => Change::Unreadable,
        }));
    };
    if let Some(change) = inputs.change_since(&was) {
        return Ok(State::Stale(change));
    }
    let Some(result) = read(&folder.join(RESULT))? else { return Ok(State::Begun) };
    match serde_json::from_slice::<RunResult>(&result) {
        Ok(result) if result.inputs == hash => Ok(State::Complete(Box::new(result))),
        _ => Ok(State::Stale(Change::Unreadable)),
    }
}

/// The first thing in `folder` that was not left by a run that was killed before it had begun.
fn foreign(folder: &Path) -> Result<Option<PathBuf>, MethodError> {
    let failed = |source| MethodError::Io { path: folder.into(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name != LOCK && !name.to_string_lossy().starts_with(TEMPORARY) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// The bytes of a file; none when it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, MethodError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(MethodError::Io { path: path.into(), source }),
    }
}

/// Complete runs of another config that this command does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// A key of the config, with its values then and now.
    pub key: String,
    pub was: String,
    pub now: String,
    pub folders: Vec<String>,
}

impl Outside {
    /// Those of `runs` in `root` that are complete; none where none is.
    pub fn of(root: &Path, runs: &[RunSpec], (key, was, now): (String, String, String)) -> Option<Outside> {
        let folders = runs.iter().map(RunSpec::folder);
        let folders: Vec<String> =
            folders.filter(|folder| root.join(folder).join(RESULT).is_file()).collect();
        (!folders.is_empty()).then_some(Outside { key, was, now, folders })
    }
}

/// Refuses to remove what another config, other images or another version of the program made, or to take
/// it out of the report: days of training may be in it. `images` says how those of the folder differ in number.
///
/// # Errors
/// A run is stale for one of these, wanted or not: one table must not mix them; or there is one outside.
pub fn refuse_other(
    root: &Path,
    jobs: &[Job],
    outside: Option<&Outside>,
    images: String,
) -> Result<(), MethodError> {
    let left_out = outside.map_or(&[][..], |outside| &outside.folders);
    let effect = || effect(root, jobs, left_out);
    for job in jobs {
        let State::Stale(change) = &job.state else { continue };
        let root = root.into();
        match change {
            Change::Config { key, was, now } => {
                let (key, was, now) = (key.clone(), was.clone(), now.clone());
                return Err(MethodError::OtherConfig { root, key, was, now, effect: effect() });
            }
            Change::Data => return Err(MethodError::OtherData { root, images, effect: effect() }),
            Change::Code { was } => {
                let (was, now) = (short(was), short(&job.inputs.code));
                return Err(MethodError::OtherCode { root, was, now, effect: effect() });
            }
            Change::Tuning => return Err(MethodError::OtherTuning { root, effect: effect() }),
            Change::Needs(_) | Change::Unreadable | Change::Lost(_) | Change::Damaged { .. } => {}
        }
    }
    if let Some(Outside { key, was, now, .. }) = outside {
        let (root, key, was, now) = (root.into(), key.clone(), was.clone(), now.clone());
        return Err(MethodError::OtherConfig { root, key, was, now, effect: effect() });
    }
    Ok(())
}

/// What `--redo-changed` does to the runs that are there: those of `jobs`, and those of `left_out`.
fn effect(root: &Path, jobs: &[Job], left_out: &[String]) -> String {
    let (mut removed, mut begun, mut stay) = (vec![], 0, left_out.to_vec());
    for job in jobs.iter().filter(|job| matches!(job.state, State::Stale(_))) {
        match (root.join(job.label()).join(RESULT).is_file(), job.wanted) {
            (true, true) => removed.push(job.label()),
            (true, false) => stay.push(job.label()),
            (false, true) => begun += 1,
            (false, false) => {}
        }
    }
    let are = |number: usize| if number == 1 { "is" } else { "are" };
    let mut parts = vec![match removed.len() {
        0 => "no complete run is removed".to_owned(),
        number => format!(
            "{} {} removed and done anew ({})",
            count(number, "complete run"),
            are(number),
            listed(&removed)
        ),
    }];
    if begun > 0 {
        parts.push(format!("{} {} removed", count(begun, "begun run"), are(begun)));
    }
    if !stay.is_empty() {
        let one = stay.len() == 1;
        parts.push(format!(
            "{} {} there, but the report leaves {} out ({})",
            count(stay.len(), "complete run"),
            if one { "stays" } else { "stay" },
            if one { "it" } else { "them" },
            listed(&stay)
        ));
    }
    parts.join("; ")
}

/// Removes the folders of stale runs that are wanted, and what was left half removed or half written.
/// Gives a line for the user about each. Those that are `busy`, being done elsewhere, are left alone.
///
/// # Errors
/// A folder cannot be removed.
pub fn remove_stale(
    root: &Path,
    jobs: &mut [Job],
    busy: &BTreeSet<String>,
) -> Result<Vec<String>, MethodError> {
    let removed = root.join(REMOVED);
    remove(&removed)?;
    let mut lines = vec![];
    for job in jobs.iter_mut().filter(|job| job.wanted && !busy.contains(&job.label())) {
        let folder = root.join(job.spec.folder());
        if let State::Stale(change) = &job.state {
            lines.push(format!("{} is done anew: {}", job.label(), why(change)));
            make(&removed)?;
            // Renamed first: a run that is half removed would look like one that was begun.
            let gone = removed.join("run");
            fs::rename(&folder, &gone).map_err(|source| MethodError::Io { path: folder.clone(), source })?;
            remove(&removed)?;
            job.state = State::New;
        }
        if !job.is_complete() {
            sweep(&folder)?;
        }
    }
    Ok(lines)
}

/// Removes the files below `folder` whose writing was cut off.
///
/// # Errors
/// A file cannot be removed.
pub fn sweep(folder: &Path) -> Result<(), MethodError> {
    let failed = |source| MethodError::Io { path: folder.into(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sweep(&entry.path())?;
        } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn make(folder: &Path) -> Result<(), MethodError> {
    fs::create_dir_all(folder).map_err(|source| MethodError::Io { path: folder.into(), source })
}

fn remove(folder: &Path) -> Result<(), MethodError> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(MethodError::Io { path: folder.into(), source })
        }
        _ => Ok(()),
    }
}

/// In words.
pub fn why(change: &Change) -> String {
    match change {
        Change::Config { key, was, now } => format!("`{key}` was {was} and is {now}"),
        Change::Data => "the images are others".into(),
        Change::Code { was } => format!("it was made by another version of wgseg, {}", short(was)),
        Change::Tuning => "the table that kernels' forms are from is another".into(),
        Change::Needs(id) => format!("`{id}`, which it needs, is another"),
        Change::Unreadable => "what its folder holds cannot be read".into(),
        Change::Lost(name) => format!("its {name} is gone"),
        Change::Damaged { file, found, expected } => {
            format!("its {file} is damaged: it has {found} bytes, expected {expected}")
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::inputs::tests::{images, spec};
    use super::super::run::Segmentation;
    use super::super::weights::Weights;
    use super::*;
    use crate::report::run_folder::write_json;
    use crate::train::metrics::{DiceSummary, Evaluation, IouSummary};
    use crate::train::threshold::Threshold;

    /// A teacher, its student, and one that needs nothing.
    pub fn specs() -> Vec<RunSpec> {
        vec![spec("teacher", &[]), spec("student", &["teacher"]), spec("other", &[])]
    }

    pub fn result(job: &Job) -> RunResult {
        RunResult {
            id: job.spec.id.clone(),
            seed: job.spec.seed,
            inputs: job.hash.clone(),
            segmentation: None,
            tasks: BTreeMap::new(),
            teachers: vec![],
            steps: 0,
            train_seconds: 1.0,
            parameters: 1,
            weights: None,
        }
    }

    /// Leaves what a complete run leaves.
    pub fn complete(root: &Path, job: &Job) {
        let folder = root.join(job.spec.folder());
        fs::create_dir_all(&folder).unwrap();
        write_json(&folder.join(SPEC), &job.inputs).unwrap();
        write_json(&folder.join(RESULT), &result(job)).unwrap();
    }

    #[test]
    fn a_method_ends_with_the_best_of_its_runs() {
        let root = tempfile::tempdir().unwrap();
        let jobs = all(root.path());
        for (job, val_dice) in jobs.iter().zip([0.7, 0.8]) {
            complete(root.path(), job);
            let folder = root.path().join(job.spec.folder());
            fs::write(folder.join("weights"), "weights").unwrap();
            let test = Evaluation {
                dice: DiceSummary { mean: 0.5, positives_only: None },
                iou: IouSummary { mean: 0.5 },
                precision: None,
                recall: None,
                threshold: Threshold::default(),
                min_area: Default::default(),
                images: vec![],
            };
            let left = RunResult {
                segmentation: Some(Segmentation { val_dice, threshold: Threshold::default(), test }),
                weights: Some(Weights::of(&folder, "weights").unwrap()),
                ..result(job)
            };
            write_json(&folder.join(RESULT), &left).unwrap();
            fs::remove_file(folder.join("weights")).unwrap();
        }
        let finals = [vec!["teacher".to_owned(), "student".to_owned(), "other".to_owned()]];
        let jobs = assess(root.path(), &specs(), 3, &images("images"), "1", &[], &finals).unwrap();
        // The student is the best so far, and is trained again, for which its teacher is needed.
        let gone = "its weights is gone";
        assert_eq!(kinds(&jobs), [gone, gone, "new"]);
        let jobs = assess(root.path(), &specs(), 3, &images("images"), "1", &["other".to_owned()], &finals);
        assert_eq!(kinds(&jobs.unwrap()), ["complete", "complete", "new"]);
    }

    fn all(root: &Path) -> Vec<Job> {
        assess(root, &specs(), 3, &images("images"), "1", &[], &[]).unwrap()
    }

    #[test]
    fn what_a_complete_run_needs_is_kept_with_it() {
        let root = tempfile::tempdir().unwrap();
        complete(root.path(), &all(root.path())[1]);
        let jobs = all(root.path());
        assert_eq!(kinds(&jobs), ["new", "complete", "new"]);
        assert_eq!(kept(&jobs, 0), [true, true, false]);
        assert_eq!(kept(&jobs, 1), [true, false]);
        assert_eq!(kept(&jobs, 2), [false]);
    }

    fn kinds(jobs: &[Job]) -> Vec<String> {
        let kind = |job: &Job| match &job.state {
            State::Complete(_) => "complete".to_owned(),
            State::New => "new".to_owned(),
            State::Begun => "begun".to_owned(),
            State::Stale(change) => why(change),
        };
        jobs.iter().map(kind).collect()
    }

    #[test]
    fn the_folder_tells_what_is_complete_and_what_was_begun() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let jobs = all(root);
        assert_eq!(kinds(&jobs), ["new", "new", "new"]);
        complete(root, &jobs[0]);
        complete(root, &jobs[1]);
        fs::remove_file(root.join("seed_0/student").join(RESULT)).unwrap();
        assert_eq!(kinds(&all(root)), ["complete", "begun", "new"]);
    }

    #[test]
    fn a_changed_teacher_makes_its_student_stale_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for job in all(root) {
            complete(root, &job);
        }
        let mut runs = specs();
        runs[0].config.train.learning_rate = 0.5;
        let mut jobs = assess(root, &runs, runs.len(), &images("images"), "1", &[], &[]).unwrap();
        let stale = ["`train.learning_rate` was 0.001 and is 0.5", "`teacher`, which it needs, is another"];
        assert_eq!(kinds(&jobs), [stale[0], stale[1], "complete"]);
        let error = refuse_other(root, &jobs, None, String::new()).unwrap_err();
        assert!(matches!(&error, MethodError::OtherConfig { key, .. } if key == "train.learning_rate"));
        let effect = "--redo-changed, by which 2 complete runs are removed and done anew (seed_0/teacher, seed_0/student)";
        assert!(error.to_string().ends_with(effect), "{error}");
        // With runs that this command does not do, and one of both that is not complete.
        fs::remove_file(root.join("seed_0/student").join(RESULT)).unwrap();
        let change = || ("method.tasks".to_owned(), "a".to_owned(), "b".to_owned());
        assert_eq!(Outside::of(root, &[RunSpec { seed: 1, ..spec("x", &[]) }], change()), None);
        let others = Outside::of(root, &[spec("other", &[])], change()).unwrap();
        let error = refuse_other(root, &jobs, Some(&others), String::new()).unwrap_err();
        let effect = "by which 1 complete run is removed and done anew (seed_0/teacher); 1 begun run is \
                      removed; 1 complete run stays there, but the report leaves it out (seed_0/other)";
        assert!(error.to_string().ends_with(effect), "{error}");
        let error = refuse_other(root, &[], Some(&others), String::new()).unwrap_err().to_string();
        assert!(error.contains("`method.tasks` is a there and b now"), "{error}");
        assert!(error.contains("by which no complete run is removed; 1 complete run stays"), "{error}");

        let lines = remove_stale(root, &mut jobs, &BTreeSet::new()).unwrap();
        assert_eq!(lines[0], format!("seed_0/teacher is done anew: {}", stale[0]));
        assert_eq!(lines.len(), 2);
        assert_eq!(kinds(&jobs), ["new", "new", "complete"]);
        assert!(!root.join("seed_0/teacher").exists() && root.join("seed_0/other").exists());
        assert!(!root.join(REMOVED).exists());
    }

    #[test]
    fn a_run_whose_weights_are_gone_or_cut_short_is_done_again_without_asking() {
        let root = tempfile::tempdir().unwrap();
        let jobs = all(root.path());
        complete(root.path(), &jobs[0]);
        let folder = root.path().join(jobs[0].spec.folder());
        let weights = folder.join("weights");
        fs::write(&weights, "weights").unwrap();
        let left = Some(Weights::of(&folder, "weights").unwrap());
        write_json(&folder.join(RESULT), &RunResult { weights: left, ..result(&jobs[0]) }).unwrap();
        assert_eq!(kinds(&all(root.path()))[0], "complete");
        fs::remove_file(&weights).unwrap();
        let jobs = all(root.path());
        assert_eq!(kinds(&jobs)[0], "its weights is gone");
        refuse_other(root.path(), &jobs, None, String::new()).unwrap();
        // Nothing needs them any more once the student is complete.
        complete(root.path(), &jobs[1]);
        assert_eq!(kinds(&all(root.path()))[..2], ["complete", "complete"]);
        // The model that a method ends with must be there, where it is wanted.
        let ending = |only: &[String]| {
            let finals = [vec!["teacher".to_owned()]];
            assess(root.path(), &specs(), 3, &images("images"), "1", only, &finals).unwrap()
        };
        assert_eq!(kinds(&ending(&[]))[..2], ["its weights is gone", "complete"]);
        let jobs = ending(&["other".to_owned()]);
        assert!(jobs[0].is_complete() && jobs[0].weights_gone && !jobs[1].weights_gone);
        // But a file that is cut short is never taken for what was trained.
        fs::write(&weights, "wei").unwrap();
        let jobs = all(root.path());
        let cut = "its weights is damaged: it has 3 bytes, expected 7";
        assert_eq!(kinds(&jobs)[..2], [cut, "complete"]);
        refuse_other(root.path(), &jobs, None, String::new()).unwrap();
    }

    #[test]
    fn other_images_and_another_version_are_refused() {
        let root = tempfile::tempdir().unwrap();
        for job in all(root.path()) {
            complete(root.path(), &job);
        }
        let jobs = assess(root.path(), &specs(), 3, &images("others"), "1", &[], &[]).unwrap();
        assert!(matches!(
            refuse_other(root.path(), &jobs, None, String::new()),
            Err(MethodError::OtherData { .. })
        ));
        let jobs = assess(root.path(), &specs(), 3, &images("images"), "2", &[], &[]).unwrap();
        assert!(kinds(&jobs).iter().all(|kind| kind == "it was made by another version of wgseg, 1"));
        assert!(matches!(
            refuse_other(root.path(), &jobs, None, String::new()),
            Err(MethodError::OtherCode { .. })
        ));
        // A version whose specs had a key that there is not any more.
        let spec = root.path().join("seed_0/teacher").join(SPEC);
        let text =
            fs::read_to_string(&spec).unwrap().replacen('{', "{\"forgotten\": 1, \"spec_of\": {}, ", 1);
        fs::write(&spec, text.replacen("\"batch_size\"", "\"size_of_batch\"", 1)).unwrap();
        assert!(matches!(
            refuse_other(root.path(), &all(root.path()), None, String::new()),
            Err(MethodError::OtherCode { .. })
        ));
    }

    #[test]
    fn a_result_that_cannot_be_read_is_done_anew() {
        let root = tempfile::tempdir().unwrap();
        complete(root.path(), &all(root.path())[0]);
        for name in [RESULT, SPEC] {
            fs::write(root.path().join("seed_0/teacher").join(name), "{").unwrap();
            assert_eq!(kinds(&all(root.path()))[0], "what its folder holds cannot be read");
        }
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("seed_0/teacher");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(".wgseg-x"), "cut off").unwrap();
        // As `run-one` leaves it before it looks.
        fs::write(folder.join(LOCK), "").unwrap();
        let mut jobs = all(root.path());
        remove_stale(root.path(), &mut jobs, &BTreeSet::new()).unwrap();
        assert!(!folder.join(".wgseg-x").exists());
        fs::write(folder.join("notes.txt"), "keep").unwrap();
        let error = assess(root.path(), &specs(), 3, &images("images"), "1", &[], &[]).unwrap_err();
        assert!(matches!(&error, MethodError::Foreign { path } if *path == folder), "{error}");
    }

    #[test]
    fn a_run_alone_needs_what_it_needs() {
        let root = tempfile::tempdir().unwrap();
        let only = |ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            assess(root.path(), &specs(), 3, &images("images"), "1", &ids, &[])
        };
        let error = only(&["student"]).unwrap_err();
        assert!(
            matches!(&error, MethodError::Missing { missing, .. } if missing == "seed_0/teacher"),
            "{error}"
        );
        only(&["student", "teacher"]).unwrap();
        let of_one_seed = only(&["seed_0/teacher/"]).unwrap();
        assert_eq!(of_one_seed.iter().map(|job| job.wanted).collect::<Vec<_>>(), [true, false, false]);
        complete(root.path(), &all(root.path())[0]);
        let wanted: Vec<bool> = only(&["student"]).unwrap().iter().map(|job| job.wanted).collect();
        assert_eq!(wanted, [false, true, false]);
    }
}

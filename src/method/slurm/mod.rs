//! Runs as jobs of Slurm: one array for each level of the graph, one job for each run.
//!
//! The command that submits them watches, and may be stopped: jobs know all they need by the folder of the
//! whole, and the same command finds them again. In that folder:
//!
//! ```text
//! slurm/id            part of the names of all its jobs, by which they are found in the queue, and the folder
//!                     that they were handed in, as a copy of it has none of them
//! slurm/0001.sh       an array's script, and beside it in 0001.json which runs they are; 0001.log, what Slurm
//!                     itself tells, and what went wrong before a run's own log was open
//! slurm/log/RUN.log   what a run told in all tries, with dots for slashes
//! slurm/cancelled     left by --cancel, that a command which watches submits no more
//! ```

pub mod batch;
pub mod error;
mod queue;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::batch::SlurmOptions;
pub use self::error::SlurmError;
pub use self::watch::{EARLY, LASTING, Watched, execute};
use super::assess::Job;
use crate::data::fingerprint::hex;
use crate::itself;
use crate::report::run_folder::{lock, make_folder, write_json};
use crate::report::words::count;
use crate::report::{ReportError, atomic};

/// Folder of all that is Slurm's in the folder of the whole.
const FOLDER: &str = "slurm";
const ID: &str = "id";
const CANCELLED: &str = "cancelled";

/// Cancelling waits so long until no job is in the queue and no command watches: one that does may just be submitting, may see
/// late on a shared file system that it is to end, and Slurm may be slow to end what runs.
const CANCEL_PATIENCE: Duration = Duration::from_secs(180);
const CANCEL_PAUSE: Duration = Duration::from_secs(1);

/// A run as it was handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Handed {
    run: String,
    /// Hash of its inputs then.
    inputs: String,
}

/// A run that is queued or running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub job: u64,
    pub index: usize,
    pub running: bool,
    /// Why it waits, in Slurm's word.
    reason: String,
    inputs: String,
}

/// What was submitted for a folder.
pub struct Submissions {
    root: PathBuf,
    id: String,
    /// The folder that they were submitted for, where this is another.
    moved_from: Option<PathBuf>,
    /// By the name of the array's job.
    arrays: BTreeMap<String, Vec<Handed>>,
}

impl Submissions {
    /// Those of an earlier command for `root`; none where there were none.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of(root: &Path) -> Result<Option<Submissions>, SlurmError> {
        let folder = root.join(FOLDER);
        let path = folder.join(ID);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SlurmError::Io { path, source }),
        };
        let mut lines = text.lines();
        let id = lines.next().unwrap_or_default().trim().to_owned();
        let names = names(root);
        let was: Vec<&str> = lines.collect();
        let is_here = was.iter().any(|was| names.iter().any(|name| name == was));
        let moved_from = was.first().filter(|_| !is_here).map(PathBuf::from);
        let mut submissions = Submissions { root: root.into(), id, moved_from, arrays: BTreeMap::new() };
        let failed = |source| SlurmError::Io { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            if let Some(stem) = stem
                && path.extension().is_some_and(|ending| ending == "json")
            {
                let bytes = match fs::read(&path) {
                    Ok(bytes) => bytes,
                    // A command that watches has just taken back what Slurm refused.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(source) => return Err(SlurmError::Io { path, source }),
                };
                let handed = serde_json::from_slice(&bytes)
                    .map_err(|error| SlurmError::Io { path: path.clone(), source: error.into() })?;
                submissions.arrays.insert(submissions.name(&stem), handed);
            }
        }
        Ok(Some(submissions))
    }

    /// As [`Submissions::of`]; makes the folders where there are none, and begins anew where those that there are were
    /// submitted for another folder.
    ///
    /// # Errors
    /// A file cannot be read, written or removed.
    pub fn open(root: &Path) -> Result<Submissions, SlurmError> {
        make_folder(&root.join(FOLDER).join("log"))?;
        if let Some(submissions) = Submissions::of(root)? {
            if submissions.moved_from.is_none() {
                return Ok(submissions);
            }
            for name in submissions.arrays.keys() {
                let stem = name.rsplit('-').next().unwrap_or(name);
                remove(root.join(FOLDER).join(format!("{stem}.sh")))?;
                remove(root.join(FOLDER).join(format!("{stem}.json")))?;
            }
        }
        // Not by the path alone: a folder may be removed and made anew while jobs of the old one end.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let seed = format!("{} {} {now}", root.display(), std::process::id());
        let id = hex(Sha256::new_with_prefix(seed)).chars().take(10).collect::<String>();
        let text = format!("{id}\n{}\n", names(root).join("\n"));
        atomic::write(&root.join(FOLDER).join(ID), text.as_bytes())?;
        Ok(Submissions { root: root.into(), id, moved_from: None, arrays: BTreeMap::new() })
    }

    /// Name of the job of the array whose files are called `stem`.
    fn name(&self, stem: &str) -> String {
        format!("wgseg-{}-{stem}", self.id)
    }

    fn logs(&self) -> PathBuf {
        self.root.join(FOLDER).join("log")
    }

    /// The runs that are queued or running now, by folder.
    ///
    /// # Errors
    /// Slurm does not answer.
    pub fn live(&self) -> Result<BTreeMap<String, Live>, SlurmError> {
        if self.arrays.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut live = BTreeMap::new();
        for entry in queue::queued()? {
            if let Some(handed) = self.arrays.get(&entry.name).and_then(|runs| runs.get(entry.index)) {
                let queue::Entry { job, index, running, reason, .. } = entry;
                let inputs = handed.inputs.clone();
                live.insert(handed.run.clone(), Live { job, index, running, reason, inputs });
            }
        }
        Ok(live)
    }

    /// Whether jobs of an earlier command for `root` are queued or running.
    ///
    /// # Errors
    /// As [`Submissions::of`] and [`Submissions::live`].
    pub fn are_live(root: &Path) -> Result<bool, SlurmError> {
        Ok(match Submissions::of(root)? {
            Some(submissions) => !submissions.live()?.is_empty(),
            None => false,
        })
    }

    /// Refuses to change what jobs that are queued or running work on: `jobs` are those that the command
    /// would do now; gives those that go on, which only a command that watches them may do.
    ///
    /// # Errors
    /// A job does another run, or this one from other inputs, or was handed in another folder; Slurm does not answer.
    pub fn adopt(&self, jobs: &[Job], watches: bool) -> Result<BTreeSet<String>, SlurmError> {
        let live = self.live().map_err(|error| match error {
            SlurmError::Absent { .. } => SlurmError::Unknown { root: self.root.clone() },
            other => other,
        })?;
        self.refuse_moved(&live)?;
        let hashes: BTreeMap<String, &String> = jobs.iter().map(|job| (job.label(), &job.hash)).collect();
        match live.iter().find(|(run, live)| !watches || hashes.get(*run) != Some(&&live.inputs)) {
            Some((run, _)) => {
                let (root, jobs) = (self.root.clone(), listed(&live));
                Err(SlurmError::Live { root, jobs, run: run.clone() })
            }
            None => Ok(live.into_keys().collect()),
        }
    }

    /// Refuses a folder whose jobs work in the one that it was copied or moved from.
    fn refuse_moved(&self, live: &BTreeMap<String, Live>) -> Result<(), SlurmError> {
        match &self.moved_from {
            Some(was) if !live.is_empty() => {
                Err(SlurmError::Moved { root: self.root.clone(), was: was.clone(), jobs: listed(live) })
            }
            _ => Ok(()),
        }
    }

    /// Cancels all that is queued or running, and waits until it is gone and no command watches any more, which submits
    /// nothing from here on; gives how many runs that were.
    ///
    /// # Errors
    /// The jobs were handed in another folder; Slurm refuses or does not answer; something is left after minutes.
    pub fn cancel(root: &Path) -> Result<usize, SlurmError> {
        let unknown = || SlurmError::NothingHanded { root: root.into() };
        let before = Submissions::of(root)?.ok_or_else(unknown)?;
        before.refuse_moved(&before.live()?)?;
        atomic::write(&root.join(FOLDER).join(CANCELLED), b"")?;
        let (mut runs, mut asked) = (BTreeSet::new(), BTreeSet::new());
        let start = Instant::now();
        loop {
            // Before the queue is asked: nobody submits any more once the command that watches has ended.
            let watched = match lock(root) {
                Ok(_) => false,
                Err(ReportError::Busy { .. }) => true,
                Err(error) => return Err(error.into()),
            };
            // Read anew, as that command may have submitted another array.
            let live = Submissions::of(root)?.ok_or_else(unknown)?.live()?;
            if live.is_empty() && !watched {
                return Ok(runs.len());
            }
            let jobs: Vec<u64> =
                live.values().map(|live| live.job).filter(|job| asked.insert(*job)).collect();
            if !jobs.is_empty() {
                queue::cancel(&jobs)?;
            }
            runs.extend(live.keys().cloned());
            if start.elapsed() > CANCEL_PATIENCE {
                let left = match live.is_empty() {
                    true => format!("another process still writes {}", root.display()),
                    false => format!("jobs {} are still there", listed(&live)),
                };
                let (cancelled, minutes) = (count(runs.len(), "job"), CANCEL_PATIENCE.as_secs() / 60);
                return Err(SlurmError::NotCancelled { cancelled, minutes, left });
            }
            sleep(CANCEL_PAUSE);
        }
    }

    /// What an earlier command cancelled may be submitted again. Right after the folder was locked: what is cancelled from
    /// then on is.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn forget_cancelled(root: &Path) -> Result<(), SlurmError> {
        remove(root.join(FOLDER).join(CANCELLED))
    }

    /// Whether a command has cancelled all since this one began.
    fn is_cancelled(&self) -> bool {
        self.root.join(FOLDER).join(CANCELLED).exists()
    }

    /// Submits an array of `jobs` that starts after the jobs `after`; gives its number.
    fn submit(&mut self, jobs: &[&Job], after: &[u64], options: &SlurmOptions) -> Result<u64, SlurmError> {
        let number = |name: &String| name.rsplit('-').next()?.parse::<usize>().ok();
        let last = self.arrays.keys().filter_map(number).max().unwrap_or(0);
        let stem = format!("{:04}", last + 1);
        let folder = self.root.join(FOLDER);
        let file = |ending: &str| folder.join(format!("{stem}.{ending}"));
        let text = |path: &Path| match path.to_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(SlurmError::NotUtf8 { path: path.into() }),
        };
        let program = itself::command().map_err(|source| SlurmError::Io { path: folder.clone(), source })?;
        let program: Vec<String> = std::iter::once(program.get_program())
            .chain(program.get_args())
            .map(|word| text(Path::new(word)))
            .collect::<Result<_, _>>()?;
        let handed: Vec<Handed> =
            jobs.iter().map(|job| Handed { run: job.label(), inputs: job.hash.clone() }).collect();
        let runs: Vec<&str> = handed.iter().map(|handed| handed.run.as_str()).collect();
        let script = batch::script(&program, &self.root, &self.logs(), &runs, &options.worker);
        atomic::write(&file("sh"), script.as_bytes())?;
        // Before the job is there, so that none is ever in the queue that nobody knows.
        write_json(&file("json"), &handed)?;
        let name = self.name(&stem);
        self.arrays.insert(name.clone(), handed);
        let options = options.of_array(&name, jobs.len(), after, &text(&file("log"))?);
        let error = match queue::submit(&options, &file("sh")) {
            Ok(job) => return Ok(job),
            Err(error) => error,
        };
        // Slurm may have taken them although its answer was lost or late.
        match queue::queued() {
            Ok(entries) => match entries.iter().find(|entry| entry.name == name) {
                Some(entry) => Ok(entry.job),
                None => {
                    self.arrays.remove(&name);
                    for ending in ["json", "sh"] {
                        // One that stays tells of an array that never was, which harms nobody.
                        let _ = fs::remove_file(file(ending));
                    }
                    Err(error)
                }
            },
            // Nobody knows: should they be in the queue, they are found by their name.
            Err(_) => Err(error),
        }
    }
}

/// Has Slurm look at the options of the jobs to come, before anything is made.
///
/// # Errors
/// The time is too short, there is no Slurm, or it says why it would refuse them.
pub fn check(options: &SlurmOptions) -> Result<(), SlurmError> {
    options.check_time()?;
    queue::check(&options.common())
}

/// Removes a file if it is there.
fn remove(path: PathBuf) -> Result<(), SlurmError> {
    match fs::remove_file(&path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(SlurmError::Io { path, source }),
        _ => Ok(()),
    }
}

/// The folder as it was called, and by its true name: of two machines one may have a link where the other has none.
fn names(root: &Path) -> [String; 2] {
    let paths = [std::path::absolute(root), fs::canonicalize(root)];
    paths.map(|path| path.unwrap_or_else(|_| root.to_owned()).to_string_lossy().into_owned())
}

/// Numbers of jobs as `scancel` takes them.
fn listed(live: &BTreeMap<String, Live>) -> String {
    let jobs: BTreeSet<u64> = live.values().map(|live| live.job).collect();
    jobs.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_id_and_a_copy_gets_another() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("run");
        let first = Submissions::open(&root).unwrap();
        write_json(&root.join("slurm/0001.json"), &Vec::<Handed>::new()).unwrap();
        fs::write(root.join("slurm/0001.sh"), "").unwrap();
        fs::write(root.join("slurm/cancelled"), "").unwrap();
        let again = Submissions::open(&parent.path().join("run/../run")).unwrap();
        assert!(again.moved_from.is_none());
        assert_eq!((&again.id, again.arrays.len()), (&first.id, 1));
        assert!(again.is_cancelled());
        Submissions::forget_cancelled(&root).unwrap();
        Submissions::forget_cancelled(&root).unwrap();
        assert!(!again.is_cancelled());

        let copy = parent.path().join("copy");
        fs::rename(&root, &copy).unwrap();
        let moved = Submissions::of(&copy).unwrap().unwrap();
        assert!(moved.moved_from.as_ref().is_some_and(|was| was.ends_with("run")));
        let (reason, inputs) = (String::new(), String::new());
        let live = Live { job: 7, index: 0, running: true, reason, inputs };
        let error = moved.refuse_moved(&BTreeMap::from([("a".to_owned(), live)])).unwrap_err().to_string();
        assert!(error.contains("was copied or moved") && error.contains("scancel 7"), "{error}");
        moved.refuse_moved(&BTreeMap::new()).unwrap();
        let anew = Submissions::open(&copy).unwrap();
        assert!(anew.id != first.id && anew.arrays.is_empty() && anew.moved_from.is_none());
        assert!(!copy.join("slurm/0001.json").exists() && !copy.join("slurm/0001.sh").exists());
    }
}

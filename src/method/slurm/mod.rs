//! Runs as jobs of Slurm: one array for each level of the graph, one job for each run.
//!
//! The command that submits them watches, and may be stopped: jobs know all they need by the folder of the
//! whole, and the same command finds them again. In that folder:
//!
//! ```text
//! slurm/id            part of the names of all its jobs, by which they are found in the queue
//! slurm/0001.sh       an array's script, and beside it in 0001.json which runs they are; 0001.log, empty
//!                     but for what went wrong before a run's own log was open
//! slurm/log/RUN.log   what a run told in all tries, with dots for slashes
//! ```

pub mod batch;
pub mod error;
mod queue;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::batch::SlurmOptions;
pub use self::error::SlurmError;
pub use self::watch::{LASTING, Watched, execute};
use super::assess::Job;
use super::material::hex;
use crate::report::atomic;
use crate::report::run_folder::{make_folder, write_json};

/// Folder of all that is Slurm's in the folder of the whole.
const FOLDER: &str = "slurm";

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
    inputs: String,
}

/// What was submitted for a folder.
pub struct Submissions {
    root: PathBuf,
    id: String,
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
        let path = folder.join("id");
        let id = match fs::read_to_string(&path) {
            Ok(id) => id.trim().to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SlurmError::Io { path, source }),
        };
        let mut submissions = Submissions { root: root.into(), id, arrays: BTreeMap::new() };
        let failed = |source| SlurmError::Io { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            if let Some(stem) = stem
                && path.extension().is_some_and(|ending| ending == "json")
            {
                let bytes =
                    fs::read(&path).map_err(|source| SlurmError::Io { path: path.clone(), source })?;
                let handed = serde_json::from_slice(&bytes)
                    .map_err(|error| SlurmError::Io { path: path.clone(), source: error.into() })?;
                submissions.arrays.insert(submissions.name(&stem), handed);
            }
        }
        Ok(Some(submissions))
    }

    /// As [`Submissions::of`]; makes the folders where there are none.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn open(root: &Path) -> Result<Submissions, SlurmError> {
        make_folder(&root.join(FOLDER).join("log"))?;
        if let Some(submissions) = Submissions::of(root)? {
            return Ok(submissions);
        }
        // Not by the path alone: a folder may be removed and made anew while jobs of the old one end.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let seed = format!("{} {} {now}", root.display(), std::process::id());
        let id = hex(Sha256::new_with_prefix(seed)).chars().take(10).collect::<String>();
        atomic::write(&root.join(FOLDER).join("id"), id.as_bytes())?;
        Ok(Submissions { root: root.into(), id, arrays: BTreeMap::new() })
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
                let (job, index, running) = (entry.job, entry.index, entry.running);
                live.insert(handed.run.clone(), Live { job, index, running, inputs: handed.inputs.clone() });
            }
        }
        Ok(live)
    }

    /// Refuses to change what jobs that are queued or running work on: `jobs` are those that the command
    /// would do now; gives those that go on, which only a command that watches them may do.
    ///
    /// # Errors
    /// A job does another run, or this one from other inputs; Slurm does not answer.
    pub fn adopt(&self, jobs: &[Job], watches: bool) -> Result<BTreeSet<String>, SlurmError> {
        let live = self.live().map_err(|error| match error {
            SlurmError::Absent { .. } => SlurmError::Unknown { root: self.root.clone() },
            other => other,
        })?;
        let hashes: BTreeMap<String, &String> = jobs.iter().map(|job| (job.label(), &job.hash)).collect();
        match live.iter().find(|(run, live)| !watches || hashes.get(*run) != Some(&&live.inputs)) {
            Some((run, _)) => {
                let (root, jobs) = (self.root.clone(), listed(&live));
                Err(SlurmError::Live { root, jobs, run: run.clone() })
            }
            None => Ok(live.into_keys().collect()),
        }
    }

    /// Cancels all that is queued or running; gives how many runs that were.
    ///
    /// # Errors
    /// Slurm refuses or does not answer.
    pub fn cancel(&self) -> Result<usize, SlurmError> {
        let live = self.live()?;
        let jobs: BTreeSet<u64> = live.values().map(|live| live.job).collect();
        if !jobs.is_empty() {
            queue::cancel(&jobs.into_iter().collect::<Vec<_>>())?;
        }
        Ok(live.len())
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
        let program = std::env::current_exe()
            .map_err(|source| SlurmError::Io { path: folder.clone(), source })
            .and_then(|path| text(&path))?;
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
/// There is no Slurm, or it says why it would refuse them.
pub fn check(options: &SlurmOptions) -> Result<(), SlurmError> {
    queue::check(&options.common())
}

/// Numbers of jobs as `scancel` takes them.
fn listed(live: &BTreeMap<String, Live>) -> String {
    let jobs: BTreeSet<u64> = live.values().map(|live| live.job).collect();
    jobs.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

//! Slurm's own programs, and what they answer.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use super::error::SlurmError;

/// A job of an array that is queued or running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of the array's job.
    pub job: u64,
    /// Its place in the array.
    pub index: usize,
    /// It has a node.
    pub running: bool,
    /// Why it waits, in Slurm's word.
    pub reason: String,
    /// Name of the array's job.
    pub name: String,
}

/// The standard output of one of Slurm's programs.
///
/// # Errors
/// It is not there, or ends otherwise than well: then with its own message.
fn ask(program: &'static str, arguments: &[&str]) -> Result<String, SlurmError> {
    let mut command = Command::new(program);
    // Ctrl-C is for the command that watches, and not for what it asks just then.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    // The user's own filters would hide jobs, another cluster is one that squeue does not ask, and of a job that this command
    // itself is, a new one must not inherit how often it was started.
    let hides = |name: &str| {
        ["SQUEUE_", "SCANCEL_"].iter().any(|start| name.starts_with(start))
            || ["SBATCH_CLUSTERS", "SBATCH_WAIT", "SLURM_RESTART_COUNT"].contains(&name)
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| hides(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    let output = command.args(arguments).output().map_err(|source| match source.kind() {
        ErrorKind::NotFound => SlurmError::Absent { program },
        _ => SlurmError::Start { program, source },
    })?;
    if !output.status.success() {
        let message = match String::from_utf8_lossy(&output.stderr).trim() {
            "" => output.status.to_string(),
            told => told.replace('\n', "; "),
        };
        return Err(SlurmError::Refused { program, message });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Has Slurm look at the options of a job without submitting any.
///
/// # Errors
/// There is no Slurm, it does not answer, or it would refuse such a job: with its message, as of a partition that there
/// is not.
pub fn check(options: &[String]) -> Result<(), SlurmError> {
    let mut arguments: Vec<&str> = options.iter().map(String::as_str).collect();
    arguments.extend(["--test-only", "--wrap=true"]);
    match ask("sbatch", &arguments) {
        // One that does not answer says so of whatever it is asked.
        Err(SlurmError::Refused { message, .. }) if queued().is_err() => {
            Err(SlurmError::NoAnswer { message })
        }
        answer => answer.map(drop),
    }
}

/// Submits a script; gives the number of its job.
///
/// # Errors
/// Slurm refuses it.
pub fn submit(options: &[String], script: &Path) -> Result<u64, SlurmError> {
    let script = script.to_str().ok_or_else(|| SlurmError::NotUtf8 { path: script.into() })?;
    let mut arguments = vec!["--parsable"];
    arguments.extend(options.iter().map(String::as_str));
    arguments.push(script);
    let answer = ask("sbatch", &arguments)?;
    // The number, and on a federation `;cluster`.
    let number = answer.trim().split(';').next().and_then(|number| number.parse().ok());
    number.ok_or(SlurmError::Answer { program: "sbatch", answer, expected: "the number of a job" })
}

/// All array jobs of this user that are queued or running: one call, whatever their number.
///
/// # Errors
/// Slurm does not answer.
pub fn queued() -> Result<Vec<Entry>, SlurmError> {
    let answer = ask("squeue", &["--me", "--all", "--noheader", "--array", "--format=%i|%T|%r|%j"])?;
    Ok(answer.lines().filter_map(entry).collect())
}

/// A line of squeue, such as `12_3|RUNNING|None|name`; none where it is of no array.
fn entry(line: &str) -> Option<Entry> {
    let mut parts = line.trim().splitn(4, '|');
    let (job, index) = parts.next()?.split_once('_')?;
    let state = parts.next()?;
    let running = !["PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"].contains(&state);
    Some(Entry {
        job: job.parse().ok()?,
        index: index.parse().ok()?,
        running,
        reason: parts.next()?.to_owned(),
        name: parts.next()?.to_owned(),
    })
}

/// Whether a job that waits for this reason (squeue's manual) waits until somebody does something.
pub fn waits_for_ever(reason: &str) -> bool {
    const REASONS: [&str; 6] = [
        "BadConstraints",
        "DependencyNeverSatisfied",
        "InvalidAccount",
        "InvalidQOS",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
    ];
    // JobHeldUser, JobHeldAdmin, "job requeued in held state", "launch failed requeued held".
    REASONS.contains(&reason) || reason.to_ascii_lowercase().contains("held")
}

/// Cancels jobs.
///
/// # Errors
/// Slurm refuses.
pub fn cancel(jobs: &[u64]) -> Result<(), SlurmError> {
    let jobs: Vec<String> = jobs.iter().map(u64::to_string).collect();
    ask("scancel", &jobs.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
}

/// The most jobs that an array may have; Slurm's default where it does not say.
pub fn largest_array() -> usize {
    let answer = ask("scontrol", &["show", "config"]).unwrap_or_default();
    let line = answer.lines().find_map(|line| line.trim().strip_prefix("MaxArraySize"));
    let number = line.and_then(|rest| rest.trim_start_matches([' ', '=']).trim().parse().ok());
    // It counts from 0, and the number itself is no index any more.
    number.filter(|number| *number > 0).unwrap_or(1001)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_squeue_are_read() {
        let expected = |running, reason: &str| {
            Some(Entry { job: 12, index: 3, running, reason: reason.into(), name: "wgseg-ab-0001".into() })
        };
        assert_eq!(entry("12_3|RUNNING|None|wgseg-ab-0001"), expected(true, "None"));
        assert_eq!(entry("12_3|COMPLETING|None|wgseg-ab-0001"), expected(true, "None"));
        assert_eq!(entry(" 12_3|PENDING|Priority|wgseg-ab-0001 "), expected(false, "Priority"));
        assert_eq!(entry("12_3|REQUEUED|None|wgseg-ab-0001"), expected(false, "None"));
        assert_eq!(entry("13|RUNNING|None|of no array"), None);
        assert_eq!(entry(""), None);
    }

    #[test]
    fn jobs_that_are_held_wait_for_ever() {
        for reason in
            ["JobHeldUser", "job requeued in held state", "launch failed requeued held", "InvalidQOS"]
        {
            assert!(waits_for_ever(reason), "{reason}");
        }
        for reason in ["None", "Priority", "Resources", "Dependency", "BeginTime", "QOSMaxJobsPerUserLimit"] {
            assert!(!waits_for_ever(reason), "{reason}");
        }
    }
}

//! Why Slurm does not do what it was asked for.

use std::path::PathBuf;

use super::batch::{LEAST_MINUTES, NOTICE_SECONDS};

/// Why Slurm does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    #[error(
        "`{program}` is not to be found, so there is no Slurm on this machine; give the command on a machine that submits \
         jobs, put Slurm's programs on PATH, or take --executor local"
    )]
    Absent { program: &'static str },
    #[error("`{program}` refused: {message}")]
    Refused { program: &'static str, message: String },
    #[error(
        "Slurm does not answer here: {message}; see that SLURM_CONF names its configuration, give the command on a login \
         node of the cluster, or take --executor local"
    )]
    NoAnswer { message: String },
    #[error("cannot start `{program}`: {source}")]
    Start { program: &'static str, source: std::io::Error },
    #[error("`{program}` answered what is not understood: {answer:?}; expected {expected}")]
    Answer { program: &'static str, answer: String, expected: &'static str },
    #[error("--partition, --time, --slurm-args and --cancel are for Slurm; give --executor slurm with them")]
    OtherExecutor,
    #[error("no runs in {} were handed to Slurm: expected {}/slurm there; see that --out names the folder of the command", .root.display(), .root.display())]
    NothingHanded { root: PathBuf },
    #[error(
        "--time {time} is {seconds} s, and a job is asked to save {NOTICE_SECONDS} s before its end: it would get nowhere; \
         give at least {LEAST_MINUTES} (minutes), or 4:00:00 (hours, minutes, seconds)"
    )]
    ShortTime { time: String, seconds: u64 },
    #[error("--slurm-args has a quote that does not end: {text}")]
    Quotes { text: String },
    #[error("--slurm-args has `{option}`, which wgseg sets itself for each array; leave it out")]
    Reserved { option: String },
    #[error(
        "runs in {0} were handed to Slurm, and `squeue` is not to be found here to ask whether any is still to come; give \
         the command where Slurm is, or remove {0}/slurm if none is", .root.display()
    )]
    Unknown { root: PathBuf },
    #[error(
        "jobs {jobs} of Slurm are queued or running for runs in {} that this command would change, such as {run}; let \
         them end, or cancel them: scancel {jobs}", .root.display()
    )]
    Live { root: PathBuf, jobs: String, run: String },
    #[error(
        "{0} was copied or moved: its runs were handed to Slurm as {1}, and jobs {jobs} of them are queued or running \
         there; give --out {1}, or cancel them: scancel {jobs}; where {0} is a copy of its own, remove {0}/slurm",
        .root.display(), .was.display()
    )]
    Moved { root: PathBuf, was: PathBuf, jobs: String },
    #[error("{cancelled} cancelled, but after {minutes} minutes {left}; see squeue, and give --cancel again")]
    NotCancelled { cancelled: String, minutes: u64, left: String },
    #[error(
        "Slurm did not answer for {minutes} minutes ({message}); the jobs go on, and the same command goes on watching"
    )]
    Silent { minutes: u64, message: String },
    #[error("{}: {source}; see that it can be read and written", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the path {} is not UTF-8, so no job can be given it; rename the folder", .path.display())]
    NotUtf8 { path: PathBuf },
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
}

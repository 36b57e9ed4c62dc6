//! A compiler in a process of its own: a library that dies of a kernel takes that kernel down and no other, and
//! RADV reads its chip from the environment once a process.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::dxc::Dxc;
use super::radv::Driver;
use super::{InspectError, Target, dxc, radv};
use crate::itself;
use crate::itself::worker::{self, End, Next, Worker};

/// A compiler that takes longer for one kernel is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// A line that the compiler's process prints: first of the compiler, then of each job.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<T> {
    Compiler(String),
    /// There is no such compiler.
    None(String),
    Built(T),
    Failed(String),
}

/// Compiles all jobs for a target. Returns the compiler's name, and of each job what was built, or why it was not.
pub fn compile<J: Serialize, T: DeserializeOwned + Send + 'static>(
    target: Target,
    environment: impl Fn(&mut Command),
    jobs: &[J],
) -> Result<(String, Vec<Result<T, String>>), InspectError> {
    let mut file = tempfile::NamedTempFile::new().map_err(InspectError::Process)?;
    let text = serde_json::to_vec(jobs).map_err(|e| jobs_error(file.path(), &e))?;
    file.write_all(&text).map_err(InspectError::Process)?;
    let mut name = String::new();
    let mut results = vec![];
    loop {
        let (end, lines) = run_worker(target, &environment, file.path(), results.len())?;
        for line in lines {
            match line {
                Line::Compiler(compiler) => name = compiler,
                Line::None(why) => return Err(InspectError::NoCompiler { target: target.name(), why }),
                Line::Built(built) => results.push(Ok(built)),
                Line::Failed(why) => results.push(Err(why)),
            }
        }
        if name.is_empty() {
            let why = format!("the compiler did not tell its name: {end}");
            return Err(InspectError::NoCompiler { target: target.name(), why });
        }
        if results.len() < jobs.len() {
            results.push(Err(end.to_string()));
        }
        if results.len() >= jobs.len() {
            return Ok((name, results));
        }
    }
}

/// Runs this program again for the jobs from `from` on; how it ended and what it printed.
fn run_worker<T: DeserializeOwned + Send + 'static>(
    target: Target,
    environment: &impl Fn(&mut Command),
    jobs: &Path,
    from: usize,
) -> Result<(End, Vec<Line<T>>), InspectError> {
    let mut command = itself::command().map_err(InspectError::Process)?;
    command.args(["inspect", "--target", target.name(), "--from", &from.to_string(), "--jobs"]).arg(jobs);
    environment(&mut command);
    let mut worker = Worker::start(command).map_err(InspectError::Process)?;
    let mut lines = vec![];
    loop {
        match worker.next(PATIENCE) {
            Next::Line(line) => lines.push(*line),
            Next::End(end) => return Ok((end, lines)),
        }
    }
}

/// What the compiler's process does: compiles the jobs of a file from `from` on and prints a line for each.
pub fn work(target: Target, jobs: &Path, from: usize) -> Result<(), InspectError> {
    worker::end_with_parent();
    match target {
        Target::Amd(chip) => {
            let build = |driver: &Driver, job: &radv::Job| driver.compile(&job.words, job.storage);
            serve(jobs, from, Driver::open(chip.name()), Driver::name, build)
        }
        _ => serve(jobs, from, Dxc::open(), Dxc::name, |dxc: &Dxc, job: &dxc::Job| dxc.compile(job)),
    }
}

fn serve<C, J: DeserializeOwned, T: Serialize, O: Display, E: Display>(
    jobs: &Path,
    from: usize,
    compiler: Result<C, O>,
    name: impl Fn(&C) -> &str,
    compile: impl Fn(&C, &J) -> Result<T, E>,
) -> Result<(), InspectError> {
    let text = std::fs::read(jobs).map_err(|e| jobs_error(jobs, &e))?;
    let jobs: Vec<J> = serde_json::from_slice(&text).map_err(|e| jobs_error(jobs, &e))?;
    let print = |line: &Line<T>| worker::print(line).map_err(InspectError::Process);
    let compiler = match compiler {
        Ok(compiler) => compiler,
        Err(why) => return print(&Line::None(why.to_string())),
    };
    print(&Line::Compiler(name(&compiler).to_owned()))?;
    for job in jobs.iter().skip(from) {
        print(&match compile(&compiler, job) {
            Ok(built) => Line::Built(built),
            Err(why) => Line::Failed(why.to_string()),
        })?;
    }
    Ok(())
}

fn jobs_error(path: &Path, why: &dyn Display) -> InspectError {
    InspectError::Jobs { path: path.to_owned(), message: why.to_string() }
}

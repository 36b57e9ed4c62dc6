//! A process that does a part of the work and prints a line of JSON for all that comes of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How often a silent process is looked after.
const LOOK: Duration = Duration::from_millis(100);
/// How long a process may take to go once it is told to.
const GOING: Duration = Duration::from_secs(5);
/// Of what it wrote to stderr the last so many bytes are told.
const LAST_WORDS: usize = 500;

/// Prints a line for the process that started this one.
///
/// # Errors
/// It cannot be written.
pub fn print(line: &impl Serialize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let text = serde_json::to_string(line)?;
    // A driver may have left a line of its own without an end.
    write!(out, "\n{text}\n").and_then(|()| out.flush())
}

/// How a process ended.
pub enum End {
    Exited(ExitStatus, String),
    /// It said nothing for so long, and was told to go; and whether it went.
    Silent(Duration, bool),
    /// It was not wanted any more.
    Given,
}

impl End {
    pub fn is_success(&self) -> bool {
        matches!(self, End::Exited(status, _) if status.success())
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            End::Exited(status, words) if words.is_empty() => {
                write!(f, "the process ended: {status}")
            }
            End::Exited(status, words) => {
                write!(f, "the process ended: {status}; it said: {words}")
            }
            End::Silent(patience, true) => write!(f, "no answer for {} s", patience.as_secs()),
            End::Silent(patience, false) => {
                write!(f, "no answer for {} s, and its process cannot be stopped", patience.as_secs())
            }
            End::Given => f.write_str("its process was stopped"),
        }
    }
}

/// What comes next of a process.
pub enum Next<L> {
    Line(Box<L>),
    End(End),
}

/// Ends this process when the one that started it is gone, however that ended: a driver that hangs must not hold a device for
/// nobody. Only for processes that [`Worker::start`] started.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let mut nothing = [0];
        while matches!(std::io::stdin().read(&mut nothing), Ok(1..)) {}
        // What a driver does at an orderly end may hang as well.
        std::process::abort();
    });
}

/// A process and what it prints. It is stopped when this is dropped.
pub struct Worker<L> {
    child: Child,
    lines: Receiver<L>,
    words: Receiver<String>,
}

impl<L: DeserializeOwned + Send + 'static> Worker<L> {
    /// Starts the process. What it prints that is no such line is passed over.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(mut command: Command) -> std::io::Result<Worker<L>> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (sender, lines) = mpsc::channel();
        // Both threads end with what they read, which may be held open by what the process left behind: nobody waits for them.
        std::thread::spawn(move || {
            let lines =
                stdout.into_iter().flat_map(|out| BufReader::new(out).split(b'\n').map_while(Result::ok));
            let parsed = lines.filter_map(|line| serde_json::from_slice::<L>(&line).ok());
            for line in parsed {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let (sender, words) = mpsc::channel();
        std::thread::spawn(move || {
            let mut all = vec![];
            if let Some(mut stderr) = stderr {
                let mut part = [0; 4096];
                while let Ok(count @ 1..) = stderr.read(&mut part) {
                    all.extend_from_slice(&part[..count]);
                    all.drain(..all.len().saturating_sub(LAST_WORDS));
                }
            }
            let _ = sender.send(String::from_utf8_lossy(&all).trim().to_owned());
        });
        Ok(Worker { child, lines, words })
    }

    /// The next line, or how the process ended, also where it says nothing for `patience`.
    pub fn next(&mut self, patience: Duration) -> Next<L> {
        let start = Instant::now();
        let mut exited = None;
        loop {
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => return Next::Line(Box::new(line)),
                // What it had printed is read.
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) if exited.is_some() => {
                    let words = self.words.recv_timeout(LOOK).unwrap_or_default();
                    return Next::End(exited.map_or(End::Given, |status| End::Exited(status, words)));
                }
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK),
                Err(RecvTimeoutError::Timeout) => {}
            }
            exited = self.child.try_wait().ok().flatten();
            if exited.is_none() && start.elapsed() > patience {
                return Next::End(End::Silent(patience, self.stop()));
            }
        }
    }
}

impl<L> Worker<L> {
    /// Stops the process; whether it went. One that a driver holds in the kernel does not.
    fn stop(&mut self) -> bool {
        // An error says that it is gone already.
        let _ = self.child.kill();
        let start = Instant::now();
        while start.elapsed() < GOING {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(LOOK / 10);
        }
        false
    }
}

impl<L> Drop for Worker<L> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

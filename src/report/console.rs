//! Lines for the user: results on stdout, everything else on stderr.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// A result could not be written: the disk is full, say.
static RESULT_LOST: AtomicBool = AtomicBool::new(false);

/// Writes a line to stderr. That nobody reads it is no reason to stop.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes a line of results to stdout. A reader that has gone away wants no more; any other
/// failure is remembered for [`result_lost`].
pub fn say(line: &str) {
    let mut out = std::io::stdout();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        RESULT_LOST.store(true, Ordering::Relaxed);
    }
}

/// Whether a result could not be written.
pub fn result_lost() -> bool {
    RESULT_LOST.load(Ordering::Relaxed)
}

//! Ctrl-C, SIGTERM and SIGHUP: a training is stopped between two steps, so that it can go on.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::report::console::tell;

/// Exit code of what was interrupted.
pub const INTERRUPTED: u8 = 130;

/// Made first of all in a command that trains: opening an adapter and reading images takes its time, and a
/// signal that comes then must end the command as any other does.
pub struct Interrupt {
    stop: Arc<AtomicBool>,
    is_training: Arc<AtomicBool>,
    /// What is stopped has no step to end.
    only_watches: Arc<AtomicBool>,
}

impl Interrupt {
    /// From here on a signal ends the program with [`INTERRUPTED`].
    ///
    /// # Errors
    /// The system takes no handler.
    pub fn heed() -> Result<Interrupt, ctrlc::Error> {
        let interrupt =
            Interrupt { stop: Arc::default(), is_training: Arc::default(), only_watches: Arc::default() };
        let (stop, is_training) = (Arc::clone(&interrupt.stop), Arc::clone(&interrupt.is_training));
        let only_watches = Arc::clone(&interrupt.only_watches);
        ctrlc::set_handler(move || {
            if !is_training.load(Ordering::Relaxed) {
                tell("interrupted");
                exit(INTERRUPTED.into());
            }
            if stop.swap(true, Ordering::Relaxed) {
                exit(INTERRUPTED.into());
            }
            if !only_watches.load(Ordering::Relaxed) {
                tell("stopping after this step; once more to stop at once");
            }
        })?;
        Ok(interrupt)
    }

    /// From here on the first signal sets the flag that this gives, and only the second ends the program.
    pub fn training(&self) -> Arc<AtomicBool> {
        self.is_training.store(true, Ordering::Relaxed);
        Arc::clone(&self.stop)
    }

    /// As [`Interrupt::training`], where others train.
    pub fn watching(&self) -> Arc<AtomicBool> {
        self.only_watches.store(true, Ordering::Relaxed);
        self.training()
    }

    /// What follows has nothing to save, so a signal ends the program again.
    pub fn trained(&self) {
        self.is_training.store(false, Ordering::Relaxed);
    }
}

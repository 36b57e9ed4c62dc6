//! Independent pieces of work on a few threads, results in order.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::{DataError, Problem};

/// `work(0), work(1), … work(count − 1)` on `workers` threads (at least 1).
///
/// # Errors
/// The error of the lowest index that fails; a panic counts as one.
pub(super) fn map<T: Send>(
    count: usize,
    workers: usize,
    work: impl Fn(usize) -> Result<T, DataError> + Sync,
) -> Result<Vec<T>, DataError> {
    let next = AtomicUsize::new(0);
    // Indices are handed out in ascending order, so all below a failure are still finished.
    let failed = AtomicUsize::new(usize::MAX);
    let done: Mutex<Vec<(usize, Result<T, DataError>)>> = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count || i > failed.load(Ordering::Relaxed) {
                        break;
                    }
                    let result = guarded(|| work(i));
                    if result.is_err() {
                        failed.fetch_min(i, Ordering::Relaxed);
                    }
                    done.lock().unwrap_or_else(|e| e.into_inner()).push((i, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Runs `work`; a panic becomes an error with its message.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(DataError::bare(Problem::Worker { message: panic_message(&*payload) })))
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| s.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown cause".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order() {
        for workers in [0, 1, 3, 50] {
            assert_eq!(map(20, workers, |i| Ok(i * i)).unwrap(), (0..20).map(|i| i * i).collect::<Vec<_>>());
        }
        assert!(map(0, 2, Ok).unwrap().is_empty());
    }

    #[test]
    fn the_first_failure_by_order_is_returned() {
        let work = |i: usize| match i {
            7 | 30 => Err(DataError::setting("n", i, "another")),
            i => Ok(i),
        };
        for workers in [1, 4] {
            assert_eq!(map(40, workers, work).unwrap_err(), DataError::setting("n", 7, "another"));
        }
    }

    #[test]
    fn a_panic_is_an_error() {
        let error = map(4, 2, |i| if i == 2 { panic!("boom {i}") } else { Ok(i) }).unwrap_err();
        assert_eq!(error.problem, Problem::Worker { message: "boom 2".into() });
    }
}

//! Batches made ready on worker threads, ahead of the training loop.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::augment::{Key, augment};
use super::cache::{Batch, Cache};
use super::error::{DataError, Problem};
use super::parallel::guarded;
use super::sampler::Sampler;
use crate::config::schema::AugmentConfig;

/// Batches that each worker may have ready before it waits.
const AHEAD: usize = 2;

/// Makes what a step needs.
pub type Make<T> = dyn Fn(u64) -> Result<T, DataError> + Send + Sync;

/// Endless batches in the order of their steps.
///
/// What a batch holds depends on its step alone, not on the number of
/// workers. Dropping the loader stops its workers and waits for them.
pub struct Loader<T> {
    queues: Vec<Receiver<Result<T, DataError>>>,
    workers: Vec<JoinHandle<()>>,
    /// The queue that has the next step.
    turn: usize,
    failed: bool,
}

impl<T: Send + 'static> Loader<T> {
    /// Starts `workers` threads (at least 1) that make what the steps from `first_step` on need.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(make: Arc<Make<T>>, first_step: u64, workers: usize) -> Result<Self, DataError> {
        let count = workers.max(1);
        let mut loader = Loader { queues: Vec::new(), workers: Vec::new(), turn: 0, failed: false };
        for worker in 0..count {
            let (sender, queue) = sync_channel(AHEAD);
            let make = Arc::clone(&make);
            // Worker w makes every count-th step from its own first one, so the consumer only has to
            // ask the queues in turn.
            let first = first_step.wrapping_add(worker as u64);
            let thread = std::thread::Builder::new()
                .name(format!("loader-{worker}"))
                .spawn(move || fill(&*make, first, count, &sender))
                .map_err(|e| DataError::bare(Problem::Worker { message: e.to_string() }))?;
            loader.queues.push(queue);
            loader.workers.push(thread);
        }
        Ok(loader)
    }

    /// What the next step needs; waits until it is ready.
    ///
    /// # Errors
    /// A worker failed or panicked. Every later call fails too.
    pub fn next_batch(&mut self) -> Result<T, DataError> {
        let stopped = || Err(DataError::bare(Problem::Worker { message: "it ended early".into() }));
        if self.failed {
            return stopped();
        }
        let result = match self.queues[self.turn].recv() {
            Ok(result) => result,
            Err(_) => stopped(),
        };
        self.turn = (self.turn + 1) % self.queues.len();
        self.failed = result.is_err();
        result
    }
}

impl<T> Drop for Loader<T> {
    fn drop(&mut self) {
        // A worker that waits to send fails at once when its queue is gone.
        self.queues.clear();
        for worker in self.workers.drain(..) {
            // Panics were turned into errors within the thread.
            let _ = worker.join();
        }
    }
}

/// Makes batches until the consumer is gone or one fails.
fn fill<T>(make: &Make<T>, first: u64, stride: usize, sender: &SyncSender<Result<T, DataError>>) {
    let mut step = first;
    loop {
        let result = guarded(|| make(step));
        let failed = result.is_err();
        if sender.send(result).is_err() || failed {
            return;
        }
        step = step.wrapping_add(stride as u64);
    }
}

/// The augmented batch of a step, of the images of `cache` that `sampler` chooses.
pub fn labelled_batch(
    cache: &Cache,
    sampler: &Sampler,
    augmentation: &AugmentConfig,
    seed: u64,
    step: u64,
) -> Batch {
    let mut batch = cache.batch(step, &sampler.batch(step));
    let (size, channels) = (cache.size(), cache.channels());
    let images = batch.images.chunks_exact_mut(size * size * channels);
    let masks = batch.masks.chunks_exact_mut(size * size);
    for (place, (image, mask)) in images.zip(masks).enumerate() {
        augment(image, &mut [mask], size, channels, augmentation, Key { seed, step, place });
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::DataConfig;
    use crate::data::dataset::Dataset;
    use crate::data::testing::folder;

    fn loader(workers: usize, first_step: u64) -> Loader<Batch> {
        let dir = folder(9);
        let config = DataConfig { size: 8, ..Default::default() };
        let data = Dataset::open(dir.path(), &config).unwrap();
        let cache = Cache::of_items(data.items(), 1, &config).unwrap();
        let sampler = Sampler::new(&cache.positives(), 4, Some(0.5), 3).unwrap();
        let augmentation = AugmentConfig::default();
        let make = move |step| Ok(labelled_batch(&cache, &sampler, &augmentation, 3, step));
        Loader::start(Arc::new(make), first_step, workers).unwrap()
    }

    fn take(mut loader: Loader<Batch>, n: usize) -> Vec<Batch> {
        (0..n).map(|_| loader.next_batch().unwrap()).collect()
    }

    #[test]
    fn bytes_do_not_depend_on_the_number_of_workers() {
        let one = take(loader(1, 0), 12);
        assert_eq!(one.iter().map(|b| b.step).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
        for workers in [0, 2, 3, 7] {
            assert_eq!(take(loader(workers, 0), 12), one);
        }
    }

    #[test]
    fn a_resumed_loader_goes_on_with_the_same_batches() {
        assert_eq!(take(loader(3, 0), 10)[6..], take(loader(2, 6), 4));
    }

    #[test]
    fn a_drop_in_the_middle_stops_the_workers() {
        let mut loader = loader(3, 0);
        loader.next_batch().unwrap();
        let threads = loader.workers.len();
        drop(loader);
        assert_eq!(threads, 3);
    }

    fn empty(step: u64) -> Batch {
        Batch { step, images: vec![], masks: vec![], indices: vec![] }
    }

    #[test]
    fn an_error_reaches_the_consumer_in_order() {
        let wrong = |step| match step {
            5 => Err(DataError::setting("step", step, "another")),
            _ => Ok(empty(step)),
        };
        let mut loader = Loader::start(Arc::new(wrong), 0, 3).unwrap();
        for step in 0..5 {
            assert_eq!(loader.next_batch().unwrap().step, step);
        }
        assert_eq!(loader.next_batch().unwrap_err(), DataError::setting("step", 5, "another"));
        assert!(loader.next_batch().is_err());
    }

    #[test]
    fn a_panic_reaches_the_consumer_as_an_error() {
        let bad = |step| if step == 1 { panic!("bad step") } else { Ok(empty(step)) };
        let mut loader = Loader::start(Arc::new(bad), 0, 2).unwrap();
        assert!(loader.next_batch().is_ok());
        let problem = loader.next_batch().unwrap_err().problem;
        assert_eq!(problem, Problem::Worker { message: "bad step".into() });
    }
}

//! The filter: a chunk in, the chunk with the fields out.
//!
//! A chunk is handled on the thread that brings it when that has a stack of its own. Fluent Bit calls filters also from coroutines, whose stacks
//! have 24 to 64 KiB and no guard page; such a chunk is handed to the filter's own thread and waited for. That thread also lets time pass.
//! It starts with the first chunk: Fluent Bit may fork after it made its filters.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use oddline::engine::Environment;
use oddline::plugin::{Component, ComponentError, guard};

use crate::chunk::Scorer;
use crate::config::{self, Property, Refused, Settings};
use crate::metrics_file::MetricsFile;
use crate::trouble::{Level, Message, Watch, farewell};

/// What messages and errors call it.
pub(crate) const ORIGIN: &str = "filter oddline";

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotMade {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Component(#[from] ComponentError),
}

/// An instance of the filter.
pub(crate) struct Filter {
    shared: Arc<Shared>,
    worker: OnceLock<Option<Worker>>,
    interval: Duration,
}

struct Shared {
    /// Nothing once it is closed.
    work: Mutex<Option<Work>>,
    watch: Mutex<Watch>,
    messages: Mutex<Vec<Message>>,
}

struct Work {
    scorer: Scorer,
    /// Kept from chunk to chunk.
    out: Vec<u8>,
}

/// A chunk for the filter's own thread, and where the answer goes.
struct Job {
    chunk: Vec<u8>,
    answer: SyncSender<Option<Vec<u8>>>,
}

struct Worker {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic left behind is as good as before: the component takes a new lane after one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Filter {
    /// Checks the properties. Touches no file.
    pub(crate) fn new(properties: &[Property]) -> Result<Self, NotMade> {
        let Settings { config, metrics_file } = config::read(properties, ORIGIN)?;
        let component = Component::new(config, Environment::system())?;
        let interval = component.config().tick_interval();
        let work = Work { scorer: Scorer::new(component), out: Vec::new() };
        let watch = Mutex::new(Watch::new(metrics_file.map(MetricsFile::new)));
        let shared = Shared { work: Mutex::new(Some(work)), watch, messages: Mutex::default() };
        Ok(Self { shared: Arc::new(shared), worker: OnceLock::new(), interval })
    }

    /// Calls `take` with the chunk's new bytes; without them the chunk stays as it is. `on_coroutine` says on what stack this is called.
    pub(crate) fn filter<T>(&self, chunk: &[u8], on_coroutine: bool, take: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let worker = self.worker.get_or_init(|| Worker::start(&self.shared, self.interval));
        if on_coroutine {
            return worker.as_ref()?.hand_over(chunk).as_deref().map(take);
        }
        let mut work = locked(&self.shared.work);
        let work = work.as_mut()?;
        work.enrich(chunk).then(|| take(&work.out))
    }

    /// What is to be told since the last time.
    pub(crate) fn messages(&self) -> Vec<Message> {
        std::mem::take(&mut *locked(&self.shared.messages))
    }

    /// Saves what was learned and returns the last words.
    pub(crate) fn close(self) -> Vec<Message> {
        if let Some(Worker { jobs, thread }) = self.worker.into_inner().flatten() {
            drop(jobs);
            // A panic of the thread was told by the thread.
            let _ = thread.join();
        }
        let mut messages = std::mem::take(&mut *locked(&self.shared.messages));
        let Some(work) = locked(&self.shared.work).take() else { return messages };
        let mut component = work.scorer.into_component();
        let stats = component.stats();
        messages.extend(locked(&self.shared.watch).look(&stats));
        messages.push(farewell(&stats.counts));
        if let Err(error) = component.shutdown() {
            messages.push((Level::Error, format!("what was learned is not saved: {error}")));
        }
        messages
    }
}

impl Work {
    fn enrich(&mut self, chunk: &[u8]) -> bool {
        let Self { scorer, out } = self;
        guard(|| scorer.enrich(chunk, out)).unwrap_or(false)
    }
}

impl Worker {
    /// Nothing when the system gives no thread: chunks from coroutines then stay as they are.
    fn start(shared: &Arc<Shared>, interval: Duration) -> Option<Self> {
        let (jobs, received) = sync_channel(1);
        let of_thread = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("oddline-filter".to_owned());
        match thread.spawn(move || run(&of_thread, &received, interval)) {
            Ok(thread) => Some(Self { jobs, thread }),
            Err(error) => {
                locked(&shared.messages).push((Level::Error, format!("expected a thread: {error}")));
                None
            }
        }
    }

    fn hand_over(&self, chunk: &[u8]) -> Option<Vec<u8>> {
        let (answer, answered) = sync_channel(1);
        self.jobs.send(Job { chunk: chunk.to_vec(), answer }).ok()?;
        answered.recv().ok()?
    }
}

fn run(shared: &Shared, jobs: &Receiver<Job>, interval: Duration) {
    let mut next = std::time::Instant::now() + interval;
    loop {
        match jobs.recv_timeout(next.saturating_duration_since(std::time::Instant::now())) {
            Ok(Job { chunk, answer }) => {
                let enriched = locked(&shared.work).as_mut().and_then(|work| {
                    let changed = work.enrich(&chunk);
                    changed.then(|| std::mem::take(&mut work.out))
                });
                // Nobody waits any more when the host gave up the instance.
                let _ = answer.send(enriched);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if std::time::Instant::now() >= next {
            next = std::time::Instant::now() + interval;
            // A panic here is counted by the component, or harms nobody else.
            let _ = guard(|| tick(shared));
        }
    }
}

fn tick(shared: &Shared) {
    let mut watch = locked(&shared.watch);
    // Looked at with the chunks' lock released: a file may be written.
    let stats = {
        let mut work = locked(&shared.work);
        let Some(work) = work.as_mut() else { return };
        work.scorer.tick();
        watch.is_due().then(|| work.scorer.component().stats())
    };
    if let Some(stats) = stats {
        let told = watch.look(&stats);
        locked(&shared.messages).extend(told);
    }
}

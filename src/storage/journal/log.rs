//! Gathering incidents, and the thread that writes them. Order and guarantees: see the [module](super).

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::expire::expire;
use super::format::{Format, encode};
use super::incident::Incident;
use super::key::{Partition, object_key};
use super::spool::Spool;
use super::store::ObjectStore;
use crate::storage::error::StorageError;
use crate::storage::fs::FileSystem;

/// Incidents that can wait.
const MOST_QUEUED: usize = 10_000;

/// Bytes of their texts that can wait.
const MOST_QUEUED_BYTES: usize = 16 << 20;

/// Pauses between two attempts at a store that failed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How a journal is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// The host whose journal it is.
    pub host: String,
    /// What objects are.
    pub format: Format,
    /// So many incidents are written at once.
    pub batch_incidents: usize,
    /// The longest an incident waits for others.
    pub interval: Duration,
    /// Where objects wait for a store that cannot be reached.
    pub spool_dir: PathBuf,
    /// Bytes that may wait there.
    pub spool_bytes: u64,
    /// Bytes the store may hold; beyond that the oldest hours go. None: the store is somebody else's business.
    pub most_bytes: Option<u64>,
}

/// Figures about a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Incidents in memory that are not written.
    pub queued: u64,
    /// Incidents the queue had no room for.
    pub dropped_total: u64,
    /// Objects the store took.
    pub stored_total: u64,
    /// Objects that went to the spool.
    pub spooled_total: u64,
    /// What the store said the last time, when it failed and has not worked since.
    pub failure: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Incident>>,
    /// Taken from the queue and not yet written: they are still to be read.
    writing: Vec<Arc<Incident>>,
    /// Of both.
    bytes: usize,
    /// When the first of the queue came.
    since: Option<Instant>,
    flushes_wanted: u64,
    flushes_done: u64,
    is_closing: bool,
    is_closed: bool,
    status: Status,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    /// A panic elsewhere leaves the state consistent: nothing is done under the lock but moving.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to a journal. Dropped, it writes what it holds.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    batch_incidents: usize,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Starts the thread that writes to `store`, and to the spool on `fs`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(store: Arc<dyn ObjectStore>, fs: Arc<dyn FileSystem>, options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let batch_incidents = options.batch_incidents.max(1);
        let worker = Worker {
            shared: Arc::clone(&shared),
            spool: Spool::new(fs, options.spool_dir.clone(), options.spool_bytes),
            store,
            has_spooled: true,
            paused: None,
            stored_bytes: None,
            options,
        };
        let thread = std::thread::Builder::new().name("oddline-journal".into()).spawn(move || worker.run())?;
        Ok(Self { shared, batch_incidents, thread: Some(thread) })
    }

    /// Takes an incident, without waiting for anything that writes; false when there is no room, which is counted.
    pub fn push(&self, incident: Incident) -> bool {
        let mut state = self.shared.state();
        let bytes = text_bytes(&incident);
        if state.queue.len() + state.writing.len() >= MOST_QUEUED || state.bytes + bytes > MOST_QUEUED_BYTES {
            state.status.dropped_total += 1;
            metrics::counter!("oddline_journal_dropped_total").increment(1);
            return false;
        }
        state.bytes += bytes;
        state.since.get_or_insert_with(Instant::now);
        state.queue.push_back(Arc::new(incident));
        // The first starts the interval, the last of a batch ends it.
        if state.queue.len() == 1 || state.queue.len() == self.batch_incidents {
            self.shared.changed.notify_all();
        }
        true
    }

    /// What is in memory and not yet stored or spooled, in the order it came.
    pub fn pending(&self) -> Vec<Arc<Incident>> {
        let state = self.shared.state();
        state.writing.iter().chain(&state.queue).cloned().collect()
    }

    /// Incidents the queue had no room for.
    pub fn dropped(&self) -> u64 {
        self.shared.state().status.dropped_total
    }

    /// Figures.
    pub fn status(&self) -> Status {
        let state = self.shared.state();
        Status { queued: (state.queue.len() + state.writing.len()) as u64, ..state.status.clone() }
    }

    /// Waits until what came before was handed to the store or the spool, or both refused it.
    pub fn flush(&self) {
        let mut state = self.shared.state();
        state.flushes_wanted += 1;
        let wanted = state.flushes_wanted;
        self.shared.changed.notify_all();
        while state.flushes_done < wanted && !state.is_closed {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes what is there and ends the thread; what is pushed later is not written.
    pub fn close(&mut self) {
        self.shared.state().is_closing = true;
        self.shared.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's thread panicked");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// Bytes of an incident's texts.
pub(super) fn text_bytes(incident: &Incident) -> usize {
    let parameters: usize = incident.parameters.iter().map(String::len).sum();
    incident.message.as_ref().map_or(0, String::len) + incident.template.len() + parameters + size_of::<Incident>()
}

/// What there is to do.
struct Work {
    batch: Vec<Arc<Incident>>,
    flushes_wanted: u64,
    is_closing: bool,
}

struct Worker {
    shared: Arc<Shared>,
    store: Arc<dyn ObjectStore>,
    spool: Spool,
    options: Options,
    /// There may be something in the spool.
    has_spooled: bool,
    /// The store failed: when to try again, and how long the pause was.
    paused: Option<(Instant, Duration)>,
    /// Bytes the store holds, once it was looked at.
    stored_bytes: Option<u64>,
}

impl Worker {
    fn run(mut self) {
        self.limit(0);
        self.catch_up();
        loop {
            let work = self.wait();
            self.write(&work.batch);
            self.catch_up();
            let mut state = self.shared.state();
            state.flushes_done = work.flushes_wanted;
            state.is_closed = work.is_closing;
            drop(state);
            self.shared.changed.notify_all();
            if work.is_closing {
                return;
            }
        }
    }

    fn wait(&self) -> Work {
        let mut state = self.shared.state();
        loop {
            let now = Instant::now();
            let is_full = state.queue.len() >= self.options.batch_incidents;
            let due = state.since.map(|since| since + self.options.interval);
            let retry = self.paused.filter(|_| self.has_spooled).map(|(at, _)| at);
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            let is_wanted = state.is_closing || state.flushes_wanted > state.flushes_done;
            if is_wanted || is_full || is_due(due) || is_due(retry) {
                return Self::take(&mut state);
            }
            let next = [due, retry].into_iter().flatten().min();
            let pause = next.map_or(Duration::from_secs(3_600), |at| at.saturating_duration_since(now));
            state = self.shared.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn take(state: &mut State) -> Work {
        let batch: Vec<Arc<Incident>> = state.queue.drain(..).collect();
        state.writing.clone_from(&batch);
        state.since = None;
        Work { batch, flushes_wanted: state.flushes_wanted, is_closing: state.is_closing }
    }

    /// Writes a batch, an object for each hour; what neither the store nor the spool takes goes back to the queue.
    fn write(&mut self, batch: &[Arc<Incident>]) {
        let mut partitions: BTreeMap<Partition, Vec<Arc<Incident>>> = BTreeMap::new();
        for incident in batch {
            let partition = Partition::of(&self.options.host, incident);
            partitions.entry(partition).or_default().push(Arc::clone(incident));
        }
        let mut refused = Vec::new();
        for (partition, mut incidents) in partitions {
            incidents.sort_by(|a, b| (&a.time, &a.event_id).cmp(&(&b.time, &b.event_id)));
            if !self.write_object(&partition, &incidents) {
                refused.extend(incidents);
            }
        }
        let mut state = self.shared.state();
        state.writing.clear();
        if !refused.is_empty() {
            // After an interval they are tried again, with what came since.
            state.since = Some(Instant::now());
            refused.into_iter().rev().for_each(|incident| state.queue.push_front(incident));
        }
        state.bytes = state.queue.iter().map(|incident| text_bytes(incident)).sum();
    }

    /// Whether the object is stored or spooled, or never can be.
    fn write_object(&mut self, partition: &Partition, incidents: &[Arc<Incident>]) -> bool {
        let rows: Vec<Incident> = incidents.iter().map(|incident| Incident::clone(incident)).collect();
        let bytes = match encode(self.options.format, &rows) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "incidents cannot be written");
                self.shared.state().status.dropped_total += rows.len() as u64;
                return true;
            }
        };
        let first = rows.first().map(|row| row.event_id.as_str()).unwrap_or_default();
        let key = object_key(partition, first, &bytes, self.options.format.extension());
        if !self.is_pausing() && self.offer(&key, &bytes) {
            return true;
        }
        self.spool(&key, &bytes)
    }

    fn is_pausing(&self) -> bool {
        self.paused.is_some_and(|(until, _)| until > Instant::now())
    }

    /// Whether the store took the object.
    fn offer(&mut self, key: &str, bytes: &[u8]) -> bool {
        match self.store.put_new(key, bytes) {
            Ok(_) => {
                self.paused = None;
                let mut state = self.shared.state();
                state.status.stored_total += 1;
                state.status.failure = None;
                drop(state);
                self.limit(bytes.len() as u64);
                true
            }
            Err(error) => {
                self.pause(&error);
                false
            }
        }
    }

    fn pause(&mut self, error: &StorageError) {
        let (first, longest) = PAUSES;
        let pause = self.paused.map_or(first, |(_, before)| (before * 2).min(longest));
        self.paused = Some((Instant::now() + pause, pause));
        tracing::warn!(%error, pause_secs = pause.as_secs(), "the journal's store failed");
        self.shared.state().status.failure = Some(error.to_string());
    }

    fn spool(&mut self, key: &str, bytes: &[u8]) -> bool {
        match self.spool.put(key, bytes) {
            Ok(is_kept) => {
                self.has_spooled |= is_kept;
                self.shared.state().status.spooled_total += u64::from(is_kept);
                is_kept
            }
            Err(error) => {
                tracing::warn!(%error, "the journal's spool failed");
                false
            }
        }
    }

    /// Hands the store what waits in the spool, oldest first, as long as it takes it.
    fn catch_up(&mut self) {
        if !self.has_spooled || self.is_pausing() {
            return;
        }
        let keys = match self.spool.keys() {
            Ok(keys) => keys,
            Err(error) => return self.pause(&error),
        };
        for key in keys {
            let bytes = match self.spool.get(&key) {
                Ok(bytes) => bytes,
                Err(error) => return self.pause(&error),
            };
            if !self.offer(&key, &bytes) {
                return;
            }
            if let Err(error) = self.spool.remove(&key) {
                return self.pause(&error);
            }
        }
        self.has_spooled = false;
    }

    /// Keeps the store within its bounds, `added` bytes more being there now.
    fn limit(&mut self, added: u64) {
        let Some(most) = self.options.most_bytes else { return };
        let bytes = match self.stored_bytes {
            Some(bytes) => bytes.saturating_add(added),
            None => u64::MAX,
        };
        self.stored_bytes = Some(bytes);
        if bytes <= most {
            return;
        }
        match expire(&*self.store, most) {
            Ok(left) => self.stored_bytes = Some(left),
            Err(error) => tracing::warn!(%error, "old incidents cannot be removed"),
        }
    }
}

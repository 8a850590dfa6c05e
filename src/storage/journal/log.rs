//! Gathering incidents, and the thread that writes them. Order and guarantees: see the [module](super).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::expire::expire;
use super::format::{Format, encode};
use super::incident::Incident;
use super::key::{Partition, checksum_of_key, host_part, object_key};
use super::pause::Pause;
use super::spool::Spool;
use super::store::{ObjectStore, put_sure};
use crate::storage::error::StorageError;
use crate::storage::fs::FileSystem;

/// Incidents that can wait.
const MOST_QUEUED: usize = 10_000;

/// Bytes of their texts that can wait.
const MOST_QUEUED_BYTES: usize = 16 << 20;

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
    /// Incidents that are lost: the queue had no room for them, or neither store nor spool took them by the end.
    pub dropped_total: u64,
    /// Objects the store took.
    pub stored_total: u64,
    /// Objects that went to the spool.
    pub spooled_total: u64,
    /// What the store said the last time, when it failed and has not worked since.
    pub failure: Option<String>,
    /// What the spool said the last time, when it failed and has not worked since, or the damage that was found in it last.
    pub spool_failure: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Incident>>,
    /// Taken from the queue and not yet written: they are still to be read.
    writing: Vec<Arc<Incident>>,
    /// Of both.
    bytes: usize,
    /// When the first of the queue came, or was refused.
    since: Option<Instant>,
    /// Store and spool refused what is in the queue: however much it is, it waits.
    is_refused: bool,
    flushes_wanted: u64,
    flushes_done: u64,
    is_closing: bool,
    is_closed: bool,
    status: Status,
}

impl State {
    fn drop_incidents(&mut self, count: u64) {
        self.status.dropped_total += count;
        metrics::counter!("oddline_journal_dropped_total").increment(count);
    }

    /// Nothing more is written: what is left is lost.
    fn close(&mut self) {
        self.is_closed = true;
        let lost = self.queue.len() as u64;
        if lost > 0 {
            tracing::error!(incidents = lost, "the journal ends, and neither its store nor its spool took these");
            self.drop_incidents(lost);
            self.queue.clear();
            self.bytes = 0;
        }
    }
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
            store_pause: Pause::default(),
            spool_pause: Pause::default(),
            passed_over: BTreeSet::new(),
            stored_bytes: None,
            options,
        };
        let thread = std::thread::Builder::new().name("oddline-journal".into()).spawn(move || worker.run())?;
        Ok(Self { shared, batch_incidents, thread: Some(thread) })
    }

    /// Takes an incident, without waiting for anything that writes; false when there is no room or the journal is closed, which is counted.
    pub fn push(&self, incident: Incident) -> bool {
        let mut state = self.shared.state();
        let bytes = text_bytes(&incident);
        let has_room =
            state.queue.len() + state.writing.len() < MOST_QUEUED && state.bytes + bytes <= MOST_QUEUED_BYTES;
        if state.is_closed || !has_room {
            state.drop_incidents(1);
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

    /// See [`Status::dropped_total`].
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

    /// Writes what is there and ends the thread; what nobody takes, and what is pushed later, is dropped and counted.
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

/// What became of an object that the store was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offered {
    Stored,
    /// It failed, and pauses.
    Refused,
    /// Other bytes are there under its key: one of the two is damaged.
    Occupied,
}

struct Worker {
    shared: Arc<Shared>,
    store: Arc<dyn ObjectStore>,
    spool: Spool,
    options: Options,
    /// There may be something in the spool that the store would take.
    has_spooled: bool,
    store_pause: Pause,
    spool_pause: Pause,
    /// Keys of what is damaged in the spool: told once.
    passed_over: BTreeSet<String>,
    /// Bytes the store holds, once it was looked at.
    stored_bytes: Option<u64>,
}

impl Worker {
    fn run(mut self) {
        self.sweep();
        self.limit(0);
        self.catch_up();
        loop {
            let work = self.wait();
            self.write(&work.batch);
            self.catch_up();
            let mut state = self.shared.state();
            state.flushes_done = work.flushes_wanted;
            if work.is_closing {
                state.close();
            }
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
            let is_full = state.queue.len() >= self.options.batch_incidents && !state.is_refused;
            let due = state.since.map(|since| since + self.options.interval);
            let retry = self.retry(state.is_refused);
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

    /// When to try again what is refused, and what waits in the spool; none when nothing of it failed.
    fn retry(&self, is_refused: bool) -> Option<Instant> {
        let store = self.store_pause.until();
        // Both are needed to catch up.
        let both = store.max(self.spool_pause.until()).filter(|_| self.has_spooled);
        [both, store.filter(|_| is_refused)].into_iter().flatten().min()
    }

    fn take(state: &mut State) -> Work {
        let batch: Vec<Arc<Incident>> = state.queue.drain(..).collect();
        state.writing.clone_from(&batch);
        state.since = None;
        state.is_refused = false;
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
            // They are tried again, with what came since, after an interval or the store's pause.
            state.since = Some(Instant::now());
            state.is_refused = true;
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
                self.shared.state().drop_incidents(rows.len() as u64);
                return true;
            }
        };
        let first = rows.first().map(|row| row.event_id.as_str()).unwrap_or_default();
        let key = object_key(partition, first, &bytes, self.options.format.extension());
        let is_stored = !self.store_pause.is_on(Instant::now()) && self.offer(&key, &bytes) == Offered::Stored;
        is_stored || self.spool(&key, &bytes)
    }

    fn offer(&mut self, key: &str, bytes: &[u8]) -> Offered {
        let is_stored = match put_sure(&*self.store, key, bytes) {
            Ok(is_stored) => is_stored,
            Err(error) => {
                self.store_failed(&error);
                return Offered::Refused;
            }
        };
        self.store_pause.end();
        let mut state = self.shared.state();
        state.status.stored_total += u64::from(is_stored);
        state.status.failure = None;
        drop(state);
        if !is_stored {
            return Offered::Occupied;
        }
        self.limit(bytes.len() as u64);
        Offered::Stored
    }

    fn store_failed(&mut self, error: &StorageError) {
        let pause = self.store_pause.begin(Instant::now());
        tracing::warn!(%error, pause_secs = pause.as_secs(), "the journal's store failed");
        self.shared.state().status.failure = Some(error.to_string());
    }

    fn spool_failed(&self, error: &StorageError) {
        tracing::warn!(%error, "the journal's spool failed");
        self.shared.state().status.spool_failure = Some(error.to_string());
    }

    /// What is damaged in it stays told.
    fn spool_works(&self) {
        if self.passed_over.is_empty() {
            self.shared.state().status.spool_failure = None;
        }
    }

    fn spool(&mut self, key: &str, bytes: &[u8]) -> bool {
        match self.spool.put(key, bytes) {
            Ok(is_kept) => {
                self.has_spooled |= is_kept;
                self.shared.state().status.spooled_total += u64::from(is_kept);
                self.spool_works();
                is_kept
            }
            Err(error) => {
                self.spool_failed(&error);
                false
            }
        }
    }

    /// Removes what a process that died left of this host's.
    fn sweep(&mut self) {
        let own = format!("host={}/", host_part(&self.options.host));
        if let Err(error) = self.store.sweep(&own) {
            tracing::warn!(%error, "unfinished files of the journal cannot be looked for");
        }
        if let Err(error) = self.spool.sweep() {
            tracing::warn!(%error, "unfinished files of the journal's spool cannot be looked for");
        }
    }

    /// Hands the store what waits in the spool, oldest first, as long as it takes it. What cannot be read is passed over and tried again later.
    fn catch_up(&mut self) {
        let now = Instant::now();
        if !self.has_spooled || self.store_pause.is_on(now) || self.spool_pause.is_on(now) {
            return;
        }
        match self.spool.keys().and_then(|keys| self.hand_on(keys)) {
            Ok(is_done) => {
                self.has_spooled = !is_done;
                self.spool_pause.end();
                self.spool_works();
            }
            Err(error) => {
                self.spool_failed(&error);
                self.spool_pause.begin(Instant::now());
            }
        }
    }

    /// Whether all that is sound went on; an error is the spool's, of the last object that it could not read or remove.
    fn hand_on(&mut self, keys: Vec<String>) -> Result<bool, StorageError> {
        let mut done = Ok(true);
        for key in keys {
            match self.spool.get(&key) {
                Ok(bytes) if checksum_of_key(&key) != Some(crc32c::crc32c(&bytes)) => {
                    self.pass_over(key, "it is damaged");
                }
                Ok(bytes) => match self.offer(&key, &bytes) {
                    Offered::Refused => return Ok(false),
                    Offered::Occupied => self.pass_over(key, "the store has an object of that name with other bytes"),
                    Offered::Stored => done = self.spool.remove(&key).and(done),
                },
                Err(error) => done = Err(error),
            }
        }
        done
    }

    /// It stays where it is, where it is read as far as it can be.
    fn pass_over(&mut self, key: String, reason: &str) {
        let told = format!("{key} stays in the journal's spool: {reason}");
        if self.passed_over.insert(key) {
            tracing::warn!("{told}");
            self.shared.state().status.spool_failure = Some(told);
        }
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

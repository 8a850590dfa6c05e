//! The history of events: L1 files as segments of the log close, L2 files as hours end, and what goes when time or space runs out.
//!
//! L1 is made of the log and not of the sealed windows in memory: the log has every event, also those a window had no room for, and it is there
//! after a crash.
//!
//! L1 is written by one thread ([`super::sealer`]) as the storage thread closes segments; hours are merged, and expire, in another. No event, commit or
//! flush waits for either. The two share nothing but files, at which they take turns: an hour is merged from what is in its
//! directory, and a file that comes later is merged the next time.
//!
//! **At the cap.** When the log and the history reach `max_disk_bytes` and no hour but the current one is left to go, L1 files keep
//! counts and no events, until there is room again: `history_dropped_events_total` says how many.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::core::Core;
use super::error::EngineError;
use super::lane::{FLAG_ANOMALY, SEGMENT_SECS};
use super::timer::ClockWatch;
use crate::event::Timestamp;
use crate::storage::chunk::{ChunkOptions, ChunkWriter, EventAt, Level, Written};
use crate::storage::hour::Hour;
use crate::storage::wal::{self, RecordAt, SegmentSequence, WalEvent};
use crate::storage::{FileSystem, StorageError, chunk_dir, disk_usage, retention};

/// Between two rounds of merging and retention.
const ROUND: Duration = Duration::from_secs(10);

/// After a merge failed, until the next is tried.
const MERGE_AGAIN: Duration = Duration::from_secs(600);

/// The history of one data dir.
#[derive(Debug)]
pub(super) struct Historian {
    core: Arc<Core>,
    dir: PathBuf,
    started: Instant,
    clock_watch: Mutex<ClockWatch>,
    /// Held while files of an hour are written, merged or removed: an hour does not go under a file that is being written.
    files: Mutex<()>,
}

impl Historian {
    pub(super) fn new(core: Arc<Core>, dir: PathBuf) -> Self {
        Self { core, dir, started: Instant::now(), clock_watch: Mutex::default(), files: Mutex::default() }
    }

    fn files(&self) -> MutexGuard<'_, ()> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fs(&self) -> &dyn FileSystem {
        &*self.core.environment.fs
    }

    fn chunks_dir(&self) -> PathBuf {
        self.dir.join("chunks")
    }

    fn options(&self, level: Level, keeps_events: bool) -> ChunkOptions {
        let window_secs = u32::try_from(self.core.config.window_secs).unwrap_or(u32::MAX);
        let created = self.core.environment.clock.now();
        ChunkOptions { level, created, window_secs, marked_flag: FLAG_ANOMALY, keeps_events }
    }

    /// Makes a closed segment an L1 file, durably; one without events leaves none. Its hour is that in which the segment was begun: written
    /// again after a failure or a crash, it replaces itself.
    pub(super) fn seal(&self, lane: u8, sequence: SegmentSequence) -> Result<(), StorageError> {
        let wal_dir = self.dir.join("wal");
        let Some(begun) = wal::segment_begun(self.fs(), &wal_dir, lane, sequence)? else { return Ok(()) };
        let options = self.options(Level::L1, self.has_room());
        let (hour, chunks_dir) = (Hour::of(begun), self.chunks_dir());
        let _files = self.files();
        let mut writer: Option<ChunkWriter> = None;
        let mut take = |first: RecordAt, events: &[WalEvent]| {
            // Begun with the first event: an hour in which none came has no directory.
            let begin = || chunk_dir::create_l1(self.fs(), &chunks_dir, hour, (lane, sequence.0), options);
            let writer = match &mut writer {
                Some(writer) => writer,
                none => none.insert(begin()?),
            };
            let (run, number) = (first.position.run, first.event_number);
            writer.extend(EventAt { lane, run, sequence: sequence.0, number }, events)
        };
        let mut failed = Ok(());
        wal::read_events(self.fs(), &wal_dir, lane, sequence, &mut |first, events| {
            if failed.is_ok() {
                failed = take(first, events);
            }
        })?;
        failed?;
        if let Some(writer) = writer {
            let core = &self.core;
            let text = &mut |id| core.store().by_id(id).map(|template| template.text.to_vec());
            self.note(&writer.finish(text)?);
        }
        Ok(())
    }

    fn note(&self, written: &Written) {
        let gauges = &self.core.gauges;
        gauges.chunks_total.fetch_add(1, Ordering::Relaxed);
        gauges.history_bytes.fetch_add(written.bytes, Ordering::Relaxed);
        if written.dropped_events > 0 {
            gauges.history_dropped_events_total.fetch_add(written.dropped_events, Ordering::Relaxed);
            metrics::counter!("oddline_history_dropped_events_total").increment(written.dropped_events);
            tracing::warn!(
                events = written.dropped_events,
                "the history is at max_disk_bytes: counts are kept, events not"
            );
        }
    }

    /// Whether events can be kept, making room if need be.
    fn has_room(&self) -> bool {
        if self.is_below_cap() {
            return true;
        }
        if let Err(error) = self.expire() {
            self.core.note_failure(&error.to_string());
        }
        self.is_below_cap()
    }

    fn is_below_cap(&self) -> bool {
        let gauges = &self.core.gauges;
        let used = gauges.history_bytes.load(Ordering::Relaxed) + gauges.wal_bytes.load(Ordering::Relaxed);
        used < self.core.config.max_disk_bytes
    }

    /// Removes what is too old, unless the clock cannot be trusted with it, and what is too much.
    fn expire(&self) -> Result<(), StorageError> {
        // One at a time: an hour is removed once.
        let mut watch = self.clock_watch.lock().unwrap_or_else(PoisonError::into_inner);
        let config = &self.core.config;
        let now = self.core.environment.clock.now();
        let newest = chunk_dir::hours(self.fs(), &self.chunks_dir())?.last().map(|hour| hour.start());
        let is_settled = watch.is_settled(now, self.started.elapsed(), newest);
        let most_hours = if is_settled { config.retention_hours } else { u64::MAX };
        let most_bytes = config.max_disk_bytes.saturating_sub(self.core.gauges.wal_bytes.load(Ordering::Relaxed));
        let _files = self.files();
        let expired = retention::expire(self.fs(), &self.chunks_dir(), now, most_hours, most_bytes)?;
        expired.failed.iter().for_each(|failure| self.core.note_failure(failure));
        self.core.gauges.history_bytes.store(expired.kept_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Merges the oldest hour that has ended and whose segments should be L1 by now; false when there is none.
    fn merge_one(&self, passed_over: &mut BTreeSet<Hour>) -> Result<bool, StorageError> {
        let now = self.core.environment.clock.now();
        let settled = Hour::of(Timestamp(now.0.saturating_sub(2 * SEGMENT_SECS * 1_000_000)));
        let hours = chunk_dir::hours(self.fs(), &self.chunks_dir())?;
        for hour in hours.into_iter().filter(|hour| *hour < settled && !passed_over.contains(hour)).collect::<Vec<_>>()
        {
            let options = self.options(Level::L2, true);
            let _files = self.files();
            match chunk_dir::merge_hour(self.fs(), &self.chunks_dir(), hour, options) {
                Ok(None) => {}
                Ok(Some(merged)) => {
                    if let Some(first) = merged.damaged.first() {
                        self.core.note_failure(&format!("a file of the history is not merged: {first}"));
                        passed_over.insert(hour);
                    }
                    self.core.gauges.merges_total.fetch_add(1, Ordering::Relaxed);
                    return Ok(true);
                }
                // Tried again by the next run, or after a repair.
                Err(error @ StorageError::Damaged { .. }) => {
                    self.core.note_failure(&format!("an hour of the history is not merged: {error}"));
                    passed_over.insert(hour);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// The thread that merges and expires.
#[derive(Debug)]
pub(super) struct Upkeep {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Upkeep {
    pub(super) fn start(historian: Arc<Historian>) -> Result<Self, EngineError> {
        let (stop, stopped) = sync_channel(1);
        let work = move || Rounds { historian, passed_over: BTreeSet::new(), merge_at: None }.run(&stopped);
        let thread = std::thread::Builder::new().name("oddline-history".into()).spawn(work);
        Ok(Self { stop, thread: thread.map_err(EngineError::Thread)? })
    }

    /// Ends the thread after the round it is in and a last one without merging.
    pub(super) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the history thread panicked");
        }
    }
}

struct Rounds {
    historian: Arc<Historian>,
    passed_over: BTreeSet<Hour>,
    /// A merge failed: not before this.
    merge_at: Option<Instant>,
}

impl Rounds {
    fn run(mut self, stopped: &Receiver<()>) {
        self.keep_up();
        // An earlier run may have left hours to merge.
        let mut wait = Duration::ZERO;
        loop {
            match stopped.recv_timeout(wait) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                // While there are hours to merge it goes on, one an iteration, so that it ends soon when told to.
                Err(RecvTimeoutError::Timeout) if self.merge() => wait = Duration::ZERO,
                Err(RecvTimeoutError::Timeout) => {
                    self.keep_up();
                    wait = ROUND;
                }
            }
        }
        self.keep_up();
    }

    fn merge(&mut self) -> bool {
        if self.historian.core.is_shut_out() || self.merge_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        self.merge_at = None;
        self.historian.merge_one(&mut self.passed_over).unwrap_or_else(|error| {
            self.historian.core.note_failure(&error.to_string());
            self.merge_at = Some(Instant::now() + MERGE_AGAIN);
            false
        })
    }

    fn keep_up(&self) {
        let historian = &self.historian;
        if historian.core.is_shut_out() {
            return;
        }
        if let Err(error) = historian.expire() {
            historian.core.note_failure(&error.to_string());
        }
        match disk_usage(historian.fs(), &historian.dir) {
            Ok(bytes) => historian.core.gauges.disk_bytes.store(bytes, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "cannot measure the data dir"),
        }
    }
}

//! The storage thread: the one place of an engine that writes.
//!
//! Commands come through a bounded queue, in order of each lane. Order of writes, so that a crash between any two loses nothing promised:
//!
//! 1. a closed segment becomes history (tmp, fsync, rename, fsync of the directory), in a thread of its own ([`super::sealer`]);
//! 2. a checkpoint is written the same way;
//! 3. only then segments go, and only those that are history already and that the checkpoint *before* this one covers.
//!
//! With `durability: interval` dirty logs are synced twice every `flush_interval_ms`, and lanes hand over as often at their ticks; with `always` also
//! when a lane asks; with `none` at a segment's end only.
//!
//! **Interval: what is promised, and what is measured.** A killed process loses what was not appended, a power cut what was not synced. An fsync may
//! take seconds on a busy disk, so it runs in a thread of its own ([`super::syncer`]), one at a time, and this one appends meanwhile: a kill loses
//! an interval as long as this thread gets its turn, whatever the disk does. A power cut loses what came since the last completed sync began. No
//! program can promise when a sync completes; how long ago the oldest that is not synced was handed over is therefore told
//! (`wal_sync_lag_seconds` in stats), and warned of beyond five intervals. It is no failure, and the state is not `degraded`: nothing is lost yet.
//! Before this thread syncs a log itself (on demand, at a segment's end, at the end) it takes in what became of the sync that runs.
//!
//! **Group commit.** Lanes that wait while a sync runs are answered by the next one together, and what all of them appended becomes durable with one
//! fsync of the log in common ([`wal::group`]). A lane that waits alone has its own log synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::core::Core;
use super::error::EngineError;
use super::historian::{Historian, Upkeep};
use super::sealer::{Sealer, Segment};
use super::sections::Sections;
use super::syncer::{Synced, Syncer};
use super::unsynced::Unsynced;
use crate::config::Durability;
use crate::storage::wal::{self, GroupLog, LaneWal, Position, SegmentHeader, SegmentSequence};
use crate::storage::{DataDirLock, FileSystem, LockError, StorageError, checkpoint, chunk_dir, disk_usage};

/// Commands that can wait.
const QUEUE: usize = 256;

/// Between two looks at feedback and at how large the log is.
const UPKEEP: Duration = Duration::from_secs(10);

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Starts a lane's first segment, or one after a failure; the one before, if any, ends before `end`.
    Open { header: SegmentHeader, end: Position },
    /// Appends frames to a lane's open segment; when they were handed over.
    Append(u8, Vec<u8>, Instant),
    /// Leaves the open segment, which ends before `end`, for the one of the header.
    Rotate { next: SegmentHeader, end: Position },
    /// No thread holds the lane any more: its log, which ends before the position, need not work.
    Park(u8, Position),
    /// A thread holds the lane again.
    Take(u8),
    /// Writes a checkpoint.
    Checkpoint(Sections),
    /// Answers once all before it is durable and every closed segment is history.
    Settle(SyncSender<Result<(), String>>),
    /// Answers once all before it is durable.
    Sync(SyncSender<Result<(), String>>),
    /// Ends the thread after what is queued.
    Stop,
}

impl Command {
    /// Whether who waits for a sync is answered before it.
    const fn takes_long(&self) -> bool {
        matches!(self, Self::Rotate { .. } | Self::Open { .. } | Self::Checkpoint(_) | Self::Settle(_) | Self::Stop)
    }

    /// Bytes of log it carries.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append(_, bytes, _) => bytes.len(),
            _ => 0,
        }
    }
}

/// The way to the writer.
#[derive(Debug)]
pub(super) struct Writer {
    sender: SyncSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(core: Arc<Core>, dir: PathBuf, start: Start) -> Result<Self, EngineError> {
        let (sender, receiver) = sync_channel(QUEUE);
        let historian = Arc::new(Historian::new(Arc::clone(&core), dir.clone()));
        let upkeep = start.keeps_up.then(|| Upkeep::start(Arc::clone(&historian))).transpose()?;
        let sealer = Sealer::start(historian)?;
        let syncer = Syncer::start()?;
        let work = move || {
            Worker::new(core, sealer, syncer, dir, start).run(&receiver);
            upkeep.into_iter().for_each(Upkeep::stop);
        };
        let thread = std::thread::Builder::new().name("oddline-storage".into()).spawn(work);
        Ok(Self { sender, thread: Some(thread.map_err(EngineError::Thread)?) })
    }

    /// Whether the thread still runs.
    pub(super) fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Hands a command over without waiting; gives it back when the queue is full or the thread is gone.
    pub(super) fn offer(&self, command: Command) -> Result<(), Command> {
        self.sender.try_send(command).map_err(|error| match error {
            TrySendError::Full(command) | TrySendError::Disconnected(command) => command,
        })
    }

    /// Hands a command over, waiting for room.
    pub(super) fn send(&self, command: Command) {
        if self.sender.send(command).is_err() {
            tracing::error!("the storage thread is gone");
        }
    }

    /// Waits until all before is durable.
    pub(super) fn sync(&self) -> Result<(), String> {
        self.ask(Command::Sync)
    }

    /// The same, and until every closed segment is history.
    pub(super) fn settle(&self) -> Result<(), String> {
        self.ask(Command::Settle)
    }

    fn ask(&self, command: impl FnOnce(SyncSender<Result<(), String>>) -> Command) -> Result<(), String> {
        let (reply, answer) = sync_channel(1);
        self.send(command(reply));
        answer.recv().unwrap_or_else(|_| Err("the storage thread is gone".to_owned()))
    }

    /// Ends the thread after what is queued.
    pub(super) fn stop(&mut self) {
        self.send(Command::Stop);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the storage thread panicked");
        }
    }
}

/// What recovery found, for the writer to go on from.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// Number of the next checkpoint.
    pub(super) next_checkpoint: u64,
    /// What the newest checkpoint covers.
    pub(super) covered: Vec<(u8, Position)>,
    /// Segments of earlier runs.
    pub(super) leftovers: Vec<(u8, SegmentSequence)>,
    /// Whether hours are merged, and expire.
    pub(super) keeps_up: bool,
    /// The data dir's.
    pub(super) lock: Option<Arc<DataDirLock>>,
}

struct Worker {
    core: Arc<Core>,
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    lock: Option<Arc<DataDirLock>>,
    logs: BTreeMap<u8, LaneWal>,
    /// Lanes whose log failed: what comes for them is dropped until they open a new segment.
    failed: BTreeSet<u8>,
    /// Lanes that no thread holds: nothing comes for them.
    parked: BTreeSet<u8>,
    next_checkpoint: u64,
    /// [`Sections::order`] of the newest checkpoint of this run.
    written: u64,
    /// What the newest checkpoint covers.
    covered: BTreeMap<u8, Position>,
    /// What the one before it covers; nothing until this run wrote one.
    covered_before: BTreeMap<u8, Position>,
    /// Closed segments and where they end, by whether they are chunks already.
    unsealed: BTreeMap<(u8, SegmentSequence), Position>,
    sealed: BTreeMap<(u8, SegmentSequence), Position>,
    dirty: bool,
    unsynced: Unsynced,
    syncer: Syncer,
    group: GroupLog,
    /// Of lanes whose log failed, where a checkpoint must reach before what they promised is safe without the log in common.
    owed: BTreeMap<u8, Position>,
    /// Who waits for all before to be durable.
    waiting: Vec<SyncSender<Result<(), String>>>,
    /// Bytes of the logs of lanes without an open segment, as of the last upkeep.
    resting_bytes: u64,
    sealer: Sealer,
    /// Segments that could not be made history the last time.
    unsealable: BTreeSet<Segment>,
    /// A checkpoint was written with every log working, and only history keeps the state degraded.
    is_whole: bool,
    /// The file of what the user said, as it was read last.
    feedback: Option<Vec<u8>>,
    /// The same of notes.
    notes: Option<Vec<u8>>,
}

impl Worker {
    fn new(core: Arc<Core>, sealer: Sealer, syncer: Syncer, dir: PathBuf, start: Start) -> Self {
        // Whatever an earlier run logged ends before this run begins.
        let end = Position { run: core.run, record: 0 };
        Self {
            fs: Arc::clone(&core.environment.fs),
            lock: start.lock,
            logs: BTreeMap::new(),
            failed: BTreeSet::new(),
            parked: BTreeSet::new(),
            next_checkpoint: start.next_checkpoint,
            written: 0,
            covered: start.covered.into_iter().collect(),
            covered_before: BTreeMap::new(),
            unsealed: start.leftovers.into_iter().map(|segment| (segment, end)).collect(),
            sealed: BTreeMap::new(),
            dirty: false,
            unsynced: Unsynced::default(),
            syncer,
            owed: BTreeMap::new(),
            group: GroupLog::new(Arc::clone(&core.environment.fs), &dir.join("wal")),
            waiting: Vec::new(),
            resting_bytes: 0,
            sealer,
            unsealable: BTreeSet::new(),
            is_whole: false,
            feedback: None,
            notes: None,
            dir,
            core,
        }
    }

    fn run(mut self, commands: &Receiver<Command>) {
        self.skip_sealed();
        // Half of what a crash may lose: the other half is what lanes keep until their next tick.
        let interval = Duration::from_millis(self.core.config.flush_interval_ms / 2);
        let mut flush_at = Instant::now() + interval;
        let mut upkeep_at = Instant::now();
        loop {
            match commands.recv_timeout(flush_at.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(command) => {
                    if self.execute_all(command, commands) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.take_synced();
            let now = Instant::now();
            if now >= flush_at {
                flush_at = now + interval;
                self.flush();
                self.take_sealed();
            }
            if now >= upkeep_at {
                upkeep_at = now + UPKEEP;
                self.upkeep();
            }
        }
        self.sync_logs();
        self.await_sealed();
        self.upkeep();
        self.syncer.stop();
        self.sealer.stop();
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Open { header, end } => self.open(header, end),
            Command::Append(lane, bytes, since) => {
                self.append(lane, &bytes, since);
                self.core.recycle(bytes);
            }
            Command::Rotate { next, end } => self.rotate(next, end),
            Command::Park(lane, end) => self.park(lane, end),
            Command::Take(lane) => self.take(lane),
            Command::Checkpoint(sections) => self.checkpoint(&sections),
            Command::Sync(reply) => self.waiting.push(reply),
            Command::Settle(reply) => {
                self.await_sealed();
                self.waiting.push(reply);
            }
            Command::Stop => {}
        }
    }

    /// Group commit: everything in the queue is appended first, then one sync answers all who wait. What takes long (a segment that becomes
    /// history, a checkpoint) is not begun while somebody waits. True when the end was asked for.
    fn execute_all(&mut self, first: Command, commands: &Receiver<Command>) -> bool {
        let mut next = Some(first);
        let mut is_last = false;
        // No more at a time than the queue holds, so that what is due by time gets its turn.
        for _ in 0..QUEUE {
            let Some(command) = next.take() else { break };
            if command.takes_long() {
                self.answer();
            }
            is_last = matches!(command, Command::Stop);
            self.execute(command);
            if is_last {
                break;
            }
            next = commands.try_recv().ok();
        }
        if let Some(command) = next {
            is_last = matches!(command, Command::Stop);
            self.execute(command);
        }
        self.answer();
        is_last
    }

    /// Syncs for all who wait, and tells them.
    fn answer(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.commit();
        let degraded = self.core.is_degraded();
        let failure = degraded.then(|| self.core.failure().unwrap_or_else(|| "persistence failed".to_owned()));
        for reply in self.waiting.drain(..) {
            // Who asked may have given up waiting.
            drop(reply.try_send(failure.clone().map_or(Ok(()), Err)));
        }
    }

    fn park(&mut self, lane: u8, end: Position) {
        self.parked.insert(lane);
        if self.failed.contains(&lane) {
            self.owed.insert(lane, end);
        }
    }

    /// The log of a lane may have failed while nobody was there to start a new segment.
    fn take(&mut self, lane: u8) {
        self.parked.remove(&lane);
        if self.failed.contains(&lane) {
            self.core.degrade(format!("the log of lane {lane:02x} failed before the lane was taken again"));
        }
    }

    fn open(&mut self, header: SegmentHeader, end: Position) {
        self.await_synced();
        self.parked.remove(&header.lane);
        if let Err(error) = self.hold() {
            return self.fail(header.lane, &error);
        }
        if let Some(mut before) = self.logs.remove(&header.lane) {
            // One that works is left since another lane's failed: what it promised stays promised.
            if self.failed.contains(&header.lane) || before.sync().is_err() {
                self.owed.insert(header.lane, end);
            }
            self.unsealed.insert((header.lane, before.sequence()), end);
        }
        match LaneWal::open(Arc::clone(&self.fs), &self.wal_dir(), header) {
            Ok(log) => {
                self.logs.insert(header.lane, log);
                self.failed.remove(&header.lane);
            }
            Err(error) => self.fail(header.lane, &error),
        }
    }

    /// Makes sure that the data dir is still the one that is locked. One that was removed or moved away is locked anew, where it is to be, and every
    /// log begins anew in it. One that another process has by now is written to no more.
    fn hold(&mut self) -> Result<(), LockError> {
        let Some(lock) = &self.lock else { return Ok(()) };
        let held = lock.hold(self.core.environment.clock.now());
        self.core.shut_out(held.is_err());
        if let Ok(false) = held {
            return Ok(());
        }
        let lost = held.map(drop);
        let lanes: Vec<_> = self.logs.keys().filter(|lane| !self.failed.contains(lane)).copied().collect();
        for lane in lanes {
            match &lost {
                Ok(()) => self.fail(lane, &"the data dir, or LOCK in it, was removed by someone else"),
                Err(error) => self.fail(lane, error),
            }
        }
        lost
    }

    fn append(&mut self, lane: u8, bytes: &[u8], since: Instant) {
        if self.failed.contains(&lane) {
            self.core.count_dropped(bytes.len() as u64);
            return;
        }
        let Some(log) = self.logs.get_mut(&lane) else { return };
        let (sequence, offset) = (log.sequence(), log.segment_bytes());
        match log.append(bytes) {
            Ok(()) => {
                self.dirty = true;
                if self.core.config.durability == Durability::Always {
                    self.group.note(lane, sequence, offset, bytes);
                }
                self.unsynced.append(bytes.len() as u64, since);
                self.core.note_unsynced(&self.unsynced);
            }
            Err(error) => {
                self.core.count_dropped(bytes.len() as u64);
                self.fail(lane, &error);
            }
        }
    }

    fn fail(&mut self, lane: u8, error: &dyn Display) {
        self.is_whole = false;
        self.failed.insert(lane);
        self.core.degrade(error.to_string());
    }

    fn rotate(&mut self, next: SegmentHeader, end: Position) {
        self.await_synced();
        if self.failed.contains(&next.lane) {
            return;
        }
        let Some(log) = self.logs.get_mut(&next.lane) else { return };
        match log.rotate(next) {
            Ok(left) => {
                self.unsealed.insert((next.lane, left), end);
                self.seal();
            }
            Err(error) => self.fail(next.lane, &error),
        }
    }

    fn flush(&mut self) {
        match self.core.config.durability {
            Durability::None => {}
            Durability::Interval => self.begin_sync(),
            Durability::Always => self.commit(),
        }
    }

    /// Makes what was appended durable for those who wait: with one fsync, however many lanes it is of.
    fn commit(&mut self) {
        if self.group.is_full() || self.core.config.durability != Durability::Always {
            self.sync_logs();
        } else if self.group.is_empty() {
            // Everything appended was made durable for somebody else.
            return;
        } else if let Some(lane) = self.group.only_lane() {
            self.group.forget();
            let synced = self.logs.get_mut(&lane).filter(|_| !self.failed.contains(&lane)).map(LaneWal::sync);
            if let Some(Err(error)) = synced {
                self.fail(lane, &error);
            }
        } else if let Err(error) = self.group.commit(self.core.run, self.core.environment.clock.now()) {
            // What was appended may be durable or not: the lanes' own logs decide.
            self.core.note_failure(&error.to_string());
            self.sync_logs();
        }
        self.all_synced();
    }

    fn all_synced(&mut self) {
        self.unsynced.clear();
        self.core.note_unsynced(&self.unsynced);
    }

    /// Has what was appended synced, unless a sync still runs: then the next time.
    fn begin_sync(&mut self) {
        let interval = Duration::from_millis(self.core.config.flush_interval_ms);
        if let Some(lag) = self.unsynced.news(Instant::now(), interval) {
            tracing::warn!(
                lag_secs = lag.as_secs_f64(),
                "the disk is late: a power cut now loses more than an interval"
            );
        }
        if !self.syncer.is_idle() || !std::mem::take(&mut self.dirty) {
            return;
        }
        let working = self.logs.iter_mut().filter(|(lane, _)| !self.failed.contains(lane));
        let begun: Vec<_> = working.map(|(lane, log)| (*lane, log.begin_sync())).collect();
        let mut batch = Vec::new();
        self.unsynced.begin();
        for (lane, begun) in begun {
            match begun {
                Ok(file) => batch.extend(file.map(|file| (lane, file))),
                Err(error) => self.fail(lane, &error),
            }
        }
        if batch.is_empty() {
            self.synced(Vec::new());
        } else {
            self.syncer.begin(batch);
        }
    }

    /// Takes in what was synced by now.
    fn take_synced(&mut self) {
        if let Some(synced) = self.syncer.finished() {
            self.synced(synced);
        }
    }

    fn await_synced(&mut self) {
        if let Some(synced) = self.syncer.wait() {
            self.synced(synced);
        }
    }

    fn synced(&mut self, synced: Synced) {
        for (lane, result) in synced {
            if let Some(Err(error)) = self.logs.get_mut(&lane).map(|log| log.end_sync(result)) {
                self.fail(lane, &error);
            }
        }
        self.unsynced.end();
        self.core.note_unsynced(&self.unsynced);
        self.core.gauges.wal_bytes.store(self.resting_bytes + self.open_bytes(), Ordering::Relaxed);
    }

    fn sync_logs(&mut self) {
        self.await_synced();
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        // One that failed stays as it is until its lane starts a new segment.
        let working = self.logs.iter_mut().filter(|(lane, _)| !self.failed.contains(lane));
        let failures: Vec<_> = working.filter_map(|(lane, log)| Some((*lane, log.sync().err()?))).collect();
        self.all_synced();
        let all_synced = failures.is_empty();
        for (lane, error) in failures {
            self.fail(lane, &error);
        }
        self.group.forget();
        // What a log that failed had promised is in the log in common until a checkpoint has it.
        if all_synced && self.failed.is_subset(&self.parked) && self.owed.is_empty() {
            self.clear_group();
        }
        self.core.gauges.wal_bytes.store(self.resting_bytes + self.open_bytes(), Ordering::Relaxed);
    }

    fn clear_group(&mut self) {
        if let Err(error) = self.group.clear() {
            self.core.note_failure(&error.to_string());
        }
    }

    fn open_bytes(&self) -> u64 {
        self.logs.values().map(LaneWal::bytes).sum()
    }

    /// A segment whose chunk an earlier run wrote is not written again.
    fn skip_sealed(&mut self) {
        if self.unsealed.is_empty() {
            return;
        }
        match self.found_sealed() {
            Ok(sealed) => {
                self.unsealed.retain(|segment, _| !sealed.contains_key(segment));
                self.sealed = sealed;
                self.seal();
            }
            Err(error) => self.core.degrade(error.to_string()),
        }
    }

    /// Segments that the history has, under names that are durable: their logs may go.
    fn found_sealed(&self) -> Result<BTreeMap<Segment, Position>, StorageError> {
        let chunks_dir = self.dir.join("chunks");
        let written = chunk_dir::sealed_segments(&*self.fs, &chunks_dir)?;
        let is_written = |(lane, sequence): &Segment| written.contains(&(*lane, sequence.0));
        let sealed: BTreeMap<_, _> = self
            .unsealed
            .iter()
            .map(|(segment, end)| (*segment, *end))
            .filter(|(segment, _)| is_written(segment))
            .collect();
        if !sealed.is_empty() {
            chunk_dir::sync(&*self.fs, &chunks_dir)?;
        }
        Ok(sealed)
    }

    /// Has closed segments made history; what failed is tried again.
    fn seal(&mut self) {
        if self.core.is_shut_out() {
            return;
        }
        self.unsealed.keys().for_each(|segment| self.sealer.submit(*segment));
    }

    /// Takes in what was sealed by now.
    fn take_sealed(&mut self) {
        while let Some((segment, result)) = self.sealer.finished() {
            self.sealed_one(segment, result);
        }
    }

    /// Waits until all that is to be sealed is, or has failed.
    fn await_sealed(&mut self) {
        while let Some((segment, result)) = self.sealer.wait() {
            self.sealed_one(segment, result);
        }
        self.remove_covered();
    }

    fn sealed_one(&mut self, segment: Segment, result: Result<(), StorageError>) {
        self.unsealable.remove(&segment);
        match result {
            Ok(()) => {}
            // Trying again would not help: its history is lost, what was learned of it is not.
            Err(error @ StorageError::TooLarge { .. }) => self.core.note_failure(&error.to_string()),
            Err(StorageError::Io { source, path, .. })
                if source.kind() == ErrorKind::NotFound && path.starts_with(self.wal_dir()) =>
            {
                self.core.note_failure("a segment of the write-ahead log was removed by someone else");
                self.unsealed.remove(&segment);
            }
            Err(error) => {
                self.core.degrade(error.to_string());
                self.unsealable.insert(segment);
                return;
            }
        }
        if let Some(end) = self.unsealed.remove(&segment) {
            self.sealed.insert(segment, end);
        }
        self.recover();
    }

    fn checkpoint(&mut self, sections: &Sections) {
        self.core.reread_feedback(&self.dir, &mut self.feedback);
        self.core.reread_notes(&self.dir, &mut self.notes);
        // Two lanes may compose at the same time and come in the other order.
        if sections.order <= self.written {
            return;
        }
        let lanes = sections.of_lanes();
        // Each lane holds its model, and the picture what it published.
        let model_bytes: usize = lanes.iter().map(|(_, bytes)| bytes.len()).sum();
        self.core.gauges.lane_bytes.store(model_bytes as u64 * 2, Ordering::Relaxed);
        let all = sections.named().iter().chain(&lanes);
        let named: Vec<(&str, &[u8])> = all.map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        if let Err(error) = self.hold() {
            return self.not_checkpointed(&error);
        }
        let now = self.core.environment.clock.now();
        match checkpoint::write(&*self.fs, &self.dir.join("state"), self.next_checkpoint, now, &named) {
            Ok(_) => self.checkpointed(sections),
            Err(error) => self.not_checkpointed(&error),
        }
    }

    fn not_checkpointed(&mut self, error: &dyn Display) {
        self.is_whole = false;
        self.core.degrade(error.to_string());
    }

    fn checkpointed(&mut self, sections: &Sections) {
        self.written = sections.order;
        self.next_checkpoint += 1;
        self.core.gauges.checkpoints_total.fetch_add(1, Ordering::Relaxed);
        self.seal();
        self.take_sealed();
        self.covered_before = std::mem::replace(&mut self.covered, sections.positions.iter().copied().collect());
        self.remove_covered();
        self.owed.retain(|lane, end| self.covered.get(lane).is_none_or(|position| position < end));
        self.is_whole = self.failed.is_subset(&self.parked);
        self.recover();
    }

    /// All is as it should be once the logs work, a checkpoint was written since, and history can be written.
    fn recover(&mut self) {
        if self.is_whole && self.unsealable.is_empty() {
            self.is_whole = false;
            self.core.recover();
        }
    }

    /// Removes segments that are chunks and that the checkpoint before the newest covers.
    fn remove_covered(&mut self) {
        let covered = |lane: &u8, end: &Position| self.covered_before.get(lane).is_some_and(|position| end <= position);
        let gone: Vec<_> =
            self.sealed.iter().filter(|((lane, _), end)| covered(lane, end)).map(|(segment, _)| *segment).collect();
        for (lane, sequence) in gone {
            let removed = match self.logs.get_mut(&lane) {
                Some(log) => log.remove(sequence),
                None => wal::remove_segment(&*self.fs, &self.wal_dir(), lane, sequence),
            };
            match removed {
                Ok(()) => _ = self.sealed.remove(&(lane, sequence)),
                Err(error) => self.core.note_failure(&error.to_string()),
            }
        }
    }

    fn upkeep(&mut self) {
        if let Err(error) = self.hold() {
            self.core.degrade(error.to_string());
        }
        self.core.reread_feedback(&self.dir, &mut self.feedback);
        self.core.reread_notes(&self.dir, &mut self.notes);
        match disk_usage(&*self.fs, &self.wal_dir()) {
            Ok(bytes) => {
                self.resting_bytes = bytes.saturating_sub(self.open_bytes());
                self.core.gauges.wal_bytes.store(bytes, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "cannot measure the write-ahead log"),
        }
    }

    fn wal_dir(&self) -> PathBuf {
        self.dir.join("wal")
    }
}

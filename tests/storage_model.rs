//! Log and history against a model of what they promise, over random operations on a disk that fails and loses power: short writes, no space, errors
//! of write, sync, rename and remove, and cuts that leave any part of what was not synced.
//!
//! Promised: an event is never lost once a sync returned after it was appended; what is read is what was written, each event once in the log
//! and once in the history; a segment that is history may go.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use oddline::event::{StreamKey, TemplateId, Timestamp};
use oddline::storage::chunk::{ChunkOptions, EventAt, Level};
use oddline::storage::hour::Hour;
use oddline::storage::mem_fs::{Faults, MemFs};
use oddline::storage::wal::{
    LaneWal, Position, Record, SegmentHeader, SegmentSequence, WalEncoder, WalEvent, read_events, recover_lane,
    remove_segment, segments,
};
use oddline::storage::{StorageError, chunk_dir};
use proptest::prelude::*;

const LANE: u8 = 5;

#[derive(Clone, Debug)]
enum Step {
    Append(u16),
    Sync,
    Rotate,
    Seal,
    Remove,
    Merge,
    Break(u8),
    Mend,
    Cut(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..400u16).prop_map(Step::Append),
        4 => Just(Step::Sync),
        2 => Just(Step::Rotate),
        2 => Just(Step::Seal),
        1 => Just(Step::Remove),
        1 => Just(Step::Merge),
        1 => (0..8u8).prop_map(Step::Break),
        2 => Just(Step::Mend),
        2 => any::<u64>().prop_map(Step::Cut),
    ]
}

/// The event of this number in this run; none is like another.
fn event(run: u32, number: u64) -> WalEvent {
    let mixed = (number ^ u64::from(run) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    WalEvent {
        timestamp: Timestamp((mixed >> 20) as i64),
        template: TemplateId(mixed % 7),
        statistic: f32::from_bits((mixed as u32) & 0xffff_0000),
        stream: StreamKey(mixed % 3),
        severity: (mixed % 5) as u8,
        flags: (mixed % 2) as u8,
        ..WalEvent::default()
    }
}

/// Run and number of an event.
type Id = (u32, u64);

struct Store {
    fs: MemFs,
    run: u32,
    encoder: WalEncoder,
    log: Option<LaneWal>,
    /// Appended since the last sync, and for sure durable.
    appended: BTreeSet<Id>,
    promised: BTreeSet<Id>,
    /// Segments that are history for sure.
    sealed: BTreeSet<SegmentSequence>,
    next: SegmentSequence,
}

fn wal_dir() -> &'static Path {
    Path::new("/data/wal")
}

fn chunks_dir() -> &'static Path {
    Path::new("/data/chunks")
}

fn options(level: Level) -> ChunkOptions {
    ChunkOptions { level, created: Timestamp(7), window_secs: 10, marked_flag: 1, keeps_events: true }
}

impl Store {
    fn new() -> Self {
        let encoder = WalEncoder::new(Self::header(0, SegmentSequence(0)));
        let fs = MemFs::new();
        let mut store = Self {
            fs,
            run: 0,
            encoder,
            log: None,
            appended: BTreeSet::new(),
            promised: BTreeSet::new(),
            sealed: BTreeSet::new(),
            next: SegmentSequence(0),
        };
        store.open_log();
        store
    }

    fn header(run: u32, sequence: SegmentSequence) -> SegmentHeader {
        SegmentHeader { lane: LANE, sequence, run, created: Timestamp(i64::from(run)) }
    }

    /// Begins a segment, as after a failure or a restart. What the one before held and was not synced is no longer promised: in the engine a
    /// checkpoint is, before anything else is.
    fn open_log(&mut self) {
        self.appended.clear();
        let header = Self::header(self.run, self.next);
        self.next = self.next.next();
        drop(self.encoder.begin_segment(header, Vec::new()));
        self.log = LaneWal::open(Arc::new(self.fs.clone()), wal_dir(), header).ok();
    }

    fn append(&mut self, events: u16) {
        if self.log.is_none() {
            self.open_log();
        }
        let from = self.encoder.next_event();
        for number in from..from + u64::from(events) {
            let event = event(self.run, number);
            self.encoder.event(event.template.0 as u32, &event);
        }
        let bytes = self.encoder.take(Vec::new());
        match self.log.as_mut().map(|log| log.append(&bytes)) {
            Some(Ok(())) => self.appended.extend((from..from + u64::from(events)).map(|number| (self.run, number))),
            // What the writer does: give up on the segment and begin another.
            _ => self.open_log(),
        }
    }

    fn sync(&mut self) {
        match self.log.as_mut().map(LaneWal::sync) {
            Some(Ok(())) => self.promised.append(&mut self.appended),
            _ => self.open_log(),
        }
    }

    fn rotate(&mut self) {
        let Some(log) = &mut self.log else { return };
        let header = Self::header(self.run, self.next);
        if log.rotate(header).is_ok() {
            self.next = self.next.next();
            drop(self.encoder.begin_segment(header, Vec::new()));
            self.promised.append(&mut self.appended);
        } else if log.is_poisoned() {
            self.open_log();
        }
    }

    fn closed(&self) -> Vec<SegmentSequence> {
        let open = self.log.as_ref().map(LaneWal::sequence);
        let all = segments(&self.fs, wal_dir(), LANE).unwrap_or_default();
        all.into_iter().filter(|sequence| Some(*sequence) != open).collect()
    }

    fn seal(&mut self) {
        let Some(sequence) = self.closed().into_iter().find(|sequence| !self.sealed.contains(sequence)) else { return };
        if self.write_l1(sequence).is_ok() {
            self.sealed.insert(sequence);
        }
    }

    fn write_l1(&self, sequence: SegmentSequence) -> Result<(), StorageError> {
        let hour = Hour::of(Timestamp(0));
        let mut writer = chunk_dir::create_l1(&self.fs, chunks_dir(), hour, (LANE, sequence.0), options(Level::L1))?;
        let mut failed = Ok(());
        read_events(&self.fs, wal_dir(), LANE, sequence, &mut |first, events| {
            if failed.is_ok() {
                let (run, number) = (first.position.run, first.event_number);
                failed = writer.extend(EventAt { lane: LANE, run, sequence: sequence.0, number }, events);
            }
        })?;
        failed?;
        writer.finish(&mut |_| None).map(drop)
    }

    fn remove(&mut self) {
        let Some(sequence) = self.closed().into_iter().find(|sequence| self.sealed.contains(sequence)) else { return };
        // It may fail: then the segment is there, or perhaps there again after a cut.
        drop(match &mut self.log {
            Some(log) => log.remove(sequence),
            None => remove_segment(&self.fs, wal_dir(), LANE, sequence),
        });
    }

    fn merge(&self) {
        drop(chunk_dir::merge_hour(&self.fs, chunks_dir(), Hour::of(Timestamp(0)), options(Level::L2)));
    }

    fn break_disk(&self, kind: u8) {
        let mut faults = Faults::default();
        match kind {
            0 => faults.capacity_bytes = Some(self.fs.used_bytes() + 100),
            1 => faults.capacity_bytes = Some(0),
            2 => faults.sync = true,
            3 => faults.sync_dir = true,
            4 => faults.rename = true,
            5 => faults.remove = true,
            6 => (faults.truncate, faults.capacity_bytes) = (true, Some(self.fs.used_bytes() + 50)),
            _ => faults.read_only = true,
        }
        self.fs.set_faults(faults);
    }

    /// The power goes; what is left is checked, and a new run begins on it.
    fn cut(&mut self, seed: u64) -> Result<(), TestCaseError> {
        let mut state = seed | 1;
        let mut choose = |sides: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % sides
        };
        self.fs = self.fs.power_cut(&mut choose);
        let mut found: BTreeMap<Id, u32> = BTreeMap::new();
        let mut wrong = None;
        let mut see = |found: &mut BTreeMap<Id, u32>, id: Id, read: &WalEvent| {
            if !read.same_bits(&event(id.0, id.1)) {
                wrong = Some(id);
            }
            *found.entry(id).or_default() += 1;
        };
        let report = recover_lane(&self.fs, wal_dir(), LANE, Position::default(), &mut |at, record| {
            if let Record::Event(event) = record {
                see(&mut found, (at.position.run, at.event_number), &event);
            }
        });
        let report = report.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(found.values().all(|times| *times == 1), "twice in the log");
        let mut in_history: BTreeMap<Id, u32> = BTreeMap::new();
        let files = chunk_dir::open_hour(&self.fs, chunks_dir(), Hour::of(Timestamp(0))).unwrap();
        prop_assert!(files.damaged.is_empty(), "{:?}", files.damaged);
        for reader in &files.readers {
            for place in &reader.summary().groups {
                let group = reader.group(&self.fs, place).unwrap();
                for (number, event) in (group.id.first_event..).zip(&group.events) {
                    see(&mut in_history, (group.id.run, number), event);
                }
            }
        }
        prop_assert_eq!(wrong, None, "read otherwise than written");
        prop_assert!(in_history.values().all(|times| *times == 1), "twice in the history");
        let lost: Vec<&Id> =
            self.promised.iter().filter(|id| !found.contains_key(id) && !in_history.contains_key(id)).collect();
        prop_assert!(lost.is_empty(), "promised and lost: {:?}\n{:?}", lost, report);
        // What was found is promised from now on: recovery has repaired and read it, and nothing is pending.
        self.promised.extend(found.into_keys());
        self.promised.extend(in_history.into_keys());
        self.appended.clear();
        self.sealed = chunk_dir::sealed_segments(&self.fs, chunks_dir())
            .unwrap()
            .into_iter()
            .map(|(_, s)| SegmentSequence(s))
            .collect();
        self.run += 1;
        self.next = self.next.max(report.next_sequence);
        self.encoder = WalEncoder::new(Self::header(self.run, self.next));
        self.open_log();
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Append(events) => self.append(*events),
            Step::Sync => self.sync(),
            Step::Rotate => self.rotate(),
            Step::Seal => self.seal(),
            Step::Remove => self.remove(),
            Step::Merge => self.merge(),
            Step::Break(kind) => self.break_disk(*kind),
            Step::Mend => self.fs.set_faults(Faults::default()),
            Step::Cut(seed) => self.cut(*seed)?,
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_promised_is_lost_nothing_is_doubled_and_nothing_is_made_up(
        steps in prop::collection::vec(any_step(), 1..60),
        last in any::<u64>(),
    ) {
        let mut store = Store::new();
        for step in &steps {
            store.step(step)?;
        }
        store.cut(last)?;
    }
}

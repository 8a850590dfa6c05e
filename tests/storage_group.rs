//! The log in common: what several lanes made durable with one fsync is there after a power cut, whatever became of the lanes' own logs.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oddline::event::{TemplateId, Timestamp};
use oddline::storage::FileSystem;
use oddline::storage::fs::OpenMode;
use oddline::storage::mem_fs::{Faults, MemFs};
use oddline::storage::wal::group::{Redone, redo};
use oddline::storage::wal::{
    GroupLog, LaneWal, Position, Record, SegmentHeader, SegmentSequence, WalEncoder, WalEvent, recover_lane,
};

fn wal_dir() -> &'static Path {
    Path::new("/data/wal")
}

fn segment(lane: u8) -> PathBuf {
    wal_dir().join(format!("{lane:02x}/0000000000000000.wal"))
}

fn in_common() -> PathBuf {
    wal_dir().join("group/0000000000000000.wal")
}

struct Lane {
    number: u8,
    encoder: WalEncoder,
    log: LaneWal,
}

impl Lane {
    fn new(fs: &MemFs, number: u8) -> Self {
        let header = SegmentHeader { lane: number, sequence: SegmentSequence(0), run: 0, created: Timestamp(0) };
        let log = LaneWal::open(Arc::new(fs.clone()), wal_dir(), header).unwrap();
        Self { number, encoder: WalEncoder::new(header), log }
    }

    fn append(&mut self, group: &mut GroupLog, events: u64) {
        for n in 0..events {
            let event = WalEvent { template: TemplateId(n % 3), timestamp: Timestamp(n as i64), ..WalEvent::default() };
            self.encoder.event(event.template.0 as u32, &event);
        }
        let bytes = self.encoder.take(Vec::new());
        let offset = self.log.segment_bytes();
        self.log.append(&bytes).unwrap();
        group.note(self.number, self.log.sequence(), offset, &bytes);
    }
}

fn events(fs: &MemFs, lane: u8) -> u64 {
    let mut events = 0;
    let report = recover_lane(fs, wal_dir(), lane, Position::default(), &mut |_, record| {
        events += u64::from(matches!(record, Record::Event(_)));
    });
    assert_eq!(report.unwrap().damage_total, 0);
    events
}

/// Three lanes, two rounds, both committed in common.
fn committed() -> (MemFs, GroupLog, Vec<Lane>) {
    let fs = MemFs::new();
    let mut lanes: Vec<Lane> = (0..3).map(|number| Lane::new(&fs, number)).collect();
    let mut group = GroupLog::new(Arc::new(fs.clone()), wal_dir());
    for _ in 0..2 {
        lanes.iter_mut().for_each(|lane| lane.append(&mut group, 10));
        assert_eq!(group.only_lane(), None);
        group.commit(0, Timestamp(0)).unwrap();
    }
    (fs, group, lanes)
}

#[test]
fn golden_bytes() {
    let fs = MemFs::new();
    let mut group = GroupLog::new(Arc::new(fs.clone()), wal_dir());
    group.note(2, SegmentSequence(9), 40, b"abc");
    assert_eq!(group.only_lane(), Some(2));
    group.commit(3, Timestamp(7)).unwrap();
    let hex: String = fs.read(&in_common()).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "4f444c4e57414c31 01000000 ff 000000 0000000000000000 03000000 0700000000000000 c0d82611",
        "f50d 80df 14000000 42bca995 04",
        "02 0900000000000000 2800000000000000 616263",
    ];
    assert_eq!(hex, expected.concat().replace(' ', ""));
}

#[test]
fn one_sync_in_common_is_enough_for_all_lanes() {
    let (fs, _group, _lanes) = committed();
    let after = fs.durable_copy();
    assert_eq!(redo(&after, wal_dir()).unwrap(), Redone { records: 6, segments: 3, ..Redone::default() });
    (0..3).for_each(|lane| assert_eq!(events(&after, lane), 20));
    assert!(after.list(&wal_dir().join("group")).unwrap().is_empty());
    assert_eq!(redo(&after, wal_dir()).unwrap(), Redone::default());
    // What was put in place is durable itself.
    let again = after.durable_copy();
    (0..3).for_each(|lane| assert_eq!(events(&again, lane), 20));
}

#[test]
fn whatever_part_of_the_lanes_own_logs_reached_the_disk_all_that_was_promised_is_restored() {
    for seed in 1..200u64 {
        let (fs, mut group, mut lanes) = committed();
        // Appended and not promised.
        lanes.iter_mut().for_each(|lane| lane.append(&mut group, 7));
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let after = fs.power_cut(&mut |sides| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % sides
        });
        redo(&after, wal_dir()).unwrap();
        for lane in 0..3 {
            assert!([20, 27].contains(&events(&after, lane)), "seed {seed} lane {lane}");
        }
    }
}

#[test]
fn after_a_kill_it_is_synced_before_the_log_in_common_goes() {
    let (fs, _group, _lanes) = committed();
    assert_eq!(redo(&fs, wal_dir()).unwrap(), Redone { records: 6, ..Redone::default() });
    let after = fs.durable_copy();
    (0..3).for_each(|lane| assert_eq!(events(&after, lane), 20));
}

#[test]
fn a_flip_of_any_byte_and_a_cut_at_any_length_change_nothing_that_the_lanes_have_themselves() {
    let (fs, _group, mut lanes) = committed();
    lanes.iter_mut().for_each(|lane| lane.log.sync().unwrap());
    let good = fs.read(&in_common()).unwrap();
    let flips = (0..good.len()).map(|at| {
        let mut bad = good.clone();
        bad[at] ^= 0x11;
        bad
    });
    let cuts = (0..good.len()).map(|length| good[..length].to_vec());
    for bad in flips.chain(cuts) {
        let after = fs.live_copy();
        after.put(&in_common(), &bad);
        redo(&after, wal_dir()).unwrap();
        (0..3).for_each(|lane| assert_eq!(events(&after, lane), 20));
    }
}

#[test]
fn a_record_for_a_segment_that_is_gone_or_too_short_is_passed_over() {
    let (fs, _group, _lanes) = committed();
    fs.remove(&segment(0)).unwrap();
    fs.open(&segment(1), OpenMode::Append).unwrap().truncate(10).unwrap();
    redo(&fs, wal_dir()).unwrap();
    assert!(fs.read(&segment(0)).is_err());
    assert_eq!(fs.read(&segment(1)).unwrap().len(), 10);
    assert_eq!(events(&fs, 2), 20);
}

#[test]
fn a_commit_that_fails_promises_nothing_and_the_next_begins_a_new_file() {
    let (fs, mut group, mut lanes) = committed();
    fs.set_faults(Faults { sync: true, ..Faults::default() });
    lanes.iter_mut().for_each(|lane| lane.append(&mut group, 5));
    assert!(group.commit(0, Timestamp(0)).is_err());
    fs.set_faults(Faults::default());
    lanes.iter_mut().for_each(|lane| lane.log.sync().unwrap());
    group.clear().unwrap();
    lanes.iter_mut().for_each(|lane| lane.append(&mut group, 5));
    group.commit(0, Timestamp(0)).unwrap();
    assert!(fs.read(&in_common()).is_err() && !group.is_full());
    let after = fs.durable_copy();
    redo(&after, wal_dir()).unwrap();
    (0..3).for_each(|lane| assert_eq!(events(&after, lane), 30));
}

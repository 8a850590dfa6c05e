//! The log in common: what several lanes made durable with one fsync is there after a power cut, whatever became of the lanes' own logs.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oddline::event::{TemplateId, Timestamp};
use oddline::storage::FileSystem;
use oddline::storage::frame;
use oddline::storage::fs::OpenMode;
use oddline::storage::mem_fs::{Faults, MemFs};
use oddline::storage::wal::group::{Redone, damage, redo};
use oddline::storage::wal::segment::HEADER_BYTES;
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

/// The events of a lane that a damaged log in common puts in place: with no gap, or as damage of the segment.
fn restored(fs: &MemFs, lane: u8) -> u64 {
    let mut events = 0;
    recover_lane(fs, wal_dir(), lane, Position::default(), &mut |_, record| {
        events += u64::from(matches!(record, Record::Event(_)));
    })
    .unwrap();
    events
}

#[test]
fn a_flip_of_any_byte_costs_the_record_it_is_in_and_what_builds_on_it_and_is_told() {
    let (fs, _group, _lanes) = committed();
    let good = fs.read(&in_common()).unwrap();
    // Six records: of lanes 0, 1, 2, and again.
    let mut starts = Vec::new();
    let mut at = HEADER_BYTES;
    while at < good.len() {
        starts.push(at);
        at += frame::HEADER_BYTES + u32::from_le_bytes(*good[at + 4..].first_chunk().unwrap()) as usize;
    }
    assert_eq!(starts.len(), 6);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x11;
        // All that the lanes have is in common.
        let after = fs.durable_copy();
        after.put(&in_common(), &bad);
        let redone = redo(&after, wal_dir()).unwrap();
        let hit = starts.iter().rposition(|start| *start <= at);
        for lane in 0..3usize {
            let kept = match hit {
                None => 0,
                // A second record without the first would leave a gap.
                Some(hit) if hit == lane => 0,
                Some(hit) if hit == lane + 3 => 10,
                Some(_) => 20,
            };
            assert_eq!(restored(&after, lane as u8), kept, "byte {at} lane {lane}");
        }
        // A damaged last record looks like a torn one.
        let is_told = hit != Some(5);
        assert_eq!(redone.damage_total, u64::from(is_told), "byte {at}: {redone:?}");
        let place = hit.map_or(0, |hit| starts[hit] as u64);
        assert!(redone.damage.iter().all(|damage| damage.offset == place && damage.path == in_common()), "byte {at}");
        let kept = redone.quarantined.iter().map(|path| after.read(path).unwrap()).collect::<Vec<_>>();
        assert_eq!(kept, if is_told { vec![bad] } else { Vec::new() }, "byte {at}");
        assert!(after.read(&in_common()).is_err(), "byte {at}");
    }
}

#[test]
fn a_cut_at_any_length_costs_what_is_beyond_it() {
    let (fs, _group, _lanes) = committed();
    let good = fs.read(&in_common()).unwrap();
    let mut before = 0;
    for length in 0..=good.len() {
        let after = fs.durable_copy();
        after.put(&in_common(), &good[..length]);
        assert_eq!(redo(&after, wal_dir()).unwrap().damage_total, 0, "a torn tail is no damage: length {length}");
        let restored = (0..3).map(|lane| events(&after, lane)).sum();
        assert!(restored >= before, "length {length}");
        before = restored;
    }
    assert_eq!(before, 60);
}

#[test]
fn damage_is_found_without_changing_anything() {
    let (fs, _group, _lanes) = committed();
    let mut bad = fs.read(&in_common()).unwrap();
    bad[HEADER_BYTES + 20] ^= 1;
    fs.put(&in_common(), &bad);
    let found = damage(&fs, wal_dir()).unwrap();
    assert_eq!(found.iter().map(|damage| damage.offset).collect::<Vec<_>>(), [HEADER_BYTES as u64]);
    assert_eq!(fs.read(&in_common()).unwrap(), bad);
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

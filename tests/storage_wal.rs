//! The write-ahead log: formats, recovery after every kind of damage, and what a writer does when the disk fails.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oddline::event::{StreamKey, TemplateId, Timestamp};
use oddline::storage::error::StorageError;
use oddline::storage::mem_fs::{Faults, MemFs};
use oddline::storage::wal::{
    LaneWal, Position, Record, RecoveryReport, SegmentHeader, SegmentSequence, VALUES, WalEncoder, WalEvent, lanes,
    read_events, read_segment, recover_lane, recover_lane_ahead, recover_templates,
};
use oddline::storage::{FileSystem, frame};
use proptest::prelude::*;

const LANE: u8 = 3;

fn wal_dir() -> &'static Path {
    Path::new("/data/wal")
}

fn path_of(sequence: u64) -> PathBuf {
    wal_dir().join(format!("03/{sequence:016x}.wal"))
}

fn header(sequence: u64, run: u32) -> SegmentHeader {
    SegmentHeader { lane: LANE, sequence: SegmentSequence(sequence), run, created: Timestamp(1_764_000_000_000_000) }
}

/// A record that outlives its bytes.
#[derive(Clone, Debug)]
enum Kept {
    Template(TemplateId, Timestamp, Vec<u8>),
    /// With the slot it is encoded under, which is not part of the record.
    Event(WalEvent, u32),
    Decision(u8, Vec<u8>),
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Template(a, b, c), Self::Template(x, y, z)) => (a, b, c) == (x, y, z),
            (Self::Event(a, _), Self::Event(x, _)) => a.same_bits(x),
            (Self::Decision(a, b), Self::Decision(x, y)) => (a, b) == (x, y),
            _ => false,
        }
    }
}

fn encode(encoder: &mut WalEncoder, record: &Kept) {
    match record {
        Kept::Template(id, first_seen, text) => encoder.define_template(*id, text, *first_seen).unwrap(),
        Kept::Event(event, slot) => encoder.event(*slot, event),
        Kept::Decision(kind, payload) => encoder.decision(*kind, payload).unwrap(),
    }
}

fn keep(record: Record<'_>) -> Kept {
    match record {
        Record::Template { id, first_seen, text } => Kept::Template(id, first_seen, text.to_vec()),
        Record::Event(event) => Kept::Event(event, 0),
        Record::Decision { kind, payload } => Kept::Decision(kind, payload.to_vec()),
    }
}

type Recovered = (Vec<(Position, u64, Kept)>, RecoveryReport);

/// The records, read in each way there is: all of them hand out the same and leave the same files.
fn recover_from(fs: &MemFs, from: Position) -> Result<Recovered, StorageError> {
    let (same, texts) = (fs.live_copy(), fs.live_copy());
    let recovered = recover_alone(fs, from)?;
    let mut records = Vec::new();
    let report = recover_lane_ahead(&same, wal_dir(), LANE, from, &mut |at, record| {
        records.push((at.position, at.event_number, keep(record)));
    })?;
    assert_eq!((&records, &report), (&recovered.0, &recovered.1));
    let mut found = Vec::new();
    let torn = recover_templates(&texts, wal_dir(), LANE, from, &mut |text| found.push(text.to_vec()))?;
    let templates = recovered.0.iter().filter_map(|(_, _, record)| match record {
        Kept::Template(_, _, text) => Some(text),
        _ => None,
    });
    assert_eq!(found.iter().collect::<Vec<_>>(), templates.collect::<Vec<_>>());
    assert_eq!(torn, report.torn_tails);
    assert_eq!((files(&same), files(&texts)), (files(fs), files(fs)));
    Ok(recovered)
}

/// Every segment with its bytes.
fn files(fs: &MemFs) -> Vec<(u64, Vec<u8>)> {
    (0..8).filter_map(|sequence| fs.read(&path_of(sequence)).ok().map(|bytes| (sequence, bytes))).collect()
}

fn recover_alone(fs: &MemFs, from: Position) -> Result<Recovered, StorageError> {
    let mut records = Vec::new();
    let report = recover_lane(fs, wal_dir(), LANE, from, &mut |at, record| {
        assert_eq!(at.lane, LANE);
        records.push((at.position, at.event_number, keep(record)));
    })?;
    assert_eq!(report.records, records.len() as u64);
    Ok((records, report))
}

fn recover(fs: &MemFs) -> Recovered {
    recover_from(fs, Position::default()).unwrap()
}

fn records_of(recovered: &Recovered) -> Vec<Kept> {
    recovered.0.iter().map(|(_, _, record)| record.clone()).collect()
}

fn event(number: i64) -> WalEvent {
    let template = number.rem_euclid(3);
    WalEvent {
        timestamp: Timestamp(1_764_000_000_000_000 + number * 1_500),
        template: TemplateId(0xabc0 + template as u64),
        statistic: template as f32 * 0.37 + (number / 10) as f32 * 1e-6,
        stream: StreamKey((number / 5 % 2) as u64 * 77),
        severity: template as u8,
        flags: u8::from(number % 7 == 0),
        ..WalEvent::default()
    }
}

fn kept(number: i64) -> Kept {
    Kept::Event(event(number), (number % 3) as u32)
}

/// Templates, events and decisions, some of each.
fn story(events: i64) -> Vec<Kept> {
    let mut records = Vec::new();
    for number in 0..events {
        if number < 3 {
            let text = format!("user <*> logged in, kind {number}");
            records.push(Kept::Template(event(number).template, event(number).timestamp, text.into_bytes()));
        }
        records.push(kept(number));
        if number % 8 == 7 {
            records.push(Kept::Decision(9, vec![number as u8; 3]));
        }
    }
    records
}

/// A segment with these records, taken from the encoder after every `batch`.
fn segment(header: SegmentHeader, records: &[Kept], batch: usize) -> Vec<u8> {
    let mut encoder = WalEncoder::new(header);
    let mut bytes = header.to_bytes();
    for records in records.chunks(batch) {
        records.iter().for_each(|record| encode(&mut encoder, record));
        bytes.extend(encoder.take(Vec::new()));
    }
    bytes
}

fn disk_with(sequence: u64, bytes: &[u8]) -> MemFs {
    let fs = MemFs::new();
    fs.put(&path_of(sequence), bytes);
    fs
}

fn open(fs: &MemFs, header: SegmentHeader) -> LaneWal {
    LaneWal::open(Arc::new(fs.clone()), wal_dir(), header).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_bytes_of_a_segment() {
    let mut encoder = WalEncoder::new(header(5, 2));
    let first = WalEvent {
        timestamp: Timestamp(1_000),
        template: TemplateId(0x1122_3344_5566_7788),
        statistic: 1.5,
        stream: StreamKey(0xfe),
        severity: 4,
        flags: 1,
        ..WalEvent::default()
    };
    encoder.define_template(first.template, b"a <*>", Timestamp(-1)).unwrap();
    encoder.event(7, &first);
    encoder.event(7, &WalEvent { timestamp: Timestamp(1_003), ..first });
    let mut values = [0; VALUES];
    (values[0], values[9]) = (0x21, 0xee);
    encoder.event(7, &WalEvent { timestamp: Timestamp(1_003), values, ..first });
    encoder.decision(6, b"xy").unwrap();
    let bytes = [header(5, 2).to_bytes(), encoder.take(Vec::new())].concat();
    let expected = [
        "4f444c4e57414c31 01000000 03 000000 0500000000000000 02000000 0040624159440600 e4bd36c2",
        // A template: record 0, event 0.
        "f50d 760e 10000000 87374fb0 02 00 00 8877665544332211 01 61203c2a3e",
        // Three events in one frame that starts a block, the last with values: record 1, event 0.
        "f50d 6a6a 24000000 18711442 01 01 00 01",
        "fa 02 8877665544332211 fe00000000000000 0401 c03f",
        "04 06 00",
        "20 00 0481 8104 21ee",
        // A decision: record 4, event 3.
        "f50d 1998 05000000 f1ea1820 03 04 03 06 7879",
    ];
    assert_eq!(hex(&bytes), expected.concat().replace(' ', ""));
}

#[test]
fn a_position_is_twelve_bytes() {
    let position = Position { run: 0x0102_0304, record: 5 };
    assert_eq!(position.to_bytes(), [4, 3, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Position::from_bytes(position.to_bytes()), position);
}

#[test]
fn every_record_comes_back_in_order_with_its_numbers() {
    let records = story(40);
    let recovered = recover(&disk_with(0, &segment(header(0, 1), &records, 4)));
    assert_eq!(records_of(&recovered), records);
    for (index, (position, _, _)) in recovered.0.iter().enumerate() {
        assert_eq!(*position, Position { run: 1, record: index as u64 });
    }
    let events = recovered.0.iter().filter(|(_, _, record)| matches!(record, Kept::Event(..)));
    assert!(events.map(|(_, number, _)| *number).eq(0..40));
    let report = recovered.1;
    assert_eq!((report.events, report.templates, report.decisions), (40, 3, 5));
    assert_eq!((report.damage_total, report.records_lost, report.torn_tails.len()), (0, 0, 0));
    assert_eq!((report.last_run, report.next_sequence), (Some(1), SegmentSequence(1)));
}

#[test]
fn a_lane_without_a_log_recovers_to_nothing() {
    let (records, report) = recover(&MemFs::new());
    assert!(records.is_empty());
    assert_eq!(report, RecoveryReport { lane: LANE, ..RecoveryReport::default() });
    assert_eq!(lanes(&MemFs::new(), wal_dir()).unwrap(), Vec::<u8>::new());
}

#[test]
fn a_torn_tail_of_any_length_is_cut_and_every_full_frame_kept() {
    let records = story(20);
    let whole = segment(header(0, 1), &records, 3);
    let mut kept_before = 0;
    for length in 0..=whole.len() {
        let fs = disk_with(0, &whole[..length]);
        let recovered = recover(&fs);
        let kept = records_of(&recovered);
        assert_eq!(kept, records[..kept.len()], "cut at {length}");
        assert!(kept.len() >= kept_before, "cut at {length}");
        assert!(recovered.1.damage.is_empty(), "cut at {length}: {:?}", recovered.1);
        kept_before = kept.len();
        let again = recover(&fs);
        assert_eq!(records_of(&again), kept, "cut at {length}");
        assert!(again.1.torn_tails.is_empty(), "cut at {length}: the tail is gone for good");
    }
    assert_eq!(kept_before, records.len());
}

#[test]
fn a_flip_of_any_byte_never_yields_a_wrong_record_and_keeps_what_was_before() {
    let records = story(20);
    let whole = segment(header(0, 1), &records, 3);
    let full: Vec<usize> = (0..=whole.len()).map(|length| recover(&disk_with(0, &whole[..length])).0.len()).collect();
    for (offset, mask) in (0..whole.len()).flat_map(|offset| [(offset, 0x01), (offset, 0x10), (offset, 0xff)]) {
        let mut bad = whole.clone();
        bad[offset] ^= mask;
        let (kept, report) = recover(&disk_with(0, &bad));
        for (position, _, record) in &kept {
            assert_eq!(*record, records[position.record as usize], "byte {offset}");
        }
        assert!(kept.len() >= full[offset], "byte {offset}");
        assert!(kept.len() < records.len(), "byte {offset}");
        let is_tail = report.torn_tails.len() == 1 && report.damage_total == 0;
        assert!(is_tail || report.damage_total == 1, "byte {offset}: {report:?}");
    }
}

#[test]
fn damage_in_the_middle_costs_one_block_and_is_reported_with_its_place() {
    let records: Vec<Kept> = (0..200_000).map(kept).collect();
    let mut bytes = segment(header(0, 1), &records, 200_000);
    let hit = 100_000;
    bytes[hit] ^= 0xff;
    let (kept, report) = recover(&disk_with(0, &bytes));
    assert_eq!(report.damage_total, 1);
    let damage = &report.damage[0];
    assert!(damage.path == path_of(0) && damage.offset <= hit as u64 && damage.skipped_to > hit as u64, "{damage:?}");
    assert!(damage.skipped_to - damage.offset < 40_000, "one frame: {damage:?}");
    assert_eq!(report.records_lost + kept.len() as u64, 200_000);
    assert!(report.records_lost < 100_000, "one block: {}", report.records_lost);
    for (position, _, record) in &kept {
        assert_eq!(*record, records[position.record as usize]);
    }
}

#[test]
fn damage_before_later_segments_is_damage_and_not_a_torn_tail() {
    let first = segment(header(0, 1), &story(10), 3);
    let fs = disk_with(0, &first[..first.len() - 1]);
    fs.put(&path_of(1), &segment(header(1, 2), &story(5), 3));
    let (kept, report) = recover(&fs);
    assert_eq!(report.damage_total, 1);
    assert!(report.torn_tails.is_empty());
    assert_eq!(kept.iter().filter(|(position, _, _)| position.run == 2).count(), story(5).len());
    assert_eq!(fs.read(&path_of(0)).unwrap().len(), first.len() - 1, "damage stays where it is");
}

#[test]
fn what_a_checkpoint_covers_is_skipped_at_every_position() {
    let records = story(20);
    let fs = disk_with(0, &segment(header(0, 4), &records, 3));
    for record in 0..=records.len() {
        let recovered = recover_from(&fs, Position { run: 4, record: record as u64 }).unwrap();
        assert_eq!(records_of(&recovered), records[record..]);
        assert_eq!((recovered.1.records_covered, recovered.1.records_lost), (record as u64, 0));
    }
    assert_eq!(recover_from(&fs, Position { run: 5, record: 0 }).unwrap().0.len(), 0);
}

#[test]
fn frames_written_twice_are_delivered_once() {
    let records = story(20);
    let once = segment(header(0, 1), &records, 3);
    let recovered = recover(&disk_with(0, &[&once[..], &once[40..]].concat()));
    assert_eq!(records_of(&recovered), records);
    assert!(recovered.1.duplicate_frames > 5);
    assert_eq!(recovered.1.damage_total, 0);
}

#[test]
fn missing_segments_are_counted_as_lost_unless_a_checkpoint_covers_them() {
    let mut encoder = WalEncoder::new(header(0, 1));
    story(20).iter().for_each(|record| encode(&mut encoder, record));
    let boundary = encoder.position();
    encoder.begin_segment(header(1, 1), Vec::new());
    (20..30).for_each(|number| encode(&mut encoder, &kept(number)));
    let fs = disk_with(1, &[header(1, 1).to_bytes(), encoder.take(Vec::new())].concat());
    let (records, report) = recover(&fs);
    assert_eq!((records.len(), report.records_lost), (10, boundary.record));
    let (records, report) = recover_from(&fs, boundary).unwrap();
    assert_eq!((records.len(), report.records_lost), (10, 0));
}

#[test]
fn a_segment_under_another_name_is_not_read() {
    let (records, report) = recover(&disk_with(7, &segment(header(0, 1), &story(5), 3)));
    assert!(records.is_empty());
    assert_eq!((report.damage_total, report.next_sequence), (1, SegmentSequence(8)));
}

#[test]
fn events_alone_are_those_of_all_records_with_their_places_whatever_is_damaged() {
    let bytes = segment(header(0, 1), &story(300), 3);
    for damaged in (0..=bytes.len()).step_by(41) {
        let mut bytes = bytes.clone();
        bytes.iter_mut().skip(damaged).take(3).for_each(|byte| *byte ^= 0x55);
        let fs = disk_with(0, &bytes);
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let all = read_segment(&fs, wal_dir(), LANE, SegmentSequence(0), &mut |at, record| {
            if let Record::Event(event) = record {
                expected.push((at.position.run, at.event_number, format!("{event:?}")));
            }
        });
        let alone = read_events(&fs, wal_dir(), LANE, SegmentSequence(0), &mut |first, events| {
            assert!(!events.is_empty(), "{first:?}");
            found.extend((first.event_number..).zip(events).map(|(n, e)| (first.position.run, n, format!("{e:?}"))));
        });
        assert_eq!(found, expected, "damaged at {damaged}");
        assert_eq!(alone.unwrap(), all.unwrap());
    }
}

#[test]
fn a_segment_that_is_just_being_begun_is_left_alone_by_who_only_reads() {
    for length in 0..40 {
        let bytes = &header(0, 1).to_bytes()[..length];
        let fs = disk_with(0, bytes);
        let read = read_segment(&fs, wal_dir(), LANE, SegmentSequence(0), &mut |_, _| {}).unwrap();
        assert_eq!((read.records, read.damage_total), (0, 0));
        assert_eq!(fs.read(&path_of(0)).unwrap(), bytes);
    }
}

#[test]
fn a_newer_version_is_refused_with_both_versions_and_left_alone() {
    let mut bytes = segment(header(0, 1), &story(5), 3);
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..36]);
    bytes[36..40].copy_from_slice(&crc.to_le_bytes());
    let fs = disk_with(0, &bytes);
    let error = recover_from(&fs, Position::default()).unwrap_err();
    assert!(matches!(error, StorageError::NewerVersion { found: 9, supported: 1, .. }), "{error}");
    assert!(error.to_string().contains("version 9") && error.to_string().contains("version 1"), "{error}");
    assert_eq!(fs.read(&path_of(0)).unwrap(), bytes);
}

#[test]
fn each_run_goes_on_after_what_recovery_found() {
    let fs = MemFs::new();
    let mut expected = Vec::new();
    for run in 1..=3 {
        let (records, report) = recover(&fs);
        assert_eq!(records.len(), expected.len());
        let first = SegmentHeader { sequence: report.next_sequence, ..header(0, run) };
        let mut wal = open(&fs, first);
        let mut encoder = WalEncoder::new(first);
        for record in story(12) {
            encode(&mut encoder, &record);
            wal.append(&encoder.take(Vec::new())).unwrap();
            expected.push(record);
        }
        let second = first.next(Timestamp(5));
        wal.append(&encoder.begin_segment(second, Vec::new())).unwrap();
        assert_eq!(wal.rotate(second).unwrap(), first.sequence);
        encode(&mut encoder, &kept(99));
        expected.push(kept(99));
        wal.append(&encoder.take(Vec::new())).unwrap();
        wal.sync().unwrap();
        assert_eq!(wal.bytes(), fs.used_bytes());
    }
    fs.crash();
    let recovered = recover(&fs);
    assert_eq!(records_of(&recovered), expected);
    assert_eq!((recovered.1.segments, recovered.1.records_lost), (6, 0));
    assert_eq!(lanes(&fs, wal_dir()).unwrap(), [LANE]);
}

#[test]
fn a_crash_keeps_what_sync_returned_for() {
    let fs = MemFs::new();
    let mut wal = open(&fs, header(0, 1));
    let mut encoder = WalEncoder::new(header(0, 1));
    encoder.event(0, &event(1));
    wal.append(&encoder.take(Vec::new())).unwrap();
    wal.sync().unwrap();
    encoder.event(0, &event(2));
    wal.append(&encoder.take(Vec::new())).unwrap();
    assert_eq!(recover(&fs).0.len(), 2);
    fs.crash();
    assert_eq!(records_of(&recover(&fs)), [kept(1)]);
}

#[test]
fn removing_covered_segments_spares_the_open_one() {
    let fs = MemFs::new();
    let mut wal = open(&fs, header(0, 1));
    (1..4).for_each(|sequence| assert!(wal.rotate(header(sequence, 1)).is_ok()));
    for sequence in [2, 0, 3, 0, 99] {
        wal.remove(SegmentSequence(sequence)).unwrap();
    }
    assert_eq!((wal.bytes(), fs.used_bytes()), (80, 80));
    wal.remove(SegmentSequence(1)).unwrap();
    assert_eq!((wal.bytes(), fs.used_bytes(), wal.sequence()), (40, 40, SegmentSequence(3)));
}

#[test]
fn a_full_disk_loses_the_buffer_but_neither_what_was_nor_what_comes() {
    let fs = MemFs::new();
    let mut wal = open(&fs, header(0, 1));
    let mut encoder = WalEncoder::new(header(0, 1));
    encoder.event(0, &event(0));
    wal.append(&encoder.take(Vec::new())).unwrap();
    fs.set_faults(Faults { capacity_bytes: Some(fs.used_bytes() + 9), ..Faults::default() });
    encoder.event(0, &event(1));
    let error = wal.append(&encoder.take(Vec::new())).unwrap_err();
    assert!(error.is_disk_full() && !wal.is_poisoned(), "{error}");
    fs.set_faults(Faults::default());
    encoder.begin_block();
    encoder.event(0, &event(2));
    wal.append(&encoder.take(Vec::new())).unwrap();
    wal.sync().unwrap();
    let recovered = recover(&fs);
    assert_eq!(records_of(&recovered), [kept(0), kept(2)]);
    assert_eq!((recovered.1.records_lost, recovered.1.damage_total), (1, 0));
}

#[test]
fn after_a_lost_buffer_events_that_build_on_it_are_not_guessed_at() {
    let mut encoder = WalEncoder::new(header(0, 1));
    encoder.event(0, &event(0));
    let before = encoder.take(Vec::new());
    encoder.event(1, &event(1));
    drop(encoder.take(Vec::new()));
    encoder.event(0, &event(3));
    encoder.decision(1, b"stands alone").unwrap();
    let bytes = [header(0, 1).to_bytes(), before, encoder.take(Vec::new())].concat();
    let recovered = recover(&disk_with(0, &bytes));
    assert_eq!(records_of(&recovered), [kept(0), Kept::Decision(1, b"stands alone".to_vec())]);
    assert_eq!(recovered.1.records_lost, 2);
}

#[test]
fn a_failed_sync_poisons_the_writer() {
    let fs = MemFs::new();
    let mut wal = open(&fs, header(0, 1));
    let mut encoder = WalEncoder::new(header(0, 1));
    encoder.event(0, &event(0));
    let frames = encoder.take(Vec::new());
    wal.append(&frames).unwrap();
    fs.set_faults(Faults { sync: true, ..Faults::default() });
    assert!(matches!(wal.sync(), Err(StorageError::Io { operation: "sync", .. })));
    fs.set_faults(Faults::default());
    assert!(wal.sync().unwrap_err().is_poisoned());
    assert!(wal.append(&frames).unwrap_err().is_poisoned());
    assert!(wal.rotate(header(1, 1)).unwrap_err().is_poisoned());
}

#[test]
fn an_append_that_cannot_be_undone_poisons_the_writer() {
    let fs = MemFs::new();
    let mut wal = open(&fs, header(0, 1));
    let mut encoder = WalEncoder::new(header(0, 1));
    encoder.event(0, &event(0));
    fs.set_faults(Faults { capacity_bytes: Some(44), truncate: true, ..Faults::default() });
    assert!(wal.append(&encoder.take(Vec::new())).unwrap_err().is_disk_full());
    assert!(wal.is_poisoned());
}

#[test]
fn a_rotation_that_fails_leaves_the_old_segment_open_and_can_be_tried_again() {
    let fs = MemFs::new();
    let mut wal = open(&fs, header(0, 1));
    fs.set_faults(Faults { capacity_bytes: Some(50), ..Faults::default() });
    assert!(wal.rotate(header(1, 1)).unwrap_err().is_disk_full());
    assert_eq!((wal.sequence(), wal.is_poisoned()), (SegmentSequence(0), false));
    fs.set_faults(Faults::default());
    assert_eq!(wal.rotate(header(1, 1)).unwrap(), SegmentSequence(0));
}

#[test]
fn frames_of_another_segment_and_segments_out_of_order_are_refused() {
    let fs = MemFs::new();
    let mut wal = open(&fs, header(4, 1));
    let mut other = WalEncoder::new(header(5, 1));
    other.event(0, &event(0));
    assert!(matches!(wal.append(&other.take(Vec::new())), Err(StorageError::ForeignFrames { .. })));
    assert!(matches!(wal.rotate(header(4, 1)), Err(StorageError::SegmentOrder { .. })));
    let again = LaneWal::open(Arc::new(fs), wal_dir(), header(4, 1));
    assert!(matches!(again, Err(StorageError::SegmentOrder { open: 4, found: 4, .. })));
}

#[test]
fn a_read_only_data_dir_is_an_error_of_the_first_write() {
    let fs = MemFs::new();
    fs.set_faults(Faults { read_only: true, ..Faults::default() });
    let error = LaneWal::open(Arc::new(fs), wal_dir(), header(0, 1)).unwrap_err();
    assert!(error.to_string().starts_with("cannot create directory /data/wal/03"), "{error}");
}

/// Bytes an event takes, for 100,000 of them `micros` apart and flushed after every `batch`.
fn bytes_per_event(micros: i64, batch: i64) -> f64 {
    let mut encoder = WalEncoder::new(header(0, 1));
    let mut bytes = 0;
    for number in 0..100_000i64 {
        let slot = (number * number % 997) as u32;
        let event = WalEvent {
            timestamp: Timestamp(number * micros),
            template: TemplateId(u64::from(slot) << 20),
            // As lanes write it: rounded to its upper half.
            statistic: f32::from_bits((slot as f32 * 0.013 + (number / 300) as f32 * 1e-5).to_bits() & 0xffff_0000),
            stream: StreamKey((number / 4 % 50) as u64),
            severity: (slot % 5) as u8,
            flags: u8::from(number % 1_000 == 0),
            ..WalEvent::default()
        };
        encoder.event(slot, &event);
        if number % batch == 0 {
            bytes += encoder.take(Vec::new()).len();
        }
    }
    bytes += encoder.take(Vec::new()).len();
    bytes as f64 / 100_000.0
}

#[test]
fn an_event_takes_at_most_eight_bytes_amortised() {
    for (micros, batch) in [(10, 20_000), (137, 1_500)] {
        let bytes = bytes_per_event(micros, batch);
        assert!(bytes <= 8.0, "{bytes} bytes an event, {batch} a flush");
    }
}

#[test]
fn at_a_hundred_events_a_second_flushed_every_200_ms_an_event_takes_at_most_ten_bytes() {
    let bytes = bytes_per_event(10_007, 20);
    assert!(bytes <= 10.0, "{bytes} bytes");
}

#[test]
fn a_handed_back_buffer_is_used_again() {
    let mut encoder = WalEncoder::new(header(0, 1));
    let spare = Vec::with_capacity(4_096);
    let address = spare.as_ptr();
    assert!(encoder.take(spare).is_empty());
    encoder.event(0, &event(0));
    let taken = encoder.take(Vec::new());
    assert_eq!(taken.as_ptr(), address);
}

#[test]
fn what_exceeds_the_format_is_refused_and_not_numbered() {
    let mut encoder = WalEncoder::new(header(0, 1));
    let huge = vec![0; oddline::storage::wal::encode::MAX_CONTENT_BYTES + 1];
    assert!(matches!(encoder.decision(1, &huge), Err(StorageError::TooLarge { .. })));
    assert!(encoder.define_template(TemplateId(1), &huge, Timestamp(0)).is_err());
    assert_eq!((encoder.position().record, encoder.take(Vec::new()).len()), (0, 0));
    encoder.decision(1, &huge[1..]).unwrap();
    let bytes = [header(0, 1).to_bytes(), encoder.take(Vec::new())].concat();
    assert_eq!(recover(&disk_with(0, &bytes)).0.len(), 1);
}

fn any_event() -> impl Strategy<Value = Kept> {
    let ids = prop_oneof![
        4 => (0..4u64, 0..4u64, 0..4i64).boxed(),
        1 => (any::<u64>(), any::<u64>(), any::<i64>()).boxed(),
    ];
    let slot = prop_oneof![8 => 0..6u32, 1 => 1 << 23..=u32::MAX];
    let meta = (any::<u8>(), any::<u8>(), 0..3u8);
    let values = prop_oneof![2 => Just([0; VALUES]), 1 => any::<[u8; VALUES]>()];
    let parts = (ids, any::<u32>(), meta, slot, values);
    parts.prop_map(|((template, stream, time), bits, (severity, flags, shape), slot, values)| {
        let event = WalEvent {
            timestamp: Timestamp(time),
            template: TemplateId(template),
            statistic: f32::from_bits(if shape == 0 { bits } else { bits & 0x0003_0003 }),
            stream: StreamKey(stream),
            severity: severity & shape,
            flags: flags & shape & 0x7f,
            values,
        };
        Kept::Event(event, slot)
    })
}

fn any_record() -> impl Strategy<Value = Kept> {
    let template = (any::<u64>(), any::<i64>(), any::<Vec<u8>>());
    let decision = (any::<u8>(), any::<Vec<u8>>());
    prop_oneof![
        8 => any_event(),
        1 => template.prop_map(|(id, time, text)| Kept::Template(TemplateId(id), Timestamp(time), text)),
        1 => decision.prop_map(|(kind, payload)| Kept::Decision(kind, payload)),
    ]
}

proptest! {
    #[test]
    fn any_records_round_trip_bit_for_bit(records in prop::collection::vec(any_record(), 0..200), batch in 1..50usize) {
        let recovered = recover(&disk_with(0, &segment(header(0, 1), &records, batch)));
        prop_assert_eq!(records_of(&recovered), records);
        prop_assert_eq!(recovered.1.damage_total, 0);
    }

    #[test]
    fn any_bytes_after_a_valid_header_are_survived(noise: Vec<u8>) {
        let fs = disk_with(0, &[header(0, 1).to_bytes(), noise].concat());
        prop_assert!(recover(&fs).0.is_empty());
    }

    #[test]
    fn valid_frames_with_any_content_are_survived(kind in 0..5u8, payload: Vec<u8>) {
        let header = header(0, 1);
        let mut bytes = header.to_bytes();
        frame::put(&mut bytes, header.seed(), kind, &payload);
        frame::put(&mut bytes, header.seed(), 1, &[&[0, 0, 1], &payload[..]].concat());
        recover(&disk_with(0, &bytes));
    }
}

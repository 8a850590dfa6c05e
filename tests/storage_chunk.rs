//! Chunks: format, directories by hour, retention.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use oddline::event::{StreamKey, TemplateId, Timestamp};
use oddline::storage::chunk::{self, Chunk, ChunkId};
use oddline::storage::error::StorageError;
use oddline::storage::hour::Hour;
use oddline::storage::mem_fs::{Faults, MemFs};
use oddline::storage::retention::{ExpiryReason, expire};
use oddline::storage::wal::WalEvent;
use oddline::storage::{FileSystem, RealFs, chunk_dir, disk_usage};
use proptest::prelude::*;

const ID: ChunkId = ChunkId { lane: 2, sequence: 9, run: 1, first_event: 1_000 };
const HOUR: i64 = 3_600_000_000;

fn dir() -> &'static Path {
    Path::new("/data/chunks")
}

fn event(number: i64) -> WalEvent {
    WalEvent {
        timestamp: Timestamp(1_764_000_000_000_000 + number * 1_500),
        template: TemplateId(number as u64 % 5 + 100),
        statistic: (number % 5) as f32 * 0.5,
        stream: StreamKey(number as u64 % 3),
        severity: 2,
        flags: (number % 2) as u8,
        ..WalEvent::default()
    }
}

fn text(id: TemplateId) -> Option<Vec<u8>> {
    (id.0 != 104).then(|| format!("template {id}").into_bytes())
}

fn encode(events: &[WalEvent]) -> Vec<u8> {
    chunk::encode(ID, events, &mut text).unwrap()
}

fn decode(bytes: &[u8]) -> Result<Chunk, StorageError> {
    chunk::decode(Path::new("test.chunk"), bytes)
}

fn same(a: &[WalEvent], b: &[WalEvent]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_bits(b))
}

#[test]
fn golden_bytes() {
    let event = WalEvent {
        timestamp: Timestamp(1_000),
        template: TemplateId(0x1122_3344_5566_7788),
        statistic: 1.5,
        stream: StreamKey(0xfe),
        severity: 4,
        flags: 1,
        ..WalEvent::default()
    };
    let bytes = chunk::encode(ID, &[event], &mut |_| Some(b"a <*>".to_vec())).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "4f444c4e43484b31 01000000 02 000000 0900000000000000 01000000 e803000000000000",
        "10000000 19000000 28b52ffd2010810000 01 8877665544332211 01 05 61203c2a3e",
        "02000000 0b000000 28b52ffd2002110000 d00f",
        "01000000 0a000000 28b52ffd2001090000 00",
        "04000000 0d000000 28b52ffd2004210000 0000c03f",
        "0a000000 13000000 28b52ffd200a510000 01 fe00000000000000 00",
        "02000000 0b000000 28b52ffd2002110000 0401",
        "0100000000000000 e803000000000000 e803000000000000 d900000000000000 4d17fabd 4f444c4e43484b45",
    ];
    assert_eq!(hex, expected.concat().replace(' ', ""));
}

#[test]
fn events_templates_counts_and_times_come_back() {
    let events: Vec<WalEvent> = (0..1_003).map(event).collect();
    let bytes = encode(&events);
    let chunk = decode(&bytes).unwrap();
    assert!(same(&chunk.events, &events));
    assert_eq!(chunk.id, ID);
    assert_eq!((chunk.min_time, chunk.max_time), (events[0].timestamp, events[1_002].timestamp));
    let templates: Vec<(u64, u64, &[u8])> = chunk.templates.iter().map(|t| (t.id.0, t.events, &t.text[..])).collect();
    assert_eq!(templates[0], (100, 201, &b"template 0000000000000064"[..]));
    assert_eq!(templates[4], (104, 200, &b""[..]), "a template without a text has an empty one");
    assert!(bytes.len() < 3_000, "{} bytes for 1,003 events", bytes.len());
}

#[test]
fn an_empty_window_is_a_chunk_too() {
    let chunk = decode(&encode(&[])).unwrap();
    assert_eq!((chunk.events.len(), chunk.templates.len(), chunk.max_time), (0, 0, Timestamp(0)));
}

#[test]
fn a_flip_of_any_byte_and_a_cut_at_any_length_is_damage() {
    let good = encode(&[event(0), event(1)]);
    for (offset, mask) in (0..good.len()).flat_map(|offset| [(offset, 0x01), (offset, 0x10), (offset, 0xff)]) {
        let mut bad = good.clone();
        bad[offset] ^= mask;
        assert!(matches!(decode(&bad), Err(StorageError::Damaged { .. })), "byte {offset}");
    }
    for length in 0..good.len() {
        assert!(matches!(decode(&good[..length]), Err(StorageError::Damaged { .. })), "length {length}");
    }
}

/// Sets the checksum right, as a buggy writer would.
fn reseal(bytes: &mut [u8]) {
    let end = bytes.len() - 12;
    let crc = crc32c::crc32c(&bytes[..end]);
    bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_flip_of_any_byte_under_a_valid_checksum_does_not_panic() {
    let good = encode(&(0..20).map(event).collect::<Vec<_>>());
    for (offset, mask) in (0..good.len()).flat_map(|offset| [(offset, 0x01), (offset, 0x80), (offset, 0xff)]) {
        let mut bad = good.clone();
        bad[offset] ^= mask;
        reseal(&mut bad);
        drop(decode(&bad));
    }
}

#[test]
fn a_newer_version_is_refused_with_both_versions() {
    let mut bytes = encode(&[event(0)]);
    bytes[8] = 3;
    reseal(&mut bytes);
    let error = decode(&bytes).unwrap_err();
    assert!(matches!(error, StorageError::NewerVersion { found: 3, supported: 1, .. }), "{error}");
}

#[test]
fn chunks_are_listed_by_hour_lane_and_sequence_and_strangers_left_alone() {
    let fs = MemFs::new();
    let (early, late) = (Hour::of(Timestamp(0)), Hour::of(Timestamp(HOUR)));
    for (hour, lane, sequence) in [(late, 0, 1), (early, 1, 0), (early, 0, 0x10), (early, 0, 2)] {
        chunk_dir::write(&fs, dir(), hour, lane, sequence, &encode(&[event(0)])).unwrap();
    }
    fs.put(&dir().join("19700101T00/notes.txt"), b"");
    fs.put(&dir().join("lost+found/file"), b"");
    assert_eq!(chunk_dir::hours(&fs, dir()).unwrap(), [early, late]);
    let files = chunk_dir::chunks_of(&fs, dir(), early).unwrap();
    assert_eq!(files.iter().map(|file| (file.lane, file.sequence)).collect::<Vec<_>>(), [(0, 2), (0, 0x10), (1, 0)]);
    assert_eq!(files[0].path, dir().join("19700101T00/00-0000000000000002.chunk"));
    assert_eq!(chunk_dir::read(&fs, &files[0].path).unwrap().events.len(), 1);
    assert_eq!(chunk_dir::hours(&MemFs::new(), dir()).unwrap(), []);
}

#[test]
fn a_chunk_that_does_not_fit_the_disk_leaves_no_debris() {
    let fs = MemFs::new();
    fs.set_faults(Faults { capacity_bytes: Some(20), ..Faults::default() });
    let error = chunk_dir::write(&fs, dir(), Hour::of(Timestamp(0)), 0, 0, &encode(&[event(0)])).unwrap_err();
    assert!(error.is_disk_full());
    assert_eq!(fs.used_bytes(), 0);
}

fn hours_of_100_bytes(fs: &MemFs, hours: std::ops::Range<i64>) {
    for hour in hours {
        chunk_dir::write(fs, dir(), Hour::of(Timestamp(hour * HOUR)), 0, 0, &[0; 100]).unwrap();
    }
}

fn left(fs: &MemFs) -> Vec<i64> {
    let hours = chunk_dir::hours(fs, dir()).unwrap();
    hours.into_iter().map(|hour| hour.start().0 / HOUR).collect()
}

#[test]
fn hours_go_once_all_of_them_is_too_old() {
    let fs = MemFs::new();
    hours_of_100_bytes(&fs, 0..10);
    let last_instant = Timestamp(10 * HOUR - 1);
    let expired = expire(&fs, dir(), last_instant, 3, u64::MAX).unwrap();
    assert_eq!(left(&fs), [6, 7, 8, 9]);
    assert_eq!(expired.hours.len(), 6);
    assert!(expired.hours.iter().all(|hour| hour.bytes == 100 && hour.reason == ExpiryReason::Age));
    assert_eq!(expired.kept_bytes, 400);
    assert_eq!(expire(&fs, dir(), last_instant, 3, u64::MAX).unwrap().hours, []);
}

#[test]
fn the_oldest_go_for_space_but_never_the_current_hour() {
    let fs = MemFs::new();
    hours_of_100_bytes(&fs, 0..10);
    let now = Timestamp(9 * HOUR);
    let expired = expire(&fs, dir(), now, 1_000, 250).unwrap();
    assert_eq!(left(&fs), [8, 9]);
    assert!(expired.hours.iter().all(|hour| hour.reason == ExpiryReason::Space));
    assert_eq!(expire(&fs, dir(), now, 1_000, 0).unwrap().kept_bytes, 100);
    assert_eq!(left(&fs), [9]);
}

#[test]
fn a_clock_that_went_back_removes_nothing() {
    let fs = MemFs::new();
    hours_of_100_bytes(&fs, 5..8);
    assert_eq!(expire(&fs, dir(), Timestamp(0), 1, 0).unwrap().hours, []);
    assert_eq!(expire(&MemFs::new(), dir(), Timestamp(0), 1, 0).unwrap().hours, []);
}

#[test]
fn the_real_file_system_does_what_the_one_in_memory_does() {
    let temporary = tempfile::tempdir().unwrap();
    let chunks = temporary.path().join("data/chunks");
    let bytes = encode(&[event(0)]);
    for hour in 0..3 {
        chunk_dir::write(&RealFs, &chunks, Hour::of(Timestamp(hour * HOUR)), 0, 0, &bytes).unwrap();
    }
    let files = chunk_dir::chunks_of(&RealFs, &chunks, Hour::of(Timestamp(0))).unwrap();
    assert_eq!((files.len(), files[0].bytes), (1, bytes.len() as u64));
    assert!(same(&chunk_dir::read(&RealFs, &files[0].path).unwrap().events, &[event(0)]));
    assert_eq!(expire(&RealFs, &chunks, Timestamp(2 * HOUR), 1, u64::MAX).unwrap().hours.len(), 1);
    assert_eq!(disk_usage(&RealFs, temporary.path()).unwrap(), 2 * bytes.len() as u64);
    assert_eq!(RealFs.list(&chunks).unwrap().len(), 2);
}

fn any_event() -> impl Strategy<Value = WalEvent> {
    let ids = prop_oneof![(0..4u64, 0..4u64), (any::<u64>(), any::<u64>())];
    (ids, any::<i64>(), any::<u32>(), any::<u8>(), any::<u8>()).prop_map(
        |((template, stream), time, bits, severity, flags)| WalEvent {
            timestamp: Timestamp(time),
            template: TemplateId(template),
            statistic: f32::from_bits(bits),
            stream: StreamKey(stream),
            severity,
            flags,
            ..WalEvent::default()
        },
    )
}

proptest! {
    #[test]
    fn any_events_round_trip_bit_for_bit(events in prop::collection::vec(any_event(), 0..300)) {
        let chunk = decode(&encode(&events)).unwrap();
        prop_assert!(same(&chunk.events, &events));
        prop_assert_eq!(chunk.templates.iter().map(|t| t.events).sum::<u64>(), events.len() as u64);
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        prop_assert!(decode(&bytes).is_err());
    }
}

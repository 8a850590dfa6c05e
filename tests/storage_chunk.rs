//! The history: format of L1 and L2, merging, directories by hour, retention.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use oddline::event::{StreamKey, TemplateId, Timestamp};
use oddline::storage::chunk::{self, ChunkOptions, ChunkReader, ChunkWriter, EventAt, Group, Level, MOST_SERIES};
use oddline::storage::error::StorageError;
use oddline::storage::hour::Hour;
use oddline::storage::mem_fs::{Faults, MemFs};
use oddline::storage::retention::{ExpiryReason, expire};
use oddline::storage::wal::WalEvent;
use oddline::storage::{FileSystem, RealFs, chunk_dir, disk_usage};
use proptest::prelude::*;

const HOUR: i64 = 3_600_000_000;
const BEGUN: i64 = 1_764_000_000_000_000;

fn dir() -> &'static Path {
    Path::new("/data/chunks")
}

fn options(level: Level) -> ChunkOptions {
    ChunkOptions { level, created: Timestamp(BEGUN), window_secs: 10, marked_flag: 1, keeps_events: true }
}

fn event(number: i64) -> WalEvent {
    WalEvent {
        timestamp: Timestamp(BEGUN + number * 1_500),
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

fn at(lane: u8, number: u64) -> EventAt {
    EventAt { lane, run: 1, sequence: 9, number }
}

fn disk() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir_all(Path::new("/d")).unwrap();
    fs
}

/// A file `/d/<name>` with these events of lane 2 from number 1,000 on.
fn write(fs: &MemFs, name: &str, events: &[WalEvent]) -> PathBuf {
    let mut writer = ChunkWriter::create(fs, Path::new("/d"), name, options(Level::L1)).unwrap();
    writer.add_source(2, 9);
    for (number, event) in (1_000..).zip(events) {
        writer.push(at(2, number), event).unwrap();
    }
    writer.finish(&mut text).unwrap().path
}

fn groups(fs: &MemFs, reader: &ChunkReader) -> Vec<Group> {
    reader.summary().groups.iter().map(|place| reader.group(fs, place).unwrap()).collect()
}

fn read(fs: &MemFs, path: &Path) -> Vec<WalEvent> {
    let reader = ChunkReader::open(fs, path).unwrap();
    groups(fs, &reader).into_iter().flat_map(|group| group.events).collect()
}

fn same(a: &[WalEvent], b: &[WalEvent]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_bits(b))
}

/// Three groups: three lanes, a few events each.
fn three_groups(fs: &MemFs) -> PathBuf {
    let mut writer = ChunkWriter::create(fs, Path::new("/d"), "three", options(Level::L2)).unwrap();
    for lane in 0..3u8 {
        writer.add_source(lane, 9);
        (0..4).for_each(|n| writer.push(at(lane, n), &event(n as i64)).unwrap());
    }
    writer.finish(&mut text).unwrap().path
}

/// The bytes of a file with events from so many numbers on, of another run from event `split` on; `cuts` say how many are handed over at once.
fn written(events: &[WalEvent], split: usize, options: ChunkOptions, cuts: &[usize]) -> Vec<u8> {
    let fs = disk();
    let mut writer = ChunkWriter::create(&fs, Path::new("/d"), "one", options).unwrap();
    let (former, later) = events.split_at(split.min(events.len()));
    for (run, mut rest) in [(1, former), (2, later)] {
        let mut number = 1_000;
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (taken, left) = rest.split_at((*cuts.next().unwrap()).clamp(1, rest.len()));
            writer.extend(EventAt { lane: 2, run, sequence: 9, number }, taken).unwrap();
            number += taken.len() as u64;
            rest = left;
        }
    }
    fs.read(&writer.finish(&mut text).unwrap().path).unwrap()
}

#[test]
fn however_many_events_are_handed_over_at_once_the_same_file_is_written() {
    // More than a group holds.
    let events: Vec<WalEvent> = (0..70_000).map(event).collect();
    for keeps_events in [true, false] {
        let options = ChunkOptions { keeps_events, ..options(Level::L1) };
        for split in [0, 300, 66_000] {
            let one_by_one = written(&events, split, options, &[1]);
            for cuts in [&[usize::MAX][..], &[65_536], &[7, 4_000, 1, 61_000]] {
                assert!(written(&events, split, options, cuts) == one_by_one, "{keeps_events} {split} {cuts:?}");
            }
        }
    }
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
    let fs = disk();
    let mut writer = ChunkWriter::create(&fs, Path::new("/d"), "golden", options(Level::L1)).unwrap();
    writer.add_source(2, 9);
    writer.push(at(2, 1_000), &event).unwrap();
    let path = writer.finish(&mut |_| Some(b"a <*>".to_vec())).unwrap().path;
    let hex: String = fs.read(&path).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        // header; frame of the group, its head, its columns; frame of the summary; footer
        "4f444c4e43484b32 02000000 01000000 0040624159440600 4b531d50",
        "f50d ea56 83000000 c53907ef 01",
        "02 01000000 0900000000000000 e803000000000000 01 e803000000000000 e803000000000000",
        "0811 28b52ffd20084100008877665544332211 020b 28b52ffd2002110000d00f 010a 28b52ffd200109000000",
        "040d 28b52ffd20042100000000c03f 0a13 28b52ffd200a51000001fe0000000000000000 020b 28b52ffd20021100000401",
        "f50d 3f9a 44000000 96e8c72d 02",
        "4c4228b52ffd204ccd0100e40280ade204000000010209011c9001020100000009e80701e803000188776655443322110105",
        "61203c2a3e0100010103003e27ae3ca000c6",
        "ac00000000000000 1901000000000000 72138e19 4f444c4e43484b45",
    ];
    assert_eq!(hex, expected.concat().replace(' ', ""));
}

#[test]
fn events_templates_counts_and_times_come_back() {
    let events: Vec<WalEvent> = (0..20_003).map(event).collect();
    let fs = disk();
    let path = write(&fs, "chunk", &events);
    assert!(same(&read(&fs, &path), &events));
    let reader = ChunkReader::open(&fs, &path).unwrap();
    let summary = reader.summary();
    assert_eq!((summary.events(), summary.groups.len(), &summary.sources[..]), (20_003, 1, &[(2, 9)][..]));
    let place = summary.groups[0];
    assert_eq!((place.id.lane, place.id.first_event, place.events), (2, 1_000, 20_003));
    assert_eq!((place.min_time, place.max_time), (events[0].timestamp, events[20_002].timestamp));
    let first = &summary.templates[0];
    assert_eq!(
        (first.id.0, first.events, first.marked, &first.text[..]),
        (100, 4_001, 2_000, &b"template 0000000000000064"[..])
    );
    // A window of ten seconds holds 6,667 of these events.
    let points: Vec<(i64, u64, u64)> =
        summary.points(first).map(|point| (point.start.0 - BEGUN, point.events, point.marked)).collect();
    assert_eq!(points, [(0, 1_334, 667), (10_000_000, 1_333, 666), (20_000_000, 1_333, 667), (30_000_000, 1, 0)]);
    assert_eq!(summary.templates[4].text, b"", "a template without a text has an empty one");
    let bytes = fs.len(&path).unwrap();
    assert!(bytes < 12_000, "{bytes} bytes for 20,003 events");
}

#[test]
fn a_gap_in_the_numbers_begins_a_group_so_that_a_number_finds_its_event() {
    let fs = disk();
    let mut writer = ChunkWriter::create(&fs, Path::new("/d"), "gap", options(Level::L1)).unwrap();
    for number in (0..5).chain(9..12) {
        writer.push(at(0, number), &event(number as i64)).unwrap();
    }
    let path = writer.finish(&mut text).unwrap().path;
    let reader = ChunkReader::open(&fs, &path).unwrap();
    let found: Vec<(u64, usize)> = groups(&fs, &reader).iter().map(|g| (g.id.first_event, g.events.len())).collect();
    assert_eq!(found, [(0, 5), (9, 3)]);
}

#[test]
fn more_events_than_a_group_takes_go_into_several() {
    let fs = disk();
    let events: Vec<WalEvent> = (0..300_000).map(event).collect();
    let path = write(&fs, "large", &events);
    assert_eq!(ChunkReader::open(&fs, &path).unwrap().summary().groups.len(), 5);
    assert!(same(&read(&fs, &path), &events));
}

#[test]
fn a_file_without_events_is_whole_and_one_that_only_counts_counts() {
    let fs = disk();
    let reader = ChunkReader::open(&fs, &write(&fs, "empty", &[])).unwrap();
    assert_eq!((reader.summary().events(), reader.summary().groups.len()), (0, 0));
    let options = ChunkOptions { keeps_events: false, ..options(Level::L1) };
    let mut writer = ChunkWriter::create(&fs, Path::new("/d"), "thin", options).unwrap();
    (0..100).for_each(|n| writer.push(at(0, n), &event(n as i64)).unwrap());
    let written = writer.finish(&mut text).unwrap();
    assert_eq!((written.events, written.dropped_events), (100, 100));
    let reader = ChunkReader::open(&fs, &written.path).unwrap();
    assert_eq!((reader.summary().events(), reader.summary().groups.len()), (100, 0));
}

#[test]
fn beyond_the_cap_the_series_counted_least_recently_go_and_no_event_is_forgotten() {
    let fs = disk();
    let mut writer = ChunkWriter::create(&fs, Path::new("/d"), "many", options(Level::L1)).unwrap();
    let many = MOST_SERIES as u64 * 3;
    for number in 0..many {
        let of = |template| WalEvent { template: TemplateId(template), ..event(number as i64) };
        writer.push(at(0, number * 2), &of(number + 10)).unwrap();
        writer.push(at(0, number * 2 + 1), &of(1)).unwrap();
    }
    let path = writer.finish(&mut |_| None).unwrap().path;
    let reader = ChunkReader::open(&fs, &path).unwrap();
    let summary = reader.summary();
    assert!(summary.templates.len() <= MOST_SERIES && summary.templates.len() > MOST_SERIES / 2);
    assert_eq!(summary.templates[0].events, many, "what is counted all the time stays");
    assert!(summary.templates.iter().any(|counts| counts.id.0 == many + 9), "and what was counted last");
    assert_eq!(summary.events(), many * 2);
    assert_eq!(summary.unlisted_events, summary.evicted_series);
}

#[test]
fn times_anywhere_cost_their_series_and_not_the_memory() {
    let fs = disk();
    let mut writer = ChunkWriter::create(&fs, Path::new("/d"), "wild", options(Level::L1)).unwrap();
    for number in 0..700_000u64 {
        let wild = WalEvent {
            timestamp: Timestamp(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) as i64),
            ..event(number as i64)
        };
        writer.push(at(0, number), &wild).unwrap();
    }
    let path = writer.finish(&mut text).unwrap().path;
    let reader = ChunkReader::open(&fs, &path).unwrap();
    assert_eq!(reader.summary().events(), 700_000);
    assert!(reader.summary().unlisted_events > 0);
    assert_eq!(reader.verify(&fs).unwrap(), 700_000);
}

/// Whatever a file is: an error, or what was written; and salvage finds what was not touched.
fn survives(good: &[u8], bad: &[u8], touched: impl Fn(u64, u64) -> bool, what: &str) {
    let fs = disk();
    let path = Path::new("/d/three");
    fs.put(path, good);
    let reader = ChunkReader::open(&fs, path).unwrap();
    let (places, expected) = (reader.summary().groups.clone(), groups(&fs, &reader));
    fs.put(path, bad);
    let untouched: Vec<&Group> = places
        .iter()
        .zip(&expected)
        .filter(|(place, _)| !touched(place.offset, place.offset + place.length))
        .map(|(_, group)| group)
        .collect();
    match ChunkReader::open(&fs, path) {
        Err(error) => assert!(matches!(error, StorageError::Damaged { .. }), "{what}: {error}"),
        Ok(reader) => {
            let read: Vec<Group> = places.iter().filter_map(|place| reader.group(&fs, place).ok()).collect();
            assert!(read.iter().eq(untouched.iter().copied()), "{what}");
            assert_eq!(reader.summary().events(), 12, "{what}");
        }
    }
    if touched(0, 28) {
        return;
    }
    let salvaged = chunk::salvage(&fs, path, Path::new("/d"), "saved", options(Level::L2)).unwrap();
    assert_eq!(salvaged.is_some(), !untouched.is_empty(), "{what}");
    if let Some(written) = salvaged {
        let reader = ChunkReader::open(&fs, &written.path).unwrap();
        assert!(groups(&fs, &reader).iter().eq(untouched.iter().copied()), "{what}");
        let kept: u64 = untouched.iter().map(|group| group.events.len() as u64).sum();
        assert_eq!(written.events - written.dropped_events, kept, "{what}");
    }
}

/// What is whole of the file of three groups with these bytes flipped, as its summary.
fn salvaged(flipped: impl Fn(&ChunkReader, usize) -> usize) -> (chunk::Written, ChunkReader) {
    let fs = disk();
    let path = three_groups(&fs);
    let mut bytes = fs.read(&path).unwrap();
    let at = flipped(&ChunkReader::open(&fs, &path).unwrap(), bytes.len());
    bytes[at] ^= 0x04;
    fs.put(&path, &bytes);
    // Another length of windows is configured than the file has.
    let other = ChunkOptions { window_secs: 3_600, ..options(Level::L2) };
    let written = chunk::salvage(&fs, &path, Path::new("/d"), "saved", other).unwrap().unwrap();
    let reader = ChunkReader::open(&fs, &written.path).unwrap();
    (written, reader)
}

#[test]
fn a_damaged_group_costs_its_events_and_no_count() {
    let fs = disk();
    let before = ChunkReader::open(&fs, &three_groups(&fs)).unwrap();
    let (written, reader) = salvaged(|reader, _| reader.summary().groups[1].offset as usize + 20);
    assert_eq!((written.events, written.dropped_events), (12, 4));
    let (before, after) = (before.summary(), reader.summary());
    assert_eq!((&after.templates, after.window_micros), (&before.templates, before.window_micros));
    assert_eq!((after.groups.len(), &after.sources), (2, &before.sources));
}

#[test]
fn a_damaged_footer_costs_nothing_even_of_a_file_that_only_counts() {
    let (written, reader) = salvaged(|_, length| length - 10);
    assert_eq!((written.events, written.dropped_events, reader.summary().groups.len()), (12, 0, 3));
    let fs = disk();
    let thin = ChunkOptions { keeps_events: false, ..options(Level::L1) };
    let mut writer = ChunkWriter::create(&fs, Path::new("/d"), "thin", thin).unwrap();
    writer.add_source(3, 7);
    (0..100).for_each(|n| writer.push(at(3, n), &event(n as i64)).unwrap());
    let path = writer.finish(&mut text).unwrap().path;
    let before = ChunkReader::open(&fs, &path).unwrap();
    let mut bytes = fs.read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs.put(&path, &bytes);
    let written = chunk::salvage(&fs, &path, Path::new("/d"), "saved", options(Level::L2)).unwrap().unwrap();
    assert_eq!((written.events, written.dropped_events), (100, 100));
    assert_eq!(ChunkReader::open(&fs, &written.path).unwrap().summary(), before.summary());
}

#[test]
fn without_the_summary_a_group_stands_for_every_segment_its_events_were_in() {
    let fs = disk();
    let mut writer = ChunkWriter::create(&fs, Path::new("/d"), "hour", options(Level::L2)).unwrap();
    // Three segments of ten events, more than a group takes, one more segment after a gap, and another lane.
    let push = |writer: &mut ChunkWriter<'_>, lane: u8, sequence: u64, numbers: std::ops::Range<u64>| {
        writer.add_source(lane, sequence);
        numbers
            .for_each(|number| writer.push(EventAt { lane, run: 1, sequence, number }, &event(number as i64)).unwrap());
    };
    push(&mut writer, 0, 1, 0..10);
    push(&mut writer, 0, 2, 10..20);
    push(&mut writer, 0, 3, 20..70_000);
    push(&mut writer, 0, 9, 80_000..80_010);
    push(&mut writer, 1, 4, 0..10);
    let path = writer.finish(&mut text).unwrap().path;
    let good = fs.read(&path).unwrap();
    fs.put(&path, &good[..good.len() - 40]);
    let written = chunk::salvage(&fs, &path, Path::new("/d"), "saved", options(Level::L2)).unwrap().unwrap();
    let reader = ChunkReader::open(&fs, &written.path).unwrap();
    assert_eq!(reader.summary().events(), 70_020);
    assert_eq!(reader.summary().sources, [(0, 1), (0, 2), (0, 3), (0, 9), (1, 4)]);
}

#[test]
fn in_a_merged_file_the_series_counted_least_recently_go() {
    let fs = disk();
    let half = MOST_SERIES as u64 / 2 + 100;
    // The first file has the higher ids and the later events; each half fits, both do not.
    let file = |name: &str, first_id: u64, first_time: i64| {
        let mut writer = ChunkWriter::create(&fs, Path::new("/d"), name, options(Level::L1)).unwrap();
        for n in 0..half {
            // Within a file the highest id is the one counted first.
            let template = TemplateId(first_id + half - n);
            writer.push(at(0, n), &WalEvent { template, ..event(first_time + n as i64) }).unwrap();
        }
        writer.finish(&mut |_| None).unwrap().path
    };
    let inputs = [file("a", 1_000_000, 0), file("b", 1, 10_000_000)];
    let merged = chunk::merge(&fs, Path::new("/d"), "hour.l2", options(Level::L2), &inputs).unwrap();
    let reader = ChunkReader::open(&fs, &merged.written.unwrap().path).unwrap();
    let kept = |id: u64| reader.summary().templates.iter().any(|counts| counts.id.0 == id);
    assert!(reader.summary().evicted_series > 0);
    assert!(!kept(1_000_000 + half), "counted first of all");
    assert!(kept(1_000_001) && kept(1 + half) && kept(2), "counted last in its file, and all of the later file");
}

#[test]
fn a_flip_of_any_byte_costs_its_part_and_yields_nothing_wrong() {
    let fs = disk();
    let path = three_groups(&fs);
    let good = fs.read(&path).unwrap();
    for (offset, mask) in (0..good.len()).flat_map(|offset| [(offset, 0x01), (offset, 0x10), (offset, 0xff)]) {
        let mut bad = good.clone();
        bad[offset] ^= mask;
        let at = offset as u64;
        survives(&good, &bad, |from, to| (from..to).contains(&at), &format!("byte {offset}"));
    }
}

#[test]
fn a_cut_at_any_length_is_damage_and_what_is_whole_before_it_is_found() {
    let fs = disk();
    let path = three_groups(&fs);
    let good = fs.read(&path).unwrap();
    for length in 0..good.len() {
        survives(&good, &good[..length], |_, to| to > length as u64, &format!("length {length}"));
    }
}

#[test]
fn a_newer_version_is_refused_with_both_versions() {
    let fs = disk();
    let path = write(&fs, "chunk", &[event(0)]);
    let mut bytes = fs.read(&path).unwrap();
    bytes[8] = 7;
    let crc = crc32c::crc32c(&bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    fs.put(&path, &bytes);
    let error = ChunkReader::open(&fs, &path).unwrap_err();
    assert!(matches!(error, StorageError::NewerVersion { found: 7, supported: 2, .. }), "{error}");
}

/// The L1 file of a segment of lane 0 in the hour, holding ten events.
fn l1(fs: &MemFs, hour: Hour, sequence: u64) {
    let mut writer = chunk_dir::create_l1(fs, dir(), hour, (0, sequence), options(Level::L1)).unwrap();
    for number in sequence * 10..sequence * 10 + 10 {
        writer.push(EventAt { lane: 0, run: 1, sequence, number }, &event(number as i64)).unwrap();
    }
    writer.finish(&mut text).unwrap();
}

fn an_hour() -> Hour {
    "20251201T10".parse().unwrap()
}

/// First event and events of each group of the hour.
fn hour_events(fs: &MemFs) -> Vec<(u64, usize)> {
    let files = chunk_dir::open_hour(fs, dir(), an_hour()).unwrap();
    assert!(files.damaged.is_empty(), "{:?}", files.damaged);
    let all = files.readers.iter().flat_map(|reader| groups(fs, reader));
    all.map(|group| (group.id.first_event, group.events.len())).collect()
}

fn merge(fs: &MemFs) -> Result<Option<chunk::Merged>, StorageError> {
    chunk_dir::merge_hour(fs, dir(), an_hour(), options(Level::L2))
}

#[test]
fn an_hour_is_merged_into_one_file_and_what_comes_later_with_the_next_merge() {
    let fs = MemFs::new();
    (0..6).for_each(|sequence| l1(&fs, an_hour(), sequence));
    let events = hour_events(&fs);
    assert_eq!(events.len(), 6);
    merge(&fs).unwrap().unwrap();
    assert_eq!(hour_events(&fs), [(0, 60)], "segments that follow each other become one group");
    assert_eq!(chunk_dir::chunks_of(&fs, dir(), an_hour()).unwrap(), []);
    let reader = &chunk_dir::open_hour(&fs, dir(), an_hour()).unwrap().readers[0];
    assert_eq!(reader.summary().templates[0].text, b"template 0000000000000064");
    assert_eq!(reader.summary().templates[0].events, 12);
    l1(&fs, an_hour(), 8);
    assert_eq!(hour_events(&fs), [(0, 60), (80, 10)]);
    merge(&fs).unwrap().unwrap();
    assert_eq!(hour_events(&fs), [(0, 60), (80, 10)]);
    assert!(merge(&fs).unwrap().is_none(), "nothing is left to merge");
    let sealed = chunk_dir::sealed_segments(&fs, dir()).unwrap();
    assert_eq!(sealed.into_iter().map(|(_, sequence)| sequence).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 8]);
}

#[test]
fn a_crash_between_writing_l2_and_removing_l1_shows_no_event_twice() {
    let fs = MemFs::new();
    (0..3).for_each(|sequence| l1(&fs, an_hour(), sequence));
    fs.set_faults(Faults { remove: true, ..Faults::default() });
    assert!(merge(&fs).is_err());
    assert_eq!(chunk_dir::chunks_of(&fs, dir(), an_hour()).unwrap().len(), 3);
    assert_eq!(hour_events(&fs), [(0, 30)]);
    fs.set_faults(Faults::default());
    assert!(merge(&fs).unwrap().is_none(), "all of it is merged; what was left is only removed");
    assert_eq!(chunk_dir::chunks_of(&fs, dir(), an_hour()).unwrap(), []);
    assert_eq!(hour_events(&fs), [(0, 30)]);
}

#[test]
fn a_merge_that_fails_anywhere_changes_nothing_that_is_read() {
    let before: Vec<(u64, usize)> = (0..3).map(|n| (n * 10, 10)).collect();
    let room = |fs: &MemFs| Some(fs.used_bytes() + 300);
    for fault in 0..4 {
        let fs = MemFs::new();
        (0..3).for_each(|sequence| l1(&fs, an_hour(), sequence));
        let faults = match fault {
            0 => Faults { capacity_bytes: room(&fs), ..Faults::default() },
            1 => Faults { sync: true, ..Faults::default() },
            2 => Faults { rename: true, ..Faults::default() },
            _ => Faults { read: true, ..Faults::default() },
        };
        fs.set_faults(faults);
        assert!(merge(&fs).is_err(), "fault {fault}");
        fs.set_faults(Faults::default());
        assert_eq!(hour_events(&fs), before, "fault {fault}");
        fs.crash();
        assert_eq!(hour_events(&fs), before, "fault {fault} and a power cut");
    }
}

#[test]
fn a_damaged_l1_file_is_left_out_and_left_alone_and_a_damaged_l2_file_stops_the_merge() {
    let fs = MemFs::new();
    (0..3).for_each(|sequence| l1(&fs, an_hour(), sequence));
    let damaged = chunk_dir::chunks_of(&fs, dir(), an_hour()).unwrap()[1].path.clone();
    let mut bytes = fs.read(&damaged).unwrap();
    bytes[60] ^= 1;
    fs.put(&damaged, &bytes);
    let merged = merge(&fs).unwrap().unwrap();
    assert_eq!((merged.merged.len(), merged.damaged.len()), (2, 1));
    assert_eq!(fs.read(&damaged).unwrap(), bytes);
    let l2 = chunk_dir::l2_of(&fs, dir(), an_hour()).unwrap().unwrap();
    let mut bytes = fs.read(&l2).unwrap();
    bytes[60] ^= 1;
    fs.put(&l2, &bytes);
    l1(&fs, an_hour(), 7);
    assert!(matches!(merge(&fs), Err(StorageError::Damaged { .. })));
    assert_eq!(fs.read(&l2).unwrap(), bytes);
}

#[test]
fn the_hours_chunks_are_listed_and_strangers_left_alone() {
    let fs = MemFs::new();
    let (ten, eleven) = (an_hour(), "20251201T11".parse().unwrap());
    [(eleven, 2), (ten, 3), (ten, 1)].into_iter().for_each(|(hour, sequence)| l1(&fs, hour, sequence));
    fs.put(&dir().join("20251201T10/00-0000000000000001.chunk.tmp"), b"torn");
    fs.put(&dir().join("20251201T10/notes"), b"");
    fs.put(&dir().join("readme"), b"");
    assert_eq!(chunk_dir::hours(&fs, dir()).unwrap(), [ten, eleven]);
    let files = chunk_dir::chunks_of(&fs, dir(), ten).unwrap();
    assert_eq!(files.iter().map(|file| (file.lane, file.sequence)).collect::<Vec<_>>(), [(0, 1), (0, 3)]);
}

#[test]
fn a_file_that_does_not_fit_the_disk_leaves_no_debris() {
    let fs = MemFs::new();
    fs.set_faults(Faults { capacity_bytes: Some(10), ..Faults::default() });
    let result = chunk_dir::create_l1(&fs, dir(), an_hour(), (0, 0), options(Level::L1));
    assert!(result.unwrap_err().is_disk_full());
    assert_eq!(fs.used_bytes(), 0);
}

fn hours_of_100_bytes(fs: &MemFs, hours: std::ops::Range<i64>) {
    for hour in hours {
        let name = Hour::of(Timestamp(hour * HOUR)).to_string();
        fs.put(&dir().join(name).join("00-0000000000000000.chunk"), &[0; 100]);
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
fn an_hour_that_will_not_go_keeps_no_other_from_going() {
    let fs = MemFs::new();
    hours_of_100_bytes(&fs, 0..4);
    fs.set_faults(Faults { remove: true, ..Faults::default() });
    let expired = expire(&fs, dir(), Timestamp(9 * HOUR), 1, u64::MAX).unwrap();
    assert_eq!((expired.hours.len(), expired.failed.len(), expired.kept_bytes), (0, 4, 400));
    assert!(expired.failed[0].contains("cannot remove"), "{:?}", expired.failed);
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
    for hour in 0..3 {
        let hour = Hour::of(Timestamp(hour * HOUR));
        for sequence in 0..2 {
            let mut writer = chunk_dir::create_l1(&RealFs, &chunks, hour, (0, sequence), options(Level::L1)).unwrap();
            writer.push(at(0, sequence), &event(sequence as i64)).unwrap();
            writer.finish(&mut text).unwrap();
        }
    }
    let first = Hour::of(Timestamp(0));
    assert_eq!(chunk_dir::chunks_of(&RealFs, &chunks, first).unwrap().len(), 2);
    chunk_dir::merge_hour(&RealFs, &chunks, first, options(Level::L2)).unwrap().unwrap();
    let files = chunk_dir::open_hour(&RealFs, &chunks, first).unwrap();
    assert_eq!((files.readers.len(), files.readers[0].verify(&RealFs).unwrap()), (1, 2));
    let before = disk_usage(&RealFs, temporary.path()).unwrap();
    let expired = expire(&RealFs, &chunks, Timestamp(2 * HOUR), 1, u64::MAX).unwrap();
    assert_eq!((expired.hours.len(), expired.kept_bytes + expired.hours[0].bytes), (1, before));
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
        let fs = disk();
        let path = write(&fs, "chunk", &events);
        prop_assert!(same(&read(&fs, &path), &events));
        let reader = ChunkReader::open(&fs, &path).unwrap();
        prop_assert_eq!(reader.summary().events(), events.len() as u64);
        for counts in &reader.summary().templates {
            prop_assert_eq!(reader.summary().points(counts).map(|point| point.events).sum::<u64>(), counts.events);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        let fs = disk();
        fs.put(Path::new("/d/any"), &bytes);
        prop_assert!(ChunkReader::open(&fs, Path::new("/d/any")).is_err());
        let salvaged = chunk::salvage(&fs, Path::new("/d/any"), Path::new("/d"), "saved", options(Level::L1)).unwrap();
        prop_assert!(salvaged.is_none());
    }

    #[test]
    fn a_group_of_any_bytes_under_a_valid_checksum_does_not_panic(kind in 0..4u8, payload: Vec<u8>) {
        let fs = disk();
        let path = write(&fs, "chunk", &[event(0)]);
        let mut bytes = fs.read(&path).unwrap();
        bytes.truncate(28);
        let seed = u32::from_le_bytes(*bytes.last_chunk().unwrap());
        let summary_at = bytes.len() as u64;
        oddline::storage::frame::put(&mut bytes, seed, kind, &payload);
        let mut places = summary_at.to_le_bytes().to_vec();
        places.extend_from_slice(&(bytes.len() as u64 + 28).to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &places);
        bytes.extend_from_slice(&places);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(b"ODLNCHKE");
        fs.put(&path, &bytes);
        drop(ChunkReader::open(&fs, &path));
        drop(chunk::salvage(&fs, &path, Path::new("/d"), "saved", options(Level::L1)).unwrap());
    }
}

//! What storage costs: the log on the hot path, commits that wait for the disk, recovery, bytes an event takes.
//!
//! `cargo bench --bench storage`. Needs a disk where `fsync` does what it says: set `TMPDIR` when the usual place is memory.
//! Figures and machine: docs/durability.md.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::{Barrier, Mutex};

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use oddline::config::{Config, Durability};
use oddline::engine::history::{self, Query};
use oddline::event::{Observation, StreamKey, TemplateId, Timestamp};
use oddline::storage::RealFs;
use oddline::storage::chunk::{ChunkOptions, ChunkWriter, EventAt, Level};
use oddline::storage::hour::Hour;
use oddline::storage::wal::{LaneWal, Position, SegmentHeader, SegmentSequence, WalEncoder, WalEvent, recover_lane};
use oddline::{Engine, Environment, Lane};
use tempfile::TempDir;

const EVENTS: u64 = 1_000_000;
const LANES: usize = 8;

fn main() {
    Divan::from_args().run_benches();
    drop(FULL.lock().map(|mut full| full.take()));
}

/// Two hundred templates, eight streams, five numbers that change, a hundred events a millisecond.
fn events() -> Vec<(u32, WalEvent)> {
    (0..EVENTS)
        .map(|n| {
            let slot = (n * 7919 % 200) as u32;
            let mut values = [0; 16];
            (values[0], values[1]) = (n as u8, (n / 3) as u8);
            let event = WalEvent {
                timestamp: Timestamp(1_767_225_600_000_000 + n as i64 * 10),
                template: TemplateId(u64::from(slot) + 1),
                statistic: f32::from_bits(((n % 9) as f32 * 0.3).to_bits() & 0xffff_0000),
                stream: StreamKey(n / 5 % 8),
                severity: 2,
                flags: 0,
                values,
            };
            (slot, event)
        })
        .collect()
}

fn header(lane: u8) -> SegmentHeader {
    SegmentHeader { lane, sequence: SegmentSequence(0), run: 0, created: Timestamp(0) }
}

/// Encoding alone: what the hot path does.
#[divan::bench]
fn append_to_the_lanes_buffer(bencher: Bencher) {
    let events = events();
    let mut encoder = WalEncoder::new(header(0));
    let mut spare = Vec::new();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        for (slot, event) in &events {
            encoder.event(*slot, event);
            if encoder.pending_bytes() >= 64 << 10 {
                spare = encoder.take(std::mem::take(&mut spare));
            }
        }
    });
}

/// Encoding, writing and a sync every 200 ms, as with `interval`, all on one thread.
#[divan::bench]
fn append_write_and_sync_every_200_ms(bencher: Bencher) {
    let events = events();
    let dir = tempfile::tempdir().unwrap();
    let mut encoder = WalEncoder::new(header(0));
    let mut log = LaneWal::open(std::sync::Arc::new(RealFs), dir.path(), header(0)).unwrap();
    let (mut spare, mut synced) = (Vec::new(), std::time::Instant::now());
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        for (slot, event) in &events {
            encoder.event(*slot, event);
            if encoder.pending_bytes() >= 64 << 10 {
                let bytes = encoder.take(std::mem::take(&mut spare));
                log.append(&bytes).unwrap();
                spare = bytes;
                if synced.elapsed().as_millis() >= 200 {
                    log.sync().unwrap();
                    synced = std::time::Instant::now();
                }
            }
        }
    });
}

fn engine(dir: &Path) -> Engine {
    let config = Config {
        data_dir: Some(dir.to_owned()),
        durability: Durability::Always,
        checkpoint_interval_secs: 86_400,
        ..Config::default()
    };
    Engine::open(&config, Environment::system()).unwrap()
}

fn commit_each(lane: &mut Lane, commits: u64, events_each: u64) {
    for n in 0..commits * events_each {
        let line = format!("job {n} took {} ms", n % 50);
        lane.observe(&Observation::new(line.as_bytes(), Timestamp(n as i64 * 1_000)));
        if n % events_each == events_each - 1 {
            lane.commit().unwrap();
        }
    }
}

const COMMITS: u64 = 50;

/// One thread that waits for the disk after each event: what group commit is compared with.
#[divan::bench(sample_count = 5)]
fn always_one_lane_one_fsync_an_event(bencher: Bencher) {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path());
    let mut lane = engine.lane().unwrap();
    commit_each(&mut lane, 1, 1);
    bencher.counter(ItemsCount::new(COMMITS)).bench_local(|| commit_each(&mut lane, COMMITS, 1));
}

/// Eight threads, each waiting for the disk after so many events.
#[divan::bench(args = [1, 4, 16, 64], sample_count = 5)]
fn always_eight_lanes_events_a_commit(bencher: Bencher, events_each: u64) {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path());
    let mut lanes: Vec<Lane> = (0..LANES).map(|_| engine.lane().unwrap()).collect();
    lanes.iter_mut().for_each(|lane| commit_each(lane, 1, 1));
    let items = COMMITS * events_each * LANES as u64;
    bencher.counter(ItemsCount::new(items)).bench_local(|| {
        let start = Barrier::new(LANES);
        std::thread::scope(|scope| {
            for lane in &mut lanes {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    commit_each(lane, COMMITS, events_each);
                });
            }
        });
    });
}

/// A log of a million events, decoded and thrown away.
#[divan::bench]
fn read_the_log_back(bencher: Bencher) {
    let dir = tempfile::tempdir().unwrap();
    let mut encoder = WalEncoder::new(header(0));
    events().iter().for_each(|(slot, event)| encoder.event(*slot, event));
    let mut log = LaneWal::open(std::sync::Arc::new(RealFs), dir.path(), header(0)).unwrap();
    log.append(&encoder.take(Vec::new())).unwrap();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let mut sum = 0u64;
        recover_lane(&RealFs, dir.path(), 0, Position::default(), &mut |at, _| sum += at.event_number).unwrap();
        sum
    });
}

/// A data dir with templates that do not merge.
fn many_templates(config: &Config, templates: usize) {
    let engine = Engine::open(config, Environment::system()).unwrap();
    let mut lane = engine.lane().unwrap();
    for n in 0..templates {
        let word = |mut n: usize, salt: usize| -> String {
            n = n.wrapping_mul(2_654_435_761).wrapping_add(salt);
            (0..7).map(|at| (b'a' + (n >> (at * 5) & 15) as u8) as char).collect()
        };
        let line = format!("{} {} took {n} ms for {} of {} rows", word(n, 1), word(n, 2), word(n, 3), word(n, 4));
        lane.observe(&Observation::new(line.as_bytes(), Timestamp(n as i64)));
    }
    lane.close().unwrap();
    assert!(engine.stats().templates as usize > templates * 9 / 10, "{:?}", engine.stats());
    engine.close().unwrap();
}

/// What a restart waits for when everything is in the checkpoint.
#[divan::bench(sample_count = 10)]
fn open_a_checkpoint_of_50_000_templates(bencher: Bencher) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        data_dir: Some(dir.path().to_owned()),
        max_templates: 50_000,
        memory_limit_bytes: 1 << 30,
        ..Config::default()
    };
    many_templates(&config, 50_000);
    bencher.bench_local(|| Engine::inspect(&config, Environment::system()).unwrap().recovery().checkpoint_templates);
}

/// Four letters.
fn word(n: u64) -> String {
    (0..4).map(|at| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> (at * 4 + 8) & 15) as u8)).collect()
}

/// What a restart waits for when no checkpoint was written for ten million events: far more than the size of a segment allows.
#[divan::bench(args = [1, 2], sample_count = 3, sample_size = 1)]
fn replay_10_000_000_events_of_lanes(bencher: Bencher, lanes: u64) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        data_dir: Some(dir.path().join("live")),
        checkpoint_interval_secs: 86_400,
        wal_segment_bytes: 1 << 30,
        durability: Durability::Always,
        ..Config::default()
    };
    let engine = Engine::open(&config, Environment::system()).unwrap();
    let mut all: Vec<Lane> = (0..lanes).map(|_| engine.lane().unwrap()).collect();
    for n in 0..10_000_000u64 {
        // Eighty templates on eight streams, some a hundred times as frequent as others.
        let kind = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 6_400;
        let kind = kind * kind / (6_400 * 80);
        let (verb, thing) = (word(kind * 7 + 1), word(kind * 31 + 5));
        let line = format!("INFO {verb} {thing} block {n} served in {} ms", n % 97);
        let lane = &mut all[(n % lanes) as usize];
        let stream = StreamKey(n / 3 % 8 + 1);
        lane.observe(&Observation { stream, ..Observation::new(line.as_bytes(), Timestamp(n as i64 * 50)) });
        if n % 1_000_000 == 0 {
            lane.commit().unwrap();
        }
    }
    all.iter_mut().for_each(|lane| lane.commit().unwrap());
    assert!((60..=80).contains(&engine.stats().templates), "{:?}", engine.stats());
    // As a killed process leaves it.
    let killed = dir.path().join("killed");
    copy(&dir.path().join("live/wal"), &killed.join("wal"));
    drop((all, engine));
    let config = Config { data_dir: Some(killed), ..config };
    bencher.counter(ItemsCount::new(10_000_000u64)).bench_local(|| {
        let engine = Engine::inspect(&config, Environment::system()).unwrap();
        assert!(engine.recovery().events_replayed > 8_000_000, "{:?}", engine.recovery());
    });
}

/// A gigabyte of history: a week of hours, two hundred templates, times and scores that do not compress.
fn full_history(data_dir: &Path) -> u64 {
    let start = 1_764_000_000_000_000i64 / HOUR_MICROS * HOUR_MICROS;
    let (mut written, mut number, mut state) = (0, 0u64, 0x5eed_u64);
    for hour in 0..168 {
        let begun = start + hour * HOUR_MICROS;
        let dir = data_dir.join("chunks").join(Hour::of(Timestamp(begun)).to_string());
        std::fs::create_dir_all(&dir).unwrap();
        let options = ChunkOptions {
            level: Level::L2,
            created: Timestamp(begun),
            window_secs: 10,
            marked_flag: 1,
            keeps_events: true,
        };
        let mut writer = ChunkWriter::create(&RealFs, &dir, "hour.l2", options).unwrap();
        for _ in 0..EVENTS_AN_HOUR {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let event = WalEvent {
                timestamp: Timestamp(begun + (number % EVENTS_AN_HOUR * 3_000) as i64 + (state >> 50) as i64),
                template: TemplateId((state >> 20) % 200 * (state >> 40) % 200),
                statistic: f32::from_bits((state as u32) & 0xffff_0000),
                stream: StreamKey(state >> 30 & 7),
                severity: 2,
                ..WalEvent::default()
            };
            writer.push(EventAt { lane: 0, run: 0, sequence: hour as u64, number }, &event).unwrap();
            number += 1;
        }
        written += writer.finish(&mut |id| Some(format!("template {id} of <*>").into_bytes())).unwrap().bytes;
    }
    written
}

const HOUR_MICROS: i64 = 3_600_000_000;
const EVENTS_AN_HOUR: u64 = 1_150_000;

/// A data dir that is full, made when it is first asked for and removed at the end.
static FULL: Mutex<Option<TempDir>> = Mutex::new(None);

fn full_data_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    many_templates(&config, config.max_templates);
    let bytes = full_history(dir.path());
    println!("{} MiB of history", bytes >> 20);
    assert!(bytes > 900 << 20);
    dir
}

/// What `oddline stats`, `oddline history` and `oddline history --events 100` wait for on a data dir that is full.
#[divan::bench(args = ["stats", "history_counts", "history_newest_100_events"], sample_count = 5, sample_size = 1)]
fn history_of_a_full_data_dir(bencher: Bencher, what: &str) {
    let mut full = FULL.lock().unwrap();
    let dir = full.get_or_insert_with(full_data_dir).path();
    let config = Config { data_dir: Some(dir.to_owned()), ..Config::default() };
    bencher.bench_local(|| match what {
        "stats" => Engine::inspect(&config, Environment::system()).unwrap().stats().templates as usize,
        "history_counts" => history::read(&RealFs, dir, &config, &Query::ALL).unwrap().templates.len(),
        _ => history::newest_events(&RealFs, dir, &config, &Query::ALL, 100).unwrap().len(),
    });
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

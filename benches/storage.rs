//! What storage costs: the log on the hot path, commits that wait for the disk, recovery, bytes an event takes.
//!
//! `cargo bench --bench storage`. Needs a disk where `fsync` does what it says: set `TMPDIR` when the usual place is memory.
//! `cargo bench --bench storage -- sizes` prints bytes an event; figures and machine: docs/durability.md.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Barrier;

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use oddline::config::{Config, Durability};
use oddline::event::{Observation, StreamKey, TemplateId, Timestamp};
use oddline::storage::RealFs;
use oddline::storage::wal::{LaneWal, Position, SegmentHeader, SegmentSequence, WalEncoder, WalEvent, recover_lane};
use oddline::{Engine, Environment, Lane};

const EVENTS: u64 = 1_000_000;
const LANES: usize = 8;

fn main() {
    Divan::from_args().run_benches();
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

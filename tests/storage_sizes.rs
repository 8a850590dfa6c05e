//! Bytes an event takes in the log, in L1 and in L2, everything included.
//!
//! For a log of yours, one line an event: `ODDLINE_LOG_FILE=mix.log cargo test --release --test storage_sizes -- --nocapture`.
//!
//! With each hand-over, ten times a second by default, comes a frame of some twenty bytes: how many events share it decides what they take in the log.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use oddline::clock::ManualClock;
use oddline::config::{Config, TimeSource};
use oddline::event::{Observation, StreamKey, Timestamp};
use oddline::storage::chunk::{ChunkOptions, Level};
use oddline::storage::{RealFs, chunk_dir, disk_usage};
use oddline::{Engine, Environment};

/// Forty shapes, fresh numbers, a level now and then.
fn made() -> Vec<u8> {
    let line = |n: u64| {
        let noun = ["block", "session", "request", "order", "lease"][(n * 7 % 5) as usize];
        format!(
            "INFO node.{}: {noun} {} of 10.0.{}.{} done in {} ms\n",
            n * 13 % 8,
            n * 7_919,
            n % 256,
            n / 7 % 256,
            n % 97
        )
    };
    (0..100_000).map(line).collect::<String>().into_bytes()
}

const START: i64 = 1_764_000_000_000_000;

fn environment() -> Environment {
    Environment { clock: Arc::new(ManualClock::new(Timestamp(START))), fs: Arc::new(RealFs) }
}

fn config(dir: &Path) -> Config {
    Config {
        data_dir: Some(dir.to_owned()),
        time: TimeSource::Event,
        checkpoint_interval_secs: 86_400,
        wal_segment_bytes: 1 << 30,
        ..Config::default()
    }
}

/// Logs every line, ten milliseconds apart, handing over so many at a time; how many there were.
fn write(log: &[u8], dir: &Path, events_a_frame: u64) -> u64 {
    let engine = Engine::open(&config(dir), environment()).unwrap();
    let mut lane = engine.lane().unwrap();
    let mut events = 0u64;
    for line in log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let timestamp = Timestamp(START + events as i64 * 10_000);
        lane.observe(&Observation { stream: StreamKey(events / 3 % 8), ..Observation::new(line, timestamp) });
        events += 1;
        if events.is_multiple_of(events_a_frame) {
            lane.tick(Timestamp(START));
        }
    }
    lane.close().unwrap();
    assert_eq!(engine.stats().wal_dropped_bytes_total, 0, "the writer kept up");
    engine.close().unwrap();
    events
}

#[test]
fn an_event_takes_a_few_bytes_at_every_level() {
    let file = std::env::var_os("ODDLINE_LOG_FILE");
    // Three numbers in every line and a score that is never the same: more than real logs have.
    let most = if file.is_some() { 8.0 } else { 10.0 };
    let log = file.map_or_else(made, |path| std::fs::read(path).unwrap());
    for (events_a_frame, most) in [(10, most + 2.0), (20, most + 1.0), (100, most)] {
        let dir = tempfile::tempdir().unwrap();
        let events = write(&log, dir.path(), events_a_frame);
        let bytes = disk_usage(&RealFs, &dir.path().join("wal")).unwrap() as f64 / events as f64;
        println!("{bytes:.2} bytes each in the log, {events_a_frame} at a time");
        assert!(bytes <= most, "{bytes} bytes, {events_a_frame} at a time");
    }
    let dir = tempfile::tempdir().unwrap();
    let events = write(&log, dir.path(), 10_000);
    let per_event = |part: &Path| disk_usage(&RealFs, &dir.path().join(part)).unwrap() as f64 / events as f64;
    let wal = per_event(Path::new("wal"));
    // Opening makes what the run before left history.
    Engine::open(&config(dir.path()), environment()).unwrap().close().unwrap();
    let l1 = per_event(Path::new("chunks"));
    let chunks = dir.path().join("chunks");
    let options = ChunkOptions {
        level: Level::L2,
        created: Timestamp(START),
        window_secs: 10,
        marked_flag: 1,
        keeps_events: true,
    };
    for hour in chunk_dir::hours(&RealFs, &chunks).unwrap() {
        chunk_dir::merge_hour(&RealFs, &chunks, hour, options).unwrap().unwrap();
    }
    let l2 = per_event(Path::new("chunks"));
    println!("{events} events: {wal:.2} bytes each in the log, {l1:.2} in L1, {l2:.2} in L2");
    assert!(wal <= most && l1 <= 8.0 && l2 <= l1 * 1.02, "{wal} {l1} {l2}");
}

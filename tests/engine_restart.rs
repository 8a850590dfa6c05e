//! After a crash the next verdicts are those of an uninterrupted run.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use oddline::clock::ManualClock;
use oddline::config::{Config, Durability};
use oddline::engine::{Engine, Environment, Lane};
use oddline::event::{Observation, StreamKey, Timestamp, Verdict};
use oddline::storage::RealFs;

/// A stream with routine, names that generalise, rare lines and errors.
fn line(n: u64) -> String {
    const NAMES: [&str; 12] = ["ann", "bob", "cyd", "dot", "eve", "fay", "gus", "hal", "ida", "joe", "kim", "lee"];
    match n {
        _ if n.is_multiple_of(997) => {
            format!("ERROR component {} failed with code {n}", (b'a' + (n / 997 % 26) as u8) as char)
        }
        _ if n.is_multiple_of(11) => format!("session opened for user {} by root", NAMES[(n / 11 % 12) as usize]),
        _ if n.is_multiple_of(2_003) => format!("GET /items/{n} took {} ms", n * 1_000),
        _ if n.is_multiple_of(3) => format!("GET /items/{n} took {} ms", n % 50),
        _ if n % 4_001 == 1 => format!("reply code={} to {n}", 500 + n % 7),
        _ if n.is_multiple_of(5) => format!("reply code={} to {n}", 200 + n % 3),
        _ => format!("job {n} done, {} rows left", n * 7 % 1_000),
    }
}

fn observe(lane: &mut Lane, n: u64) -> Verdict {
    let line = line(n);
    let mut observation = Observation::new(line.as_bytes(), Timestamp(n as i64 * 100_000));
    observation.stream = StreamKey(n / 5 % 3);
    lane.observe(&observation)
}

fn environment(now: i64) -> Environment {
    Environment { clock: Arc::new(ManualClock::new(Timestamp(now * 1_000_000))), fs: Arc::new(RealFs) }
}

fn config(dir: &Path) -> Config {
    Config {
        data_dir: Some(dir.to_owned()),
        durability: Durability::Always,
        learning_events: 3_000,
        wal_segment_bytes: 65_536,
        ..Config::default()
    }
}

/// Copies a data dir as it is, as a crash would leave it, but for the lock.
fn snapshot(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            snapshot(&entry.path(), &target);
        } else if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// All of a verdict but its id, which names the run.
fn same(left: &Verdict, right: &Verdict) -> bool {
    let mut left = *left;
    left.event_id = right.event_id;
    left == *right
}

fn crash_at(crash: u64, checkpoint_at: Option<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let after = tempfile::tempdir().unwrap();
    let engine = Engine::open(&config(dir.path()), environment(1_000)).unwrap();
    let mut lane = engine.lane().unwrap();
    for n in 0..crash {
        observe(&mut lane, n);
        if checkpoint_at == Some(n) {
            lane.tick(Timestamp(1_000_000_000));
            lane.tick(Timestamp(1_100_000_000));
            engine.checkpoint().unwrap();
        }
    }
    lane.commit().unwrap();
    snapshot(dir.path(), after.path());

    let restarted = Engine::open(&config(after.path()), environment(2_000)).unwrap();
    assert!(!restarted.recovery().is_damaged(), "{:?}", restarted.recovery());
    assert_eq!(restarted.stats().events_total, crash);
    if let Some(at) = checkpoint_at {
        assert!(restarted.recovery().events_replayed < crash - at, "the checkpoint covers the rest");
    }
    let mut again = restarted.lane().unwrap();
    for n in crash..crash + 3_000 {
        let (left, right) = (observe(&mut lane, n), observe(&mut again, n));
        assert!(same(&left, &right), "event {n}:\n{left:?}\n{right:?}");
        assert_ne!(left.event_id, right.event_id);
    }
    drop(lane);
    let texts = |engine: &Engine| {
        let mut all: Vec<_> = engine.templates().into_iter().map(|t| (t.id, t.text)).collect();
        all.sort();
        all
    };
    drop(again);
    assert_eq!(texts(&engine), texts(&restarted));
}

#[test]
fn verdicts_after_a_crash_without_a_checkpoint_are_those_of_an_uninterrupted_run() {
    crash_at(7_000, None);
}

#[test]
fn verdicts_after_a_crash_with_a_checkpoint_are_those_of_an_uninterrupted_run() {
    crash_at(12_000, Some(8_000));
}

#[test]
fn verdicts_after_many_segments_are_those_of_an_uninterrupted_run() {
    crash_at(60_000, None);
}

#[test]
fn a_clean_restart_replays_nothing_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3u64 {
        let engine = Engine::open(&config(dir.path()), environment(1_000 + round as i64)).unwrap();
        assert_eq!(engine.recovery().events_replayed, 0);
        assert_eq!(engine.stats().events_total, round * 5_000);
        let mut lane = engine.lane().unwrap();
        for n in round * 5_000..(round + 1) * 5_000 {
            observe(&mut lane, n);
        }
        lane.close().unwrap();
        engine.close().unwrap();
    }
}

#[test]
fn old_segments_become_chunks_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(&config(dir.path()), environment(1_000)).unwrap();
    let mut lane = engine.lane().unwrap();
    for n in 0..300_000 {
        observe(&mut lane, n);
        if n % 10_000 == 0 {
            lane.commit().unwrap();
        }
    }
    lane.close().unwrap();
    engine.clone().close().unwrap();
    let stats = engine.stats();
    assert!(stats.chunks_total >= 3, "{stats:?}");
    drop(engine);
    let hour = std::fs::read_dir(dir.path().join("chunks")).unwrap().count();
    assert_eq!(hour, 1);
    let segments = std::fs::read_dir(dir.path().join("wal/00")).unwrap().count();
    assert!(segments <= 4, "{segments} segments are left");
}

#[test]
fn a_lane_given_back_and_taken_again_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(&config(dir.path()), environment(1_000)).unwrap();
    let mut whole =
        Engine::open(&Config { data_dir: None, ..config(dir.path()) }, environment(1_000)).unwrap().lane().unwrap();
    for part in 0..4 {
        let mut lane = engine.lane().unwrap();
        for n in part * 2_000..(part + 1) * 2_000 {
            assert!(same(&observe(&mut lane, n), &observe(&mut whole, n)), "event {n}");
        }
        lane.close().unwrap();
    }
    engine.close().unwrap();
    let engine = Engine::open(&config(dir.path()), environment(2_000)).unwrap();
    assert_eq!(engine.stats().events_total, 8_000);
}

#[test]
fn two_lanes_share_templates_and_after_a_fold_what_they_counted() {
    let engine = Engine::open(&Config { learning_events: 100, ..Config::default() }, environment(1_000)).unwrap();
    let (mut left, mut right) = (engine.lane().unwrap(), engine.lane().unwrap());
    for n in 1..5_000 {
        observe(&mut left, n);
    }
    let seen_left = observe(&mut left, 7);
    left.tick(Timestamp(2_000_000_000));
    right.tick(Timestamp(2_000_000_000));
    let seen_right = observe(&mut right, 7);
    assert_eq!(seen_left.template, seen_right.template);
    assert!(seen_right.p_value > 0.01, "known from the other lane: {seen_right:?}");
    left.close().unwrap();
    right.close().unwrap();
    assert_eq!(engine.stats().events_total, 5_001);
}

#[test]
fn one_process_shares_one_engine_on_one_data_dir() {
    let dir = tempfile::tempdir().unwrap();
    let first = Engine::shared(&config(dir.path()), environment(1_000)).unwrap();
    let second = Engine::shared(&config(&dir.path().join(".")), environment(1_000)).unwrap();
    let mut lane = first.lane().unwrap();
    for n in 0..10 {
        observe(&mut lane, n);
    }
    lane.close().unwrap();
    assert_eq!(second.stats().events_total, 10);
    let refused = Engine::open(&config(dir.path()), environment(1_000)).unwrap_err().to_string();
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");
}

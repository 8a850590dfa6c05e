//! Two hours of events in as little time as they take, on simulated time: memory stays flat, the disk within its cap, no file handle is lost.
//!
//! The short version runs with all tests; 100 million events, about two minutes on an idle core:
//! `cargo test --release --test soak -- --ignored --nocapture`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oddline::clock::ManualClock;
use oddline::config::Config;
use oddline::engine::history::{self, Query};
use oddline::event::{Observation, StreamKey, Timestamp};
use oddline::storage::{RealFs, disk_usage};
use oddline::{Engine, Environment, Lane};

const SECONDS: u64 = 7_200;
/// Before: an hour has ended and was merged, so that everything has been used once.
const WARM_UP_SECONDS: u64 = 4_800;
/// Of the events of a second, in the warm-up.
const WARM_UP_PART: u64 = 8;
const MIB: u64 = 1 << 20;
const LANES: usize = 2;

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Mostly routine with fresh numbers; now and then a template that was never there, so that others have to go.
fn line(n: u64, text: &mut String) {
    use std::fmt::Write;
    text.clear();
    let word = |n: u64, at: u32| char::from(b'a' + (n / 26u64.pow(at) % 26) as u8);
    match n % 64 {
        0 if n.is_multiple_of(4_096) => {
            let id = n / 4_096 * 7;
            write!(text, "{}{}{} {}{} begun", word(id, 0), word(id, 1), word(id, 2), word(id * 31, 1), word(id, 3))
        }
        kind => write!(
            text,
            "INFO store.{}: block blk_{n} of 10.0.{}.{} served in {} ms",
            kind % 40,
            n % 256,
            n / 7 % 256,
            n % 97
        ),
    }
    .unwrap();
}

/// What was measured once a simulated minute.
struct Minute {
    resident: u64,
    held: u64,
    disk: u64,
    files: usize,
}

fn soak(events: u64, cap: u64) -> Vec<Minute> {
    let dir = tempfile::tempdir().unwrap();
    let start = 1_764_000_000_000_000;
    let clock = Arc::new(ManualClock::new(Timestamp(start)));
    let config = Config {
        data_dir: Some(dir.path().to_owned()),
        max_templates: 500,
        retention_hours: 1,
        max_disk_bytes: cap,
        ..Config::default()
    };
    let engine = Engine::open(&config, Environment { clock: clock.clone(), fs: Arc::new(RealFs) }).unwrap();
    let mut lanes: Vec<Lane> = (0..LANES).map(|_| engine.lane().unwrap()).collect();
    let each_second = events / SECONDS;
    let mut text = String::new();
    let (mut minutes, mut degraded) = (Vec::new(), 0);
    let began = Instant::now();
    let mut n = 0;
    for second in 0..WARM_UP_SECONDS + SECONDS {
        let of_this = if second < WARM_UP_SECONDS { each_second.div_ceil(WARM_UP_PART) } else { each_second };
        let now = start + second as i64 * 1_000_000;
        for at in 0..of_this {
            n += 1;
            line(n, &mut text);
            let within = at as i64 * 1_000_000 / of_this as i64;
            let observation = Observation {
                stream: StreamKey(n / 3 % 8),
                ..Observation::new(text.as_bytes(), Timestamp(now + within))
            };
            lanes[n as usize % LANES].observe(&observation);
        }
        clock.set(Timestamp(now + 1_000_000));
        lanes.iter_mut().for_each(|lane| drop(lane.tick(Timestamp(now + 1_000_000))));
        degraded += u64::from(engine.stats().state == "degraded");
        if second == WARM_UP_SECONDS {
            let deadline = Instant::now() + Duration::from_secs(60);
            while engine.stats().merges_total == 0 && Instant::now() < deadline {
                std::thread::yield_now();
            }
        }
        if second >= WARM_UP_SECONDS && second % 60 == 59 {
            let disk = disk_usage(&RealFs, dir.path()).unwrap();
            minutes.push(Minute {
                resident: resident_bytes(),
                held: engine.stats().memory_bytes,
                disk,
                files: open_files(),
            });
        }
    }
    let took = began.elapsed();
    for lane in lanes {
        lane.close().unwrap();
    }
    let stats = engine.stats();
    engine.close().unwrap();
    report(dir.path(), &config, events, &stats, &minutes, took.as_secs_f64());
    assert_eq!(degraded, 0, "seconds during which storage was behind");
    assert_eq!(stats.events_total, n);
    assert!(stats.templates <= 500);
    minutes
}

fn report(dir: &Path, config: &Config, events: u64, stats: &oddline::engine::Stats, minutes: &[Minute], secs: f64) {
    let found = history::read(&RealFs, dir, config, &Query::ALL).unwrap();
    let counted: u64 = found.templates.iter().map(|template| template.events).sum::<u64>() + found.unlisted_events;
    let most = |of: fn(&Minute) -> u64| minutes.iter().map(of).max().unwrap() / MIB;
    println!(
        "{events} events in {secs:.1} s; resident at most {} MiB, disk at most {} MiB",
        most(|m| m.resident),
        most(|m| m.disk)
    );
    println!("in the history {counted} events in {} files; {stats:?}", found.files);
    assert!(counted <= stats.events_total && counted >= events / 4, "{counted} of {events} are in the history");
}

fn mean(minutes: &[Minute], of: impl Fn(&Minute) -> u64) -> f64 {
    minutes.iter().map(of).sum::<u64>() as f64 / minutes.len() as f64
}

#[test]
fn two_hours_of_few_events_pass_through_everything() {
    let minutes = soak(SECONDS * 40, 16 * MIB);
    assert!(minutes.iter().all(|minute| minute.disk <= 16 * MIB));
    let files = |minutes: &[Minute]| minutes.iter().map(|minute| minute.files).min().unwrap();
    let (first, last) = minutes.split_at(minutes.len() / 2);
    assert!(files(last) <= files(first) + LANES, "{} files, then {}", files(first), files(last));
}

#[test]
#[ignore = "100 million events: minutes"]
fn two_hours_of_100_million_events_leave_memory_flat_and_the_disk_within_its_cap() {
    let cap = 128 * MIB;
    let minutes = soak(100_000_000, cap);
    let tenth = minutes.len() / 10;
    let (first, last) = (&minutes[..tenth], &minutes[minutes.len() - tenth..]);
    for (what, of) in [("resident", (|m: &Minute| m.resident) as fn(&Minute) -> u64), ("counted", |m| m.held)] {
        let (before, after) = (mean(first, of), mean(last, of));
        println!(
            "{what}: {:.1} MiB in the first tenth, {:.1} MiB in the last",
            before / MIB as f64,
            after / MIB as f64
        );
        assert!((after / before - 1.0).abs() <= 0.05, "{what}: {before} then {after} bytes");
    }
    let disk = minutes.iter().map(|minute| minute.disk).max().unwrap();
    assert!(disk <= cap, "{disk} bytes on disk");
    // What is open for a moment (a segment that is read, a checkpoint, a log that is synced) comes and goes: a leak would raise the least.
    let least = |minutes: &[Minute]| minutes.iter().map(|minute| minute.files).min().unwrap();
    println!("files: at least {} open in the first tenth, {} in the last", least(first), least(last));
    assert!(least(last) <= least(first) + LANES, "{} files, then {}", least(first), least(last));
}

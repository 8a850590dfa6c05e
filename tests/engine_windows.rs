//! Recent events in memory, the history on disk, and what goes when there is no room.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine_support::{Bed, SECOND, say};
use oddline::config::Config;
use oddline::engine::history::{self, History, Query};
use oddline::event::{Observation, StreamKey, Timestamp};
use oddline::storage::fs::{DirEntry, FileSystem, OpenMode, WriteFile};
use oddline::storage::hour::Hour;
use oddline::storage::mem_fs::{Faults, MemFs};
use oddline::storage::{chunk_dir, disk_usage};
use oddline::{Engine, Lane};

fn read(bed: &Bed) -> History {
    history::read(&bed.fs.live_copy(), bed.dir(), &bed.config, &Query::ALL).unwrap()
}

fn events(history: &History) -> u64 {
    history.templates.iter().map(|template| template.events).sum()
}

#[test]
fn sealed_windows_show_what_lanes_saw_and_the_numbers_are_those_of_the_event_ids() {
    let bed = Bed::with(Config { window_secs: 5, ..Config::default() });
    let engine = bed.open();
    let (mut left, mut right) = (engine.lane().unwrap(), engine.lane().unwrap());
    bed.advance(1, &mut left);
    bed.advance(0, &mut right);
    let ids: Vec<_> = (0..100).map(|_| say(&mut left, "routine work done").event_id).collect();
    (0..50).for_each(|_| _ = say(&mut right, "routine work done"));
    bed.advance(4, &mut left);
    assert_eq!(engine.sealed_windows().len(), 0);
    bed.advance(1, &mut left);
    bed.advance(0, &mut right);
    let windows = engine.sealed_windows();
    let [first, second] = windows.as_slice() else { panic!("{windows:?}") };
    assert_eq!((first.lane, first.events.len(), second.lane, second.events.len()), (0, 100, 1, 50));
    for (event, id) in first.events.iter().zip(&ids) {
        assert_eq!((u64::from(event.number), first.lane), (id.number, id.lane));
    }
    assert_eq!(engine.stats().windows_sealed_total, 2);
}

#[test]
fn more_events_than_memory_holds_are_dropped_from_windows_alone() {
    let bed = Bed::with(Config { memory_limit_bytes: 4 << 20, ..Config::default() });
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    bed.advance(1, &mut lane);
    (0..50_000).for_each(|_| _ = say(&mut lane, "routine work done"));
    bed.advance(10, &mut lane);
    let stats = engine.stats();
    assert!(stats.window_dropped_events_total > 0 && stats.state != "degraded", "{stats:?}");
    let held: usize = engine.sealed_windows().iter().map(|window| window.events.len()).sum();
    assert_eq!(held as u64 + stats.window_dropped_events_total, 50_000);
    lane.commit().unwrap();
    assert_eq!(events(&read(&bed)), 50_000, "on disk nothing is missing");
    (0..500).for_each(|_| _ = say(&mut lane, "routine work done"));
    bed.advance(10, &mut lane);
    assert_eq!(engine.sealed_windows().last().unwrap().events.len(), 500, "the pressure is over");
}

fn at(lane: &mut Lane, secs: i64, line: &str) {
    let observation =
        Observation { stream: StreamKey(7), ..Observation::new(line.as_bytes(), Timestamp(secs * SECOND)) };
    lane.observe(&observation);
}

#[test]
fn counts_come_by_window_from_the_log_and_from_the_history_alike() {
    let bed = Bed::with(Config { window_secs: 20, ..Config::default() });
    let expected: Vec<(Timestamp, u64)> = (0..5).map(|n| (Timestamp(n * 20 * SECOND), 20)).collect();
    for run in 0..2 {
        let engine = bed.open();
        let mut lane = engine.lane().unwrap();
        if run == 0 {
            (0..100).for_each(|secs| at(&mut lane, secs, "routine work done"));
            lane.commit().unwrap();
            assert_eq!(read(&bed).templates[0].points, expected, "from the log");
        }
        lane.close().unwrap();
        engine.close().unwrap();
    }
    assert_eq!(bed.chunks().len(), 1);
    assert_eq!(read(&bed).templates[0].points, expected, "from the history");
}

/// An hour of events; every lane closes its segment in it.
fn an_hour(bed: &Bed, events: u64) {
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    for n in 0..events {
        let time = bed.now().0 + n as i64 * 1_000;
        lane.observe(&Observation::new(format!("job {n} took {} ms", n % 50).as_bytes(), Timestamp(time)));
    }
    lane.close().unwrap();
    engine.close().unwrap();
}

fn later(bed: &Bed, secs: i64) {
    bed.clock.set(Timestamp(bed.now().0 + secs * SECOND));
}

#[test]
fn hours_that_have_ended_are_merged_and_nothing_in_them_changes() {
    let bed = Bed::with(Config { retention_hours: 1_000, ..Config::default() });
    for _ in 0..3 {
        an_hour(&bed, 1_000);
        later(&bed, 3_600);
    }
    // Closes the last segment.
    an_hour(&bed, 10);
    let before = read(&bed);
    assert_eq!(events(&before), 3_010);
    later(&bed, 3_600);
    let engine = bed.open();
    let deadline = Instant::now() + Duration::from_secs(60);
    let dir = bed.dir().join("chunks");
    let hours = chunk_dir::hours(&bed.fs, &dir).unwrap();
    // The earlier ones were merged by earlier runs, or are so now.
    let in_files = || bed.chunks().iter().map(|group| group.events.len()).sum::<usize>();
    while chunk_dir::l2_of(&bed.fs, &dir, hours[2]).unwrap().is_none()
        || !chunk_dir::chunks_of(&bed.fs, &dir, hours[2]).unwrap().is_empty()
        || in_files() < 3_010
    {
        assert!(Instant::now() < deadline, "{:?}", engine.stats());
        std::thread::yield_now();
    }
    for hour in &hours[..3] {
        assert!(chunk_dir::l2_of(&bed.fs, &dir, *hour).unwrap().is_some(), "{hour}");
        assert_eq!(chunk_dir::chunks_of(&bed.fs, &dir, *hour).unwrap(), [], "{hour}");
    }
    let after = read(&bed);
    assert_eq!(events(&after), 3_010);
    assert_eq!(after.templates[0].points, before.templates[0].points);
    assert_eq!(in_files(), 3_010);
}

/// What was there `before` until somebody who looked at the files of the history looks at the log; then what was there `after`.
#[derive(Debug)]
struct Moving {
    before: MemFs,
    after: MemFs,
    files_listed: AtomicBool,
    moved: AtomicBool,
}

impl Moving {
    fn now(&self) -> &MemFs {
        if self.moved.load(Ordering::Relaxed) { &self.after } else { &self.before }
    }
}

impl FileSystem for Moving {
    fn list(&self, dir: &Path) -> std::io::Result<Vec<DirEntry>> {
        if dir.ends_with("chunks") {
            self.files_listed.store(true, Ordering::Relaxed);
        } else if dir.ends_with("wal") && self.files_listed.load(Ordering::Relaxed) {
            self.moved.store(true, Ordering::Relaxed);
        }
        self.now().list(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> std::io::Result<Box<dyn WriteFile>> {
        self.now().open(path, mode)
    }

    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.now().read(path)
    }

    fn len(&self, path: &Path) -> std::io::Result<u64> {
        self.now().len(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.now().rename(from, to)
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.now().remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.now().remove_dir(dir)
    }

    fn remove_dir_all(&self, dir: &Path) -> std::io::Result<()> {
        self.now().remove_dir_all(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> std::io::Result<()> {
        self.now().create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.now().sync_dir(dir)
    }
}

#[test]
fn who_reads_while_the_log_becomes_history_misses_nothing() {
    let bed = Bed::with(Config { retention_hours: 1_000, ..Config::default() });
    an_hour(&bed, 1_000);
    let before = bed.fs.live_copy();
    later(&bed, 3_600);
    let engine = bed.open();
    let deadline = Instant::now() + Duration::from_secs(60);
    while bed.chunks().iter().map(|group| group.events.len()).sum::<usize>() < 1_000 {
        assert!(Instant::now() < deadline, "{:?}", engine.stats());
        std::thread::yield_now();
    }
    engine.close().unwrap();
    let moving = |after: &MemFs| Moving {
        before: before.live_copy(),
        after: after.live_copy(),
        files_listed: AtomicBool::default(),
        moved: AtomicBool::default(),
    };
    let fs = moving(&bed.fs);
    assert_eq!(events(&history::read(&fs, bed.dir(), &bed.config, &Query::ALL).unwrap()), 1_000);
    let fs = moving(&bed.fs);
    assert_eq!(history::newest_events(&fs, bed.dir(), &bed.config, &Query::ALL, 5_000).unwrap().len(), 1_000);
}

#[test]
fn at_the_disks_cap_events_go_and_counts_stay_until_there_is_room_again() {
    let cap = 400_000;
    let bed = Bed::with(Config { wal_segment_bytes: 65_536, max_disk_bytes: cap, ..Config::default() });
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let observe = |lane: &mut Lane, events: std::ops::Range<u64>| {
        for n in events {
            // Times that do not compress.
            let time = (n ^ n << 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (n * n).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            lane.observe(&Observation::new(b"routine work done", Timestamp((n * 50 + (time >> 44)) as i64)));
            if n % 5_000 == 0 {
                lane.commit().unwrap();
            }
        }
        lane.commit().unwrap();
    };
    observe(&mut lane, 0..300_000);
    let stats = engine.stats();
    assert!(stats.history_dropped_events_total > 0, "{stats:?}");
    assert_ne!(stats.state, "degraded");
    // A file that was begun below the cap may end above it, and counts need a little.
    let used = disk_usage(&bed.fs, &bed.dir().join("chunks")).unwrap();
    assert!(used < cap * 3 / 2, "{used} bytes");
    assert_eq!(read(&bed).templates[0].events, 300_000, "every event is counted");
    // The hour ends, and can go.
    later(&bed, 2 * 3_600);
    let dropped = engine.stats().history_dropped_events_total;
    observe(&mut lane, 300_000..340_000);
    lane.close().unwrap();
    engine.close().unwrap();
    let engine = bed.open();
    drop(engine.lane().unwrap());
    engine.checkpoint().unwrap();
    assert!(bed.chunks().iter().any(|group| group.id.sequence > 3 && !group.events.is_empty()), "{dropped}");
}

#[test]
fn attempts_to_write_again_come_less_and_less_often_and_succeed_when_the_disk_is_back() {
    let bed = Bed::with(Config { checkpoint_interval_secs: 86_400, ..Config::default() });
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    say(&mut lane, "routine work done");
    lane.commit().unwrap();
    bed.fs.set_faults(Faults { capacity_bytes: Some(0), ..Faults::default() });
    say(&mut lane, "routine work done");
    assert!(lane.commit().is_err());
    let mut failures = Vec::new();
    for secs in 0..200 {
        let before = engine.stats().storage_errors_total;
        say(&mut lane, "routine work done");
        bed.advance(1, &mut lane);
        drop(engine.checkpoint());
        // Each second brings a checkpoint that fails; an attempt to open a segment fails besides.
        if engine.stats().storage_errors_total > before + 1 {
            failures.push(secs);
        }
    }
    let gaps: Vec<i64> = failures.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.is_sorted() && gaps.len() >= 4, "{failures:?}");
    assert!((28..=32).contains(gaps.last().unwrap()), "{failures:?}");
    bed.fs.set_faults(Faults::default());
    for _ in 0..35 {
        say(&mut lane, "routine work done");
        bed.advance(1, &mut lane);
        drop(engine.checkpoint());
    }
    assert_ne!(engine.stats().state, "degraded", "{:?}", engine.stats());
    lane.commit().unwrap();
    let again = Engine::open(&bed.killed().config, bed.killed().environment());
    drop(again);
    let killed = bed.killed();
    assert_eq!(killed.open().stats().events_total, 2 + 200 + 35);
}

#[test]
fn events_after_quiet_hours_are_filed_in_their_own_hour_and_stay() {
    let bed = Bed::with(Config { retention_hours: 1, ..Config::default() });
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let parked = engine.lane().unwrap();
    parked.close().unwrap();
    for _ in 0..10 {
        bed.advance(1_800, &mut lane);
    }
    let mut taken = engine.lane().unwrap();
    let hour = Hour::of(bed.now());
    for lane in [&mut lane, &mut taken] {
        say(lane, "routine work done");
    }
    lane.close().unwrap();
    taken.close().unwrap();
    engine.close().unwrap();
    drop(bed.open());
    assert_eq!(chunk_dir::hours(&bed.fs, &bed.dir().join("chunks")).unwrap(), [hour]);
    assert_eq!(events(&read(&bed)), 2);
    let segments = bed.segments(0).len() + bed.segments(1).len();
    assert!(segments <= 6, "{segments} segments of hours in which nothing came");
}

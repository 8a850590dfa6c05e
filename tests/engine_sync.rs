//! A sync that hangs or fails, and what is promised meanwhile.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use engine_support::Bed;
use oddline::config::{Config, Durability};
use oddline::engine::Stats;
use oddline::event::{Observation, State, Timestamp};
use oddline::storage::fs::{DirEntry, OpenMode, WriteFile};
use oddline::storage::mem_fs::Faults;
use oddline::storage::{FileSystem, MemFs};
use oddline::{Engine, Environment, Lane};

/// A disk whose syncs hang while told so.
#[derive(Debug, Clone)]
struct Hanging {
    fs: MemFs,
    hangs: Arc<(Mutex<bool>, Condvar)>,
}

impl Hanging {
    fn set(&self, hangs: bool) {
        *self.hangs.0.lock().unwrap() = hangs;
        self.hangs.1.notify_all();
    }
}

/// Lets go of the disk when a test ends, however it ends: an engine that is dropped waits for its last sync.
struct Released<'d>(&'d Hanging);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

#[derive(Debug)]
struct HangingFile(Hanging, Box<dyn WriteFile>);

impl WriteFile for HangingFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.1.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let (hangs, changed) = &*self.0.hangs;
        drop(changed.wait_while(hangs.lock().unwrap(), |hangs| *hangs).unwrap());
        self.1.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.1.truncate(length)
    }

    fn second(&self) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(Self(self.0.clone(), self.1.second()?)))
    }
}

impl FileSystem for Hanging {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(HangingFile(self.clone(), self.fs.open(path, mode)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.fs.read(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.fs.len(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.fs.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fs.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.fs.remove_dir(dir)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.fs.remove_dir_all(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.fs.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.fs.sync_dir(dir)
    }
}

fn bed() -> Bed {
    let mut bed = Bed::new();
    bed.config = Config { durability: Durability::Interval, checkpoint_interval_secs: 86_400, ..bed.config };
    bed
}

/// A hundred events, handed over.
fn events(bed: &Bed, lane: &mut Lane, from: u64) -> State {
    let mut state = State::Learning;
    for n in from..from + 100 {
        let line = format!("job {n} took {} ms", n % 50);
        state = lane.observe(&Observation::new(line.as_bytes(), Timestamp(n as i64 * 1_000))).state;
    }
    bed.advance(1, lane);
    state
}

fn eventually(engine: &Engine, what: &str, is_so: impl Fn(&Stats) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so(&engine.stats()) {
        assert!(Instant::now() < deadline, "{what}: {:?}", engine.stats());
        std::thread::yield_now();
    }
}

#[test]
fn the_log_grows_while_a_sync_hangs_and_the_lag_tells_how_long() {
    let bed = bed();
    let disk = Hanging { fs: bed.fs.clone(), hangs: Arc::default() };
    let environment = Environment { clock: bed.clock.clone(), fs: Arc::new(disk.clone()) };
    let engine = Engine::open(&bed.config, environment).unwrap();
    let mut lane = engine.lane().unwrap();
    let _released = Released(&disk);
    events(&bed, &mut lane, 0);
    // The segment is there from here on: to begin one needs a sync, too, and what was not appended yet is not unsynced either.
    lane.sync().unwrap();
    eventually(&engine, "what was handed over is synced", |stats| stats.wal_unsynced_bytes == 0);
    assert_eq!(engine.stats().wal_sync_lag_seconds, 0.0);
    disk.set(true);
    events(&bed, &mut lane, 100);
    eventually(&engine, "it is appended, and not synced", |stats| stats.wal_unsynced_bytes > 0);
    let before = engine.stats();
    eventually(&engine, "the interval has passed twice", |stats| stats.wal_sync_lag_seconds > 0.4);
    for n in 2..10 {
        events(&bed, &mut lane, n * 100);
        let handed_over = n - 1;
        let least = before.wal_unsynced_bytes * handed_over;
        eventually(&engine, "appends go on", |stats| stats.wal_unsynced_bytes > least);
    }
    // What a kill leaves has it all, and only what was synced survives a power cut.
    assert_eq!(bed.killed().open().recovery().events_replayed, 1_000);
    assert_eq!(bed.powerless().open().recovery().events_replayed, 100);
    let during = engine.stats();
    assert_eq!((during.state, during.failure), ("ready", None), "a late disk is no failure");
    disk.set(false);
    eventually(&engine, "all is synced", |stats| stats.wal_unsynced_bytes == 0);
    assert_eq!(engine.stats().wal_sync_lag_seconds, 0.0);
    assert_eq!(bed.powerless().open().recovery().events_replayed, 1_000);
    lane.close().unwrap();
    engine.close().unwrap();
}

#[test]
fn a_sync_that_fails_on_its_own_thread_degrades_and_a_new_segment_brings_everything_back() {
    let bed = bed();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    events(&bed, &mut lane, 0);
    bed.fs.set_faults(Faults { sync: true, ..Faults::default() });
    events(&bed, &mut lane, 100);
    eventually(&engine, "the failure is seen", |stats| stats.state == "degraded");
    bed.fs.set_faults(Faults::default());
    let mut state = State::Degraded;
    for step in 2..7 {
        bed.advance(6, &mut lane);
        state = events(&bed, &mut lane, step * 100);
        // Waits for the writer; what it says of durability is not the point while it recovers.
        drop(engine.checkpoint());
    }
    assert_eq!(state, State::Ready, "{:?}", engine.stats());
    lane.close().unwrap();
    engine.close().unwrap();
    let again = bed.open();
    assert!(!again.recovery().is_damaged(), "{:?}", again.recovery());
    assert_eq!(again.stats().events_total, 700, "nothing learned meanwhile is missing");
}

#[test]
fn what_a_lane_dropped_is_not_called_durable_because_another_lanes_checkpoint_ended_the_failure() {
    let bed = Bed::new();
    let disk = Hanging { fs: bed.fs.clone(), hangs: Arc::default() };
    let environment = Environment { clock: bed.clock.clone(), fs: Arc::new(disk.clone()) };
    let engine = Engine::open(&bed.config, environment).unwrap();
    let (mut left, mut right) = (engine.lane().unwrap(), engine.lane().unwrap());
    let _released = Released(&disk);
    events(&bed, &mut left, 0);
    events(&bed, &mut right, 0);
    left.commit().unwrap();
    right.commit().unwrap();
    bed.fs.set_faults(Faults { sync: true, ..Faults::default() });
    events(&bed, &mut left, 100);
    left.commit().unwrap_err();
    bed.fs.set_faults(Faults::default());
    // The left lane starts anew, and its checkpoint would end the failure; the disk hangs in it.
    disk.set(true);
    bed.advance(1, &mut left);
    bed.advance(10, &mut left);
    let release = {
        let disk = disk.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            disk.set(false);
        })
    };
    events(&bed, &mut right, 100);
    let answer = right.commit();
    release.join().unwrap();
    let restored = bed.killed().open().stats().events_total;
    assert!(answer.is_err() || restored == 400, "{restored} of 400 are there, and it was said they all are");
    let deadline = Instant::now() + Duration::from_secs(60);
    while right.commit().is_err() {
        assert!(Instant::now() < deadline, "{:?}", engine.stats());
        bed.advance(1, &mut left);
        bed.advance(0, &mut right);
    }
    assert_eq!(bed.killed().open().stats().events_total, 400);
    assert_eq!(bed.powerless().open().stats().events_total, 400);
}

#[test]
fn what_went_to_a_data_dir_that_vanished_is_not_called_durable_and_a_new_one_is_made() {
    for durability in [Durability::Interval, Durability::Always] {
        let mut bed = bed();
        bed.config = Config { durability, ..bed.config };
        let engine = bed.open();
        let (mut left, mut right) = (engine.lane().unwrap(), engine.lane().unwrap());
        for lane in [&mut left, &mut right] {
            events(&bed, lane, 0);
            lane.sync().unwrap();
        }
        bed.fs.remove_dir_all(bed.dir()).unwrap();
        for lane in [&mut left, &mut right] {
            events(&bed, lane, 100);
            lane.sync().unwrap_err();
        }
        let mut state = State::Degraded;
        for step in 2..7 {
            bed.advance(6, &mut left);
            bed.advance(6, &mut right);
            state = events(&bed, &mut left, step * 100);
            drop(engine.checkpoint());
        }
        assert_eq!(state, State::Ready, "{:?}", engine.stats());
        left.sync().unwrap();
        right.sync().unwrap();
        assert_eq!(bed.powerless().open().stats().events_total, 900, "nothing learned meanwhile is missing");
    }
}

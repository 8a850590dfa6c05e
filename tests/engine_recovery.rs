//! What fails and comes back, and clocks that jump: persistence goes on, no history is lost or doubled, no number is used twice.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use engine_support::{Bed, say};
use oddline::config::Config;
use oddline::event::{State, Timestamp};
use oddline::storage::fs::{DirEntry, OpenMode, WriteFile};
use oddline::storage::mem_fs::Faults;
use oddline::storage::{FileSystem, MemFs};
use oddline::{Engine, Environment, Lane};

fn full() -> Faults {
    Faults { capacity_bytes: Some(0), ..Faults::default() }
}

fn small() -> Config {
    Config { wal_segment_bytes: 65_536, ..Config::default() }
}

/// Observes until the lane's next segment is begun.
fn fill_segment(bed: &Bed, lane: &mut Lane) -> u64 {
    let before = bed.segments(0).last().cloned();
    for n in 0u64.. {
        let time = Timestamp(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) as i64 >> 8);
        lane.observe(&oddline::event::Observation::new(b"routine work done", time));
        if n % 1_000 == 999 {
            lane.commit().unwrap();
            if bed.segments(0).last().cloned() != before {
                return n + 1;
            }
        }
    }
    unreachable!()
}

fn history(bed: &Bed) -> u64 {
    bed.chunks().iter().map(|chunk| chunk.events.len() as u64).sum()
}

/// Lets a lane reopen its log, and the checkpoint that follows be written.
fn settle(bed: &Bed, engine: &Engine, lane: &mut Lane) {
    for _ in 0..3 {
        say(lane, "routine work done");
        bed.advance(6, lane);
        // Waits for the writer; what it says of durability is not the point while it recovers.
        drop(engine.checkpoint());
    }
}

#[test]
fn a_lane_given_back_while_the_disk_was_full_does_not_keep_the_others_degraded() {
    lane_given_back_during(full());
}

#[test]
fn a_lane_given_back_while_syncing_failed_does_not_keep_the_others_degraded() {
    lane_given_back_during(Faults { sync: true, ..Faults::default() });
}

fn lane_given_back_during(faults: Faults) {
    let bed = Bed::new();
    let engine = bed.open();
    let (mut left, mut right) = (engine.lane().unwrap(), engine.lane().unwrap());
    left.commit().unwrap();
    right.commit().unwrap();
    say(&mut left, "routine work done");
    say(&mut right, "routine work done");
    bed.fs.set_faults(faults);
    assert!(right.commit().is_err());
    drop(right);
    assert!(left.commit().is_err());
    bed.fs.set_faults(Faults::default());
    settle(&bed, &engine, &mut left);
    for _ in 0..3 {
        assert_ne!(say(&mut left, "routine work done").state, State::Degraded, "{:?}", engine.stats());
        left.commit().unwrap();
    }
    let mut right = engine.lane().unwrap();
    settle(&bed, &engine, &mut right);
    settle(&bed, &engine, &mut left);
    say(&mut right, "routine work done");
    right.commit().unwrap();
    left.commit().unwrap();
    let again = bed.killed().open();
    assert_eq!(again.stats().events_total, 2 + 3 + 3 + 3 + 3 + 1);
    assert!(!again.recovery().is_damaged(), "{:?}", again.recovery());
}

#[test]
fn a_clock_set_back_a_year_while_the_disk_was_full_does_not_delay_recovery() {
    let bed = Bed::new();
    bed.clock.set(Timestamp(1_800_000_000_000_000));
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    say(&mut lane, "routine work done");
    bed.fs.set_faults(full());
    assert!(lane.commit().is_err());
    bed.advance(1, &mut lane);
    bed.fs.set_faults(Faults::default());
    bed.advance(-31_536_000, &mut lane);
    settle(&bed, &engine, &mut lane);
    assert_ne!(say(&mut lane, "routine work done").state, State::Degraded, "{:?}", engine.stats());
}

#[test]
fn a_clock_set_back_a_year_does_not_stop_the_checkpoints() {
    let bed = Bed::new();
    bed.clock.set(Timestamp(1_800_000_000_000_000));
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    bed.advance(1, &mut lane);
    bed.advance(-31_536_000, &mut lane);
    for _ in 0..3 {
        say(&mut lane, "routine work done");
        bed.advance(61, &mut lane);
    }
    lane.commit().unwrap();
    assert!(engine.stats().checkpoints_total >= 2, "{:?}", engine.stats());
}

#[test]
fn a_chunk_that_cannot_be_written_keeps_its_segment_until_it_can() {
    let bed = Bed::with(small());
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    // The first segment's chunk fails, whatever else works.
    let blocked = bed.dir().join("chunks/19700101T00/00-0000000000000000.chunk.tmp");
    bed.fs.create_dir_all(&blocked).unwrap();
    let mut events = 0;
    while engine.stats().state != "degraded" {
        events += 1_000;
        (0..1_000).for_each(|n| _ = say(&mut lane, &format!("routine work {n} done")));
        drop(lane.commit());
        assert!(events < 1_000_000);
    }
    let first = events;
    for _ in 0..6 {
        (0..20_000).for_each(|_| _ = say(&mut lane, "routine work done"));
        settle(&bed, &engine, &mut lane);
    }
    assert!(bed.segments(0)[0].ends_with("0000000000000000.wal"), "{:?}", bed.segments(0));
    bed.fs.remove_dir_all(&blocked).unwrap();
    settle(&bed, &engine, &mut lane);
    settle(&bed, &engine, &mut lane);
    assert_ne!(say(&mut lane, "routine work done").state, State::Degraded, "{:?}", engine.stats());
    let of_first: u64 = bed.chunks().iter().filter(|c| c.id.sequence == 0).map(|c| c.events.len() as u64).sum();
    assert!(of_first > 0 && of_first <= first, "{of_first} of {first}");
}

#[test]
fn a_chunk_written_again_after_a_failed_sync_in_another_hour_is_there_once() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    (0..50).for_each(|_| _ = say(&mut lane, "routine work done"));
    lane.close().unwrap();
    engine.close().unwrap();
    bed.fs.set_faults(Faults { sync_dir: true, ..Faults::default() });
    let engine = bed.open();
    assert!(engine.checkpoint().is_err(), "what the run before left cannot be made a chunk");
    bed.fs.set_faults(Faults::default());
    bed.clock.set(Timestamp(bed.now().0 + 3_600_000_000));
    engine.checkpoint().unwrap();
    // `chunks` fails on one that is there twice.
    assert_eq!(history(&bed), 50);
}

#[test]
fn segments_left_by_failures_go_once_a_checkpoint_covers_them() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    for _ in 0..6 {
        (0..50).for_each(|_| _ = say(&mut lane, "routine work done"));
        lane.commit().unwrap();
        bed.fs.set_faults(full());
        say(&mut lane, "routine work done");
        assert!(lane.commit().is_err());
        bed.fs.set_faults(Faults::default());
        settle(&bed, &engine, &mut lane);
        settle(&bed, &engine, &mut lane);
    }
    (0..2).for_each(|_| bed.checkpoint(&engine, &mut lane));
    assert!(bed.segments(0).len() <= 3, "{:?}", bed.segments(0));
    assert!(history(&bed) >= 6 * 50);
}

#[test]
fn segments_whose_lane_rested_for_runs_are_not_numbered_from_the_start_again() {
    let bed = Bed::with(small());
    let mut events = 0;
    for _ in 0..3 {
        let engine = bed.open();
        let mut lane = engine.lane().unwrap();
        events += fill_segment(&bed, &mut lane);
        (0..50).for_each(|_| _ = say(&mut lane, "routine work done"));
        events += 50;
        lane.close().unwrap();
        engine.close().unwrap();
        for _ in 0..3 {
            // Each writes a checkpoint; the second covers what the first made a chunk of.
            bed.open().close().unwrap();
        }
        assert_eq!(bed.segments(0), Vec::<PathBuf>::new(), "all of it is in chunks");
        assert_eq!(history(&bed), events);
    }
}

#[test]
fn falling_back_twice_finds_a_whole_checkpoint_twice() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    for _ in 0..3 {
        (0..100).for_each(|_| _ = say(&mut lane, "routine work done"));
        bed.checkpoint(&engine, &mut lane);
    }
    lane.close().unwrap();
    engine.close().unwrap();
    bed.damage(bed.checkpoints().last().unwrap(), -9);
    let engine = bed.open();
    assert_eq!(engine.recovery().damaged_checkpoints.len(), 1);
    engine.checkpoint().unwrap();
    let killed = bed.killed();
    killed.damage(killed.checkpoints().last().unwrap(), -9);
    let again = killed.open();
    assert!(again.recovery().checkpoint.is_some(), "{:?}", again.recovery());
    assert_eq!(again.stats().events_total, 300);
}

#[test]
fn a_start_with_a_clock_far_in_the_future_removes_no_history() {
    let bed = Bed::new();
    for _ in 0..2 {
        let engine = bed.open();
        let mut lane = engine.lane().unwrap();
        (0..50).for_each(|_| _ = say(&mut lane, "routine work done"));
        lane.close().unwrap();
        engine.close().unwrap();
    }
    assert_eq!(history(&bed), 50);
    bed.clock.set(Timestamp(4_102_444_800_000_000));
    bed.open().close().unwrap();
    assert_eq!(history(&bed), 100);
}

/// A file system whose appends panic or wait when told to.
#[derive(Debug, Clone, Default)]
struct Staged {
    fs: MemFs,
    appends_panic: Arc<Mutex<bool>>,
    gate: Arc<Mutex<Option<Gate>>>,
}

/// Tells that it was reached, and waits to be told to go on.
type Gate = (Sender<()>, Receiver<()>);

impl FileSystem for Staged {
    fn open(&self, path: &Path, mode: OpenMode) -> std::io::Result<Box<dyn WriteFile>> {
        assert!(!*self.appends_panic.lock().unwrap(), "told to");
        self.fs.open(path, mode)
    }

    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.fs.read(path)
    }

    fn len(&self, path: &Path) -> std::io::Result<u64> {
        self.fs.len(path)
    }

    fn list(&self, dir: &Path) -> std::io::Result<Vec<DirEntry>> {
        self.fs.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        if let Some((reached, go_on)) = &*self.gate.lock().unwrap() {
            // Whoever tells it to wait does so once.
            if reached.send(()).is_ok() {
                go_on.recv().unwrap();
            }
        }
        self.fs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.fs.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.fs.remove_dir(dir)
    }

    fn remove_dir_all(&self, dir: &Path) -> std::io::Result<()> {
        self.fs.remove_dir_all(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> std::io::Result<()> {
        self.fs.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.fs.sync_dir(dir)
    }
}

#[test]
fn a_storage_thread_that_died_is_noticed_at_the_next_tick_and_scoring_goes_on() {
    let bed = Bed::new();
    let staged = Staged::default();
    let environment = Environment { clock: bed.clock.clone(), fs: Arc::new(staged.clone()) };
    let engine = Engine::open(&bed.config, environment).unwrap();
    let mut lane = engine.lane().unwrap();
    say(&mut lane, "routine work done");
    lane.commit().unwrap();
    *staged.appends_panic.lock().unwrap() = true;
    assert!(engine.checkpoint().is_err());
    // The thread is gone a moment after it dropped what it was asked.
    for _ in 0..1_000_000 {
        bed.advance(1, &mut lane);
        if engine.stats().state == "degraded" {
            break;
        }
    }
    assert_eq!(say(&mut lane, "routine work done").state, State::Degraded);
    assert!(engine.stats().failure.unwrap().contains("storage thread"));
    assert!(lane.close().is_err());
}

#[test]
fn opening_a_data_dir_whose_engine_is_just_closing_waits_for_it() {
    let bed = Bed::new();
    let staged = Staged::default();
    let environment = Environment { clock: bed.clock.clone(), fs: Arc::new(staged.clone()) };
    let engine = Engine::shared(&bed.config, environment.clone()).unwrap();
    let mut lane = engine.lane().unwrap();
    (0..10).for_each(|_| _ = say(&mut lane, "routine work done"));
    lane.close().unwrap();
    let ((reached, is_reached), (go_on, may_go_on)) = (channel(), channel());
    *staged.gate.lock().unwrap() = Some((reached, may_go_on));
    let closing = std::thread::spawn(move || drop(engine));
    is_reached.recv().unwrap();
    let config = bed.config.clone();
    let opening = std::thread::spawn(move || Engine::shared(&config, environment).map(|e| e.stats().events_total));
    // Both may come in either order from here on; the answer must be the same.
    drop(is_reached);
    go_on.send(()).unwrap();
    closing.join().unwrap();
    assert_eq!(opening.join().unwrap().unwrap(), 10);
}

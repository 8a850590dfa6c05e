//! Scoring goes on whatever the disk does, and says so.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::path::PathBuf;

use engine_support::Bed;
use oddline::config::Config;
use oddline::engine::repair::repair;
use oddline::event::{Observation, State, StreamKey, Timestamp};
use oddline::storage::lock::LOCK_FILE;
use oddline::storage::mem_fs::Faults;
use oddline::storage::{DataDirLock, FileSystem, LockError, checkpoint};
use oddline::{Engine, Environment, Lane};

fn observe(lane: &mut Lane, n: u64) -> State {
    let line = format!("job {n} took {} ms", n % 50);
    lane.observe(&Observation::new(line.as_bytes(), Timestamp(n as i64 * 1_000))).state
}

fn fail_and_recover(faults: Faults) {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    (0..500).for_each(|n| _ = observe(&mut lane, n));
    lane.commit().unwrap();

    bed.fs.set_faults(faults);
    (500..600).for_each(|n| _ = observe(&mut lane, n));
    assert!(lane.commit().is_err(), "not durable, and says so");
    assert_eq!(observe(&mut lane, 600), State::Degraded);
    assert_eq!(engine.stats().state, "degraded");
    assert!(engine.stats().failure.is_some());

    bed.fs.set_faults(Faults::default());
    for step in 0..4u64 {
        (0..100).for_each(|n| _ = observe(&mut lane, 601 + step * 100 + n));
        bed.advance(6, &mut lane);
        // Waits for the writer; what it says of durability is not the point while it recovers.
        drop(engine.checkpoint());
    }
    assert_eq!(observe(&mut lane, 1_001), State::Ready, "{:?}", engine.stats());
    lane.commit().unwrap();
    lane.close().unwrap();
    engine.close().unwrap();

    let again = bed.open();
    assert!(!again.recovery().is_damaged(), "{:?}", again.recovery());
    assert_eq!(again.stats().events_total, 1_002, "nothing learned meanwhile is missing");
}

#[test]
fn a_full_disk_degrades_scoring_goes_on_and_room_brings_everything_back() {
    fail_and_recover(Faults { capacity_bytes: Some(0), ..Faults::default() });
}

#[test]
fn a_failing_sync_degrades_and_a_new_segment_brings_everything_back() {
    fail_and_recover(Faults { sync: true, ..Faults::default() });
}

#[test]
fn a_disk_that_turns_read_only_degrades_and_comes_back() {
    fail_and_recover(Faults { read_only: true, ..Faults::default() });
}

#[test]
fn a_disk_that_cannot_write_degrades_and_comes_back() {
    fail_and_recover(Faults { write: true, ..Faults::default() });
}

/// Events and time for as long as a lane needs to begin its log anew.
fn go_on(bed: &Bed, engine: &Engine, lane: &mut Lane, from: u64) -> State {
    let mut state = State::Degraded;
    for step in 0..4 {
        (0..100).for_each(|n| state = observe(lane, from + step * 100 + n));
        bed.advance(6, lane);
        // Waits for the writer; what it says of durability is not the point while it recovers.
        drop(engine.checkpoint());
    }
    if state == State::Degraded { state } else { observe(lane, from + 400) }
}

#[test]
fn a_data_dir_whose_lock_was_removed_is_locked_anew_and_loses_nothing() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    (0..500).for_each(|n| _ = observe(&mut lane, n));
    lane.commit().unwrap();
    std::fs::remove_file(bed.dir().join(LOCK_FILE)).unwrap();
    assert_eq!(go_on(&bed, &engine, &mut lane, 500), State::Ready, "{:?}", engine.stats());
    let error = DataDirLock::acquire(bed.dir(), bed.now()).unwrap_err();
    assert!(matches!(error, LockError::HeldHere { .. }), "{error}");
    lane.commit().unwrap();
    assert_eq!(bed.powerless().open().stats().events_total, 901);
}

#[test]
fn a_data_dir_that_another_one_has_by_now_is_not_written_to_until_it_is_free() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    (0..500).for_each(|n| _ = observe(&mut lane, n));
    bed.checkpoint(&engine, &mut lane);
    std::fs::remove_file(bed.dir().join(LOCK_FILE)).unwrap();
    let other = DataDirLock::acquire(bed.dir(), bed.now()).unwrap();
    engine.checkpoint().unwrap_err();
    let held = bed.fs.live_copy();
    assert_eq!(go_on(&bed, &engine, &mut lane, 500), State::Degraded);
    assert!(engine.stats().failure.unwrap().contains("is already open"), "{:?}", engine.stats().failure);
    for dir in ["state", "wal/00", "chunks"].map(|dir| bed.dir().join(dir)) {
        assert_eq!(bed.fs.list(&dir).unwrap_or_default(), held.list(&dir).unwrap_or_default());
    }
    drop(other);
    assert_eq!(go_on(&bed, &engine, &mut lane, 900), State::Ready, "{:?}", engine.stats());
    lane.commit().unwrap();
    assert_eq!(bed.powerless().open().stats().events_total, 1_301, "nothing learned meanwhile is missing");
}

#[test]
fn one_failure_of_any_operation_costs_nothing_that_was_answered() {
    let mut failed = 0;
    for operation in 0..25 {
        let bed = Bed::new();
        let engine = bed.open();
        let mut lane = engine.lane().unwrap();
        (0..200).for_each(|n| _ = observe(&mut lane, n));
        lane.commit().unwrap();
        bed.fs.set_faults(Faults { one_after: Some(operation), ..Faults::default() });
        let mut answered = 200;
        for step in 0..6u64 {
            (0..50).for_each(|n| _ = observe(&mut lane, 200 + step * 50 + n));
            match lane.commit() {
                Ok(()) => answered = 250 + step * 50,
                Err(_) => failed += 1,
            }
            bed.advance(35, &mut lane);
            drop(engine.checkpoint());
        }
        let restored = bed.powerless().open();
        assert!(!restored.recovery().is_damaged(), "operation {operation}: {:?}", restored.recovery());
        assert!(restored.stats().events_total >= answered, "operation {operation}: {answered} were answered");
        assert_eq!(observe(&mut lane, 501), State::Ready, "operation {operation}: {:?}", engine.stats());
    }
    assert!(failed > 0, "no commit met the failure");
}

#[test]
fn what_cannot_be_pruned_does_not_degrade() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    bed.fs.set_faults(Faults { remove: true, ..Faults::default() });
    for n in 0..4 {
        observe(&mut lane, n);
        bed.checkpoint(&engine, &mut lane);
    }
    assert_eq!(engine.stats().state, "learning", "{:?}", engine.stats().failure);
    assert!(bed.checkpoints().len() > checkpoint::KEPT);
    bed.fs.set_faults(Faults::default());
    bed.checkpoint(&engine, &mut lane);
    assert_eq!(bed.checkpoints().len(), checkpoint::KEPT, "tried again");
}

#[test]
fn power_loss_keeps_every_committed_event() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    (0..700).for_each(|n| _ = observe(&mut lane, n));
    lane.commit().unwrap();
    (700..800).for_each(|n| _ = observe(&mut lane, n));
    let again = bed.powerless().open();
    assert_eq!(again.stats().events_total, 700);
    assert!(!again.recovery().is_damaged());
}

#[test]
fn a_data_dir_of_a_newer_version_is_refused_and_left_alone() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    (0..50).for_each(|n| _ = observe(&mut lane, n));
    lane.close().unwrap();
    engine.close().unwrap();
    let state = bed.dir().join("state");
    let newest = *checkpoint::list(&bed.fs, &state).unwrap().last().unwrap();
    let path = state.join(format!("{newest:016x}.checkpoint"));
    let mut bytes = oddline::storage::FileSystem::read(&bed.fs, &path).unwrap();
    bytes[8] = 99;
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    bed.fs.put(&path, &bytes);
    let error = Engine::open(&bed.config, bed.environment()).unwrap_err().to_string();
    assert!(error.contains("99") && error.contains(&path.display().to_string()), "{error}");
    assert_eq!(oddline::storage::FileSystem::read(&bed.fs, &path).unwrap(), bytes);
}

/// The newest checkpoint as another oddline might have written it: a lane's section changed, every checksum right.
fn rewrite_newest(bed: &Bed, change: impl Fn(&mut Vec<u8>)) -> PathBuf {
    let path = bed.checkpoints().pop().unwrap();
    let mut file = checkpoint::decode(&path, &bed.fs.read(&path).unwrap()).unwrap();
    let lane = file.sections.iter_mut().find(|(name, _)| name == "lane-00").unwrap();
    change(&mut lane.1);
    let sections: Vec<(&str, &[u8])> = file.sections.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
    bed.fs.put(&path, &checkpoint::encode(file.sequence, file.created, &sections).unwrap());
    path
}

fn twice_closed() -> Bed {
    let bed = Bed::new();
    for run in 0..2 {
        let engine = bed.open();
        let mut lane = engine.lane().unwrap();
        (0..300).for_each(|n| _ = observe(&mut lane, run * 300 + n));
        lane.close().unwrap();
        engine.close().unwrap();
    }
    bed
}

#[test]
fn learned_state_of_a_newer_format_is_refused_and_left_alone() {
    let bed = twice_closed();
    // After the position and the next segment.
    let path = rewrite_newest(&bed, |lane| lane[20..24].copy_from_slice(&99u32.to_le_bytes()));
    let before = bed.fs.read(&path).unwrap();
    let error = Engine::open(&bed.config, bed.environment()).unwrap_err().to_string();
    assert!(error.contains("version 99") && error.contains(&path.display().to_string()), "{error}");
    let error = repair(&bed.config, bed.environment()).unwrap_err().to_string();
    assert!(error.contains("version 99"), "{error}");
    assert_eq!(bed.fs.read(&path).unwrap(), before);
    assert_eq!(bed.checkpoints().len(), 2);
}

#[test]
fn learned_state_that_does_not_read_falls_back_to_the_checkpoint_before_and_the_log() {
    let bed = twice_closed();
    let path = rewrite_newest(&bed, |lane| lane.truncate(40));
    let again = bed.killed().open();
    assert_eq!(again.stats().events_total, 600, "{:?}", again.recovery());
    assert_eq!(again.recovery().damaged_checkpoints.len(), 1);
    let fixed = repair(&bed.config, bed.environment()).unwrap();
    assert_eq!(fixed.iter().map(|file| &file.path).collect::<Vec<_>>(), [&path]);
    let repaired = bed.open();
    assert!(!repaired.recovery().is_damaged(), "{:?}", repaired.recovery());
    assert_eq!(repaired.stats().events_total, 600);
}

#[test]
fn a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_the_log() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    for n in 0..900 {
        observe(&mut lane, n);
        if n == 300 || n == 600 {
            bed.advance(61, &mut lane);
            bed.advance(61, &mut lane);
            engine.checkpoint().unwrap();
        }
    }
    lane.close().unwrap();
    engine.close().unwrap();
    let state = bed.dir().join("state");
    let newest = *checkpoint::list(&bed.fs, &state).unwrap().last().unwrap();
    let path = state.join(format!("{newest:016x}.checkpoint"));
    let mut bytes = oddline::storage::FileSystem::read(&bed.fs, &path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    bed.fs.put(&path, &bytes);
    let again = bed.open();
    assert!(again.recovery().is_damaged());
    assert_eq!(again.recovery().damaged_checkpoints.len(), 1);
    assert_eq!(again.stats().events_total, 900, "{:?}", again.recovery());
}

#[test]
fn times_that_jump_back_forward_and_beyond_every_calendar_are_scored() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    for (n, micros) in [0, i64::MAX, i64::MIN, -1, 86_400_000_000, 1, i64::MAX - 1].into_iter().enumerate() {
        let line = format!("line {n}");
        let observation =
            Observation { stream: StreamKey(n as u64), ..Observation::new(line.as_bytes(), Timestamp(micros)) };
        let verdict = lane.observe(&observation);
        assert!((0.0..=1.0).contains(&verdict.score));
        lane.tick(Timestamp(micros));
    }
    lane.close().unwrap();
    engine.close().unwrap();
    assert_eq!(bed.open().stats().events_total, 7);
}

#[test]
fn empty_huge_and_binary_messages_are_scored() {
    let engine = Engine::open(&Config::default(), Environment::system()).unwrap();
    let mut lane = engine.lane().unwrap();
    let huge = vec![b'x'; 10_000_000];
    let words = b"word ".repeat(1_000_000);
    let every: Vec<u8> = (0..=255).collect();
    for message in [&b""[..], b" ", b"\0", b"\xff\xfe", &huge, &words, &every] {
        let verdict = lane.observe(&Observation::new(message, Timestamp(0)));
        let text = lane.template_text(verdict.template).unwrap();
        assert!(text.len() < 200_000);
        lane.parameters(message).for_each(drop);
    }
}

//! A data dir whose files are in memory, a clock that is moved by hand, and an engine on both.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oddline::clock::{Clock, ManualClock};
use oddline::config::{Config, Durability};
use oddline::event::{Observation, Timestamp, Verdict};
use oddline::storage::chunk::Group;
use oddline::storage::{FileSystem, MemFs, checkpoint, chunk_dir};
use oddline::{Engine, Environment, Lane};

pub(crate) const SECOND: i64 = 1_000_000;

pub(crate) struct Bed {
    pub(crate) fs: MemFs,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) config: Config,
    /// The lock is the operating system's, so the directory is real; every other file is in `fs`.
    dir: tempfile::TempDir,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    /// With the data dir of its own, and durable at each commit.
    pub(crate) fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: Some(dir.path().to_owned()),
            durability: Durability::Always,
            learning_events: 100,
            ..config
        };
        Self { fs: MemFs::new(), clock: Arc::new(ManualClock::new(Timestamp(1_000_000_000))), config, dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn environment(&self) -> Environment {
        Environment { clock: self.clock.clone(), fs: Arc::new(self.fs.clone()) }
    }

    pub(crate) fn open(&self) -> Engine {
        Engine::open(&self.config, self.environment()).unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the clock, and lets the lane do what time asks for.
    pub(crate) fn advance(&self, secs: i64, lane: &mut Lane) {
        let now = Timestamp(self.now().0 + secs * SECOND);
        self.clock.set(now);
        lane.tick(now);
    }

    /// Lets the lane ask for a checkpoint, and waits for it.
    pub(crate) fn checkpoint(&self, engine: &Engine, lane: &mut Lane) {
        self.advance(61, lane);
        self.advance(61, lane);
        engine.checkpoint().unwrap();
    }

    /// The data dir as it is now, as a killed process leaves it, in a bed of its own.
    pub(crate) fn killed(&self) -> Self {
        self.copy_of(&self.fs.live_copy())
    }

    /// The same after a power cut: what was not synced is gone.
    pub(crate) fn powerless(&self) -> Self {
        self.copy_of(&self.fs.durable_copy())
    }

    /// The same, but of what was not synced any part is there.
    pub(crate) fn cut(&self, choose: &mut dyn FnMut(u64) -> u64) -> Self {
        self.copy_of(&self.fs.power_cut(choose))
    }

    pub(crate) fn copy_of(&self, fs: &MemFs) -> Self {
        let bed = Self::with(self.config.clone());
        bed.clock.set(self.now());
        copy(fs, self.dir(), &bed.fs, bed.dir());
        bed
    }

    pub(crate) fn segments(&self, lane: u8) -> Vec<PathBuf> {
        let dir = self.dir().join(format!("wal/{lane:02x}"));
        let mut names: Vec<_> = self.fs.list(&dir).unwrap_or_default().into_iter().map(|e| dir.join(e.name)).collect();
        names.sort();
        names
    }

    pub(crate) fn checkpoints(&self) -> Vec<PathBuf> {
        let dir = self.dir().join("state");
        let sequences = checkpoint::list(&self.fs, &dir).unwrap();
        sequences.into_iter().map(|sequence| dir.join(format!("{sequence:016x}.checkpoint"))).collect()
    }

    /// Every group of events in the history; none twice.
    pub(crate) fn chunks(&self) -> Vec<Group> {
        // The engine may remove an hour just now.
        let fs = &self.fs.live_copy();
        let dir = self.dir().join("chunks");
        let mut seen = BTreeSet::new();
        let mut groups = Vec::new();
        for hour in chunk_dir::hours(fs, &dir).unwrap() {
            let files = chunk_dir::open_hour(fs, &dir, hour).unwrap();
            assert!(files.damaged.is_empty(), "{:?}", files.damaged);
            for reader in &files.readers {
                for place in &reader.summary().groups {
                    assert!(seen.insert((place.id.lane, place.id.run, place.id.first_event)), "twice: {:?}", place.id);
                    groups.push(reader.group(fs, place).unwrap());
                }
            }
        }
        groups
    }

    /// Flips the byte of a file at `at` (counted from the end when negative).
    pub(crate) fn damage(&self, path: &Path, at: isize) {
        let mut bytes = self.fs.read(path).unwrap();
        let at = if at < 0 { bytes.len() - at.unsigned_abs() } else { at.unsigned_abs() };
        bytes[at] ^= 0x55;
        self.fs.put(path, &bytes);
    }
}

fn copy(from: &MemFs, dir: &Path, to: &MemFs, target: &Path) {
    for entry in from.list(dir).unwrap_or_default() {
        let (path, target) = (dir.join(&entry.name), target.join(&entry.name));
        if entry.is_dir {
            to.create_dir_all(&target).unwrap();
            copy(from, &path, to, &target);
        } else {
            to.create_dir_all(target.parent().unwrap()).unwrap();
            to.put(&target, &from.read(&path).unwrap());
        }
    }
}

/// All of a verdict but its id, which names the run.
pub(crate) fn same(left: &Verdict, right: &Verdict) -> bool {
    let mut left = *left;
    left.event_id = right.event_id;
    left == *right
}

pub(crate) fn say(lane: &mut Lane, text: &str) -> Verdict {
    lane.observe(&Observation::new(text.as_bytes(), Timestamp(1_000_000_000)))
}

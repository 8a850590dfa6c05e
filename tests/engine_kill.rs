//! Killed, or without power, at every single change of the data dir: what is restored goes on as if nothing had happened.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use engine_support::{Bed, same, say};
use oddline::config::Config;
use oddline::event::Verdict;
use oddline::storage::fs::{DirEntry, OpenMode, WriteFile};
use oddline::storage::{FileSystem, MemFs};
use oddline::{Engine, Environment, Lane};

/// What the data dir was after a change, and what of it was durable.
struct Moment {
    killed: MemFs,
    powerless: MemFs,
}

/// Keeps every moment of a file system.
#[derive(Clone, Default)]
struct Recorder {
    fs: MemFs,
    moments: Arc<Mutex<Vec<Moment>>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    fn record<T>(&self, done: io::Result<T>) -> io::Result<T> {
        // Copied under the lock: the log's threads change files, too, and no copy may be older than one kept before it.
        let mut moments = self.moments.lock().unwrap();
        moments.push(Moment { killed: self.fs.live_copy(), powerless: self.fs.durable_copy() });
        drop(moments);
        done
    }
}

#[derive(Debug)]
struct RecordedFile(Recorder, Box<dyn WriteFile>);

impl WriteFile for RecordedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A write can be cut anywhere.
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        let done = self.1.append(first);
        self.0.record(done)?;
        let done = self.1.append(rest);
        self.0.record(done)
    }

    fn sync(&mut self) -> io::Result<()> {
        let done = self.1.sync();
        self.0.record(done)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let done = self.1.truncate(length);
        self.0.record(done)
    }

    fn second(&self) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(Self(self.0.clone(), self.1.second()?)))
    }
}

impl FileSystem for Recorder {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn WriteFile>> {
        let file = self.record(self.fs.open(path, mode))?;
        Ok(Box::new(RecordedFile(self.clone(), file)))
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
        self.record(self.fs.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.record(self.fs.remove(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.record(self.fs.remove_dir(dir))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.record(self.fs.remove_dir_all(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.record(self.fs.create_dir_all(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.record(self.fs.sync_dir(dir))
    }
}

fn line(n: u64) -> String {
    const NAMES: [&str; 12] = ["ann", "bob", "cyd", "dot", "eve", "fay", "gus", "hal", "ida", "joe", "kim", "lee"];
    let letter = |n: u64| char::from(b'a' + (n % 26) as u8);
    match n % 10 {
        0 if n.is_multiple_of(70) => format!("ERROR {} failed with {}", letter(n / 70), letter(n / 7)),
        1 => format!("session opened for user {} by root", NAMES[(n / 10 % 12) as usize]),
        2 => format!("{}{} {}{} started", letter(n), letter(n / 3), letter(n / 5), letter(n / 26)),
        3..6 => format!("GET /items/{n} took {} ms", n % 50),
        _ => format!("job {n} done, {} rows left", n * 7 % 1_000),
    }
}

const EVENTS: u64 = 3_000;
const AFTER: u64 = 60;

fn config() -> Config {
    Config { max_templates: 30, wal_segment_bytes: 65_536, ..Config::default() }
}

/// The verdicts of an engine that nothing happens to.
fn undisturbed(bed: &Bed) -> Vec<Verdict> {
    let memory = Config { data_dir: None, ..bed.config.clone() };
    let mut lane = Engine::open(&memory, bed.environment()).unwrap().lane().unwrap();
    (0..EVENTS + AFTER).map(|n| say(&mut lane, &line(n))).collect()
}

/// Three runs: segments filled, checkpoints, a restart with leftovers. Returns, by moment, the events durable for sure.
fn live(bed: &Bed, recorder: &Recorder) -> Vec<(usize, u64)> {
    let environment = Environment { clock: bed.clock.clone(), fs: Arc::new(recorder.clone()) };
    let mut durable = Vec::new();
    for run in 0..3 {
        let engine = Engine::open(&bed.config, environment.clone()).unwrap();
        let mut lane: Lane = engine.lane().unwrap();
        for n in run * EVENTS / 3..(run + 1) * EVENTS / 3 {
            say(&mut lane, &line(n));
            if n % 250 == 249 {
                lane.commit().unwrap();
                durable.push((recorder.moments.lock().unwrap().len(), n + 1));
            }
            if n % 400 == 399 {
                bed.advance(301, &mut lane);
            }
        }
        lane.close().unwrap();
        engine.close().unwrap();
    }
    durable
}

#[test]
fn a_kill_or_a_power_cut_at_any_change_of_the_data_dir_changes_no_verdict() {
    let bed = Bed::with(config());
    let verdicts = undisturbed(&bed);
    let recorder = Recorder::default();
    let durable = live(&bed, &recorder);
    let moments = std::mem::take(&mut *recorder.moments.lock().unwrap());
    assert!(moments.len() > 100, "{}", moments.len());
    for (at, moment) in moments.iter().enumerate() {
        let sure = durable.iter().take_while(|(moments, _)| *moments <= at).last().map_or(0, |(_, events)| *events);
        for (how, fs) in [("killed", &moment.killed), ("powerless", &moment.powerless)] {
            goes_on(&bed.copy_of(fs), &verdicts, sure, &format!("{how} at change {at} of {}", moments.len()));
        }
    }
}

fn goes_on(bed: &Bed, verdicts: &[Verdict], sure: u64, when: &str) {
    let engine = bed.open();
    assert!(!engine.recovery().is_damaged(), "{when}: {:?}", engine.recovery());
    let restored = engine.stats().events_total;
    assert!((sure..=EVENTS).contains(&restored), "{when}: {restored} restored, {sure} were durable");
    let mut lane = engine.lane().unwrap();
    for n in restored..restored + AFTER {
        let verdict = say(&mut lane, &line(n));
        let expected = &verdicts[n as usize];
        assert!(same(&verdict, expected), "{when}: event {n}\n{verdict:?}\n{expected:?}");
    }
    lane.close().unwrap();
    engine.close().unwrap();
    // What the run before left is in chunks by now: each event of it once, none twice.
    let mut numbers: Vec<(u32, u64, u64)> =
        bed.chunks().iter().map(|chunk| (chunk.id.run, chunk.id.first_event, chunk.events.len() as u64)).collect();
    numbers.sort_unstable();
    for pair in numbers.windows(2) {
        let [(run, first, events), (next_run, next, _)] = [pair[0], pair[1]];
        assert!(run != next_run || first + events <= next, "{when}: {pair:?}");
    }
    assert_eq!(numbers.iter().map(|(.., events)| events).sum::<u64>(), restored, "{when}: {numbers:?}");
}

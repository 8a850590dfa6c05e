//! The engine against a model of what it promises, over random histories: lanes come, go and observe, time passes and jumps, checkpoints
//! are asked for, the disk fails and recovers, the process is killed and the power cut.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;

use engine_support::{Bed, same, say};
use oddline::config::Config;
use oddline::engine::RecoveryReport;
use oddline::event::Verdict;
use oddline::storage::mem_fs::Faults;
use oddline::{Engine, Environment, Lane};

const MAX_TEMPLATES: usize = 24;

/// A xorshift generator (Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8, 2003).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

fn word(n: u64) -> String {
    (0..3).map(|at| char::from(b'a' + (n / 26u64.pow(at) % 26) as u8)).collect()
}

/// Mostly routine; names that generalise; at times new templates, enough of them to evict.
fn line(dice: &mut Dice) -> String {
    match dice.below(20) {
        0 => format!("ERROR {} failed in {}", word(dice.below(40)), word(dice.below(5) * 700)),
        1 => format!("{} {} {}", word(dice.below(200) * 31), word(dice.below(200) * 77), word(dice.below(9))),
        2..=5 => format!("session opened for {} by root", word(dice.below(30) * 17)),
        7..=11 => format!("GET /items/{} took {} ms", dice.below(1_000), dice.below(90)),
        _ => format!("job {} done", dice.below(1_000)),
    }
}

fn config() -> Config {
    Config { max_templates: MAX_TEMPLATES, wal_segment_bytes: 65_536, ..Config::default() }
}

fn assert_bounded(bed: &Bed, engine: &Engine, removes: bool) {
    assert!(engine.stats().templates <= MAX_TEMPLATES as u64);
    // Two are kept; a third is there while it replaces one, and a fourth after a crash at that moment.
    assert!(!removes || bed.checkpoints().len() <= 4, "{:?}", bed.checkpoints());
    bed.chunks();
}

/// One lane, nothing lost: every verdict is that of an engine that was never interrupted.
fn uninterrupted(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut bed = Bed::with(config());
    let memory = Engine::open(&Config { data_dir: None, ..bed.config.clone() }, bed.environment()).unwrap();
    let mut whole = memory.lane().unwrap();
    let mut engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let mut events = 0;
    for step in 0..60 {
        match dice.below(8) {
            0 => bed.advance(dice.below(90) as i64 - 5, &mut lane),
            1 => {
                bed.advance(61, &mut lane);
                bed.advance(61, &mut lane);
            }
            2 => {
                lane.close().unwrap();
                lane = engine.lane().unwrap();
            }
            3 => {
                lane.commit().unwrap();
                let after = match dice.below(3) {
                    0 => bed.killed(),
                    1 => bed.powerless(),
                    _ => bed.cut(&mut |sides| dice.below(sides)),
                };
                std::mem::forget((std::mem::replace(&mut lane, memory.lane().unwrap()), engine));
                bed = after;
                engine = bed.open();
                assert!(!engine.recovery().is_damaged(), "seed {seed} step {step}: {:?}", engine.recovery());
                assert_eq!(engine.stats().events_total, events, "seed {seed} step {step}");
                lane = engine.lane().unwrap();
            }
            4 => {
                lane.close().unwrap();
                engine.close().unwrap();
                engine = bed.open();
                assert_eq!(engine.recovery().events_replayed, 0, "seed {seed} step {step}");
                assert_eq!(engine.stats().events_total, events, "seed {seed} step {step}");
                lane = engine.lane().unwrap();
            }
            _ => {
                for _ in 0..dice.below(400) {
                    let line = line(&mut dice);
                    let (left, right): (Verdict, Verdict) = (say(&mut lane, &line), say(&mut whole, &line));
                    events += 1;
                    assert!(same(&left, &right), "seed {seed} step {step} event {events}:\n{left:?}\n{right:?}");
                }
            }
        }
        assert_bounded(&bed, &engine, true);
    }
}

#[test]
fn one_lane_scores_as_if_it_had_never_been_interrupted() {
    (1..=25).for_each(uninterrupted);
}

/// What was said to the lanes of a bed.
struct Fleet {
    bed: Bed,
    engine: Engine,
    lanes: Vec<Lane>,
    /// Events observed and, of these, durable for sure.
    observed: u64,
    durable: u64,
    /// The disk failed since everything was durable the last time.
    is_shaky: bool,
    /// Old checkpoints could be removed since the disk was mended.
    removes: bool,
    /// Damage of segments that was told already.
    told: HashSet<Place>,
}

/// Lane, file and offset.
type Place = (u8, OsString, u64);

fn damage_of(report: &RecoveryReport) -> Vec<Place> {
    let of_lane = |lane: &oddline::storage::wal::RecoveryReport| {
        let name = |path: &Path| path.file_name().unwrap().to_owned();
        lane.damage.iter().map(|damage| (lane.lane, name(&damage.path), damage.offset)).collect::<Vec<_>>()
    };
    report.lanes.iter().flat_map(of_lane).collect()
}

impl Fleet {
    fn new() -> Self {
        let bed = Bed::with(config());
        Self {
            engine: bed.open(),
            lanes: Vec::new(),
            bed,
            observed: 0,
            durable: 0,
            is_shaky: false,
            removes: true,
            told: HashSet::new(),
        }
    }

    fn observe(&mut self, dice: &mut Dice) {
        if self.lanes.len() < 3 && (self.lanes.is_empty() || dice.below(4) == 0) {
            self.lanes.push(self.engine.lane().unwrap());
        }
        let at = dice.below(self.lanes.len() as u64) as usize;
        for _ in 0..dice.below(300) {
            let verdict = say(&mut self.lanes[at], &line(dice));
            assert!((0.0..=1.0).contains(&verdict.score) && verdict.p_value > 0.0);
            self.observed += 1;
        }
    }

    fn tick(&mut self, dice: &mut Dice) {
        // Now and then the clock jumps, by up to two years.
        let jump = if dice.below(10) == 0 { dice.below(126_230_400) as i64 - 63_115_200 } else { 0 };
        let secs = dice.below(70) as i64 + jump;
        for lane in &mut self.lanes {
            self.bed.advance(secs, lane);
        }
    }

    fn commit(&mut self) {
        let failed = self.lanes.iter_mut().filter_map(|lane| lane.commit().err()).count();
        // A lane given back is synced with the commit of another.
        if failed == 0 && !self.lanes.is_empty() && !self.is_shaky {
            self.durable = self.observed;
        }
    }

    fn break_disk(&mut self, dice: &mut Dice) {
        let mut faults = Faults::default();
        match dice.below(9) {
            0 => faults.capacity_bytes = Some(self.bed.fs.used_bytes() + dice.below(2_000)),
            1 => faults.sync = true,
            2 => faults.sync_dir = true,
            3 => faults.rename = true,
            4 => faults.remove = true,
            5 => (faults.truncate, faults.capacity_bytes) = (true, Some(0)),
            6 => faults.write = true,
            7 => faults.one_after = Some(dice.below(20)),
            _ => faults.read_only = true,
        }
        self.bed.fs.set_faults(faults);
        self.is_shaky = true;
        self.removes &= !faults.remove && faults.one_after.is_none();
    }

    /// Room again: after a while everything is durable and the state is as before.
    fn mend_disk(&mut self, seed: u64) {
        self.bed.fs.set_faults(Faults::default());
        if self.lanes.is_empty() {
            self.lanes.push(self.engine.lane().unwrap());
        }
        for _ in 0..6 {
            for lane in &mut self.lanes {
                say(lane, "job 1 done");
                self.observed += 1;
                self.bed.advance(6, lane);
                drop(self.engine.checkpoint());
            }
        }
        let stats = self.engine.stats();
        assert_ne!(stats.state, "degraded", "seed {seed}: {stats:?}");
        for lane in &mut self.lanes {
            lane.commit().unwrap();
        }
        self.engine.checkpoint().unwrap();
        (self.is_shaky, self.removes) = (false, true);
        self.durable = self.observed;
    }

    fn crash(&mut self, dice: &mut Dice, seed: u64) {
        // Part of what was not synced may be damage, which is told; nothing that was durable is.
        let mut was_shaky = self.is_shaky;
        let mut bed = match dice.below(3) {
            0 => self.bed.killed(),
            1 => self.bed.powerless(),
            _ => {
                was_shaky = true;
                self.bed.cut(&mut |sides| dice.below(sides))
            }
        };
        if dice.below(3) == 0 {
            tear(&mut bed, dice);
        }
        std::mem::forget(std::mem::take(&mut self.lanes));
        let engine = bed.open();
        let total = engine.stats().events_total;
        let report = engine.recovery();
        assert!(total <= self.observed, "seed {seed}: {total} of {}: {report:?}", self.observed);
        assert!(total >= self.durable, "seed {seed}: {total}, durable {}: {report:?}", self.durable);
        let damage = damage_of(report);
        let is_told = damage.iter().all(|place| self.told.contains(place)) && report.damaged_checkpoints.is_empty();
        assert!(was_shaky || is_told, "seed {seed}: {report:?}");
        // A segment stays until it is a chunk, and its damage with it.
        self.told.extend(damage);
        let counted: u64 = engine.templates().iter().map(|template| template.count).sum();
        assert!(counted <= total, "seed {seed}: {counted} of {total}");
        std::mem::forget(std::mem::replace(&mut self.engine, engine));
        (self.bed, self.observed, self.durable, self.is_shaky) = (bed, total, total, false);
    }

    fn restart(&mut self, seed: u64) {
        self.mend_disk(seed);
        self.lanes.clear();
        let memory = Engine::open(&Config::default(), Environment::system()).unwrap();
        std::mem::replace(&mut self.engine, memory).close().unwrap();
        self.engine = self.bed.open();
        assert_eq!(self.engine.recovery().events_replayed, 0, "seed {seed}");
        assert_eq!(self.engine.stats().events_total, self.observed, "seed {seed}");
    }
}

/// A write that the crash interrupted: garbage behind what was whole.
fn tear(bed: &mut Bed, dice: &mut Dice) {
    for lane in 0..3 {
        if let Some(path) = bed.segments(lane).last() {
            let mut bytes = oddline::storage::FileSystem::read(&bed.fs, path).unwrap();
            bytes.extend((0..dice.below(60)).map(|_| dice.0 as u8));
            bed.fs.put(path, &bytes);
        }
    }
}

fn fleet(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut fleet = Fleet::new();
    for _ in 0..80 {
        match dice.below(20) {
            0..9 => fleet.observe(&mut dice),
            9..13 => fleet.tick(&mut dice),
            13..15 => fleet.commit(),
            15 => drop(fleet.engine.checkpoint()),
            16 => fleet.break_disk(&mut dice),
            17 => fleet.mend_disk(seed),
            18 => fleet.crash(&mut dice, seed),
            _ if dice.below(2) == 0 => fleet.restart(seed),
            _ => drop(fleet.lanes.pop()),
        }
        assert_bounded(&fleet.bed, &fleet.engine, fleet.removes);
    }
}

#[test]
fn several_lanes_lose_nothing_durable_and_double_nothing_whatever_happens() {
    (1..=40).for_each(fleet);
}

//! The whole path of a known template: find it, score, write to the log's buffer; on one thread, on two, and between lines of a storm.

use std::hint::black_box;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use oddline::clock::{Clock, SystemClock};
use oddline::config::Config;
use oddline::engine::EngineError;
use oddline::event::Observation;
use oddline::{Engine, Environment, Lane};

use crate::storm;

/// Lines between two looks at the clock, where a log is gone over as a whole.
const BLOCK: usize = 256;

/// Times the known lines are gone over before they are measured, so that learning is over.
const PASSES_TO_LEARN: usize = 10;

/// A data dir that goes away with this value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Lines a second on one thread and on two, the best of `times` runs each, one and two by turns.
pub(crate) fn one_and_two(lines: &[&str], times: usize) -> io::Result<(f64, f64)> {
    with_engine(|engine| measure(engine, lines, times))
}

/// Lines a second of blocks of `known` ones without a storm, and between blocks of the `storm`.
pub(crate) fn between(known: &[&str], storm: &[String]) -> io::Result<(f64, f64)> {
    with_engine(|engine| {
        let mut lane = engine.lane()?;
        (0..PASSES_TO_LEARN).try_for_each(|_| pass(&mut lane, known))?;
        let meet = |lane: &mut Lane, storm: &[String]| {
            // What it hands to other threads is written while the storm goes on, whose time does not count.
            black_box(lane.tick(SystemClock.now()));
            observe(lane, storm);
        };
        let find = |lane: &mut Lane, known: &[&str]| observe(lane, known);
        let blocks = storm.chunks(storm::BLOCK);
        let quiet = storm::between(&mut lane, known, blocks.clone().map(|_| &[][..]), meet, find);
        let between = storm::between(&mut lane, known, blocks, meet, find);
        lane.close()?;
        Ok((quiet, between))
    })
}

/// On a data dir of its own.
fn with_engine<T>(work: impl FnOnce(&Engine) -> Result<T, EngineError>) -> io::Result<T> {
    let scratch = Scratch(std::env::temp_dir().join(format!("oddline-peers-{}", std::process::id())));
    std::fs::create_dir(&scratch.0)?;
    let config = Config { data_dir: Some(scratch.0.clone()), ..Config::default() };
    let engine = Engine::open(&config, Environment::system()).map_err(io::Error::other)?;
    let done = work(&engine).map_err(io::Error::other)?;
    engine.close().map_err(io::Error::other)?;
    Ok(done)
}

fn measure(engine: &Engine, lines: &[&str], times: usize) -> Result<(f64, f64), EngineError> {
    let mut lanes = [engine.lane()?, engine.lane()?];
    // Each lane has met every template before, and has taken in what the other counted.
    for lane in &mut lanes {
        pass(lane, lines)?;
    }
    let (mut one, mut two) = (0.0_f64, 0.0_f64);
    for _ in 0..times.max(1) {
        lanes.iter_mut().for_each(|lane| _ = black_box(lane.tick(SystemClock.now())));
        let [left, right] = &mut lanes;
        one = one.max(rate(lines, || pass(left, lines))?);
        let halves = lines.split_at(lines.len() / 2);
        two = two.max(rate(lines, || {
            std::thread::scope(|scope| {
                let beside = scope.spawn(|| pass(left, halves.0));
                pass(right, halves.1)?;
                beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })?);
    }
    lanes.into_iter().try_for_each(Lane::close)?;
    Ok((one, two))
}

fn pass(lane: &mut Lane, lines: &[&str]) -> Result<(), EngineError> {
    lines.chunks(BLOCK).for_each(|block| observe(lane, block));
    lane.commit()
}

fn observe(lane: &mut Lane, lines: &[impl AsRef<str>]) {
    let now = SystemClock.now();
    lines.iter().for_each(|line| _ = black_box(lane.observe(&Observation::new(line.as_ref().as_bytes(), now))));
}

fn rate(lines: &[&str], work: impl FnOnce() -> Result<(), EngineError>) -> Result<f64, EngineError> {
    let start = Instant::now();
    work()?;
    Ok(lines.len() as f64 / start.elapsed().as_secs_f64())
}

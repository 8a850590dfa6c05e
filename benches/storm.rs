//! What a storm of 10,000 new templates costs the events around it: the goal is a p99 of `observe` of at most 1.2 times that of a quiet stream.
//!
//! `cargo bench --bench storm`. A lane with a data dir sees known templates, then, for the storm, one new template for each known one; quiet and storm by turns, so that
//! what else the machine does meets both, and all rounds together give a figure. Told are known events in either, and what the event of a new template itself costs: it is learned, logged and, with
//! `semantic_weight` above 0, given a vector.
//!
//! With `--features onnx`, and `ODDLINE_ONNX_MODELS` and `ORT_DYLIB_PATH` as in `tests/embed_onnx.rs`, once more with a model that embeds all the while, begun before the first event
//! that counts, and with searches that do; the quiet parts are then those of an engine without one. Rounds are spread over [`LEAST`], since without that all is over before a model has made
//! more than some tens of vectors; how many it made, and how many searches were answered, is told. It wants a processor for the model beside that of the lane.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oddline::config::{Config, EmbedderKind};
use oddline::engine::search::Search;
use oddline::event::{Observation, Timestamp};
use oddline::{Engine, Environment, Lane};

const ROUNDS: usize = 40;

/// What a storm takes with a model at the least.
const LEAST: Duration = Duration::from_secs(4);

/// New templates a round, and known events.
const PART: usize = 250;
const KNOWN: usize = 200;

fn main() {
    for semantic_weight in [0.0, 1.0] {
        let (mut quiet, storm) = measure(Config { semantic_weight, ..Config::default() }, false, Duration::ZERO);
        tell(&format!("semantic_weight {semantic_weight}"), &mut quiet, storm);
    }
    if let Some(config) = with_model() {
        let (mut quiet, _) = measure(Config::default(), false, LEAST);
        for searches in [false, true] {
            let (_, storm) = measure(config.clone(), searches, LEAST);
            tell(if searches { "a model, and searches" } else { "a model" }, &mut quiet, storm);
        }
    }
}

fn with_model() -> Option<Config> {
    let model = PathBuf::from(std::env::var_os("ODDLINE_ONNX_MODELS")?).join("int8");
    let embedder = EmbedderKind::Onnx;
    cfg!(feature = "onnx").then(|| Config { embedder, embedder_model: Some(model), ..Config::default() })
}

fn word(n: usize, salt: usize) -> String {
    let n = n.wrapping_mul(2_654_435_761).wrapping_add(salt.wrapping_mul(40_503)) ^ salt << 20;
    (0..7).map(|at| (b'a' + (n >> (at * 4) & 15) as u8) as char).collect()
}

fn line(n: usize) -> String {
    format!("INFO {} {}: {} took {n} ms for {} rows", word(n, 1), word(n, 2), word(n, 3), word(n, 4))
}

struct Bench {
    lane: Lane,
    events: i64,
    known: Vec<String>,
}

impl Bench {
    /// Nanoseconds of one call.
    fn observe(&mut self, text: &str) -> u64 {
        self.events += 1;
        let observation = Observation::new(text.as_bytes(), Timestamp(1_767_225_600_000_000 + self.events * 1_000));
        let start = Instant::now();
        black_box(self.lane.observe(&observation));
        start.elapsed().as_nanos() as u64
    }

    /// Known events alone.
    fn quiet(&mut self) -> Vec<u64> {
        (0..PART).map(|n| self.observe(&self.known[n * 7 % KNOWN].clone())).collect()
    }

    /// Known events, and the new ones between them.
    fn storm(&mut self, round: usize) -> (Vec<u64>, Vec<u64>) {
        let fresh: Vec<String> = (0..PART).map(|n| line(KNOWN + round * PART + n)).collect();
        let mut one = |(n, fresh): (usize, &String)| {
            let new = self.observe(fresh);
            (self.observe(&self.known[n * 7 % KNOWN].clone()), new)
        };
        fresh.iter().enumerate().map(&mut one).unzip()
    }
}

fn percentile(times: &mut [u64], share: f64) -> u64 {
    let at = ((times.len() as f64 * share) as usize).min(times.len() - 1);
    *times.select_nth_unstable(at).1
}

/// Nanoseconds of each event in the storm.
struct Storm {
    known: Vec<u64>,
    new: Vec<u64>,
    templates: u64,
    /// Vectors the model made meanwhile, and searches that were answered.
    vectors: u64,
    searches: u64,
}

/// Nanoseconds of each event while it is quiet, and in the storm, which takes `least` at the least.
fn measure(config: Config, searches: bool, least: Duration) -> (Vec<u64>, Storm) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..config };
    let engine = Engine::open(&config, Environment::system()).unwrap();
    let lane = engine.lane().unwrap();
    let mut bench = Bench { lane, events: 0, known: (0..KNOWN).map(line).collect() };
    (0..100).for_each(|_| _ = bench.quiet());
    bench.lane.tick(Timestamp(0));
    engine.calibrated();
    bench.lane.tick(Timestamp(60_000_000));
    // Known templates are looked at once more, by what was fitted.
    (0..10).for_each(|_| _ = bench.quiet());
    let (stop, answered) = (AtomicBool::new(!searches), AtomicU64::new(0));
    let has_model = config.embedder == EmbedderKind::Onnx;
    let (mut quiet, mut storm) =
        (Vec::new(), Storm { known: Vec::new(), new: Vec::new(), templates: 0, vectors: 0, searches: 0 });
    std::thread::scope(|scope| {
        scope.spawn(|| search_until(&engine, &stop, &answered));
        if has_model {
            until(|| engine.stats().embedder.vectors > 0);
        }
        until(|| !searches || answered.load(Ordering::Relaxed) > 0);
        let (vectors, before) = (engine.stats().embedder.vectors, answered.load(Ordering::Relaxed));
        for round in 0..ROUNDS {
            let begun = Instant::now();
            quiet.extend(bench.quiet());
            let (around, fresh) = bench.storm(round);
            storm.known.extend(around);
            storm.new.extend(fresh);
            if !least.is_zero() {
                std::thread::sleep((least / ROUNDS as u32).saturating_sub(begun.elapsed()));
                // What a pause costs is nobody's.
                bench.quiet();
            }
        }
        storm.vectors = engine.stats().embedder.vectors.saturating_sub(vectors);
        storm.searches = answered.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
    });
    storm.templates = engine.stats().templates;
    assert!(!has_model || storm.vectors > 0, "the model made nothing meanwhile");
    assert!(!searches || storm.searches > 0, "no search was answered meanwhile");
    (quiet, storm)
}

/// Waits for what other threads do.
fn until(is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "it never comes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn search_until(engine: &Engine, stop: &AtomicBool, answered: &AtomicU64) {
    let (from, until) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    let asked = Search { words: "rows took longer".to_owned(), from, until, stream: None, most: 10 };
    while !stop.load(Ordering::Relaxed) {
        black_box(engine.search(&asked).unwrap());
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

fn tell(what: &str, quiet: &mut [u64], storm: Storm) {
    let Storm { mut known, mut new, templates, vectors, searches } = storm;
    let all = percentile(&mut [known.clone(), new.clone()].concat(), 0.99);
    let (quiet, known, new) = (percentile(quiet, 0.99), percentile(&mut known, 0.99), percentile(&mut new, 0.5));
    println!(
        "{what}, {templates} templates: p99 of known events quiet {quiet} ns, in the storm {known} ns: {:.2} x; \
         a new template itself {new} ns (median); p99 of both together {all} ns; {vectors} vectors of a model and {searches} searches meanwhile",
        known as f64 / quiet as f64
    );
}

//! What a storm of 10,000 new templates costs the events around it: the goal is a p99 of `observe` of at most 1.2 times that of a quiet stream.
//!
//! `cargo bench --bench storm`. A lane with a data dir sees known templates, then, for the storm, one new template for each known one; quiet and storm by turns, so that
//! what else the machine does meets both, and all rounds together give a figure. Told are known events in either, and what the event of a new template itself costs: it is learned, logged and, with
//! `semantic_weight` above 0, given a vector.
//!
//! With `--features onnx`, and `ODDLINE_ONNX_MODELS` and `ORT_DYLIB_PATH` as in `tests/embed_onnx.rs`, once more with a model that embeds what the storm brings, and with searches
//! that go on all the while; the quiet parts are then those of an engine without one. It wants a processor for the model beside that of the lane.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use oddline::config::{Config, EmbedderKind};
use oddline::engine::search::Search;
use oddline::event::{Observation, Timestamp};
use oddline::{Engine, Environment, Lane};

const ROUNDS: usize = 40;

/// New templates a round, and known events.
const PART: usize = 250;
const KNOWN: usize = 200;

fn main() {
    for semantic_weight in [0.0, 1.0] {
        let (mut quiet, storm) = measure(Config { semantic_weight, ..Config::default() }, false);
        tell(&format!("semantic_weight {semantic_weight}"), &mut quiet, storm);
    }
    if let Some(config) = with_model() {
        let (mut quiet, _) = measure(Config::default(), false);
        for searches in [false, true] {
            let (_, storm) = measure(config.clone(), searches);
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
}

/// Nanoseconds of each event while it is quiet, and in the storm.
fn measure(config: Config, searches: bool) -> (Vec<u64>, Storm) {
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
    let stop = AtomicBool::new(!searches);
    let (mut quiet, mut storm) = (Vec::new(), Storm { known: Vec::new(), new: Vec::new(), templates: 0 });
    std::thread::scope(|scope| {
        scope.spawn(|| search_until(&engine, &stop));
        for round in 0..ROUNDS {
            quiet.extend(bench.quiet());
            let (around, fresh) = bench.storm(round);
            storm.known.extend(around);
            storm.new.extend(fresh);
        }
        stop.store(true, Ordering::Relaxed);
    });
    storm.templates = engine.stats().templates;
    (quiet, storm)
}

fn search_until(engine: &Engine, stop: &AtomicBool) {
    let (from, until) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    let asked = Search { words: "rows took longer".to_owned(), from, until, stream: None, most: 10 };
    while !stop.load(Ordering::Relaxed) {
        black_box(engine.search(&asked).unwrap());
    }
}

fn tell(what: &str, quiet: &mut [u64], storm: Storm) {
    let Storm { mut known, mut new, templates } = storm;
    let all = percentile(&mut [known.clone(), new.clone()].concat(), 0.99);
    let (quiet, known, new) = (percentile(quiet, 0.99), percentile(&mut known, 0.99), percentile(&mut new, 0.5));
    println!(
        "{what}, {templates} templates: p99 of known events quiet {quiet} ns, in the storm {known} ns: {:.2} x; \
         a new template itself {new} ns (median); p99 of both together {all} ns",
        known as f64 / quiet as f64
    );
}

//! What a storm of 10,000 new templates costs the events around it: the goal is a p99 of `observe` of at most 1.2 times that of a quiet stream, and embeddings are to have no part in it.
//!
//! `cargo bench --bench storm`. Two engines with data dirs, one without embeddings and one with them, see known templates, then, for the storm, one new template for each known one; quiet and
//! storm, and the two engines, by turns, so that what else the machine does meets all alike, and all rounds together give a figure. Told are known events in either, and all events of the storm: that of a new
//! template is learned, named and logged, with embeddings and without. The first pair is two engines without: what differs there is chance.
//!
//! With `--features onnx`, and `ODDLINE_ONNX_MODELS` and `ORT_DYLIB_PATH` as in `tests/embed_onnx.rs`, also with a model that embeds all the while, begun before the first event
//! that counts, and with searches that do. Rounds are spread over [`LEAST`], since without that all is over before a model has made
//! more than some tens of vectors; how many it made, and how many searches were answered, is told. It wants a processor for the model beside that of the lane.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
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
    compare("nothing else", Config::default(), false, Duration::ZERO);
    compare("semantic_weight 1", Config { semantic_weight: 1.0, ..Config::default() }, false, Duration::ZERO);
    if let Some(config) = with_model() {
        compare("a model", config.clone(), false, LEAST);
        compare("a model, and searches", config, true, LEAST);
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

/// An engine, its lane, and what its events took, in nanoseconds.
struct Bed {
    engine: Engine,
    lane: Lane,
    events: i64,
    known: Vec<String>,
    /// Known events while it is quiet, and in the storm.
    quiet: Vec<u64>,
    around: Vec<u64>,
    /// Those of new templates.
    new: Vec<u64>,
    alerts: usize,
    _dir: tempfile::TempDir,
}

impl Bed {
    fn new(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine =
            Engine::open(&Config { data_dir: Some(dir.path().to_owned()), ..config }, Environment::system()).unwrap();
        let (lane, known) = (engine.lane().unwrap(), (0..KNOWN).map(line).collect());
        let (quiet, around, new) = Default::default();
        let mut bed = Self { engine, lane, events: 0, known, quiet, around, new, alerts: 0, _dir: dir };
        (0..100).for_each(|_| bed.quiet());
        bed.lane.tick(Timestamp(0));
        bed.engine.calibrated();
        bed.lane.tick(Timestamp(60_000_000));
        // Known templates are looked at once more, by what was fitted.
        (0..10).for_each(|_| bed.quiet());
        bed.quiet.clear();
        bed
    }

    /// Nanoseconds of one call.
    fn observe(&mut self, text: &str) -> u64 {
        self.events += 1;
        let observation = Observation::new(text.as_bytes(), Timestamp(1_767_225_600_000_000 + self.events * 1_000));
        let start = Instant::now();
        let verdict = black_box(self.lane.observe(&observation));
        let took = start.elapsed().as_nanos() as u64;
        self.alerts += usize::from(verdict.is_anomaly);
        took
    }

    /// Known events alone.
    fn quiet(&mut self) {
        for n in 0..PART {
            let took = self.observe(&self.known[n * 7 % KNOWN].clone());
            self.quiet.push(took);
        }
    }

    /// Known events, and the new ones between them.
    fn storm(&mut self, round: usize) {
        let fresh: Vec<String> = (0..PART).map(|n| line(KNOWN + round * PART + n)).collect();
        for (n, fresh) in fresh.iter().enumerate() {
            let new = self.observe(fresh);
            self.new.push(new);
            let around = self.observe(&self.known[n * 7 % KNOWN].clone());
            self.around.push(around);
        }
    }

    /// What a pause costs is nobody's.
    fn warm(&mut self) {
        let counted = self.quiet.len();
        self.quiet();
        self.quiet.truncate(counted);
    }
}

fn percentile(times: &[u64], share: f64) -> f64 {
    let mut times = times.to_vec();
    let at = ((times.len() as f64 * share) as usize).min(times.len() - 1);
    *times.select_nth_unstable(at).1 as f64
}

/// An engine without embeddings, and one with what `on` says; a part takes `least` divided by the rounds at the least.
fn compare(what: &str, on: Config, searches: bool, least: Duration) {
    let has_model = on.embedder == EmbedderKind::Onnx;
    let mut beds = [Bed::new(Config::default()), Bed::new(on)];
    let (stop, answered) = (Arc::new(AtomicBool::new(!searches)), Arc::new(AtomicU64::new(0)));
    let [_, on] = &beds;
    let asker = {
        let (engine, stop, answered) = (on.engine.clone(), Arc::clone(&stop), Arc::clone(&answered));
        std::thread::spawn(move || search_until(&engine, &stop, &answered))
    };
    until(|| !has_model || on.engine.stats().embedder.vectors > 0);
    until(|| !searches || answered.load(Ordering::Relaxed) > 0);
    let (vectors, before) = (on.engine.stats().embedder.vectors, answered.load(Ordering::Relaxed));
    for round in 0..ROUNDS {
        for place in [round % 2, 1 - round % 2] {
            let begun = Instant::now();
            let bed = &mut beds[place];
            bed.warm();
            bed.quiet();
            bed.storm(round);
            std::thread::sleep((least / (2 * ROUNDS as u32)).saturating_sub(begun.elapsed()));
        }
    }
    let [_, on] = &beds;
    let vectors = on.engine.stats().embedder.vectors.saturating_sub(vectors);
    let searches_answered = answered.load(Ordering::Relaxed) - before;
    stop.store(true, Ordering::Relaxed);
    asker.join().unwrap();
    assert!(!has_model || vectors > 0, "the model made nothing meanwhile");
    assert!(!searches || searches_answered > 0, "no search was answered meanwhile");
    tell(what, &beds);
    println!("    {vectors} vectors of a model and {searches_answered} searches meanwhile");
}

fn tell(what: &str, beds: &[Bed; 2]) {
    let p99 = |times: &dyn Fn(&Bed) -> Vec<u64>| beds.each_ref().map(|bed| percentile(&times(bed), 0.99));
    let quiet = p99(&|bed| bed.quiet.clone());
    println!("{what}: p99 in ns without embeddings, with them, and the second over the first");
    for (name, [off, on]) in [
        ("quiet", quiet),
        ("known events of the storm", p99(&|bed| bed.around.clone())),
        ("all events of the storm", p99(&|bed| [bed.around.clone(), bed.new.clone()].concat())),
    ] {
        let over_quiet = [off / quiet[0], on / quiet[1]];
        println!(
            "    {name:26} {off:6} {on:6} {:5.2} x; over quiet {:.2} x and {:.2} x",
            on / off,
            over_quiet[0],
            over_quiet[1]
        );
    }
    let [off, on] = beds.each_ref().map(|bed| percentile(&bed.new, 0.5));
    let ([off_alerts, on_alerts], templates) =
        (beds.each_ref().map(|bed| bed.alerts), beds[0].engine.stats().templates);
    println!(
        "    a new template, median     {off:6} {on:6}; {off_alerts} and {on_alerts} alerts, {templates} templates"
    );
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

//! What an event costs, stage by stage, and what a checkpoint of 10,000 templates costs.
//!
//! `cargo bench --bench engine`. Lines are made here, so that the bench runs anywhere; for a log of yours: `oddline bench`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use oddline::config::Config;
use oddline::event::{Observation, Timestamp};
use oddline::template::{LaneMatcher, Masking, Skeleton, TemplateOptions, TemplateStore};
use oddline::{Engine, Environment, Lane};

const LINES: usize = 10_000;
const TEMPLATES: usize = 10_000;

fn main() {
    Divan::from_args().run_benches();
}

/// Two hundred shapes, fresh numbers in every line.
fn lines() -> Vec<String> {
    const VERBS: [&str; 10] =
        ["opened", "closed", "served", "queued", "dropped", "merged", "read", "wrote", "sent", "kept"];
    const NOUNS: [&str; 20] = [
        "block", "session", "request", "order", "socket", "lease", "chunk", "page", "task", "lock", "volume", "packet",
        "cookie", "shard", "cursor", "stream", "backup", "token", "frame", "mount",
    ];
    (0..LINES)
        .map(|n| {
            let (verb, noun) = (VERBS[n % 10], NOUNS[n / 10 % 20]);
            let id = n * 7919;
            format!("INFO storage.node: {verb} {noun} blk_{id} of 10.0.{}.{}:50010 in {} ms", n % 256, id % 256, n % 97)
        })
        .collect()
}

fn learned_lane(config: &Config, lines: &[String]) -> Lane {
    let mut lane = Engine::open(config, Environment::system()).unwrap().lane().unwrap();
    observe(&mut lane, lines);
    lane
}

fn observe(lane: &mut Lane, lines: &[String]) {
    for (n, line) in lines.iter().enumerate() {
        black_box(lane.observe(&Observation::new(line.as_bytes(), Timestamp(n as i64 * 100))));
    }
}

#[divan::bench]
fn tokenise_and_mask(bencher: Bencher) {
    let lines = lines();
    let masks = Masking::default();
    let mut skeleton = Skeleton::new();
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        for line in &lines {
            skeleton.scan(line.as_bytes(), &masks);
            black_box(skeleton.hash());
        }
    });
}

#[divan::bench]
fn find_known_template(bencher: Bencher) {
    let lines = lines();
    let mut store = TemplateStore::new(TemplateOptions::default());
    let mut matcher = LaneMatcher::new(&store);
    for line in &lines {
        if matcher.find(line.as_bytes()).is_none() {
            let learned = store.learn(matcher.skeleton(), line.as_bytes());
            matcher.remember(learned);
        }
    }
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        for line in &lines {
            black_box(matcher.find(line.as_bytes()));
        }
    });
}

#[divan::bench]
fn score_in_memory(bencher: Bencher) {
    let lines = lines();
    let mut lane = learned_lane(&Config::default(), &lines);
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| observe(&mut lane, &lines));
}

#[divan::bench]
fn whole_path_with_log(bencher: Bencher) {
    let lines = lines();
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    let mut lane = learned_lane(&config, &lines);
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| observe(&mut lane, &lines));
}

/// A data dir with 10,000 templates that do not merge.
fn many_templates(config: &Config) -> Engine {
    let engine = Engine::open(config, Environment::system()).unwrap();
    let mut lane = engine.lane().unwrap();
    for n in 0..TEMPLATES {
        let word = |mut n: usize, salt: usize| -> String {
            n = n * 2_654_435_761 + salt;
            (0..7).map(|at| (b'a' + (n >> (at * 5) & 15) as u8) as char).collect()
        };
        let line = format!("{} {} took {n} ms for {} of {} rows", word(n, 1), word(n, 2), word(n, 3), word(n, 4));
        lane.observe(&Observation::new(line.as_bytes(), Timestamp(n as i64)));
    }
    lane.close().unwrap();
    assert!(engine.stats().templates as usize > TEMPLATES * 9 / 10, "{:?}", engine.stats());
    engine
}

#[divan::bench]
fn checkpoint_of_10_000_templates(bencher: Bencher) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    let engine = many_templates(&config);
    bencher.bench_local(|| engine.checkpoint().unwrap());
}

#[divan::bench]
fn open_a_data_dir_of_10_000_templates(bencher: Bencher) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    drop(many_templates(&config));
    // What is returned is dropped after the clock stopped; it holds the lock, so each round has one engine only.
    bencher.bench_local(|| Engine::open(&config, Environment::system()).unwrap().recovery().checkpoint);
}

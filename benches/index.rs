//! Where a coarse look begins to pay, and what search and insert cost. The goals for 50,000 vectors: recall@10 at least 0.99 (printed first), a search
//! within 1 ms, an insert within 20 µs. And what an index would save `oddline search`, which makes the vectors it needs: its time, and what of it is vectors, and the scan.
//!
//! `cargo bench --bench index`. Vectors are those of the hashing embedder, of templates made here.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use oddline::config::Config;
use oddline::embed::{Embedder, HashingEmbedder};
use oddline::engine::search::{Search, search};
use oddline::event::{Observation, Timestamp};
use oddline::index::{CROSSOVER, VectorIndex};
use oddline::storage::RealFs;
use oddline::{Engine, Environment};

const SIZES: [usize; 5] = [1_000, CROSSOVER, 4_000, 10_000, 50_000];
const MOST: usize = 50_000;
const QUERIES: usize = 200;
/// As `engine::recall` has it.
const FARTHEST: f32 = 0.4;

fn main() {
    let (embedder, templates) = embedded();
    let index = index(&embedder, &templates, MOST);
    let queries = queries(&embedder, &templates);
    let shared = |query: &Vec<f32>| {
        let exact = index.search_where(query, 10, &|_| true).unwrap();
        // Of those that are equally near, any will do.
        let least = exact.last().map_or(0.0, |hit| hit.similarity) - 1e-6;
        index.search(query, 10).unwrap().iter().filter(|hit| hit.similarity >= least).count()
    };
    let shared: usize = queries.iter().map(shared).sum();
    println!("recall@10 of {MOST} vectors: {:.4}", shared as f64 / (QUERIES * 10) as f64);
    whole_search(&embedder);
    Divan::from_args().run_benches();
}

fn word(mut n: usize) -> String {
    const SYLLABLES: [&str; 16] =
        ["ba", "cor", "dis", "fen", "gra", "hol", "in", "ka", "lom", "mer", "no", "pre", "qua", "ris", "sto", "ter"];
    let mut word = String::new();
    for _ in 0..3 {
        word += SYLLABLES[n % 16];
        n /= 16;
    }
    word
}

/// Templates of seven words, the first ones common, the last ones seldom.
fn embedded() -> (HashingEmbedder, Vec<String>) {
    let one = |n: usize| {
        let of = |salt: usize, kinds: usize| word(n.wrapping_mul(2_654_435_761).rotate_left(salt as u32) % kinds);
        let (level, module) = (of(1, 4), of(3, 50));
        format!(
            "{level} {module}: {} {} <*> {} {} at {}",
            of(5, 300),
            of(8, 300),
            of(11, 1_000),
            of(14, 4_000),
            of(17, 4_000)
        )
    };
    let templates: Vec<String> = (0..MOST).map(one).collect();
    (HashingEmbedder::fit(templates.iter().map(String::as_str)), templates)
}

fn index(embedder: &HashingEmbedder, templates: &[String], vectors: usize) -> VectorIndex {
    let mut index = VectorIndex::new(embedder.dimensions());
    for (template, id) in templates.iter().take(vectors).zip(0..) {
        index.insert(id, &embedder.vector(template).unwrap()).unwrap();
    }
    index
}

/// Some words of a template, as one would ask for it.
fn queries(embedder: &HashingEmbedder, templates: &[String]) -> Vec<Vec<f32>> {
    let ask = |template: &String| {
        let words: Vec<&str> = template.split(' ').skip(1).step_by(2).collect();
        embedder.vector(&words.join(" ")).unwrap()
    };
    templates.iter().step_by(MOST / QUERIES).map(ask).collect()
}

/// Prints what a search of a data dir of ten thousand templates takes, and its parts.
fn whole_search(embedder: &HashingEmbedder) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    let engine = Engine::open(&config, Environment::system()).unwrap();
    let mut lane = engine.lane().unwrap();
    // Of words that differ everywhere, so that none becomes a wildcard.
    let letters = |n: usize| -> String { (0..7).map(|at| (b'a' + (n >> (at * 4) & 15) as u8) as char).collect() };
    let text = |n: usize| {
        let of = |salt: usize| letters(n.wrapping_mul(2_654_435_761).wrapping_add(salt * 40_503) ^ salt << 20);
        format!("INFO {} {}: {} took <*> ms for {} rows", of(1), of(2), of(3), of(4))
    };
    let templates: Vec<String> = (0..10_000).map(text).collect();
    for (text, n) in templates.iter().zip(0..) {
        lane.observe(&Observation::new(text.as_bytes(), Timestamp(1_767_225_600_000_000 + n * 1_000_000)));
    }
    lane.close().unwrap();
    engine.close().unwrap();
    let asked = Search {
        words: "rows took longer".to_owned(),
        from: Timestamp(i64::MIN),
        until: Timestamp(i64::MAX),
        stream: None,
        most: 10,
    };
    let timed = |work: &mut dyn FnMut()| -> Duration {
        let mut times: Vec<Duration> = (0..7)
            .map(|_| {
                let start = Instant::now();
                work();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[3]
    };
    let fs: Arc<dyn oddline::storage::FileSystem> = Arc::new(RealFs);
    let mut searched = 0;
    let all = timed(&mut || searched = search(&config, &fs, &asked).unwrap().templates_searched);
    let texts: Vec<&String> = templates.iter().take(searched).collect();
    let vectors = timed(&mut || texts.iter().for_each(|text| _ = black_box(embedder.vector(text))));
    let index = index(embedder, &templates, searched);
    let query = embedder.vector(&asked.words).unwrap();
    let scan = timed(&mut || _ = black_box(index.search_where(&query, 10, &|_| true)));
    println!(
        "search of a data dir of {searched} templates: {all:.1?}, of which vectors {vectors:.1?} and the scan {scan:.1?}"
    );
}

#[divan::bench(args = SIZES)]
fn search_coarse(bencher: Bencher, vectors: usize) {
    let (embedder, templates) = embedded();
    let index = index(&embedder, &templates, vectors);
    let mut queries = queries(&embedder, &templates).into_iter().cycle();
    bencher.with_inputs(|| queries.next().unwrap()).bench_local_values(|query| black_box(index.search(&query, 10)));
}

#[divan::bench(args = SIZES)]
fn search_exact(bencher: Bencher, vectors: usize) {
    let (embedder, templates) = embedded();
    let index = index(&embedder, &templates, vectors);
    let mut queries = queries(&embedder, &templates).into_iter().cycle();
    bencher
        .with_inputs(|| queries.next().unwrap())
        .bench_local_values(|query| black_box(index.search_where(&query, 10, &|_| true)));
}

/// What an alert asks for.
#[divan::bench(args = SIZES)]
fn search_within(bencher: Bencher, vectors: usize) {
    let (embedder, templates) = embedded();
    let mut index = index(&embedder, &templates, vectors);
    let mut queries = queries(&embedder, &templates).into_iter().cycle();
    index.search_within(&queries.next().unwrap(), 10, FARTHEST).unwrap();
    bencher
        .with_inputs(|| queries.next().unwrap())
        .bench_local_values(|query| black_box(index.search_within(&query, 10, FARTHEST)));
}

#[divan::bench]
fn insert(bencher: Bencher) {
    let (embedder, templates) = embedded();
    let vectors: Vec<Vec<f32>> = templates.iter().take(5_000).map(|text| embedder.vector(text).unwrap()).collect();
    bencher.counter(ItemsCount::new(vectors.len())).bench_local(|| {
        let mut index = VectorIndex::new(embedder.dimensions());
        vectors.iter().zip(0..).for_each(|(vector, id)| index.insert(id, vector).unwrap());
        index
    });
}

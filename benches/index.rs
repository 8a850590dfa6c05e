//! Where a coarse look begins to pay, and what search and insert cost. The goals for 50,000 vectors: recall@10 at least 0.99 (printed first), a search
//! within 1 ms, an insert within 20 µs.
//!
//! `cargo bench --bench index`. Vectors are those of the hashing embedder, of templates made here.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use oddline::embed::{Embedder, HashingEmbedder};
use oddline::index::{CROSSOVER, VectorIndex};

const SIZES: [usize; 5] = [1_000, CROSSOVER, 4_000, 10_000, 50_000];
const MOST: usize = 50_000;
const QUERIES: usize = 200;

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

#[divan::bench(args = SIZES)]
fn search(bencher: Bencher, vectors: usize) {
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

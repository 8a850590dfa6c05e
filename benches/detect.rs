//! What the detectors cost an event of a known template: all together, and one by one.
//!
//! `cargo bench --bench detect`; divide by 10,000 events. The inputs are made as a lane makes them, and are the same every time.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use oddline::detect::categorical::Categorical;
use oddline::detect::numeric::Numeric;
use oddline::detect::rarity::Rarity;
use oddline::detect::rate::Rate;
use oddline::detect::sequence::Sequence;
use oddline::detect::silence::Silence;
use oddline::detect::value::Values;
use oddline::detect::{Detector, Input, Model};
use oddline::event::{StreamKey, Timestamp};

#[path = "../tests/detect_support/mod.rs"]
mod detect_support;

const EVENTS: usize = 10_000;
const TEMPLATES: usize = 200;
const STREAMS: usize = 8;

fn main() {
    Divan::from_args().run_benches();
}

/// Runs of templates that follow each other on eight streams, three numbers each, a hundred events a second.
fn inputs(from: usize) -> Vec<Input> {
    let mut at = [0usize; STREAMS];
    (from..from + EVENTS)
        .map(|n| {
            let stream = n * 7919 % STREAMS;
            // A jump now and then; otherwise the next of a row of five.
            at[stream] = if n % 23 == 0 { n * 31 % TEMPLATES } else { at[stream] / 5 * 5 + (at[stream] + 1) % 5 };
            let numbers = [n % 97, n * 13 % 1_000, n].map(|number| number.to_string());
            Input {
                slot: at[stream],
                timestamp: Timestamp(1_767_225_600_000_000 + n as i64 * 10_000),
                stream: StreamKey(stream as u64 + 1),
                values: Values::of(numbers.iter().map(String::as_bytes), 0),
                ..Input::default()
            }
        })
        .collect()
}

fn all_inputs() -> Vec<Vec<Input>> {
    (0..20).map(|part| inputs(part * EVENTS)).collect()
}

fn run(bencher: Bencher, mut observe: impl FnMut(&Input)) {
    let parts = all_inputs();
    parts.iter().flatten().for_each(&mut observe);
    let mut number = 0;
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        number += 1;
        parts[number % parts.len()].iter().for_each(&mut observe);
    });
}

#[divan::bench]
fn all(bencher: Bencher) {
    let mut model = Model::new(detect_support::OPTIONS);
    run(bencher, |input| {
        black_box(model.observe(input));
    });
}

fn one(bencher: Bencher, mut detector: impl Detector) {
    run(bencher, |input| {
        black_box(detector.observe(input));
    });
}

#[divan::bench]
fn rarity(bencher: Bencher) {
    one(bencher, Rarity::new(50_000));
}

#[divan::bench]
fn rate(bencher: Bencher) {
    one(bencher, Rate::default());
}

#[divan::bench]
fn numeric(bencher: Bencher) {
    one(bencher, Numeric::default());
}

#[divan::bench]
fn categorical(bencher: Bencher) {
    one(bencher, Categorical::default());
}

#[divan::bench]
fn sequence(bencher: Bencher) {
    one(bencher, Sequence::new(50_000));
}

#[divan::bench]
fn silence(bencher: Bencher) {
    one(bencher, Silence::default());
}

/// Reading three variables of a line.
#[divan::bench]
fn values(bencher: Bencher) {
    let texts: [&[u8]; 3] = [b"16384", b"10.250.19.102:50010", b"12.5ms"];
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        for _ in 0..EVENTS {
            black_box(Values::of(black_box(texts).into_iter(), 0));
        }
    });
}

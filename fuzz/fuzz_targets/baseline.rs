//! A baseline that was written, one of its sections edited, in a file whose checksums hold: an error or a baseline, never a panic; what is read can be
//! written, read again, merged with the one it was and compared to it. And any bytes as the file.
//!
//! The first byte of the input chooses the section; with its top bit set the rest takes the section's place, else each four bytes of it put a byte
//! (the last) at a place (the first three).

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use oddline::config::Config;
use oddline::engine::baseline::{self, Baseline};
use oddline::event::{Observation, StreamKey, Timestamp};
use oddline::storage::baseline as file;
use oddline::{Engine, Environment};

static CONFIG: LazyLock<Config> = LazyLock::new(|| Config { learning_events: 1_000, ..Config::default() });

/// What a short log taught: numbers, words, an order, a rare line and an odd one, on two streams.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let engine = Engine::open(&CONFIG, Environment::system()).expect("an engine in memory");
    let mut lane = engine.lane().expect("the first lane");
    for n in 0..3_000i64 {
        let line = match n % 4 {
            _ if n % 1_499 == 0 => format!("ERROR disk sda{} failed with code {n}", n % 3),
            0 => format!("session opened for user u{} by root", n % 7),
            1 => format!("GET /items/{n} took {} ms", n % 50),
            2 => format!("job {n} done, {} rows left", n * 7 % 1_000),
            _ => format!("cache miss for key k{n}"),
        };
        let at = Timestamp(1_764_000_000_000_000 + n * 50_000);
        lane.observe(&Observation { stream: StreamKey(n as u64 % 2), ..Observation::new(line.as_bytes(), at) });
    }
    lane.close().expect("nothing is written");
    let baseline = Baseline::of_engine(&engine, "fuzz").expect("what was learned");
    baseline.to_bytes().expect("a file of this size")
});

static SECTIONS: LazyLock<file::Sections> =
    LazyLock::new(|| file::decode(Path::new("fuzz"), &WHOLE).expect("what was written"));

fn edited(data: &[u8]) -> Option<Vec<u8>> {
    let (chosen, rest) = data.split_first()?;
    let mut sections = SECTIONS.clone();
    let count = sections.len();
    let (_, bytes) = sections.get_mut(usize::from(chosen & 0x7f) % count)?;
    if chosen & 0x80 != 0 {
        *bytes = rest.to_vec();
    } else {
        for edit in rest.chunks_exact(4) {
            let place = u32::from_le_bytes([edit[0], edit[1], edit[2], 0]) as usize % bytes.len().max(1);
            bytes.get_mut(place).into_iter().for_each(|byte| *byte = edit[3]);
        }
    }
    let sections: Vec<(&str, &[u8])> = sections.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    file::encode(&sections).ok()
}

fuzz_target!(|data: &[u8]| {
    let path = Path::new("fuzz");
    drop(Baseline::from_bytes(&CONFIG, path, data));
    let Some(read) = edited(data).and_then(|bytes| Baseline::from_bytes(&CONFIG, path, &bytes).ok()) else { return };
    let again = read.to_bytes().expect("what was read is no larger than a file may be");
    let again = Baseline::from_bytes(&CONFIG, path, &again).expect("what was written reads");
    let whole = Baseline::from_bytes(&CONFIG, path, &WHOLE).expect("what was written reads");
    drop(baseline::diff(&CONFIG, &whole, &again));
    if let Ok(merged) = Baseline::merge(&CONFIG, vec![("one".to_owned(), whole), ("other".to_owned(), read)]) {
        drop(merged.to_bytes());
    }
});

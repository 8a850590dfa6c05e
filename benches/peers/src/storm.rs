//! Lines that never repeat, and known ones between them.

use std::ops::Range;
use std::time::{Duration, Instant};

/// Lines of a storm between two blocks of known lines, and of those.
pub(crate) const BLOCK: usize = 1_000;

/// Words of a line.
pub(crate) const WORDS: Range<u64> = 4..12;

/// `count` lines of so many words of three to nine random letters; the same at each call.
pub(crate) fn lines(count: usize, words: Range<u64>) -> Vec<String> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut line = || {
        let words = words.start + next(words.end - words.start);
        let words: Vec<String> = (0..words)
            .map(|_| {
                let letters = 3 + next(7);
                (0..letters).map(|_| char::from(b'a' + next(26) as u8)).collect()
            })
            .collect();
        words.join(" ")
    };
    (0..count).map(|_| line()).collect()
}

/// Known lines, a block after each block of the `storm`; how many a second, without the time in which the storm's own are met.
pub(crate) fn between<'s, P>(
    path: &mut P,
    known: &[&str],
    storm: impl Iterator<Item = &'s [String]>,
    meet: impl Fn(&mut P, &[String]),
    work: impl Fn(&mut P, &[&str]),
) -> f64 {
    let (mut count, mut took) = (0, Duration::ZERO);
    for (block, known) in storm.zip(known.chunks(BLOCK).cycle()) {
        meet(path, block);
        let start = Instant::now();
        work(path, known);
        took += start.elapsed();
        count += known.len();
    }
    count as f64 / took.as_secs_f64()
}

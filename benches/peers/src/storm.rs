//! Lines that never repeat.

use std::ops::Range;

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

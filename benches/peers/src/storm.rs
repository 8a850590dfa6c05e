//! Lines that never repeat.

/// `count` lines of four to eleven words of three to nine random letters; the same at each call.
pub(crate) fn lines(count: usize) -> Vec<String> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut line = || {
        let words = 4 + next(8);
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

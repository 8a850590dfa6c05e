//! What any miner has to do with a line: find its tokens and hash those without a digit.

/// Hash over the tokens of `line` that have no digit.
pub(crate) fn of(line: &[u8]) -> u64 {
    let mut whole = 0u64;
    let mut start = 0;
    let mut has_digit = false;
    for (at, byte) in line.iter().enumerate() {
        if *byte == b' ' {
            whole = fold(whole, line, start, at, has_digit);
            start = at + 1;
            has_digit = false;
        } else {
            has_digit |= byte.is_ascii_digit();
        }
    }
    fold(whole, line, start, line.len(), has_digit)
}

fn fold(whole: u64, line: &[u8], start: usize, end: usize, has_digit: bool) -> u64 {
    if start == end {
        return whole;
    }
    let token = if has_digit { 1 } else { hash(line.get(start..end).unwrap_or_default()) };
    (whole ^ token).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

fn hash(token: &[u8]) -> u64 {
    let mut chunks = token.chunks_exact(8);
    let mut hash = token.len() as u64;
    for chunk in &mut chunks {
        let word = chunk.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        hash = (hash ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29);
    }
    chunks.remainder().iter().fold(hash, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte))
}

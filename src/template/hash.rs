//! The hash under skeletons and template ids: part of the on-disk format, so its values never change.
//!
//! Folded 64×64→128-bit multiplication over 8-byte little-endian words (the construction of wyhash and foldhash, with
//! constants of its own). Not keyed: ids must agree between hosts.
//!
//! Words are read whole. Byte by byte is the naive twin, which tests compare it with, and fuzz targets at every call.

use crate::arithmetic::folded_product;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;

/// What a wildcard contributes to a skeleton's hash.
pub(super) const WILDCARD_HASH: u64 = 0x2a3c_2a3e_5bd1_e995;

/// Appends one 64-bit value to a running hash.
#[inline(always)]
pub(super) const fn combine(hash: u64, value: u64) -> u64 {
    folded_product(hash ^ SEED, value ^ MULTIPLIER.rotate_left(17)).wrapping_add(hash.rotate_left(23))
}

/// Hash of some bytes; the length takes part.
#[inline(always)]
pub(super) fn bytes(data: &[u8]) -> u64 {
    let mut hash = SEED ^ (data.len() as u64).wrapping_mul(MULTIPLIER);
    let mut chunks = data.chunks_exact(8);
    for chunk in &mut chunks {
        hash = folded_product(hash ^ word(chunk), MULTIPLIER);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        hash = folded_product(hash ^ tail(rest), MULTIPLIER ^ SEED);
    }
    #[cfg(fuzzing)]
    assert_eq!(hash, naive(data));
    hash
}

/// The twin of [`bytes`].
#[cfg(any(test, fuzzing))]
fn naive(data: &[u8]) -> u64 {
    let little_endian = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let whole = data.len() / 8 * 8;
    let mut hash = SEED ^ (data.len() as u64).wrapping_mul(MULTIPLIER);
    for at in (0..whole).step_by(8) {
        hash = folded_product(hash ^ little_endian(&data[at..at + 8]), MULTIPLIER);
    }
    let rest = &data[whole..];
    match rest.len() {
        0 => hash,
        length @ 1..=3 => folded_product(hash ^ little_endian(&rest[..length]), MULTIPLIER ^ SEED),
        // Of four to seven bytes the first four, and above them the last four.
        length => {
            let halves = little_endian(&rest[..4]) | little_endian(&rest[length - 4..]) << 32;
            folded_product(hash ^ halves, MULTIPLIER ^ SEED)
        }
    }
}

#[inline(always)]
fn word(chunk: &[u8]) -> u64 {
    chunk.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// 1–7 bytes as one word, without reading past them.
#[inline(always)]
fn tail(rest: &[u8]) -> u64 {
    match (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (Some(head), Some(last)) => u64::from(u32::from_le_bytes(*head)) | u64::from(u32::from_le_bytes(*last)) << 32,
        _ => rest.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_read_whole_hash_as_byte_by_byte(data in proptest::collection::vec(any::<u8>(), 0..70), from in 0..9usize) {
            // Wherever the bytes lie.
            let data = data.get(from..).unwrap_or_default();
            prop_assert_eq!(bytes(data), naive(data));
        }
    }

    #[test]
    fn values_are_part_of_the_format_and_never_change() {
        assert_eq!(bytes(b""), 0x9e37_79b9_7f4a_7c15);
        for (data, hash) in [
            ("a", 0x7fe3_3022_3ee6_b48c),
            ("abc", 0xaa7a_1e22_3566_368f),
            ("abcd", 0x02d3_8c2b_6b20_b004),
            ("abcdefg", 0xaa7a_9201_22ca_a10a),
            ("abcdefgh", 0xb52d_a824_1f7a_1aed),
            ("session opened", 0xb53f_59cc_2791_eb00),
        ] {
            assert_eq!(bytes(data.as_bytes()), hash, "{data}");
        }
        let seen: std::collections::HashSet<u64> = (0..40).map(|n| bytes(&vec![b'a'; n])).collect();
        assert_eq!(seen.len(), 40, "length takes part");
        assert_ne!(combine(combine(0, 1), 2), combine(combine(0, 2), 1), "order takes part");
    }
}

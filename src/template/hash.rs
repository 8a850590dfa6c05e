//! The hash under skeletons and template ids: part of the on-disk format, so its values never change.
//!
//! Folded 64×64→128-bit multiplication over 8-byte little-endian words (the construction of wyhash and foldhash, with
//! constants of its own). Not keyed: ids must agree between hosts.

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;

/// What a wildcard contributes to a skeleton's hash.
pub(super) const WILDCARD_HASH: u64 = 0x2a3c_2a3e_5bd1_e995;

#[inline(always)]
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Appends one 64-bit value to a running hash.
#[inline(always)]
pub(super) const fn combine(hash: u64, value: u64) -> u64 {
    fold(hash ^ SEED, value ^ MULTIPLIER.rotate_left(17)).wrapping_add(hash.rotate_left(23))
}

/// Hash of some bytes; the length takes part.
#[inline(always)]
pub(super) fn bytes(data: &[u8]) -> u64 {
    let mut hash = SEED ^ (data.len() as u64).wrapping_mul(MULTIPLIER);
    let mut chunks = data.chunks_exact(8);
    for chunk in &mut chunks {
        hash = fold(hash ^ word(chunk), MULTIPLIER);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        hash = fold(hash ^ tail(rest), MULTIPLIER ^ SEED);
    }
    hash
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
    use super::*;

    #[test]
    fn values_are_part_of_the_format_and_never_change() {
        assert_eq!(bytes(b""), 0x9e37_79b9_7f4a_7c15);
        let seen: std::collections::HashSet<u64> = (0..40).map(|n| bytes(&vec![b'a'; n])).collect();
        assert_eq!(seen.len(), 40, "length takes part");
        assert_ne!(combine(combine(0, 1), 2), combine(combine(0, 2), 1), "order takes part");
    }
}

//! What a line is but for its digits, in 128 bits under a secret key.
//!
//! **Shape.** The line with `0` in place of each digit, in blocks of sixteen bytes. The last block is the line's last bytes, of which some may be in the block before; a
//! line shorter than a block is filled up with zeros. Of lines of one length, those of one shape have the same blocks, and no others.
//!
//! **Fingerprint.** NH of the blocks (Black, Halevi, Krawczyk, Krovetz and Rogaway: UMAC, CRYPTO 1999): the sum over all blocks of (a + k) · (b + l) modulo 2^128, where a
//! and b are the words of the block, k and l those of the key for its place, and a + k and b + l are modulo 2^64. The length is added, so that lines of like blocks lie
//! apart.
//!
//! **What may be mixed up.** Two shapes of one length, made without knowing the key, have the same sum for one key in 2^64 at the most: that is the paper's theorem, for words
//! of the key that are all random. Here they are SipHash of their places under a random seed ([`RandomState`]), so that it holds as far as those cannot be told from random
//! ones. Of two lengths nothing is promised: who compares fingerprints compares those, too.
//!
//! **Key.** Each [`Fingerprinter`] has one of its own, which is written nowhere, and neither are fingerprints. In tests and fuzz targets it is always the same, so that what
//! they find is found again.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use super::hash;
#[cfg(any(test, fuzzing))]
use crate::arithmetic::next_random;

/// Bytes of a line that has a fingerprint, at the most.
pub(super) const MOST_BYTES: usize = 512;

/// Bytes taken at a time.
const BLOCK: usize = 16;

/// Bytes of a shape.
type Block = [u8; BLOCK];

/// Of a line of 1 to [`MOST_BYTES`] bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(u128);

impl fmt::Debug for Fingerprint {
    /// Without the number, of which enough would tell the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

impl Fingerprint {
    /// One number of it, all of whose bits are good.
    #[inline(always)]
    pub(super) fn hash(self) -> u64 {
        hash::combine(self.0 as u64, (self.0 >> u64::BITS) as u64)
    }
}

/// The words of a key for each block.
type Key = [[u64; 2]; MOST_BYTES / BLOCK];

/// Line → [`Fingerprint`].
pub(super) struct Fingerprinter {
    key: Key,
    /// Blocks of the last line: made here, and not on their way to the sum, they are made in vector registers.
    shape: [Block; MOST_BYTES / BLOCK],
}

impl fmt::Debug for Fingerprinter {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprinter").finish_non_exhaustive()
    }
}

#[cfg(not(any(test, fuzzing)))]
fn key() -> Key {
    random_key()
}

#[cfg(any(test, fuzzing))]
fn key() -> Key {
    key_of(1)
}

/// A key that nobody knows.
#[cfg_attr(fuzzing, expect(dead_code))]
fn random_key() -> Key {
    let source = RandomState::new();
    std::array::from_fn(|block| std::array::from_fn(|word| source.hash_one((block, word))))
}

#[cfg(any(test, fuzzing))]
fn key_of(mut seed: u64) -> Key {
    std::array::from_fn(|_| std::array::from_fn(|_| next_random(&mut seed)))
}

impl Fingerprinter {
    /// One with a key of its own.
    pub(super) fn new() -> Self {
        Self::with(key())
    }

    fn with(key: Key) -> Self {
        Self { key, shape: [[0; BLOCK]; MOST_BYTES / BLOCK] }
    }

    /// The fingerprint of a line of 1 to [`MOST_BYTES`] bytes.
    #[inline]
    pub(super) fn fingerprint(&mut self, line: &[u8]) -> Fingerprint {
        debug_assert!((1..=MOST_BYTES).contains(&line.len()));
        let (whole, rest) = line.as_chunks::<BLOCK>();
        let mut sum = line.len() as u128;
        for ((block, shape), key) in whole.iter().zip(&mut self.shape).zip(&self.key) {
            *shape = without_digits(*block);
            sum = sum.wrapping_add(product(*shape, *key));
        }
        if !rest.is_empty()
            && let (Some(shape), Some(key)) = (self.shape.get_mut(whole.len()), self.key.get(whole.len()))
        {
            *shape = without_digits(last_block(line));
            sum = sum.wrapping_add(product(*shape, *key));
        }
        #[cfg(fuzzing)]
        assert_eq!(sum, naive(&self.key, line));
        Fingerprint(sum)
    }
}

/// The twin of [`Fingerprinter::fingerprint`], byte by byte.
#[cfg(any(test, fuzzing))]
fn naive(key: &Key, line: &[u8]) -> u128 {
    let shape: Vec<u8> = line.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect();
    let starts = (0..shape.len()).step_by(16);
    let blocks = starts.map(|at| if at + 16 > shape.len() { shape.len().saturating_sub(16) } else { at });
    let word = |at: usize| {
        let bytes = (at..at + 8).map(|at| shape.get(at).copied().unwrap_or(0));
        bytes.rev().fold(0u64, |word, byte| word << 8 | u64::from(byte))
    };
    let sum = blocks.zip(key).fold(0u128, |sum, (at, [k, l])| {
        let (a, b) = (word(at).wrapping_add(*k), word(at + 8).wrapping_add(*l));
        sum.wrapping_add(u128::from(a) * u128::from(b))
    });
    sum.wrapping_add(line.len() as u128)
}

#[inline(always)]
fn product(block: Block, key: [u64; 2]) -> u128 {
    let both = u128::from_le_bytes(block);
    let [a, b] = [both as u64, (both >> u64::BITS) as u64];
    u128::from(a.wrapping_add(key[0])) * u128::from(b.wrapping_add(key[1]))
}

/// A block with `0` in place of each digit: digits have the upper half of their bits in common.
#[inline(always)]
fn without_digits(block: Block) -> Block {
    block.map(|byte| byte & if byte.is_ascii_digit() { b'0' } else { u8::MAX })
}

/// The last bytes of a line, of which some may be in the block before; of a line shorter than a block all, and zeros.
#[inline(always)]
fn last_block(line: &[u8]) -> Block {
    line.last_chunk().copied().unwrap_or_else(|| {
        let mut block = [0; BLOCK];
        block.iter_mut().zip(line).for_each(|(to, from)| *to = *from);
        block
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_fingerprint_is_what_its_twin_makes_byte_by_byte(
            line in proptest::collection::vec(any::<u8>(), 1..=MOST_BYTES),
            seed: u64,
        ) {
            let key = key_of(seed);
            prop_assert_eq!(Fingerprinter::with(key).fingerprint(&line).0, naive(&key, &line));
        }

        #[test]
        fn of_lines_that_differ_in_a_byte_those_have_one_that_differ_in_digits_only(
            line in "[ -~]{1,60}",
            at in any::<prop::sample::Index>(),
            byte in b' '..=b'~',
            seed: u64,
        ) {
            let mut of = Fingerprinter::with(key_of(seed));
            let mut other = line.clone().into_bytes();
            let at = at.index(other.len());
            let before = std::mem::replace(&mut other[at], byte);
            let is_one = before == byte || before.is_ascii_digit() && byte.is_ascii_digit();
            prop_assert_eq!(of.fingerprint(line.as_bytes()) == of.fingerprint(&other), is_one);
        }
    }

    #[test]
    fn two_keys_have_nothing_in_common_and_none_is_shown() {
        let keys = [random_key(), random_key()];
        let words: HashSet<u64> = keys.iter().flatten().flatten().copied().collect();
        assert_eq!(words.len(), 4 * MOST_BYTES / BLOCK);
        let mut of = Fingerprinter::with(keys[0]);
        let shown = format!("{:?} {of:?}", of.fingerprint(b"secret"));
        assert_eq!(shown, "Fingerprint Fingerprinter { .. }");
    }

    #[test]
    fn lines_of_other_lengths_and_blocks_in_another_order_differ_in_each_half() {
        let lengths = (1..=MOST_BYTES).map(|bytes| vec![b'a'; bytes]);
        let orders = ["ab", "ba", "aab", "aba", "baa", "bab"];
        let blocks = |order: &str| order.bytes().flat_map(|byte| [byte; BLOCK]).collect();
        let lines: Vec<Vec<u8>> = lengths.chain(orders.map(blocks)).collect();
        for seed in 0..20 {
            let mut of = Fingerprinter::with(key_of(seed));
            let all: Vec<u64> = lines.iter().map(|line| of.fingerprint(line).hash()).collect();
            for shift in [0, 32] {
                let halves: HashSet<u32> = all.iter().map(|hash| (hash >> shift) as u32).collect();
                assert_eq!(halves.len(), all.len(), "{seed}");
            }
        }
    }

    #[test]
    fn lines_of_a_few_words_are_spread_evenly_by_the_upper_bits_and_by_the_lower() {
        let words = [
            "connection from ",
            "session opened  ",
            "session closed  ",
            "for user root by",
            "failed password ",
            "0000 bytes to   ",
            "error 0 at 0.0.0",
            "aaaaaaaaaaaaaaaa",
        ];
        // 2^15 lines of five blocks, the last one cut short.
        let line = |n: usize| (0..5).map(|at| words[n >> (3 * at) & 7]).collect::<String>();
        for seed in 0..5 {
            let mut of = Fingerprinter::with(key_of(seed));
            let mut places = [vec![0u32; 1 << 11], vec![0u32; 1 << 11]];
            for n in 0..1 << 15 {
                let hash = of.fingerprint(&line(n).as_bytes()[..80 - n % 7]).hash();
                for (places, place) in places.iter_mut().zip([hash >> 53, hash & 0x7ff]) {
                    places[place as usize] += 1;
                }
            }
            // Sixteen each on average; of Poisson's distribution none of 2,048 is beyond 40.
            for places in places {
                assert!(places.iter().all(|lines| (1..=40).contains(lines)), "{seed}: {:?}", places.iter().max());
            }
        }
    }
}

//! Arithmetic that gives the same bits on every machine, for whatever layer needs it.

/// Numbers summed side by side: what a processor adds at once.
const ABREAST: usize = 16;

/// Sum of products, in an order that does not depend on the machine; of two lengths the shorter counts.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (blocks_a, blocks_b) = (a.chunks_exact(ABREAST), b.chunks_exact(ABREAST));
    let rest: f32 = blocks_a.remainder().iter().zip(blocks_b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0f32; ABREAST];
    for (a, b) in blocks_a.zip(blocks_b) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    sums.iter().sum::<f32>() + rest
}

/// Every bit depends on every bit: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The halves of a product, one folded over the other: what wyhash and foldhash are made of.
#[inline(always)]
pub(crate) const fn folded_product(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    (product as u64) ^ ((product >> u64::BITS) as u64)
}

/// Of longer words only the beginning is hashed.
const MOST_BYTES_OF_A_WORD: usize = 32;

/// Eight bits for a word, never 0; FNV-1a, whose result must not depend on the process since it is logged.
pub(crate) fn word_code(text: &[u8]) -> u8 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let head = text.get(..MOST_BYTES_OF_A_WORD).unwrap_or(text);
    let hash = head.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    // The last byte of the text has not reached the upper bits yet.
    ((hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).max(1)
}

/// The places of the bits that are set, ascending.
#[inline]
pub(crate) fn set_bits(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let next = (bits != 0).then(|| bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        next
    })
}

/// The next number of SplitMix64.
pub(crate) const fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_those_of_the_paper() {
        // The first of the reference implementation for this seed.
        let mut state = 1_234_567;
        let first = [next_random(&mut state), next_random(&mut state)];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn a_sum_of_products_takes_every_pair_in_blocks_and_beyond() {
        for length in [0u16, 1, 15, 16, 17, 40] {
            let numbers: Vec<f32> = (0..length).map(f32::from).collect();
            let expected: u32 = (0..u32::from(length)).map(|n| n * n).sum();
            assert_eq!(dot(&numbers, &numbers), expected as f32);
        }
    }
}

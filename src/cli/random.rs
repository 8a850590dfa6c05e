//! Numbers that look random and are the same every time (SplitMix64, Steele et al., OOPSLA 2014).

/// A deterministic generator for made-up data; not for secrets.
pub(crate) struct Random(u64);

impl Random {
    /// A generator whose numbers depend on `seed` alone.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `0..end`; 0 when `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // The bias is below end / 2^64.
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// In `from..end`.
    pub(crate) fn between(&mut self, from: u64, end: u64) -> u64 {
        from + self.below(end.saturating_sub(from))
    }

    /// `mean`, give or take half of it.
    pub(crate) fn around(&mut self, mean: u64) -> u64 {
        self.between(mean - mean / 2, mean + mean / 2 + 1)
    }

    /// One of `choices`; the empty text when there is none.
    pub(crate) fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let chosen = self.below(choices.len() as u64) as usize;
        choices.get(chosen).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_first_numbers_of_seed_1234567() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn stays_within_its_range() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| (3..7).contains(&random.between(3, 7))));
        assert!((0..1000).all(|_| (4..=12).contains(&random.around(8))));
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick(&[]), "");
    }
}

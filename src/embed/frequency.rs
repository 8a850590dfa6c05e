//! In how many texts a word is: what is in many says little.
//!
//! Words are counted by hash in [`BUCKETS`] buckets; two that share one count as one. Weights come from arithmetic that is the same to the last bit on every
//! machine: no libm.
//!
//! They are a function of the templates that are known, in any order the same, and these are in every checkpoint: who compares texts with texts, as a search does, counts anew (a microsecond
//! a template), and no second copy can disagree. Who compares with what was frozen keeps the counts it was frozen with beside it, as `engine::meaning` does in its section.
//!
//! # Bytes
//! ```text
//! documents u32 | buckets u32 | (bucket u32 | documents u32) …, ascending, none of them zero
//! ```

use super::words;
use crate::arithmetic::mix;

/// Buckets of the table, a power of two.
pub const BUCKETS: usize = 1 << 14;

/// A table that no oddline writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a table of word frequencies, found {0}")]
pub struct FrequencyError(&'static str);

/// How many texts each word is in.
#[derive(Clone, PartialEq, Eq)]
pub struct Frequencies {
    documents: u32,
    counts: Box<[u32]>,
}

impl std::fmt::Debug for Frequencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frequencies").field("documents", &self.documents).finish_non_exhaustive()
    }
}

impl Default for Frequencies {
    fn default() -> Self {
        Self { documents: 0, counts: vec![0; BUCKETS].into() }
    }
}

/// Hash of a word: part of what a vector is made of, so its values never change.
pub(super) fn hash_of(letters: &[char]) -> u64 {
    letters.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, letter| mix(hash ^ u64::from(*letter as u32)))
}

const fn bucket_of(hash: u64) -> usize {
    (hash >> 40) as usize & (BUCKETS - 1)
}

impl Frequencies {
    /// Of all `texts`; in any order the same.
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut all = Self::default();
        texts.into_iter().for_each(|text| all.learn(text));
        all
    }

    /// Counts one more text.
    pub fn learn(&mut self, text: &str) {
        let mut buckets = [0u16; words::MOST_WORDS];
        let mut length = 0;
        words::each(text, |letters| {
            if let Some(place) = buckets.get_mut(length) {
                *place = bucket_of(hash_of(letters)) as u16;
                length += 1;
            }
        });
        let found = buckets.get_mut(..length).unwrap_or_default();
        found.sort_unstable();
        let mut last = None;
        for bucket in found.iter().copied() {
            if last != Some(bucket)
                && let Some(count) = self.counts.get_mut(usize::from(bucket))
            {
                *count = count.saturating_add(1);
            }
            last = Some(bucket);
        }
        self.documents = self.documents.saturating_add(1);
    }

    /// Texts counted.
    pub fn documents(&self) -> u32 {
        self.documents
    }

    /// What a word weighs: `1 + log2((documents + 1) / (documents with it + 1))`, at least 1.
    pub(super) fn weight(&self, hash: u64) -> f32 {
        let with_it = self.counts.get(bucket_of(hash)).copied().unwrap_or(0).min(self.documents);
        1.0 + log2((self.documents as f32 + 1.0) / (with_it as f32 + 1.0))
    }

    /// Appends it all.
    pub fn write(&self, out: &mut Vec<u8>) {
        let used = self.counts.iter().zip(0u32..).filter(|(count, _)| **count > 0);
        out.extend_from_slice(&self.documents.to_le_bytes());
        out.extend_from_slice(&(used.clone().count() as u32).to_le_bytes());
        for (count, bucket) in used {
            out.extend_from_slice(&bucket.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    /// Reads what [`Self::write`] wrote, and nothing after it.
    ///
    /// # Errors
    /// When the bytes are cut short, longer, or hold impossible values.
    pub fn read(bytes: &[u8]) -> Result<Self, FrequencyError> {
        let (documents, rest) = number(bytes)?;
        let (used, rest) = number(rest)?;
        if rest.len() as u64 != u64::from(used) * 8 {
            return Err(FrequencyError("another length"));
        }
        let mut read = Self { documents, ..Self::default() };
        let mut last = None;
        for pair in rest.chunks_exact(8) {
            let (bucket, count) = number(pair)?;
            let (count, _) = number(count)?;
            if last.is_some_and(|last| bucket <= last) || count == 0 {
                return Err(FrequencyError("buckets out of order, or empty ones"));
            }
            last = Some(bucket);
            *read.counts.get_mut(bucket as usize).ok_or(FrequencyError("a bucket too many"))? = count;
        }
        Ok(read)
    }
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), FrequencyError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(FrequencyError("too few bytes"))?;
    Ok((u32::from_le_bytes(*number), rest))
}

/// Binary logarithm of a positive, normal number within 0.01: the exponent, and a parabola through the fraction that meets it at both ends.
fn log2(x: f32) -> f32 {
    const ONE: u32 = 127 << 23;
    let bits = x.to_bits();
    let fraction = f32::from_bits((bits & 0x007f_ffff) | ONE) - 1.0;
    let exponent = (bits >> 23) as i32 - 127;
    exponent as f32 + fraction + 0.346_6 * fraction * (1.0 - fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(frequencies: &Frequencies, word: &str) -> f32 {
        frequencies.weight(hash_of(&word.chars().collect::<Vec<_>>()))
    }

    #[test]
    fn the_logarithm_is_near_that_of_the_system_and_grows() {
        let mut last = f32::NEG_INFINITY;
        for n in 1..100_000u32 {
            let x = n as f32 / 37.0;
            assert!((log2(x) - x.log2()).abs() < 0.01, "{x}");
            assert!(log2(x) >= last, "{x}");
            last = log2(x);
        }
    }

    #[test]
    fn what_is_in_every_text_weighs_least_and_what_is_in_none_most() {
        let texts: Vec<String> =
            (0..64).map(|n| format!("INFO block {} served", if n % 8 == 0 { "odd" } else { "" })).collect();
        let frequencies = Frequencies::of(texts.iter().map(String::as_str));
        let of = |word| weight(&frequencies, word);
        assert!((of("info") - 1.0).abs() < 1e-6, "{}", of("info"));
        assert!(of("info") < of("odd") && of("odd") < of("corrupt"), "{} {}", of("odd"), of("corrupt"));
        let backwards = Frequencies::of(texts.iter().rev().map(String::as_str));
        assert_eq!(frequencies, backwards);
        assert_eq!(weight(&Frequencies::default(), "any"), 1.0);
    }

    #[test]
    fn a_word_twice_in_a_text_counts_once() {
        assert_eq!(Frequencies::of(["disk full disk full"]), Frequencies::of(["full disk"]));
    }

    #[test]
    fn golden_bytes_and_what_is_refused() {
        let mut bytes = Vec::new();
        Frequencies::of(["disk"]).write(&mut bytes);
        let bucket = bucket_of(hash_of(&['d', 'i', 's', 'k'])) as u32;
        let expected: Vec<u8> = [1, 1, bucket, 1].iter().flat_map(|n: &u32| n.to_le_bytes()).collect();
        assert_eq!(bytes, expected);
        assert_eq!(Frequencies::read(&bytes).unwrap(), Frequencies::of(["disk"]));
        for cut in 0..bytes.len() {
            assert!(Frequencies::read(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let bad =
            |numbers: &[u32]| Frequencies::read(&numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>());
        assert!(bad(&[1, 1, BUCKETS as u32, 1]).is_err());
        assert!(bad(&[1, 2, 5, 1, 5, 1]).is_err() && bad(&[1, 1, 5, 0]).is_err() && bad(&[1, u32::MAX, 5, 1]).is_err());
        assert!(bad(&[1, 0]).is_ok() && bad(&[1, 0, 0]).is_err());
    }
}

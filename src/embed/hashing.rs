//! Vectors from words alone: no model, no files.
//!
//! Each word, each pair of words that follow each other, and the parts of each word (three letters of ASCII words, two of others, its ends among them) are
//! hashed to a dimension and a sign (Weinberger et al., "Feature Hashing", ICML 2009); a word to `SPREAD` of them, so that two words of short texts
//! that meet in one do not look alike. A word weighs what
//! [`frequency`](super::frequency) says; its parts together weigh `PARTS` of it, so that `timeout` and `timeouts` are near; a pair
//! `PAIR` of both. What has the same words is the same; what has other words for the same thing is not seen to be: that takes a model.

use std::collections::HashSet;

use super::frequency::{Frequencies, hash_of};
use super::words::{self, MOST_LETTERS};
use super::{EmbedError, Embedder, normalise};
use crate::arithmetic::mix;

/// Length of a vector.
pub const DIMENSIONS: usize = 384;

/// Counted up whenever a text gets another vector under the same frequencies. 2 differs from 1 in what follows the 48th letter in a row of scripts without spaces.
pub(crate) const VERSION: u32 = 2;

/// What the parts of a word weigh together, of the word's weight.
const PARTS: f32 = 1.0;

/// Dimensions a word goes to.
const SPREAD: u64 = 4;

/// What a pair of words weighs, of the mean weight of both.
const PAIR: f32 = 0.3;

/// Apart from those of words.
const PART_SEED: u64 = 0xd1b5_4a32_d192_ed03;
const PAIR_SEED: u64 = 0x8bb8_4b93_962e_acc9;

/// Letters before and after a word.
const EDGE: char = '\u{1}';

/// Vectors of hashed words, weighted by how seldom they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HashingEmbedder {
    frequencies: Frequencies,
}

impl HashingEmbedder {
    /// With weights learned from `texts`; in any order the same. Without any, all words weigh the same.
    pub fn fit<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        Self { frequencies: Frequencies::of(texts) }
    }

    /// With weights learned before.
    pub const fn with(frequencies: Frequencies) -> Self {
        Self { frequencies }
    }

    /// The weights.
    pub const fn frequencies(&self) -> &Frequencies {
        &self.frequencies
    }
}

impl Embedder for HashingEmbedder {
    fn model(&self) -> String {
        let mut bytes = Vec::new();
        self.frequencies.write(&mut bytes);
        let fold = |hash, byte: &u8| mix(hash ^ u64::from(*byte)).wrapping_add(hash);
        let weights = bytes.iter().fold(0u64, fold);
        format!("hashing-{VERSION}-{weights:016x}")
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn embed(&self, text: &str, out: &mut [f32]) -> Result<(), EmbedError> {
        let found = out.len();
        let Ok(cells) = <&mut [f32; DIMENSIONS]>::try_from(&mut *out) else {
            return Err(EmbedError::Room { expected: DIMENSIONS, found });
        };
        cells.fill(0.0);
        let mut last: Option<(u64, f32)> = None;
        words::each(text, |letters| {
            let hash = hash_of(letters);
            let weight = self.frequencies.weight(hash);
            add_word(cells, hash, weight);
            add_parts(cells, letters, weight);
            if let Some((before, weight_before)) = last {
                add(cells, mix(before.rotate_left(17) ^ hash ^ PAIR_SEED), (weight_before + weight) * 0.5 * PAIR);
            }
            last = Some((hash, weight));
        });
        normalise(cells);
        Ok(())
    }
}

/// Adds a feature to its dimension, with its sign.
fn add(cells: &mut [f32; DIMENSIONS], hash: u64, weight: f32) {
    let hash = mix(hash);
    let dimension = ((hash >> 32) * DIMENSIONS as u64) >> 32;
    if let Some(cell) = cells.get_mut(dimension as usize) {
        *cell += if hash & 1 == 0 { weight } else { -weight };
    }
}

/// The same in several places that together weigh as much.
fn add_word(cells: &mut [f32; DIMENSIONS], hash: u64, weight: f32) {
    let share = weight / (SPREAD as f32).sqrt();
    (0..SPREAD).for_each(|place| add(cells, hash.rotate_left(11) ^ place.wrapping_mul(PART_SEED), share));
}

fn add_parts(cells: &mut [f32; DIMENSIONS], letters: &[char], weight: f32) {
    // With an edge on each side.
    let parts = (letters.len() + 2).saturating_sub(length_of_parts(letters) - 1).max(1);
    let share = weight * PARTS / (parts as f32).sqrt();
    each_part(letters, |packed| add(cells, packed, share));
}

fn length_of_parts(letters: &[char]) -> usize {
    if letters.iter().all(char::is_ascii) { 3 } else { 2 }
}

fn each_part(letters: &[char], mut show: impl FnMut(u64)) {
    let length = length_of_parts(letters);
    let mut edged = [EDGE; MOST_LETTERS + 2];
    edged.iter_mut().skip(1).zip(letters).for_each(|(place, letter)| *place = *letter);
    let edged = edged.get(..letters.len() + 2).unwrap_or_default();
    let fold = |packed: u64, letter: &char| packed.rotate_left(21) ^ u64::from(*letter as u32);
    edged.windows(length).for_each(|part| show(part.iter().fold(PART_SEED, fold)));
}

/// What a text is looked at by: two texts that have nothing of it in common are alike by chance alone, however near their vectors are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts(HashSet<u64>);

impl Parts {
    /// Of the words of `text`.
    pub fn of(text: &str) -> Self {
        let mut all = HashSet::new();
        words::each(text, |letters| each_part(letters, |part| _ = all.insert(part)));
        Self(all)
    }

    /// Whether `text` has one of them.
    pub fn are_in(&self, text: &str) -> bool {
        let mut is_there = false;
        words::each(text, |letters| each_part(letters, |part| is_there |= self.0.contains(&part)));
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    const TEXTS: [&str; 6] = [
        "INFO connection pool exhausted after <*> ms",
        "INFO connection pool of <*> is back to normal",
        "INFO disk <*> is almost full",
        "INFO user <*> logged in from <*>",
        "INFO user <*> logged out",
        "INFO request <*> served in <*> ms",
    ];

    fn fitted() -> HashingEmbedder {
        HashingEmbedder::fit(TEXTS)
    }

    fn likeness(embedder: &HashingEmbedder, a: &str, b: &str) -> f32 {
        let (a, b) = (embedder.vector(a).unwrap(), embedder.vector(b).unwrap());
        a.iter().zip(&b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn does_what_every_embedder_must() {
        conformance::check(&|| Box::new(fitted())).unwrap();
        conformance::check(&|| Box::new(HashingEmbedder::default())).unwrap();
    }

    #[test]
    fn what_was_asked_for_is_nearest_however_the_words_end() {
        let embedder = fitted();
        for (query, wanted) in [
            ("exhausted connection pools", TEXTS[0]),
            ("disks full", TEXTS[2]),
            ("ConnectionPoolExhausted", TEXTS[0]),
            ("login of a user", TEXTS[3]),
        ] {
            let nearest =
                TEXTS.iter().max_by(|a, b| likeness(&embedder, query, a).total_cmp(&likeness(&embedder, query, b)));
            assert_eq!(nearest, Some(&wanted), "{query}");
        }
    }

    #[test]
    fn what_a_long_text_without_spaces_ends_with_is_found() {
        let before = "服务器在昨天夜里重新启动以后所有的后台任务都按照计划顺利完成没有发现任何其他问题只是今天早上管理员收到了一封邮件说";
        assert!(before.chars().count() > MOST_LETTERS);
        let embedder = HashingEmbedder::default();
        let (full, down) = (format!("{before}数据库的磁盘已经满了"), format!("{before}网络连接完全中断"));
        let (of_full, of_down) =
            (likeness(&embedder, "磁盘已经满了", &full), likeness(&embedder, "磁盘已经满了", &down));
        assert!(of_full > 0.125 && of_full > of_down + 0.1, "{of_full} {of_down}");
        assert!(likeness(&embedder, &full, &down) < 0.999);
    }

    #[test]
    fn a_word_that_all_share_says_less_than_one_that_few_have() {
        let (plain, fitted) = (HashingEmbedder::default(), fitted());
        let shared = |embedder| likeness(embedder, "INFO disk failed", "INFO user left");
        assert!(shared(&fitted) < shared(&plain), "{} {}", shared(&fitted), shared(&plain));
        let seldom = |embedder| likeness(embedder, "INFO disk failed", "WARN disk broken");
        assert!(seldom(&fitted) > shared(&fitted), "{} {}", seldom(&fitted), shared(&fitted));
    }

    #[test]
    fn texts_without_a_part_in_common_are_told_from_those_that_have_one() {
        let has = |query: &str, text: &str| Parts::of(query).are_in(text);
        assert!(
            has("exhausted connections", TEXTS[0])
                && has("磁盘满", "服务器磁盘已满")
                && has("диски", "диск переполнен")
        );
        assert!(!has("диск", TEXTS[2]) && !has("磁盘满了", TEXTS[2]) && !has("xxxxxxxx", TEXTS[2]) && !has("", ""));
    }

    #[test]
    fn golden_vectors() {
        const STRONGEST: (usize, u32) = (146, 0xbeaa_e34e);
        const HASHES: [u64; 3] = [16_512_881_807_804_087_390, 14_184_351_000_586_443_803, 0];
        let bits = |text| fitted().vector(text).unwrap().into_iter().map(f32::to_bits);
        let hash = |text| bits(text).fold(0u64, |hash, bits| mix(hash ^ u64::from(bits)).wrapping_add(hash));
        let changed = "a text has another vector now: VERSION must be counted up";
        let strongest = bits(TEXTS[2]).enumerate().max_by(|a, b| (a.1 << 1, b.0).cmp(&(b.1 << 1, a.0)));
        assert_eq!(strongest, Some(STRONGEST), "{changed}");
        assert_eq!(["disk <*> almost full", "磁盘已满 größe", ""].map(hash), HASHES, "{changed}");
        assert_eq!(fitted().model(), "hashing-2-c9aa308aaf3ddfac");
    }
}

//! Which values of a line belong to which place of its template.
//!
//! The detectors know a template's values by number. Usually they are the line's variables in order. A generalised
//! template accepts any word where it has a wildcard, one that a mask makes a variable or one that none does; there the
//! line's own masks must not count:
//!
//! | token of the template | gives |
//! |---|---|
//! | constant, or with variables inside | its variables |
//! | another such wildcard, of a mask or a seed | one value, and none where the line has a word |
//! | a wildcard, or `key=<*>`, that a merge made: words differed there | the whole token, as a word |
//!
//! Words have their places behind all values, by token: a merge moves no value, and words only those behind its own.
//!
//! It takes one bit a token, for the first 64 tokens: longer templates never merge, and of a longer seed the tokens behind
//! them count as in any line.

use super::keyed;
use super::tokenise::{Skeleton, WILDCARD, slice};
use crate::arithmetic::set_bits;

/// The tokens of a generalised template that give no more than one value, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Words differed here.
    pub(super) words: u64,
    /// Other wildcards that a word may stand in place of.
    pub(super) single: u64,
}

impl Places {
    /// Those of a generalised template.
    pub(super) fn of(text: &[u8], words: u64) -> Self {
        let open = text.split(|byte| *byte == b' ').enumerate().filter(|(_, token)| keyed::is_open(token));
        let single = open.fold(0, |single, (number, _)| single | bit(number));
        Self { words, single: single & !words }
    }

    /// Which of the words' places is that of a token.
    fn rank(words: u64, token: usize) -> usize {
        (words & bit(token).saturating_sub(1)).count_ones() as usize
    }

    /// The place of a token where words differ, in a template of that text.
    pub(super) fn of_word(text: &[u8], words: u64, token: usize) -> usize {
        layout(text, words).into_iter().sum::<usize>() + Self::rank(words, token)
    }
}

/// How many values, words left out, each token of a generalised template gives.
pub(super) fn layout(text: &[u8], words: u64) -> Vec<usize> {
    let wildcards = |token| memchr::memmem::find_iter(token, WILDCARD).count();
    let tokens = text.split(|byte| *byte == b' ').enumerate();
    tokens.map(|(number, token)| if words & bit(number) == 0 { wildcards(token) } else { 0 }).collect()
}

/// The bit of a token.
pub(super) fn bit(token: usize) -> u64 {
    u32::try_from(token).ok().and_then(|token| 1u64.checked_shl(token)).unwrap_or(0)
}

impl Skeleton {
    /// What the line has at the places of its template, in order. `message` is the one last scanned.
    pub(super) fn placed<'m>(&self, message: &'m [u8], places: Places) -> impl Iterator<Item = Option<&'m [u8]>> {
        self.tokens().iter().enumerate().flat_map(move |(number, token)| {
            let variables = self.variables_of(token);
            let is_word = places.single & bit(number) != 0 && variables.len() != 1;
            let own = if is_word || places.words & bit(number) != 0 { &[] } else { variables };
            let values = own.iter().map(move |variable| Some(slice(message, &variable.range())));
            is_word.then_some(None).into_iter().chain(values)
        })
    }

    /// The tokens where words differ, whatever masks say of them.
    #[inline]
    pub(super) fn words<'m>(&self, message: &'m [u8], words: u64) -> impl Iterator<Item = &'m [u8]> {
        set_bits(words)
            .filter_map(|token| self.tokens().get(token))
            .map(|token| slice(message, &(token.start..token.end)))
    }
}

//! Templates that are like one the user flagged: what looks like a past incident.
//!
//! Likeness is Jaccard's of the words of two templates, variables left out: those both have over those either has. Asked once for each template, as
//! [`ruling`](super::ruling) is, and again when the user has said something new.
//!
//! Why not by vectors, as [`recall`](super::recall) does: likeness to a flagged template raises an alert, and what is taken for it and is not is a false one. Of templates of ten
//! systems (`cargo bench --bench likeness`; variants worded a little otherwise that are known again, and other templates of the system that are taken for it):
//!
//! | measure | a word exchanged | two words less | two more | turned about | other endings | taken for it |
//! |---|---|---|---|---|---|---|
//! | words in common, 0.6: this | 1.00 | 0.85 | 1.00 | 1.00 | 0.18 | 0.5 % |
//! | cosine of vectors, 0.77 | 0.84 | 0.82 | 0.98 | 1.00 | 0.22 | 0.5 % |
//! | words in common, 0.37 | 1.00 | 0.98 | 1.00 | 1.00 | 0.49 | 1.1 % |
//! | cosine of vectors, 0.6: what `similar` names | 1.00 | 0.99 | 1.00 | 1.00 | 0.70 | 1.1 % |
//!
//! Where few others may be taken for it words know more again; where more may, since a `similar` is only shown beside an alert that is one anyway, vectors do.

use std::collections::HashSet;

use super::feedback::{Opinion, Said};

/// Of the words of two templates, how many both must have.
const LIKE: f64 = 0.6;

/// Fewer words say too little.
const LEAST_WORDS: usize = 2;

/// Flagged templates that are compared with, the last ones.
const MOST_FLAGGED: usize = 1_000;

type Words = HashSet<String>;

/// The words of each flagged template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flagged {
    words: Vec<Words>,
}

fn words(text: &str) -> Words {
    let is_end = |character: char| {
        character.is_whitespace() || matches!(character, ',' | ';' | ':' | '.' | '(' | ')' | '[' | ']' | '=')
    };
    // What has a digit is a name or a number, whether or not it became a variable.
    let is_variable =
        |word: &str| word.bytes().any(|byte| byte.is_ascii_digit()) || (word.starts_with('<') && word.ends_with('>'));
    let is_word = |word: &&str| word.chars().any(char::is_alphabetic) && !is_variable(word);
    text.split(is_end).filter(is_word).map(str::to_lowercase).collect()
}

impl Flagged {
    /// Of all that was said.
    pub(super) fn new(said: &[Said]) -> Self {
        let flagged = said.iter().rev().filter(|said| said.opinion == Opinion::Flag && said.silence.is_none());
        Self { words: flagged.filter_map(|said| said.template.as_deref()).take(MOST_FLAGGED).map(words).collect() }
    }

    /// Whether a template of this text is like one of them.
    pub(super) fn is_like(&self, text: &[u8]) -> bool {
        if self.words.is_empty() {
            return false;
        }
        let own = words(&String::from_utf8_lossy(text));
        self.words.iter().any(|flagged| is_like(&own, flagged))
    }
}

fn is_like(a: &Words, b: &Words) -> bool {
    let both = a.intersection(b).count();
    let either = a.union(b).count();
    both >= LEAST_WORDS && both as f64 >= LIKE * either as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_that_share_most_of_their_words_are_alike_and_variables_do_not_count() {
        let like = |a: &str, b: &str| is_like(&words(a), &words(b));
        assert!(like("disk <*> failed: I/O error on <*>", "disk <*> failed: I/O error at <*>"));
        assert!(like("ERROR disk failed", "error Disk failed <*>"));
        assert!(!like("disk <*> failed", "user <*> logged in"));
        assert!(!like("<*> <*>", "<*> <*>") && !like("ok", "ok"), "too little to say");
    }
}

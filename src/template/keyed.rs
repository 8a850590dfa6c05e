//! Tokens of the form `key=word`: when the word turns out to be variable, the key stays.
//!
//! Such a token has two hashes: its own, and that of `key=<*>`. A template is found by either. The second is looked at
//! only where a line's skeleton is not known yet, so that known lines pay nothing for it.

use std::ops::Range;

use super::mask::Variable;
use super::rule::Rule;
use super::tokenise::{Skeleton, WILDCARD, WILDCARD_TOKEN, hash_pieces, hashes_of_text, slice};

/// The tokens of a line that looks for its template.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    hashes: Vec<u64>,
    /// Number and second hash of those that have one, ascending.
    keyed: Vec<(usize, u64)>,
}

impl Tokens {
    /// Takes those of `skeleton` in place of what was there; `message` is the one last scanned.
    pub(super) fn set(&mut self, skeleton: &Skeleton, message: &[u8]) {
        self.hashes.clear();
        self.keyed.clear();
        self.hashes.extend(skeleton.token_hashes());
        // Most lines have no key at all, and to look at each token for one takes longer.
        if memchr::memchr(b'=', message).is_none() {
            return;
        }
        for (number, token) in skeleton.tokens().iter().enumerate() {
            if skeleton.variables_of(token).is_empty() {
                let second = second_hash(slice(message, &(token.start..token.end)));
                self.keyed.extend(second.map(|hash| (number, hash)));
            }
        }
    }

    /// Those of a line's skeleton.
    pub(super) fn of(skeleton: &Skeleton, message: &[u8]) -> Self {
        let mut tokens = Self::default();
        tokens.set(skeleton, message);
        tokens
    }

    /// Those of a skeleton's text.
    pub(super) fn of_text(text: &[u8]) -> Self {
        let words = text.split(|byte| *byte == b' ').filter(|token| !token.is_empty()).enumerate();
        let keyed = words.filter_map(|(number, token)| Some((number, second_hash(token)?))).collect();
        Self { hashes: hashes_of_text(text), keyed }
    }

    #[cfg(test)]
    pub(super) fn of_hashes(hashes: &[u64], keyed: &[(usize, u64)]) -> Self {
        Self { hashes: hashes.into(), keyed: keyed.into() }
    }

    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The hashes by which the token with that number is found: one or two.
    pub(super) fn ways(&self, number: usize) -> impl Iterator<Item = u64> {
        self.hashes.get(number).copied().into_iter().chain(self.second(number))
    }

    /// Whether a template with these tokens is one of the line.
    pub(super) fn agree_with(&self, template: &[u64]) -> bool {
        let mut tokens = template.iter().zip(&self.hashes).enumerate();
        tokens.all(|(number, (own, line))| *own == WILDCARD_TOKEN || own == line || self.second(number) == Some(*own))
    }

    fn second(&self, number: usize) -> Option<u64> {
        self.keyed.iter().find(|(at, _)| *at == number).map(|(_, hash)| *hash)
    }
}

/// The place of the word in `key=word`, without the quotes and brackets around it and punctuation after it.
pub(super) fn value(token: &[u8]) -> Option<Range<usize>> {
    let equals = memchr::memchr(b'=', token)?;
    let has_key = token.get(..equals)?.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let opening = |byte: &u8| matches!(byte, b'"' | b'\'' | b'(' | b'[' | b'{');
    let closing = |byte: &u8| matches!(byte, b'"' | b'\'' | b')' | b']' | b'}' | b',' | b';' | b':' | b'.');
    let start = equals + 1 + token.get(equals + 1..)?.iter().take_while(|byte| opening(byte)).count();
    let end = token.iter().rposition(|byte| !closing(byte))? + 1;
    (has_key && start < end).then_some(start..end)
}

/// `key=<*>` for a token that is that already or has no wildcard at all.
pub(super) fn generalised(token: &[u8]) -> Option<Vec<u8>> {
    let value = value(token)?;
    let wildcards = memchr::memmem::find_iter(token, WILDCARD).count();
    let is_one = token.get(value.clone()) == Some(WILDCARD.as_bytes());
    let around = (token.get(..value.start)?, token.get(value.end..)?);
    (wildcards == usize::from(is_one)).then(|| [around.0, WILDCARD.as_bytes(), around.1].concat())
}

/// `key=<*>`, when that is what two tokens have in common.
pub(super) fn common(token: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    generalised(token).filter(|text| generalised(other).as_ref() == Some(text))
}

/// Whether a template's text has a wildcard in whose place words may stand that no mask makes a variable.
pub(super) fn has_open_wildcard(text: &[u8]) -> bool {
    text.split(|byte| *byte == b' ').any(is_open)
}

/// Whether a template's token is such a wildcard, or the key of one.
pub(super) fn is_open(token: &[u8]) -> bool {
    token == WILDCARD.as_bytes() || generalised(token).is_some_and(|text| text == token)
}

fn second_hash(token: &[u8]) -> Option<u64> {
    let value = value(token).filter(|_| memchr::memmem::find(token, WILDCARD.as_bytes()).is_none())?;
    Some(hash_pieces(token, 0..token.len() as u32, &[Variable::new(value, Rule::Wildcard)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_key_is_found_without_what_surrounds_it() {
        for (token, expected) in [
            ("user=ann", "user=<*>"),
            ("(rhost=\"a-b.example\"),", "(rhost=\"<*>\"),"),
            ("a=b=c;", "a=<*>;"),
            ("x[user_id]={ann}.", "x[user_id]={ann}."),
            ("id=<*>,", "id=<*>,"),
        ] {
            let found = generalised(token.as_bytes()).unwrap_or_else(|| token.into());
            assert_eq!(String::from_utf8_lossy(&found), expected);
        }
        for token in ["user=", "=ann", "user", "a=\"\"", "==", "", "<*>=ann", "id=a<*>", "a=<*><*>"] {
            assert_eq!(generalised(token.as_bytes()), None, "{token}");
        }
    }

    #[test]
    fn the_second_hash_is_that_of_the_text_it_stands_for() {
        for token in ["user=ann", "(rhost=\"a-b.example\"),", "a=b=c;"] {
            let text = generalised(token.as_bytes()).unwrap();
            assert_eq!(second_hash(token.as_bytes()), Some(hashes_of_text(&text)[0]));
            assert!(has_open_wildcard(&text) && !has_open_wildcard(token.as_bytes()));
            assert_eq!(common(token.as_bytes(), &text), Some(text));
        }
    }
}

//! Finds templates that differ in one token: each is entered under the signature of all its tokens but one, for each
//! token in turn.
//!
//! A signature is the sum of `mix(token, position)` over the tokens, so that all `n` leave-one-out signatures cost
//! `O(n)`. A template leaves the table when it leaves the store: the table is a function of the templates there are
//! and of the order they were entered in, so that a restored store merges as the one it was saved from would have.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::hash::combine;
use super::{Slot, tokenise::WILDCARD_TOKEN};

/// Longer lines are left alone: their tokens rarely line up.
const MAX_TOKENS: usize = 64;

/// Templates that agree in all tokens but the one at `position`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) position: usize,
    pub(super) members: Vec<Slot>,
}

type Members = SmallVec<[Slot; 4]>;

/// Bytes of one signature of one template, about.
pub(super) const SIGNATURE_BYTES: usize = 2 * (size_of::<u64>() + size_of::<Members>());

#[derive(Debug, Default)]
pub(super) struct SimilarTable {
    members: HashMap<u64, Members, foldhash::fast::FixedState>,
}

impl SimilarTable {
    /// Enters a template. Returns the largest family that `is_enough`, ties to the leftmost position. `is_member` tells
    /// whether a slot with the same signature agrees in all tokens but that one.
    pub(super) fn enter(
        &mut self,
        slot: Slot,
        tokens: &[u64],
        is_member: impl Fn(Slot, usize) -> bool,
        is_enough: impl Fn(&[Slot], usize) -> bool,
    ) -> Option<Family> {
        let mut best: Option<Family> = None;
        for (position, signature) in signatures(tokens) {
            let others = self.members.entry(signature).or_default();
            others.push(slot);
            if others.len() <= best.as_ref().map_or(1, |family| family.members.len()) {
                continue;
            }
            let is_family = |other: &Slot| *other == slot || is_member(*other, position);
            let members: Vec<Slot> = others.iter().copied().filter(is_family).collect();
            if members.len() > best.as_ref().map_or(1, |family| family.members.len()) && is_enough(&members, position) {
                best = Some(Family { position, members });
            }
        }
        best
    }

    /// Takes out what [`Self::enter`] entered.
    pub(super) fn leave(&mut self, slot: Slot, tokens: &[u64]) {
        for (_, signature) in signatures(tokens) {
            if let Some(members) = self.members.get_mut(&signature) {
                members.retain(|other| *other != slot);
                if members.is_empty() {
                    self.members.remove(&signature);
                }
            }
        }
    }
}

/// Whether templates of such tokens are entered at all: one of a few tokens, with something beside the one that varies.
pub(super) fn may_vary(tokens: &[u64]) -> bool {
    tokens.len() <= MAX_TOKENS && tokens.iter().filter(|token| **token != WILDCARD_TOKEN).nth(1).is_some()
}

/// The positions whose token may vary, each with the signature of all other tokens.
fn signatures(tokens: &[u64]) -> impl Iterator<Item = (usize, u64)> + '_ {
    let tokens = if may_vary(tokens) { tokens } else { &[] };
    let whole = tokens.iter().enumerate().fold(tokens.len() as u64, |sum, (at, t)| sum.wrapping_add(mix(*t, at)));
    let constants = tokens.iter().enumerate().filter(|(_, token)| **token != WILDCARD_TOKEN);
    constants.map(move |(position, token)| {
        (position, whole.wrapping_sub(mix(*token, position)).wrapping_add(mix(WILDCARD_TOKEN, position)))
    })
}

/// Whether a token looks like the name of a file, a class or a host: a `.`, `/`, `\` or `@` between letters. Two such
/// names in one place are enough to tell that any may stand there; of plain words it takes more. What ends in
/// `Exception` or `Error` is not a name but the news itself.
pub(super) fn is_name(token: &[u8]) -> bool {
    let joins = |around: &[u8]| match around {
        [before, b'.' | b'/' | b'\\' | b'@', after] => {
            before.is_ascii_alphanumeric()
                && after.is_ascii_alphanumeric()
                && (before.is_ascii_lowercase() || after.is_ascii_lowercase())
        }
        _ => false,
    };
    let letters = token.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1);
    let word = token.get(..letters).unwrap_or_default();
    token.windows(3).any(joins) && !word.ends_with(b"Exception") && !word.ends_with(b"Error")
}

#[inline]
fn mix(token: u64, position: usize) -> u64 {
    combine(token, position as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_a_family_once_enough_members_differ_in_one_token() {
        let mut table = SimilarTable::default();
        let three = |members: &[Slot], _| members.len() >= 3;
        assert_eq!(table.enter(Slot(0), &[1, 10, 3], |_, _| true, three), None);
        assert_eq!(table.enter(Slot(1), &[1, 11, 3], |_, _| true, three), None);
        assert_eq!(table.enter(Slot(2), &[9, 11, 4], |_, _| true, three), None);
        let family = table.enter(Slot(3), &[1, 12, 3], |_, _| true, three);
        assert_eq!(family, Some(Family { position: 1, members: vec![Slot(0), Slot(1), Slot(3)] }));
    }

    #[test]
    fn names_have_a_joiner_between_letters() {
        for name in ["a.b", "(com.example.Main)", "ann@example", "x/y,", "D\\file"] {
            assert!(is_name(name.as_bytes()), "{name}");
        }
        for other in ["GET", "up", "java.io.IOException:", "module.LoadError", "e.", "...", "A.B", "and", ""] {
            assert!(!is_name(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn who_left_is_in_no_family_and_leaves_nothing_behind() {
        let mut table = SimilarTable::default();
        let two = |members: &[Slot], _| members.len() >= 2;
        assert_eq!(table.enter(Slot(0), &[1, 10], |_, _| true, two), None);
        table.leave(Slot(0), &[1, 10]);
        assert_eq!(table.enter(Slot(1), &[1, 11], |_, _| true, two), None);
        assert_eq!(table.enter(Slot(2), &[1, 12], |_, _| false, two), None, "the signature alone is not enough");
        for (slot, token) in [(1, 11), (2, 12)] {
            table.leave(Slot(slot), &[1, token]);
        }
        assert!(table.members.is_empty());
    }
}

//! Finds templates that differ in one token: each is entered under the signature of all its tokens but one, for each
//! token in turn.
//!
//! A signature is the sum of `mix(token, position)` over the tokens, so that all `n` leave-one-out signatures cost
//! `O(n)`. The table is bounded: two generations, of which the older is dropped when the younger is full; what is
//! dropped only delays a merge.

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

type Members = SmallVec<[Slot; 2]>;

#[derive(Debug)]
pub(super) struct SimilarTable {
    young: HashMap<u64, Members, foldhash::fast::FixedState>,
    old: HashMap<u64, Members, foldhash::fast::FixedState>,
    capacity: usize,
}

impl SimilarTable {
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), capacity: capacity.max(64) }
    }

    /// Enters a template. Returns the largest family that `is_enough`, ties to the leftmost position. `is_member` tells
    /// whether a slot entered earlier still holds such a template.
    pub(super) fn enter(
        &mut self,
        slot: Slot,
        tokens: &[u64],
        mut is_member: impl FnMut(Slot, usize) -> bool,
        is_enough: impl Fn(&[Slot], usize) -> bool,
    ) -> Option<Family> {
        let constants = tokens.iter().filter(|token| **token != WILDCARD_TOKEN).count();
        if tokens.len() > MAX_TOKENS || constants < 2 {
            return None;
        }
        let whole = tokens.iter().enumerate().fold(tokens.len() as u64, |sum, (at, t)| sum.wrapping_add(mix(*t, at)));
        let mut best: Option<Family> = None;
        for (position, token) in tokens.iter().enumerate().filter(|(_, token)| **token != WILDCARD_TOKEN) {
            let signature = whole.wrapping_sub(mix(*token, position)).wrapping_add(mix(WILDCARD_TOKEN, position));
            let members = self.members(signature);
            members.retain(|other| *other != slot && is_member(*other, position));
            members.push(slot);
            if members.len() > best.as_ref().map_or(1, |family| family.members.len()) && is_enough(members, position) {
                best = Some(Family { position, members: members.to_vec() });
            }
        }
        best
    }

    fn members(&mut self, signature: u64) -> &mut Members {
        if !self.young.contains_key(&signature) {
            if self.young.len() >= self.capacity {
                self.old = std::mem::take(&mut self.young);
            }
            let members = self.old.remove(&signature).unwrap_or_default();
            self.young.insert(signature, members);
        }
        self.young.entry(signature).or_default()
    }

    /// Bytes held, about.
    pub(super) fn memory_bytes(&self) -> usize {
        (self.young.capacity() + self.old.capacity()) * (size_of::<u64>() + size_of::<Members>() + 1)
    }
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
        let mut table = SimilarTable::new(1_000);
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
    fn forgets_members_that_are_gone_and_stays_bounded() {
        let mut table = SimilarTable::new(64);
        let two = |members: &[Slot], _| members.len() >= 2;
        assert_eq!(table.enter(Slot(0), &[1, 10], |_, _| true, two), None);
        assert_eq!(table.enter(Slot(1), &[1, 11], |_, _| false, two), None);
        for n in 0..10_000 {
            table.enter(Slot(n), &[u64::from(n) * 7 + 100, u64::from(n) * 13 + 5], |_, _| true, two);
        }
        assert!(table.young.len() <= 65 && table.old.len() <= 65);
    }
}

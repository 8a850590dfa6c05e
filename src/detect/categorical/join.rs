//! Small sets of several hosts united.

use super::{Categorical, Wildcard};
use crate::detect::joining::Moves;

impl Wildcard {
    fn known(&self) -> &[u8] {
        self.words.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// A value that only one of both had says that neither set was complete.
    pub(super) fn unite(&mut self, other: &Self) {
        if self.events == 0 || other.events == 0 {
            if other.events > 0 {
                *self = *other;
            }
            return;
        }
        let quiet = |set: &Self| set.events - set.grew_at.min(set.events);
        let quiet = quiet(self).saturating_add(quiet(other));
        let has_all = |set: &Self, of: &Self| of.known().iter().all(|word| set.known().contains(word));
        let is_same = has_all(self, other) && has_all(other, self);
        let missing: Vec<u8> = other.known().iter().copied().filter(|word| !self.known().contains(word)).collect();
        missing.into_iter().for_each(|word| self.take(word));
        self.events = self.events.saturating_add(other.events);
        self.grew_at = if is_same { self.events.saturating_sub(quiet) } else { self.events };
        self.is_open |= other.is_open;
        // In one order, whoever came first.
        if let Some(words) = self.words.get_mut(..usize::from(self.length)) {
            words.sort_unstable();
        }
    }
}

impl Categorical {
    /// As if the values of `other` had been seen, too, where the wildcards are the same.
    pub(in crate::detect) fn join(&mut self, other: &Self, moves: &Moves) {
        for (slot, moved) in moves.iter().filter(|(_, moved)| moved.keeps_wildcards) {
            let theirs = other.wildcards.get(slot);
            let own = self.wildcards.of(moved.slot, theirs.len());
            if own.len() == theirs.len() {
                own.iter_mut().zip(theirs).for_each(|(own, theirs)| own.unite(theirs));
            }
            self.note_wanted(moved.slot);
        }
    }
}

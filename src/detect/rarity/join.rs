//! Decayed counts of several hosts added.

use super::{NOVELTY_EVENTS, Rarity};
use crate::detect::joining::Moves;

impl Rarity {
    /// As if what `other` saw had been seen, too.
    pub(in crate::detect) fn join(&mut self, other: &Self, moves: &Moves) {
        for (slot, moved) in moves.iter().filter(|(slot, _)| !other.is_new(*slot)) {
            self.add(moved.slot, other.decayed_count(slot) * self.weight);
        }
        let (own, theirs) = (self.events.min(NOVELTY_EVENTS), other.events.min(NOVELTY_EVENTS));
        if own + theirs > 0.0 {
            self.novelty = (self.novelty * own + other.novelty * theirs) / (own + theirs);
        }
        self.events += other.events;
    }

    /// Sums of all of it.
    pub(in crate::detect) fn settle(&mut self) {
        self.sum();
    }
}

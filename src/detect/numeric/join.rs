//! Ranges of several hosts united.

use super::{KEPT, Numeric, Wildcard};
use crate::detect::joining::Moves;

impl Wildcard {
    fn unite(&mut self, other: &Self) {
        if self.numbers == 0.0 || other.numbers == 0.0 {
            if other.numbers > 0.0 {
                *self = *other;
            }
            return;
        }
        let part = other.numbers / (self.numbers + other.numbers);
        self.mean += (other.mean - self.mean) * part;
        self.distance += (other.distance - self.distance) * part;
        self.high = self.high.max(other.high);
        self.low = self.low.min(other.low);
        self.numbers += other.numbers;
        self.outside += other.outside;
    }

    fn settle(&mut self) {
        let most = 1.0 / (1.0 - KEPT);
        if self.numbers > most {
            self.outside *= most / self.numbers;
            self.numbers = most;
        }
    }
}

impl Numeric {
    /// As if the numbers of `other` had been seen, too, where the wildcards are the same.
    pub(in crate::detect) fn join(&mut self, other: &Self, moves: &Moves) {
        for (slot, moved) in moves.iter().filter(|(_, moved)| moved.keeps_wildcards) {
            let theirs = other.wildcards.get(slot);
            let own = self.wildcards.of(moved.slot, theirs.len());
            if own.len() == theirs.len() {
                own.iter_mut().zip(theirs).for_each(|(own, theirs)| own.unite(theirs));
            }
        }
    }

    /// No more numbers than a host can have; `slots` is one more than the highest slot.
    pub(in crate::detect) fn settle(&mut self, slots: usize) {
        (0..slots).for_each(|slot| self.wildcards.of(slot, 0).iter_mut().for_each(Wildcard::settle));
    }
}

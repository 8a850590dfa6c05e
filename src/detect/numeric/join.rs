//! Ranges of several hosts united.

use super::{Group, KEPT, LANES, Numeric};
use crate::detect::joining::Moves;

impl Group {
    pub(super) fn unite(&mut self, other: &Self) {
        (0..LANES).filter(|lane| other.numbers[*lane] > 0.0).for_each(|lane| self.unite_lane(other, lane));
    }

    fn unite_lane(&mut self, other: &Self, lane: usize) {
        if self.numbers[lane] == 0.0 {
            self.figures_mut().into_iter().zip(other.figures()).for_each(|(own, theirs)| own[lane] = theirs[lane]);
            return;
        }
        let part = other.numbers[lane] / (self.numbers[lane] + other.numbers[lane]);
        self.mean[lane] += (other.mean[lane] - self.mean[lane]) * part;
        self.distance[lane] += (other.distance[lane] - self.distance[lane]) * part;
        self.high[lane] = self.high[lane].max(other.high[lane]);
        self.low[lane] = self.low[lane].min(other.low[lane]);
        self.numbers[lane] += other.numbers[lane];
        self.outside[lane] += other.outside[lane];
    }

    fn settle(&mut self) {
        let most = 1.0 / (1.0 - KEPT);
        for (numbers, outside) in self.numbers.iter_mut().zip(&mut self.outside).filter(|(numbers, _)| **numbers > most)
        {
            *outside *= most / *numbers;
            *numbers = most;
        }
    }
}

impl Numeric {
    /// As if the numbers of `other` had been seen, too, where the wildcards are the same.
    pub(in crate::detect) fn join(&mut self, other: &Self, moves: &Moves) {
        for (slot, moved) in moves.iter().filter(|(_, moved)| moved.keeps_wildcards) {
            let theirs = other.groups.get(slot);
            let own = self.groups.of(moved.slot, theirs.len());
            if own.len() == theirs.len() {
                own.iter_mut().zip(theirs).for_each(|(own, theirs)| own.unite(theirs));
            }
        }
        self.recurring.join(&other.recurring, moves);
    }

    /// No more numbers than a host can have; `slots` is one more than the highest slot.
    pub(in crate::detect) fn settle(&mut self, slots: usize) {
        (0..slots).for_each(|slot| self.groups.of(slot, 0).iter_mut().for_each(Group::settle));
    }
}

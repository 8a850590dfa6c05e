//! Windows of several hosts pooled.

use super::{Counts, Rate, Sums, Window};
use crate::detect::joining::Moves;

impl Window {
    fn pool(&mut self, other: &Self) {
        self.windows += other.windows;
        self.counted.pool(other.counted);
        self.plain.pool(other.plain);
        self.set_limit();
    }

    /// Decayed windows never are more than this on one host.
    fn settle(&mut self, decay: f32) {
        let most = 1.0 / (1.0 - decay);
        if self.windows > most {
            let part = most / self.windows;
            self.windows = most;
            self.counted.scale(part);
            self.plain.scale(part);
            self.set_limit();
        }
    }
}

impl Sums {
    fn pool(&mut self, other: Self) {
        self.sum += other.sum;
        self.squares += other.squares;
    }
}

impl Rate {
    /// As if the windows of `other` had been seen, too; windows that run are left out.
    pub(in crate::detect) fn join(&mut self, other: &Self, moves: &Moves) {
        for (slot, moved) in moves.iter() {
            let Some(theirs) = other.templates.get(slot) else { continue };
            let Some(Counts { windows, .. }) = self.counts(moved.slot) else { continue };
            windows.iter_mut().zip(&theirs.windows).for_each(|(window, theirs)| window.pool(theirs));
        }
    }

    /// No more windows than a host can have.
    pub(in crate::detect) fn settle(&mut self) {
        for counts in &mut self.templates {
            counts.windows.iter_mut().zip(self.decays).for_each(|(window, decay)| window.settle(decay));
        }
    }
}

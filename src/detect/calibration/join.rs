//! Histograms of several hosts pooled.

use super::Calibration;

impl Calibration {
    /// As if the statistics of `other` had been seen, too. [`Self::settle`] comes after the last.
    pub(in crate::detect) fn join(&mut self, other: &Self) {
        let scale = self.weight / other.weight;
        for (bin, mass) in other.bins.iter().enumerate().filter(|(_, mass)| **mass > 0.0) {
            self.add(bin, mass * scale);
        }
        self.events += other.events;
    }

    /// No more mass than a host can have, and p-values from all of it.
    pub(in crate::detect) fn settle(&mut self) {
        let most = self.weight * self.growth / (self.growth - 1.0);
        if self.total > most {
            let part = most / self.total;
            self.bins.iter_mut().for_each(|mass| *mass *= part);
            self.total *= part;
        }
        self.refresh();
    }
}

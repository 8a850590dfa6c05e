//! Histograms of several hosts pooled.

use super::{Calibration, Calibrations, Histogram, Pace};

impl Pace {
    /// As if the events of `other` had come, too; what one of its events weighs here.
    fn join(&mut self, other: &Self) -> f64 {
        let scale = self.weight / other.weight;
        self.total += other.total * scale;
        self.events += other.events;
        scale
    }

    /// No more than a host can have; the part that is left.
    fn settle(&mut self) -> f64 {
        let most = self.weight * self.growth / (self.growth - 1.0);
        if self.total <= most {
            return 1.0;
        }
        let part = most / self.total;
        self.total = most;
        part
    }
}

impl Histogram {
    fn join(&mut self, other: &Self, scale: f64) {
        // What is in the first bin is what is in no other.
        for (bin, mass) in other.bins.iter().enumerate().skip(1).filter(|(_, mass)| **mass > 0.0) {
            self.add(bin, mass * scale);
        }
    }

    fn keep(&mut self, part: f64) {
        self.bins.iter_mut().for_each(|mass| *mass *= part);
        self.rest *= part;
    }
}

impl Calibration {
    /// As if the statistics of `other` had been seen, too. [`Self::settle`] comes after the last.
    pub(in crate::detect) fn join(&mut self, other: &Self) {
        let scale = self.pace.join(&other.pace);
        self.histogram.join(&other.histogram, scale);
    }

    /// No more mass than a host can have, and p-values from all of it.
    pub(in crate::detect) fn settle(&mut self) {
        self.histogram.keep(self.pace.settle());
        self.refresh();
    }
}

impl<const N: usize> Calibrations<N> {
    /// As if the statistics of `other` had been seen, too. [`Self::settle`] comes after the last.
    pub(in crate::detect) fn join(&mut self, other: &Self) {
        let scale = self.pace.join(&other.pace);
        self.histograms.iter_mut().zip(&other.histograms).for_each(|(own, theirs)| own.join(theirs, scale));
    }

    /// No more mass than a host can have, and p-values from all of it.
    pub(in crate::detect) fn settle(&mut self) {
        let part = self.pace.settle();
        self.histograms.iter_mut().for_each(|histogram| histogram.keep(part));
        self.refresh();
    }
}

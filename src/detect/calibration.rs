//! From the combined statistic T to a p-value: what share of past events had a T at least as large?
//!
//! A conformal p-value (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005) over a histogram of
//! T with exponentially decayed weights: `(mass at or above T + 1) / (mass + 1)`. Where fewer than [`TAIL_EVENTS`]
//! events lie above T the histogram is too thin to count; there the tail is taken as exponential beyond the last
//! point that has as many, with the mean excess of what lies there (Pickands–Balkema–de Haan with shape 0).
//!
//! The sums over the histogram are refreshed every [`REFRESH_EVENTS`] events and more often at first, so that an event
//! costs two array reads.

use super::{StateError, StateReader};

/// Width of a histogram bin, nats.
pub const BIN_WIDTH: f32 = 0.05;

/// Bins; the last takes everything beyond.
pub const BINS: usize = 800;

/// Events above a point of the histogram for its count to be trusted.
pub const TAIL_EVENTS: f64 = 20.0;

/// Events between refreshes.
pub const REFRESH_EVENTS: u64 = 256;

const RESCALE_AT: f64 = 1e60;

/// Decayed histogram of the statistic.
#[derive(Debug, Clone)]
pub struct Calibration {
    growth: f64,
    weight: f64,
    bins: Box<[f64]>,
    events: u64,
    next_refresh: u64,
    tail: Tail,
}

/// What the last refresh found.
#[derive(Debug, Clone, PartialEq)]
struct Tail {
    /// Share of the mass at or above each bin.
    at_or_above: Box<[f64]>,
    /// First bin of the exponential part.
    from: usize,
    /// Mean excess beyond that bin's lower end, nats.
    mean_excess: f64,
}

impl Calibration {
    /// Nothing seen yet: every p-value is 1.
    pub fn new(half_life_events: u64) -> Self {
        Self {
            growth: (1.0 / half_life_events.max(1) as f64).exp2(),
            weight: 1.0,
            bins: vec![0.0; BINS].into(),
            events: 0,
            next_refresh: 1,
            tail: Tail { at_or_above: vec![1.0; BINS].into(), from: BINS - 1, mean_excess: 1.0 },
        }
    }

    /// Events learned, ever.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Probability of a statistic at least this large, in (0, 1].
    pub fn p_value(&self, statistic: f32) -> f64 {
        let bin = bin(statistic);
        let share = |bin: usize| self.tail.at_or_above.get(bin).copied().unwrap_or(1.0);
        if bin <= self.tail.from {
            return share(bin);
        }
        let excess = f64::from(statistic.min(BINS as f32 * BIN_WIDTH)) - self.tail.from as f64 * f64::from(BIN_WIDTH);
        (share(self.tail.from) * (-excess / self.tail.mean_excess).exp()).max(f64::MIN_POSITIVE)
    }

    /// Takes a statistic in.
    pub fn learn(&mut self, statistic: f32) {
        self.weight *= self.growth;
        self.add(bin(statistic), self.weight);
        self.events += 1;
        if self.events >= self.next_refresh {
            self.refresh();
        }
    }

    /// Takes in `events` statistics of one bin that another lane saw.
    pub(super) fn absorb(&mut self, bin: usize, events: u32) {
        self.add(bin, self.weight * f64::from(events));
        self.events += u64::from(events);
    }

    fn add(&mut self, bin: usize, amount: f64) {
        if let Some(mass) = self.bins.get_mut(bin) {
            *mass += amount;
        }
    }

    fn refresh(&mut self) {
        if self.weight >= RESCALE_AT {
            let by = 1.0 / self.weight;
            self.bins.iter_mut().for_each(|mass| *mass *= by);
            self.weight = 1.0;
        }
        self.tail.refresh(&self.bins, self.weight);
        self.next_refresh = self.events + (self.events / 16).clamp(1, REFRESH_EVENTS);
    }

    /// Appends everything learned, bit for bit.
    pub fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.weight.to_le_bytes());
        out.extend_from_slice(&self.events.to_le_bytes());
        out.extend_from_slice(&self.next_refresh.to_le_bytes());
        out.extend_from_slice(&(self.tail.from as u32).to_le_bytes());
        out.extend_from_slice(&self.tail.mean_excess.to_le_bytes());
        for value in self.bins.iter().chain(&self.tail.at_or_above) {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// Takes in what [`Self::checkpoint`] wrote.
    ///
    /// # Errors
    /// When the bytes are cut short or hold impossible values; nothing is changed then.
    pub fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let weight = from.amount("calibration weight")?.max(f64::MIN_POSITIVE);
        let events = from.u64("calibration events")?;
        let next_refresh = from.u64("calibration refresh")?;
        let tail_from = (from.u32("calibration tail")? as usize).min(BINS - 1);
        let mean_excess = from.amount("calibration mean excess")?.max(f64::from(BIN_WIDTH));
        let mut array = || (0..BINS).map(|_| from.amount("calibration bin")).collect::<Result<Box<[_]>, _>>();
        let bins = array()?;
        let tail = Tail { at_or_above: array()?, from: tail_from, mean_excess };
        *self = Self { growth: self.growth, weight, bins, events, next_refresh, tail };
        Ok(())
    }
}

impl Tail {
    fn refresh(&mut self, bins: &[f64], weight: f64) {
        let total: f64 = bins.iter().sum();
        let mut above = 0.0;
        let mut moment = 0.0;
        let mut fitted = false;
        for (bin, mass) in bins.iter().enumerate().rev() {
            // Mean of (T − lower end of this bin) over what lies at or above it, from the bin above's.
            moment += above + mass * 0.5;
            above += mass;
            if let Some(share) = self.at_or_above.get_mut(bin) {
                *share = ((above + weight) / (total + weight)).min(1.0);
            }
            if !fitted && (above >= TAIL_EVENTS * weight || bin == 0) {
                fitted = true;
                self.from = bin;
                self.mean_excess = (moment / above.max(weight) * f64::from(BIN_WIDTH)).max(f64::from(BIN_WIDTH));
            }
        }
    }
}

/// The histogram bin of a statistic.
pub(super) fn bin(statistic: f32) -> usize {
    // A float to integer cast saturates, and takes NaN to 0.
    ((statistic / BIN_WIDTH) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic exponential variates, by the quantiles of a low-discrepancy sequence.
    fn exponential(n: u64) -> f32 {
        let u = (n as f64 * 0.618_033_988_749_895).fract();
        -(1.0 - u).max(1e-12).ln() as f32
    }

    #[test]
    fn p_values_of_exponential_statistics_are_right_into_the_tail() {
        let mut calibration = Calibration::new(20_000);
        (0..200_000).for_each(|n| calibration.learn(exponential(n)));
        for t in [0.5f32, 2.0, 4.6, 6.9, 9.2] {
            let ratio = calibration.p_value(t) / f64::from(-t).exp();
            assert!((0.7..1.5).contains(&ratio), "T {t}: off by {ratio}");
        }
    }

    #[test]
    fn p_values_fall_with_the_statistic_and_stay_in_range() {
        let mut calibration = Calibration::new(100);
        assert_eq!(calibration.p_value(5.0), 1.0, "nothing is known");
        (0..5_000).for_each(|n| calibration.learn(exponential(n)));
        let p: Vec<f64> = (0..5_000).map(|t| calibration.p_value(t as f32 * 0.01)).collect();
        assert!(p.windows(2).all(|pair| pair[0] >= pair[1]));
        assert!(p.iter().all(|p| *p > 0.0 && *p <= 1.0));
        for odd in [f32::NAN, f32::INFINITY, -1.0, f32::MAX] {
            let p = calibration.p_value(odd);
            assert!(p > 0.0 && p <= 1.0, "{odd} {p}");
        }
    }

    #[test]
    fn forgets_with_its_half_life_and_survives_scaling_back() {
        let mut calibration = Calibration::new(100);
        (0..1_000).for_each(|_| calibration.learn(8.0));
        assert!(calibration.p_value(8.0) > 0.9);
        (0..50_000).for_each(|n| calibration.learn(exponential(n) / 4.0));
        assert!(calibration.p_value(8.0) < 1e-6);
        assert!(calibration.weight < RESCALE_AT * 10.0);
    }
}

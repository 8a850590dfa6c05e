//! From the combined statistic T to a p-value: what share of past events had a T at least as large?
//!
//! A conformal p-value (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005) over a histogram of
//! T with exponentially decayed weights: `(mass at or above T + 1) / (mass + 1)`. Where fewer than [`TailShape::events`]
//! events lie above T the histogram is too thin to count; there the tail is taken as exponential beyond the last
//! point that has as many, with the mean excess of what lies there (Pickands–Balkema–de Haan with shape 0).
//!
//! The sums over the histogram are refreshed every [`TailShape::refresh_events`] and more often at first, so that an event
//! costs two array reads.

mod join;

use super::logarithm::{exp_of_minus, ln};
use super::{StateError, StateReader};

/// Width of a histogram bin, nats.
pub const BIN_WIDTH: f32 = 0.05;

/// Bins; the last takes everything beyond.
pub const BINS: usize = 800;

/// How the part of the histogram is read that is too thin to count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TailShape {
    /// Events above a point of the histogram for its count to be trusted.
    pub events: f64,
    /// The mean excess is taken as no less, nats.
    pub least_excess: f32,
    /// Events between two refreshes at the most.
    pub refresh_events: u64,
}

impl TailShape {
    /// For the combined statistic.
    pub const COMBINED: Self = Self { events: 10.0, least_excess: 0.8, refresh_events: 256 };

    /// For one detector: its evidence is in nats already, and nats have a mean excess of one.
    pub const DETECTOR: Self = Self { events: 20.0, least_excess: 1.0, refresh_events: 1_024 };
}

const RESCALE_AT: f64 = 1e60;

/// Decayed histogram of the statistic.
#[derive(Debug, Clone)]
pub struct Calibration {
    shape: TailShape,
    growth: f64,
    weight: f64,
    /// Of all bins.
    total: f64,
    bins: Box<[f64]>,
    /// No bin above this one has anything.
    highest: usize,
    events: u64,
    next_refresh: u64,
    tail: Tail,
}

/// What the last refresh found.
#[derive(Debug, Clone, PartialEq)]
struct Tail {
    /// −ln of the share of the mass at or above each bin, up to `from`.
    nats: Box<[f32]>,
    /// First bin of the exponential part.
    from: usize,
    /// Mean excess beyond that bin's lower end, nats.
    mean_excess: f32,
}

impl Calibration {
    /// Nothing seen yet: every p-value is 1.
    pub fn new(half_life_events: u64, shape: TailShape) -> Self {
        Self {
            shape,
            growth: (1.0 / half_life_events.max(1) as f64).exp2(),
            weight: 1.0,
            total: 0.0,
            bins: vec![0.0; BINS].into(),
            highest: 0,
            events: 0,
            next_refresh: 1,
            tail: Tail { nats: vec![0.0; BINS].into(), from: BINS - 1, mean_excess: 1.0 },
        }
    }

    /// Events learned, ever.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// −ln of the probability of a statistic at least this large: nats, ≥ 0.
    #[inline]
    pub fn nats(&self, statistic: f32) -> f32 {
        let at = |bin: usize| self.tail.nats.get(bin).copied().unwrap_or(0.0);
        let bin = bin(statistic);
        if bin <= self.tail.from {
            return at(bin);
        }
        let excess = statistic.min(BINS as f32 * BIN_WIDTH) - self.tail.from as f32 * BIN_WIDTH;
        at(self.tail.from) + excess / self.tail.mean_excess
    }

    /// The probability whose [`nats`](Self::nats) these are, in (0, 1].
    #[inline]
    pub fn probability(nats: f32) -> f64 {
        exp_of_minus(nats).clamp(f64::MIN_POSITIVE, 1.0)
    }

    /// Takes a statistic in.
    #[inline]
    pub fn learn(&mut self, statistic: f32) {
        self.weight *= self.growth;
        // What most detectors say of most events is nothing.
        self.add(if statistic == 0.0 { 0 } else { bin(statistic) }, self.weight);
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

    #[inline]
    fn add(&mut self, bin: usize, amount: f64) {
        if let Some(mass) = self.bins.get_mut(bin) {
            *mass += amount;
            self.total += amount;
            self.highest = self.highest.max(bin);
        }
    }

    #[cold]
    fn refresh(&mut self) {
        if self.weight >= RESCALE_AT {
            let by = 1.0 / self.weight;
            self.bins.iter_mut().for_each(|mass| *mass *= by);
            self.total *= by;
            self.weight = 1.0;
        }
        let used = self.bins.get(..=self.highest).unwrap_or_default();
        self.tail.refresh(used, self.total, self.weight, self.shape);
        self.next_refresh = self.events + (self.events / 16).clamp(1, self.shape.refresh_events);
    }

    /// Appends everything learned, bit for bit.
    pub fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.weight.to_le_bytes());
        out.extend_from_slice(&self.total.to_le_bytes());
        out.extend_from_slice(&self.events.to_le_bytes());
        out.extend_from_slice(&self.next_refresh.to_le_bytes());
        out.extend_from_slice(&(self.tail.from as u32).to_le_bytes());
        out.extend_from_slice(&self.tail.mean_excess.to_le_bytes());
        self.bins.iter().for_each(|mass| out.extend_from_slice(&mass.to_le_bytes()));
        self.tail.nats.iter().for_each(|nats| out.extend_from_slice(&nats.to_le_bytes()));
    }

    /// Takes in what [`Self::checkpoint`] wrote.
    ///
    /// # Errors
    /// When the bytes are cut short or hold impossible values; nothing is changed then.
    pub fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let weight = from.amount("calibration weight")?.max(f64::MIN_POSITIVE);
        let total = from.amount("calibration total")?;
        let events = from.u64("calibration events")?;
        let next_refresh = from.u64("calibration refresh")?;
        let tail_from = (from.u32("calibration tail")? as usize).min(BINS - 1);
        let mean_excess = from.f32("calibration mean excess")?.max(self.shape.least_excess);
        let bins = (0..BINS).map(|_| from.amount("calibration bin")).collect::<Result<Box<[_]>, _>>()?;
        let nats = (0..BINS).map(|_| from.f32("calibration nats")).collect::<Result<Box<[_]>, _>>()?;
        let tail = Tail { nats, from: tail_from, mean_excess };
        let highest = bins.iter().rposition(|mass| *mass > 0.0).unwrap_or(0);
        *self =
            Self { shape: self.shape, growth: self.growth, weight, total, bins, highest, events, next_refresh, tail };
        Ok(())
    }
}

impl Tail {
    fn refresh(&mut self, bins: &[f64], total: f64, weight: f64, shape: TailShape) {
        let mut above = 0.0;
        let mut moment = 0.0;
        let mut fitted = false;
        let part = 1.0 / (total + weight);
        for (bin, (mass, nats)) in bins.iter().zip(&mut self.nats).enumerate().rev() {
            // Mean of (T − lower end of this bin) over what lies at or above it, from the bin above's.
            moment += above + mass * 0.5;
            above += mass;
            if !fitted && (above >= shape.events * weight || bin == 0) {
                fitted = true;
                self.from = bin;
                self.mean_excess = ((moment / above.max(weight)) as f32 * BIN_WIDTH).max(shape.least_excess);
            }
            if fitted {
                *nats = ((above + weight) * part) as f32;
            }
        }
        // All at once, which takes a processor half as long as one at a time.
        self.nats.iter_mut().take(self.from + 1).for_each(|nats| *nats = (-ln(*nats)).max(0.0));
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
        let mut calibration = Calibration::new(20_000, TailShape::COMBINED);
        (0..200_000).for_each(|n| calibration.learn(exponential(n)));
        for t in [0.5f32, 2.0, 4.6, 6.9, 9.2] {
            let ratio = Calibration::probability(calibration.nats(t)) / f64::from(-t).exp();
            assert!((0.7..1.5).contains(&ratio), "T {t}: off by {ratio}");
        }
    }

    #[test]
    fn p_values_fall_with_the_statistic_and_stay_in_range() {
        let mut calibration = Calibration::new(100, TailShape::DETECTOR);
        assert_eq!(calibration.nats(5.0), 0.0, "nothing is known");
        (0..5_000).for_each(|n| calibration.learn(exponential(n)));
        let p: Vec<f64> = (0..5_000).map(|t| Calibration::probability(calibration.nats(t as f32 * 0.01))).collect();
        assert!(p.windows(2).all(|pair| pair[0] >= pair[1]));
        assert!(p.iter().all(|p| *p > 0.0 && *p <= 1.0));
        for odd in [f32::NAN, f32::INFINITY, -1.0, f32::MAX] {
            let p = Calibration::probability(calibration.nats(odd));
            assert!(p > 0.0 && p <= 1.0, "{odd} {p}");
        }
    }

    #[test]
    fn forgets_with_its_half_life_and_survives_scaling_back() {
        let mut calibration = Calibration::new(100, TailShape::DETECTOR);
        (0..1_000).for_each(|_| calibration.learn(8.0));
        assert!(calibration.nats(8.0) < 0.1);
        (0..50_000).for_each(|n| calibration.learn(exponential(n) / 4.0));
        assert!(calibration.nats(8.0) > 8.0);
        assert!(calibration.weight < RESCALE_AT * 10.0);
    }
}

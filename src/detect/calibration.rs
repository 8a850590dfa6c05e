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

use super::aging::Block;
use super::extremes::{larger, smaller};
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
    pub const COMBINED: Self = Self { events: 10.0, least_excess: 0.8, refresh_events: 512 };

    /// For the same of all events: a bound may be a little late.
    pub const SHARES: Self = Self { refresh_events: 4_096, ..Self::COMBINED };

    /// For one detector: its evidence is in nats already, and nats have a mean excess of one.
    pub const DETECTOR: Self = Self { events: 20.0, least_excess: 1.0, refresh_events: 4_096 };
}

const RESCALE_AT: f64 = 1e60;

/// Bins a nat.
const BINS_A_NAT: f32 = 1.0 / BIN_WIDTH;

/// How much an event weighs, and when the sums are taken next.
#[derive(Debug, Clone, PartialEq)]
struct Pace {
    growth: f64,
    weight: f64,
    /// Of all events.
    total: f64,
    events: u64,
    next_refresh: u64,
}

/// Masses by bin, and what was found in them last. What is in no other bin is in the first: what most detectors say of most events is nothing.
#[derive(Debug, Clone)]
struct Histogram {
    shape: TailShape,
    bins: Box<[f64]>,
    /// Of all bins but the first.
    rest: f64,
    /// No bin above this one has anything.
    highest: usize,
    tail: Tail,
}

/// Decayed histogram of one statistic.
#[derive(Debug, Clone)]
pub struct Calibration {
    pace: Pace,
    histogram: Histogram,
}

/// Decayed histograms of several that are learned together, event by event.
#[derive(Debug, Clone)]
pub(super) struct Calibrations<const N: usize> {
    pace: Pace,
    histograms: [Histogram; N],
}

/// What the last refresh found.
#[derive(Debug, Clone, PartialEq)]
struct Tail {
    /// The share of the mass at or above each bin, up to `from`, and its −ln.
    shares: Box<[f32]>,
    nats: Box<[f32]>,
    /// First bin of the exponential part.
    from: usize,
    /// Mean excess beyond that bin's lower end, nats.
    mean_excess: f32,
}

impl Pace {
    fn new(half_life_events: u64) -> Self {
        let growth = (1.0 / half_life_events.max(1) as f64).exp2();
        Self { growth, weight: 1.0, total: 0.0, events: 0, next_refresh: 1 }
    }

    /// An event more; whether the sums are to be taken.
    #[inline]
    fn step(&mut self) -> bool {
        self.weight *= self.growth;
        self.total += self.weight;
        self.events += 1;
        self.events >= self.next_refresh
    }

    /// What everything is to be scaled by before the sums are taken, and when they are taken next.
    fn refresh(&mut self, shape: TailShape) -> f64 {
        self.next_refresh = self.events + (self.events / 16).clamp(1, shape.refresh_events);
        if self.weight < RESCALE_AT {
            return 1.0;
        }
        let by = 1.0 / self.weight;
        self.total *= by;
        self.weight = 1.0;
        by
    }

    fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.weight.to_le_bytes());
        out.extend_from_slice(&self.total.to_le_bytes());
        out.extend_from_slice(&self.events.to_le_bytes());
        out.extend_from_slice(&self.next_refresh.to_le_bytes());
    }

    fn restore(&self, from: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            growth: self.growth,
            weight: from.amount("calibration weight")?.max(f64::MIN_POSITIVE),
            total: from.amount("calibration total")?,
            events: from.u64("calibration events")?,
            next_refresh: from.u64("calibration refresh")?,
        })
    }
}

impl Histogram {
    fn new(shape: TailShape) -> Self {
        let tail =
            Tail { shares: vec![1.0; BINS].into(), nats: vec![0.0; BINS].into(), from: BINS - 1, mean_excess: 1.0 };
        Self { shape, bins: vec![0.0; BINS].into(), rest: 0.0, highest: 0, tail }
    }

    #[inline]
    fn nats(&self, statistic: f32) -> f32 {
        let bin = bin(statistic);
        if bin <= self.tail.from {
            return self.tail.nats.get(bin).copied().unwrap_or(0.0);
        }
        self.nats_beyond(statistic)
    }

    fn nats_beyond(&self, statistic: f32) -> f32 {
        let excess = smaller(statistic, BINS as f32 * BIN_WIDTH) - self.tail.from as f32 * BIN_WIDTH;
        self.tail.nats.get(self.tail.from).copied().unwrap_or(0.0) + excess / self.tail.mean_excess
    }

    /// The first bin's mass is what the others leave: see [`Self::refresh`].
    #[inline]
    fn add(&mut self, bin: usize, amount: f64) {
        if let Some(mass) = self.bins.get_mut(bin) {
            // No branch: whether an event says anything is not foreseeable.
            let amount = amount * f64::from(u8::from(bin != 0));
            *mass += amount;
            self.rest += amount;
            self.highest = self.highest.max(bin);
        }
    }

    fn refresh(&mut self, pace: &Pace, scaled_by: f64) {
        if scaled_by != 1.0 {
            self.bins.iter_mut().for_each(|mass| *mass *= scaled_by);
            self.rest *= scaled_by;
        }
        if let Some(first) = self.bins.first_mut() {
            *first = (pace.total - self.rest).max(0.0);
        }
        let used = self.bins.get(..=self.highest).unwrap_or_default();
        self.tail.refresh(used, pace.total, pace.weight, self.shape);
    }

    fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.rest.to_le_bytes());
        out.extend_from_slice(&(self.tail.from as u32).to_le_bytes());
        out.extend_from_slice(&self.tail.mean_excess.to_le_bytes());
        self.bins.iter().for_each(|mass| out.extend_from_slice(&mass.to_le_bytes()));
        self.tail.shares.iter().for_each(|share| out.extend_from_slice(&share.to_le_bytes()));
    }

    fn restore(&self, from: &mut StateReader<'_>) -> Result<Self, StateError> {
        let rest = from.amount("calibration mass")?;
        let tail_from = (from.u32("calibration tail")? as usize).min(BINS - 1);
        let mean_excess = from.f32("calibration mean excess")?.max(self.shape.least_excess);
        let bins = (0..BINS).map(|_| from.amount("calibration bin")).collect::<Result<Box<[_]>, _>>()?;
        let shares = (0..BINS).map(|_| from.f32("calibration shares")).collect::<Result<Box<[_]>, _>>()?;
        let nats = shares.iter().map(|share| nats_of(*share)).collect();
        let highest = bins.iter().rposition(|mass| *mass > 0.0).unwrap_or(0);
        Ok(Self { shape: self.shape, bins, rest, highest, tail: Tail { shares, nats, from: tail_from, mean_excess } })
    }
}

impl Calibration {
    /// Nothing seen yet: every p-value is 1.
    pub fn new(half_life_events: u64, shape: TailShape) -> Self {
        Self { pace: Pace::new(half_life_events), histogram: Histogram::new(shape) }
    }

    /// The same, read in another way.
    pub(super) fn with_shape(mut self, shape: TailShape) -> Self {
        self.histogram.shape = shape;
        self
    }

    /// Events learned, ever.
    pub fn events(&self) -> u64 {
        self.pace.events
    }

    /// −ln of the probability of a statistic at least this large: nats, ≥ 0.
    #[inline]
    pub fn nats(&self, statistic: f32) -> f32 {
        self.histogram.nats(statistic)
    }

    /// The same, and the probability, of a statistic whose [`bin`] is known.
    #[inline]
    pub(super) fn nats_and_probability(&self, statistic: f32, bin: usize) -> (f32, f64) {
        let tail = &self.histogram.tail;
        match (tail.nats.get(bin), tail.shares.get(bin)) {
            (Some(nats), Some(share)) if bin <= tail.from => (*nats, f64::from(*share)),
            _ => {
                let nats = self.histogram.nats_beyond(statistic);
                (nats, Self::probability(nats))
            }
        }
    }

    /// The probability whose [`nats`](Self::nats) these are, in (0, 1].
    #[inline]
    pub fn probability(nats: f32) -> f64 {
        exp_of_minus(nats).clamp(f64::MIN_POSITIVE, 1.0)
    }

    /// Takes a statistic in.
    #[inline]
    pub fn learn(&mut self, statistic: f32) {
        self.learn_bin(bin(statistic));
    }

    /// The same of one whose [`bin`] is known.
    #[inline]
    pub(super) fn learn_bin(&mut self, bin: usize) {
        let is_due = self.pace.step();
        self.histogram.add(bin, self.pace.weight);
        if is_due {
            self.refresh();
        }
    }

    /// Takes in the statistics that another lane saw, by bin.
    pub(super) fn absorb(&mut self, bins: &[(u16, u32)]) {
        let block = Block::new(self.pace.growth, bins.iter().map(|(_, events)| u64::from(*events)).sum());
        self.pace.weight *= block.growth;
        for (bin, events) in bins {
            let amount = self.pace.weight * block.part * f64::from(*events);
            self.pace.total += amount;
            self.pace.events += u64::from(*events);
            self.histogram.add(usize::from(*bin).min(BINS - 1), amount);
        }
        if self.pace.weight >= RESCALE_AT {
            self.refresh();
        }
    }

    #[cold]
    fn refresh(&mut self) {
        let scaled_by = self.pace.refresh(self.histogram.shape);
        self.histogram.refresh(&self.pace, scaled_by);
    }

    /// Appends everything learned, bit for bit.
    pub fn checkpoint(&self, out: &mut Vec<u8>) {
        self.pace.checkpoint(out);
        self.histogram.checkpoint(out);
    }

    /// Takes in what [`Self::checkpoint`] wrote.
    ///
    /// # Errors
    /// When the bytes are cut short or hold impossible values; nothing is changed then.
    pub fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let pace = self.pace.restore(from)?;
        *self = Self { pace, histogram: self.histogram.restore(from)? };
        Ok(())
    }
}

impl<const N: usize> Calibrations<N> {
    /// Nothing seen yet.
    pub(super) fn new(half_life_events: u64, shape: TailShape) -> Self {
        Self { pace: Pace::new(half_life_events), histograms: std::array::from_fn(|_| Histogram::new(shape)) }
    }

    /// −ln of the probability that the statistic of this index is at least as large: nats, ≥ 0.
    #[inline]
    pub(super) fn nats(&self, index: usize, statistic: f32) -> f32 {
        self.histograms.get(index).map_or(0.0, |histogram| histogram.nats(statistic))
    }

    /// Takes in that no statistic said anything.
    #[inline]
    pub(super) fn learn_nothing(&mut self) {
        if self.pace.step() {
            self.refresh();
        }
    }

    /// Takes in a statistic for each.
    pub(super) fn learn(&mut self, statistics: [f32; N]) {
        let is_due = self.pace.step();
        for (histogram, statistic) in self.histograms.iter_mut().zip(statistics) {
            if statistic >= BIN_WIDTH {
                histogram.add(bin(statistic), self.pace.weight);
            }
        }
        if is_due {
            self.refresh();
        }
    }

    #[cold]
    fn refresh(&mut self) {
        let shape = self.histograms.first().map_or(TailShape::DETECTOR, |histogram| histogram.shape);
        let scaled_by = self.pace.refresh(shape);
        self.histograms.iter_mut().for_each(|histogram| histogram.refresh(&self.pace, scaled_by));
    }

    pub(super) fn checkpoint(&self, out: &mut Vec<u8>) {
        self.pace.checkpoint(out);
        self.histograms.iter().for_each(|histogram| histogram.checkpoint(out));
    }

    pub(super) fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let mut restored = self.clone();
        restored.pace = self.pace.restore(from)?;
        for histogram in &mut restored.histograms {
            *histogram = histogram.restore(from)?;
        }
        *self = restored;
        Ok(())
    }
}

impl Tail {
    fn refresh(&mut self, bins: &[f64], total: f64, weight: f64, shape: TailShape) {
        let mut above = 0.0;
        let mut moment = 0.0;
        let mut fitted = false;
        let part = 1.0 / (total + weight);
        for (bin, (mass, share)) in bins.iter().zip(&mut self.shares).enumerate().rev() {
            // Mean of (T − lower end of this bin) over what lies at or above it, from the bin above's.
            moment += above + mass * 0.5;
            above += mass;
            if !fitted && (above >= shape.events * weight || bin == 0) {
                fitted = true;
                self.from = bin;
                self.mean_excess = ((moment / above.max(weight)) as f32 * BIN_WIDTH).max(shape.least_excess);
            }
            if fitted {
                *share = ((above + weight) * part).min(1.0) as f32;
            }
        }
        // All at once, which takes a processor half as long as one at a time.
        let found = self.nats.iter_mut().zip(&self.shares).take(self.from + 1);
        found.for_each(|(nats, share)| *nats = nats_of(*share));
    }
}

/// −ln of a share.
fn nats_of(share: f32) -> f32 {
    larger(-ln(larger(share, f32::MIN_POSITIVE)), 0.0)
}

/// The histogram bin of a statistic; the first of what is not a number.
#[inline]
pub(super) fn bin(statistic: f32) -> usize {
    const LAST: f32 = (BINS - 1) as f32;
    // Within these bounds the cast to a signed number is one instruction.
    smaller(larger(statistic * BINS_A_NAT, 0.0), LAST) as i32 as usize
}

#[cfg(test)]
impl Calibration {
    /// Decayed number of events in the bin of a statistic.
    pub(super) fn decayed_count(&self, statistic: f32) -> f64 {
        self.histogram.bins.get(bin(statistic)).map_or(0.0, |mass| mass / self.pace.weight)
    }
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
    fn what_others_saw_ages_the_histogram_however_much_it_is() {
        let mut calibration = Calibration::new(1_000, TailShape::COMBINED);
        (0..4_000).for_each(|_| calibration.learn(5.0));
        let before = calibration.decayed_count(5.0);
        calibration.absorb(&[(0, 600), (20, 400)]);
        assert!((calibration.decayed_count(5.0) / before - 0.5).abs() < 0.01);
        assert!((calibration.pace.total / calibration.pace.weight / 1_443.0 - 1.0).abs() < 0.1, "as with one lane");
        for events in [0, u32::MAX, u32::MAX, 1, u32::MAX] {
            calibration.absorb(&[(0, events), (799, events), (u16::MAX, events)]);
        }
        calibration.learn(0.0);
        assert!(calibration.pace.weight < RESCALE_AT && calibration.pace.total.is_finite());
        assert!([0.0, 5.0, 39.0].iter().all(|t| calibration.nats(*t).is_finite()));
    }

    #[test]
    fn to_learn_nothing_is_to_learn_that_none_said_anything() {
        let [mut with, mut without] =
            [Calibrations::<3>::new(100, TailShape::DETECTOR), Calibrations::new(100, TailShape::DETECTOR)];
        let bytes = |calibrations: &Calibrations<3>| {
            let mut bytes = Vec::new();
            calibrations.checkpoint(&mut bytes);
            bytes
        };
        // Beyond a few refreshes, and a rescaling.
        for n in 0..6_000 {
            if n % 3 == 0 {
                let said = [exponential(n), 0.0, exponential(n + 7)];
                [&mut with, &mut without].into_iter().for_each(|calibrations| calibrations.learn(said));
            } else {
                with.learn([0.0; 3]);
                without.learn_nothing();
            }
        }
        assert!(bytes(&with) == bytes(&without));
    }

    #[test]
    fn the_first_bin_has_what_the_others_leave_whatever_is_added_to_it() {
        let mut calibration = Calibration::new(1_000, TailShape::COMBINED);
        (0..5_000).for_each(|n| calibration.learn(if n % 4 == 0 { exponential(n) } else { 0.0 }));
        calibration.refresh();
        let (masses, total) = (&calibration.histogram.bins, calibration.pace.total);
        assert!((masses.iter().sum::<f64>() / total - 1.0).abs() < 1e-9);
        assert!((masses[1..].iter().sum::<f64>() / calibration.histogram.rest - 1.0).abs() < 1e-9);
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
        assert!(calibration.pace.weight < RESCALE_AT * 10.0);
    }
}

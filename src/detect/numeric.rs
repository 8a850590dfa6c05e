//! A number far from what its wildcard held before.
//!
//! Numbers are half-octaves ([`super::value`]). Of each wildcard the range is kept, which widens at once and shrinks slowly
//! towards the mean, the mean distance from the mean, and how often the range was left: a counter that only grows leaves it at every event, and that is
//! no surprise. Evidence of a number beyond the range: most of −ln of that share, and one and a half nats a step beyond, measured in mean distances.
//! A number below the range has to be twice as far and counts half: smaller is rarely worse.

mod join;

use super::extremes::{larger, smaller};
use super::logarithm::ln;
use super::runs::Runs;
use super::value::{self, SLOTS};
use super::{Detector, Input, StateError, StateReader};
use crate::event::DetectorKind;

/// Numbers to have seen in a wildcard before one is called far.
const LEAST_NUMBERS: f32 = 100.0;

/// From here on the share of numbers outside the range is counted.
const RANGE_NUMBERS: f32 = 20.0;

/// What is kept of the count of numbers with each further one: a half-life of some 1,400.
const KEPT: f32 = 1.0 - 1.0 / 2_000.0;

/// How much of its distance from the mean the range loses with each number.
const SHRINK: f32 = 0.01;

/// Least weight of a number in the means.
const LEAST_WEIGHT: f32 = 0.005;

/// Of −ln of the share of numbers outside the range.
const SHARE_WEIGHT: f32 = 0.9;

/// Nats a step beyond.
const STEP_NATS: f32 = 1.5;

/// What a number below the range counts.
const BELOW: f32 = 0.5;

/// What is known of a wildcard's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Wildcard {
    numbers: f32,
    outside: f32,
    high: f32,
    low: f32,
    mean: f32,
    distance: f32,
}

/// A number and the range it left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlier {
    /// Which wildcard.
    pub place: usize,
    /// The range, as codes.
    pub low: f32,
    /// The range, as codes.
    pub high: f32,
}

/// Ranges of every template's wildcards.
#[derive(Debug, Clone, Default)]
pub struct Numeric {
    wildcards: Runs<Wildcard>,
    outlier: Option<Outlier>,
}

impl Wildcard {
    /// Evidence before slack; 0 within the range.
    #[inline]
    fn evidence(&self, number: f32) -> f32 {
        let (above, below) = (number - self.high, (self.low - number) * BELOW);
        let beyond = larger(above, below);
        if beyond <= 1.0 || self.numbers < LEAST_NUMBERS {
            return 0.0;
        }
        let share = (self.outside + 1.0) / (self.numbers + 2.0);
        let evidence = SHARE_WEIGHT * -ln(share) + STEP_NATS * (beyond - 1.0) / (self.distance + 1.0);
        if above > 0.0 { evidence } else { evidence * BELOW }
    }

    #[inline]
    fn learn(&mut self, number: f32) {
        if self.numbers == 0.0 {
            *self = Self { high: number, low: number, mean: number, ..Self::default() };
        }
        let is_outside = number > self.high + 1.0 || number < self.low - 2.0;
        if self.numbers >= RANGE_NUMBERS {
            self.outside = self.outside * KEPT + f32::from(u8::from(is_outside));
        }
        self.numbers = self.numbers * KEPT + 1.0;
        let weight = larger(1.0 / self.numbers, LEAST_WEIGHT);
        self.mean += (number - self.mean) * weight;
        self.distance += ((number - self.mean).abs() - self.distance) * weight;
        self.high = larger(number, self.high - (self.high - larger(self.mean, number)) * SHRINK);
        self.low = smaller(number, self.low + (smaller(self.mean, number) - self.low) * SHRINK);
    }

    /// As if the numbers of `other` had been seen too.
    fn join(&mut self, other: &Self) {
        if self.numbers == 0.0 {
            *self = *other;
        } else if other.numbers > 0.0 {
            self.high = self.high.max(other.high);
            self.low = self.low.min(other.low);
            self.numbers += other.numbers;
        }
    }
}

impl Numeric {
    /// The number the last event's evidence rests on, if it gave any.
    pub fn outlier(&self) -> Option<Outlier> {
        self.outlier
    }

    /// The range of each wildcard of a slot: low, high and numbers seen, for the other lanes.
    pub(super) fn ranges(&self, slot: usize) -> impl Iterator<Item = (f32, f32, f32)> + '_ {
        self.wildcards.get(slot).iter().map(|wildcard| (wildcard.low, wildcard.high, wildcard.numbers))
    }

    /// Widens the ranges of a slot by what another lane saw.
    pub(super) fn absorb(&mut self, slot: usize, ranges: &[(f32, f32)]) {
        for (wildcard, (low, high)) in self.wildcards.of(slot, ranges.len()).iter_mut().zip(ranges) {
            if wildcard.numbers > 0.0 && low <= high {
                wildcard.high = wildcard.high.max(*high);
                wildcard.low = wildcard.low.min(*low);
            }
        }
    }
}

impl Detector for Numeric {
    const KIND: DetectorKind = DetectorKind::Numeric;

    fn observe(&mut self, input: &Input) -> f32 {
        self.outlier = None;
        let numbers = &input.values.numbers;
        let length = value::length(numbers);
        if length == 0 {
            return 0.0;
        }
        let mut strongest = 0.0;
        let wildcards = self.wildcards.of(input.slot, length);
        for (place, (wildcard, number)) in wildcards.iter_mut().zip(numbers).enumerate() {
            if *number == 0 {
                continue;
            }
            let number = f32::from(*number);
            let evidence = wildcard.evidence(number);
            if evidence > strongest {
                strongest = evidence;
                self.outlier = Some(Outlier { place, low: wildcard.low, high: wildcard.high });
            }
            wildcard.learn(number);
        }
        strongest
    }

    fn merge(&mut self, from: usize, into: usize) {
        let mut gone = [Wildcard::default(); SLOTS];
        let cells = self.wildcards.get(from);
        let length = cells.len();
        gone.iter_mut().zip(cells).for_each(|(gone, cell)| *gone = *cell);
        self.wildcards.forget(from);
        // A wildcard the merge made would shift the places behind it: then nothing is known of them.
        let kept = self.wildcards.of(into, length);
        if kept.len() == length {
            kept.iter_mut().zip(&gone).for_each(|(cell, gone)| cell.join(gone));
        }
    }

    fn forget(&mut self, slot: usize) {
        self.wildcards.forget(slot);
    }

    fn checkpoint(&self, out: &mut Vec<u8>) {
        self.wildcards.checkpoint(out, |w, out| {
            for value in [w.numbers, w.outside, w.high, w.low, w.mean, w.distance] {
                out.extend_from_slice(&value.to_le_bytes());
            }
        });
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let what = "numeric ranges";
        let wildcards = Runs::restore(from, what, 24, |from| {
            Ok(Wildcard {
                numbers: from.f32(what)?,
                outside: from.f32(what)?,
                high: from.f32(what)?,
                low: from.f32(what)?,
                mean: from.f32(what)?,
                distance: from.f32(what)?,
            })
        })?;
        *self = Self { wildcards, outlier: None };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::value::Values;

    fn see(numeric: &mut Numeric, text: &str) -> f32 {
        let values = Values::of([&b"root"[..], text.as_bytes()].into_iter(), 0);
        numeric.observe(&Input { values, ..Input::default() })
    }

    #[test]
    fn a_thousandfold_is_told_and_a_tenth_more_is_not() {
        let mut numeric = Numeric::default();
        assert!((0..500).all(|n| see(&mut numeric, &format!("{}ms", 10 + n % 5)) == 0.0));
        assert_eq!(see(&mut numeric, "15ms"), 0.0);
        assert!(see(&mut numeric, "12s") > 8.0, "a thousand times as long");
        assert_eq!(see(&mut numeric, "16ms"), 0.0);
    }

    #[test]
    fn the_first_numbers_and_text_are_no_outliers() {
        let mut numeric = Numeric::default();
        assert!((0..90).all(|n| see(&mut numeric, &"9".repeat(1 + n % 17)) == 0.0));
        assert_eq!(see(&mut numeric, "NaN"), 0.0);
        assert_eq!(see(&mut numeric, &"9".repeat(400)), 0.0);
    }

    #[test]
    fn a_growing_counter_is_no_surprise_and_a_range_shrinks_back() {
        let mut numeric = Numeric::default();
        let strongest = (1..60u64).map(|n| see(&mut numeric, &(1u64 << n).to_string())).fold(0.0, f32::max);
        assert!(strongest < 3.0, "{strongest}");
        let mut numeric = Numeric::default();
        (0..500).for_each(|_| _ = see(&mut numeric, "10"));
        let first = see(&mut numeric, "100000");
        (0..2_000).for_each(|_| _ = see(&mut numeric, "10"));
        let again = see(&mut numeric, "100000");
        assert!(first > 8.0 && again > first * 0.5, "{first} {again}");
    }
}

//! How rare is the template? Exponentially decayed counts.
//!
//! Evidence of a known template: −ln of the share of events whose template is this rare or rarer, with `SEEN_BEFORE` more added so that a new one
//! stays ahead of one met once or twice. Evidence of a new one: −ln of one event's share. To both shares half the rate of new templates is added
//! (after Good and Turing's estimate of the unseen mass; Good, Biometrika 40, 1953): where much is new, new says little. That rate is of the last
//! `NOVELTY_EVENTS` events or so, since the novelty of a log's beginning says nothing about its later life.
//!
//! Decay is by inflation: instead of shrinking all counts, the weight of one event grows by 2^(1/half-life) an event;
//! when it has grown by 2^256 everything is scaled back. "This rare or rarer" is a sum over buckets of a quarter octave; the sums are
//! those of up to `SUM_EVENTS` events ago, so that an event costs a read. What came since then is a few of many.

mod join;

use super::aging::Block;
use super::logarithm::ln;
use super::{Detector, Input, StateError, StateReader};
use crate::event::DetectorKind;

/// Buckets: four an octave, from 1 on.
const BUCKETS: usize = 2_048;

/// Events between two times at which the sums are taken.
const SUM_EVENTS: u32 = 128;

/// Buckets that can come into use until then: a template's share doubles at the most.
const ENTERED: usize = 8;

/// Events added to those of the templates as rare as a known one.
const SEEN_BEFORE: f64 = 4.0;

/// Events over which the rate of new templates is taken.
const NOVELTY_EVENTS: f64 = 2_000.0;

/// Of the rate of new templates, what is added to a share.
const NOVELTY_PART: f64 = 0.5;

/// The weight at which everything is scaled back by it.
const RESCALE_AT: f64 = 1.157_920_892_373_162e77; // 2^256

/// Decayed counts by template slot.
#[derive(Debug, Clone)]
pub struct Rarity {
    growth: f64,
    weight: f64,
    total: f64,
    events: f64,
    novelty: f64,
    counts: Vec<f64>,
    /// Of the templates in each bucket, and in it or below when the sums were last taken.
    mass: Box<[f64]>,
    sums: Box<[f64]>,
    /// The highest bucket that was used since everything was scaled back.
    highest: usize,
    unsummed: u32,
}

impl Rarity {
    /// Nothing seen yet.
    pub fn new(half_life_events: u64) -> Self {
        Self {
            growth: (1.0 / half_life_events.max(1) as f64).exp2(),
            weight: 1.0,
            total: 0.0,
            events: 0.0,
            novelty: 1.0,
            counts: Vec::new(),
            mass: vec![0.0; BUCKETS].into(),
            sums: vec![0.0; BUCKETS].into(),
            highest: 0,
            unsummed: 0,
        }
    }

    /// Whether no event of the slot was ever seen.
    pub fn is_new(&self, slot: usize) -> bool {
        self.count(slot) == 0.0
    }

    /// Decayed number of events of the slot.
    pub fn decayed_count(&self, slot: usize) -> f64 {
        self.count(slot) / self.weight
    }

    /// Takes an event of a slot in that nobody saw.
    pub(super) fn acquaint(&mut self, slot: usize) {
        self.add(slot, self.weight);
    }

    /// Takes in the events that another lane saw, `all` of them; by slot those whose template is known here.
    pub(super) fn absorb(&mut self, all: u64, by_slot: impl Iterator<Item = (usize, u32)>) {
        let block = Block::new(self.growth, all);
        self.weight *= block.growth;
        if self.weight >= RESCALE_AT {
            self.rescale();
        }
        by_slot.for_each(|(slot, events)| self.add(slot, f64::from(events) * block.part * self.weight));
        self.sum();
    }

    fn count(&self, slot: usize) -> f64 {
        self.counts.get(slot).copied().unwrap_or(0.0)
    }

    fn add(&mut self, slot: usize, amount: f64) {
        self.add_to(slot, Known::of(self.count(slot)), amount);
    }

    /// To the count that the slot has.
    #[inline]
    fn add_to(&mut self, slot: usize, known: Known, amount: f64) {
        self.set(slot, known, known.count + amount);
        self.total += amount;
    }

    #[inline]
    fn set(&mut self, slot: usize, before: Known, count: f64) {
        match self.counts.get_mut(slot) {
            Some(place) => *place = count,
            None => self.put(slot, count),
        }
        let to = bucket(count);
        if before.bucket == to {
            self.shift(to, count - before.count);
        } else {
            self.shift(before.bucket, -before.count);
            self.shift(to, count);
        }
    }

    /// Makes room for a slot that has no count yet.
    #[cold]
    fn put(&mut self, slot: usize, count: f64) {
        self.counts.resize(slot + 1, 0.0);
        if let Some(place) = self.counts.last_mut() {
            *place = count;
        }
    }

    #[inline]
    fn shift(&mut self, bucket: usize, amount: f64) {
        if let Some(mass) = self.mass.get_mut(bucket) {
            *mass += amount;
        }
        self.highest = self.highest.max(bucket);
    }

    #[cold]
    fn sum(&mut self) {
        self.unsummed = 0;
        let mut sum = 0.0;
        // Some more than are used: a bucket entered until the next time has what all have.
        let used = self.mass.iter().zip(&mut self.sums).take(self.highest + 1 + ENTERED);
        used.for_each(|(mass, below)| {
            sum += mass.max(0.0);
            *below = sum;
        });
    }

    /// What the templates in this bucket or below have, as of late.
    #[inline]
    fn mass_through(&self, bucket: usize) -> f64 {
        self.sums.get(bucket).copied().unwrap_or(self.total)
    }

    #[inline]
    fn evidence(&self, Known { count, bucket }: Known) -> f32 {
        let rarer = if count == 0.0 {
            self.weight
        } else {
            let mass = self.mass_through(bucket);
            (if mass > count { mass } else { count }) + SEEN_BEFORE * self.weight
        };
        let share = rarer / (self.total + self.weight) + self.novelty * NOVELTY_PART;
        if share < 1.0 { -ln(share as f32) } else { 0.0 }
    }

    /// Evidence of an event of the slot, and whether it is the first; takes it in.
    #[inline]
    pub(super) fn see(&mut self, slot: usize) -> (f32, bool) {
        let known = Known::of(self.count(slot));
        let evidence = self.evidence(known);
        self.learn(slot, known);
        (evidence, known.count == 0.0)
    }

    /// Takes in an event of a slot that has this count.
    #[inline]
    fn learn(&mut self, slot: usize, mut known: Known) {
        let is_new = f64::from(u8::from(known.count == 0.0));
        self.events += 1.0;
        let is_young = self.events < 2.0 * NOVELTY_EVENTS;
        let part = if is_young { 2.0 / (self.events + 2.0) } else { 1.0 / NOVELTY_EVENTS };
        self.novelty += (is_new - self.novelty) * part;
        self.weight *= self.growth;
        if self.weight >= RESCALE_AT {
            self.rescale();
            known = Known::of(self.count(slot));
        }
        self.add_to(slot, known, self.weight);
        self.unsummed += 1;
        // Often at first, when a few events are many.
        if self.unsummed >= SUM_EVENTS || self.events <= f64::from(SUM_EVENTS) {
            self.sum();
        }
    }

    #[cold]
    fn rescale(&mut self) {
        let by = 1.0 / self.weight;
        self.weight = 1.0;
        self.total *= by;
        // However long ago it was: what was seen once is not new.
        for count in self.counts.iter_mut().filter(|count| **count > 0.0) {
            *count = (*count * by).max(f64::MIN_POSITIVE);
        }
        self.rebuild();
    }

    fn rebuild(&mut self) {
        self.mass.fill(0.0);
        self.highest = 0;
        for slot in 0..self.counts.len() {
            let count = self.count(slot);
            self.shift(bucket(count), count);
        }
        self.sums.fill(0.0);
        self.sum();
    }
}

/// The count of a slot, and which bucket it is in.
#[derive(Debug, Clone, Copy)]
struct Known {
    count: f64,
    bucket: usize,
}

impl Known {
    #[inline]
    fn of(count: f64) -> Self {
        Self { count, bucket: bucket(count) }
    }
}

/// Quarter-octave of a count, from its exponent and first two fraction bits; 0 below 1.
fn bucket(count: f64) -> usize {
    const ONE: u64 = 1023 << 2;
    let quarter = count.to_bits() >> 50;
    (quarter.saturating_sub(ONE) as usize).min(BUCKETS - 1)
}

impl Detector for Rarity {
    const KIND: DetectorKind = DetectorKind::Rarity;

    #[inline]
    fn observe(&mut self, input: &Input) -> f32 {
        self.see(input.slot).0
    }

    fn merge(&mut self, from: usize, into: usize) {
        let moved = self.count(from);
        if moved > 0.0 {
            self.set(from, Known::of(moved), 0.0);
            let before = Known::of(self.count(into));
            self.set(into, before, before.count + moved);
        }
    }

    fn forget(&mut self, slot: usize) {
        let count = self.count(slot);
        self.total = (self.total - count).max(0.0);
        if count > 0.0 {
            self.set(slot, Known::of(count), 0.0);
        }
    }

    fn checkpoint(&self, out: &mut Vec<u8>) {
        for value in [self.weight, self.total, self.events, self.novelty] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&(self.counts.len() as u32).to_le_bytes());
        for count in &self.counts {
            out.extend_from_slice(&count.to_le_bytes());
        }
        // The sums are kept too: adding up anew would round differently.
        out.extend_from_slice(&(self.highest as u32).to_le_bytes());
        out.extend_from_slice(&self.unsummed.to_le_bytes());
        let used = self.mass.iter().zip(&self.sums).take(self.highest + 1 + ENTERED);
        used.for_each(|(mass, sum)| [mass, sum].iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes())));
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let weight = from.amount("rarity weight")?.max(f64::MIN_POSITIVE);
        let total = from.amount("rarity total")?;
        let events = from.amount("rarity events")?;
        let novelty = from.amount("rarity novelty")?;
        let length = from.length("rarity counts", u32::MAX as usize, 8)?;
        let counts = (0..length).map(|_| from.amount("rarity count")).collect::<Result<Vec<_>, _>>()?;
        let highest = from.index("rarity buckets", BUCKETS)?;
        let unsummed = from.u32("rarity events")?.min(SUM_EVENTS);
        let mut restored =
            Self { growth: self.growth, weight, total, events, novelty, counts, highest, unsummed, ..Self::new(1) };
        for (mass, sum) in restored.mass.iter_mut().zip(&mut restored.sums).take(highest + 1 + ENTERED) {
            *mass = f64::from_bits(from.u64("rarity mass")?);
            *sum = f64::from_bits(from.u64("rarity mass")?);
        }
        *self = Self { growth: self.growth, ..restored };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Rarity {
        fn evidence_of(&self, slot: usize) -> f32 {
            self.evidence(Known::of(self.count(slot)))
        }
    }

    fn learned(half_life: u64, events: impl IntoIterator<Item = usize>) -> Rarity {
        let mut rarity = Rarity::new(half_life);
        events.into_iter().for_each(|slot| _ = rarity.see(slot));
        rarity
    }

    #[test]
    fn evidence_is_minus_log_of_the_share_this_rare_or_rarer() {
        // 99,990 of slot 0, then 10 of slot 1, whose novelty is all but forgotten after 10,000 more.
        let rarity = learned(1_000_000_000, (0..110_000).map(|n| usize::from((99_990..100_000).contains(&n))));
        assert!((rarity.evidence_of(1) - -(14.0f32 / 110_001.0).ln()).abs() < 0.02);
        assert!((rarity.evidence_of(7) - -(1.0f32 / 110_001.0).ln()).abs() < 0.2);
        assert!(rarity.evidence_of(0) < 0.001, "as of up to 128 events ago");
    }

    #[test]
    fn what_is_no_longer_seen_becomes_rare_and_scaling_back_changes_nothing() {
        let mut rarity = learned(100, (0..200).map(|n| n % 2));
        let fresh = rarity.evidence_of(1);
        (0..100 * 255).for_each(|_| _ = rarity.see(0));
        let before = rarity.evidence_of(1);
        (0..100).for_each(|_| _ = rarity.see(0));
        assert!(rarity.weight < RESCALE_AT.sqrt(), "scaled back");
        let after = rarity.evidence_of(1);
        assert!(before > fresh + 2.0 && after.is_finite() && after >= before - 1.0, "{fresh} {before} {after}");
    }

    #[test]
    fn merging_and_forgetting_keep_the_sums_right() {
        let mut rarity = learned(1_000_000_000, (0..300).map(|n| n % 3));
        rarity.merge(0, 1);
        assert!((rarity.decayed_count(1) - 200.0).abs() < 1e-3);
        rarity.forget(1);
        assert!((rarity.total / rarity.weight - 100.0).abs() < 1e-3);
        assert!(rarity.is_new(0) && rarity.is_new(1) && !rarity.is_new(2));
    }

    #[test]
    fn what_others_saw_ages_what_was_learned_however_much_it_is() {
        let mut rarity = learned(1_000, (0..4_000).map(|n| n % 2));
        let before = rarity.decayed_count(1);
        rarity.absorb(1_000, [(0, 900)].into_iter());
        assert!((rarity.decayed_count(1) / before - 0.5).abs() < 0.01);
        let total = rarity.total / rarity.weight;
        assert!((total / 1_443.0 - 1.0).abs() < 0.1, "{total}: as with one lane");
        for events in [0, 1, u32::MAX] {
            rarity.absorb(u64::from(events) * 7, [(2, events)].into_iter());
            let evidence = [0, 1, 2, 9].map(|slot| rarity.evidence_of(slot));
            assert!(
                rarity.weight < RESCALE_AT && evidence.iter().all(|nats| nats.is_finite()),
                "{events}: {evidence:?}"
            );
        }
        assert!(!rarity.is_new(1) && rarity.decayed_count(1) < 1e-9 && rarity.evidence_of(2) < 0.1);
    }

    #[test]
    fn what_was_seen_once_is_not_new_however_long_ago() {
        let mut rarity = learned(100, [1]);
        (0..200_000).for_each(|_| _ = rarity.see(0));
        assert!(!rarity.is_new(1) && rarity.is_new(2));
        assert!(rarity.evidence_of(1).is_finite() && rarity.decayed_count(1) < 1e-9);
    }
}

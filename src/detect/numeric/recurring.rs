//! Numbers that leave their range again and again: the range is forgotten within some hundred numbers, and what comes once in a thousand is none the less usual.
//!
//! For each octave of a wildcard is kept when its numbers left the range for the first and for the last time, counted in events with numbers: a number is usual
//! when its octave, or the next one outward, did so [`LEAST_TIMES`] times, and did not stay away since for more than [`STAYS`] times as long as it came. What
//! left the range for ten minutes is told again when it comes back next day; what does so once an hour is told eight times. Octaves are kept in a bounded
//! space, and only those that were left.

use crate::detect::joining::Moves;
use crate::detect::streams::Streams;
use crate::detect::table::hash;
use crate::detect::{StateError, StateReader};

/// Times to have left the range.
const LEAST_TIMES: u32 = 8;

/// Of the time from the first to the last, how long what is usual may stay away.
const STAYS: i64 = 4;

/// log2 of the octaves kept.
const OCTAVE_BITS: u32 = 11;

const WHAT: &str = "numbers that left their range";

/// Which octave of which wildcard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Octave {
    slot: u32,
    place: u16,
    /// Half of the code.
    height: i16,
}

impl Octave {
    pub(super) fn of(slot: usize, place: usize, code: f32) -> Self {
        Self { slot: slot as u32, place: place as u16, height: code as i16 >> 1 }
    }

    fn key(self) -> u64 {
        hash(1, u64::from(self.slot), u64::from(self.place) << 16 | u64::from(self.height as u16))
    }
}

/// How often one was left; never, when another template has the slot by now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Times {
    octave: Octave,
    times: u32,
    first: i64,
    last: i64,
}

impl Times {
    fn is_usual(&self, now: i64) -> bool {
        let (came, away) = (self.last.saturating_sub(self.first), now.saturating_sub(self.last));
        self.times >= LEAST_TIMES && away <= came.saturating_mul(STAYS)
    }

    fn see(&mut self, octave: Octave, now: i64) {
        if self.times == 0 || self.times >= LEAST_TIMES && !self.is_usual(now) {
            *self = Self { octave, times: 0, first: now, last: now };
        }
        self.times = self.times.saturating_add(1);
        self.last = now;
    }

    /// What was seen of both, as one.
    fn unite(&mut self, other: Self) {
        if self.times == 0 {
            *self = other;
            return;
        }
        self.times = self.times.saturating_add(other.times);
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
    }
}

/// Octaves that were left.
#[derive(Debug, Clone)]
pub(super) struct Recurring {
    octaves: Streams<Times>,
    /// Events with numbers so far.
    events: i64,
}

impl Default for Recurring {
    fn default() -> Self {
        Self { octaves: Streams::new(OCTAVE_BITS), events: 0 }
    }
}

impl Recurring {
    /// An event more.
    #[inline]
    pub(super) fn pass(&mut self) {
        self.events += 1;
    }

    /// A number left its range for an octave; whether that is usual. `outward` is 1 above the range and −1 below it.
    pub(super) fn see(&mut self, octave: Octave, outward: i16) -> bool {
        let now = self.events;
        let farther = Octave { height: octave.height.saturating_add(outward), ..octave };
        let is_usual = |times: Option<&Times>| times.is_some_and(|times| times.is_usual(now));
        let found = is_usual(self.octaves.peek(octave.key())) || is_usual(self.octaves.peek(farther.key()));
        if let Some(times) = self.octaves.of(octave.key()) {
            times.see(octave, now);
        }
        found
    }

    fn of_slot(&mut self, slot: usize) -> impl Iterator<Item = &mut Times> {
        self.octaves.iter_mut().filter(move |times| times.times > 0 && times.octave.slot as usize == slot)
    }

    /// Another template has the slot.
    pub(super) fn forget(&mut self, slot: usize) {
        self.of_slot(slot).for_each(|times| times.times = 0);
    }

    /// What was seen of one slot was of another.
    pub(super) fn merge(&mut self, from: usize, into: usize) {
        let gone: Vec<Times> = self.of_slot(from).map(|times| *times).collect();
        self.forget(from);
        gone.into_iter().for_each(|times| self.add(times, into));
    }

    fn add(&mut self, times: Times, slot: usize) {
        let octave = Octave { slot: slot as u32, ..times.octave };
        if let Some(own) = self.octaves.of(octave.key()) {
            own.unite(Times { octave, ..times });
        }
    }

    /// As if what `other` saw had been seen, too, up to now.
    pub(super) fn join(&mut self, other: &Self, moves: &Moves) {
        let later = self.events.saturating_sub(other.events);
        let mut theirs = other.octaves.clone();
        for times in theirs.iter_mut().filter(|times| times.times > 0) {
            let moved = moves.of(times.octave.slot as usize).filter(|moved| moved.keeps_wildcards);
            let (first, last) = (times.first.saturating_add(later), times.last.saturating_add(later));
            if let Some(moved) = moved {
                self.add(Times { first, last, ..*times }, moved.slot);
            }
        }
    }

    pub(super) fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.events.to_le_bytes());
        self.octaves.checkpoint(out, |times, out| {
            out.extend_from_slice(&times.octave.slot.to_le_bytes());
            out.extend_from_slice(&times.octave.place.to_le_bytes());
            out.extend_from_slice(&times.octave.height.to_le_bytes());
            out.extend_from_slice(&times.times.to_le_bytes());
            out.extend_from_slice(&times.first.to_le_bytes());
            out.extend_from_slice(&times.last.to_le_bytes());
        });
    }

    pub(super) fn restore(from: &mut StateReader<'_>) -> Result<Self, StateError> {
        let mut restored = Self { events: from.i64(WHAT)?, ..Self::default() };
        restored.octaves.restore(from, WHAT, 28, |from| {
            let (slot, packed) = (from.u32(WHAT)?, from.u32(WHAT)?);
            let octave = Octave { slot, place: packed as u16, height: (packed >> 16) as i16 };
            Ok(Times { octave, times: from.u32(WHAT)?, first: from.i64(WHAT)?, last: from.i64(WHAT)? })
        })?;
        Ok(restored)
    }
}

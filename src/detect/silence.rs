//! A regular template that stopped.
//!
//! Series are the events of a template, and those of a template on one stream. Of each the six longest gaps are kept, slowly fading. A series is
//! regular when it has had [`LEAST_GAPS`] gaps and the longest is no more than [`MOST_GAP_SECS`] or twice the mean. Its evidence at a tick is how far the
//! time since its last event, less one window, lies beyond the longest gap, in units of the spread of the longest (the mean excess over the
//! sixth: the scale of an exponential tail; Weissman, J. Am. Stat. Assoc. 73, 1978). It is told once, until it is seen again.
//!
//! When nothing at all came for [`OUTAGE_SECS`], the input or its clock was away, and no series is held to have been silent in that time.
//!
//! Series are looked over every [`TICK_SECS`] seconds of the events' time. What was told is kept in checkpoints but not logged: after a crash
//! a silence may be told once more.

use super::streams::Streams;
use super::table::hash;
use super::{Detector, Input, StateError, StateReader};
use crate::event::{DetectorKind, StreamKey, Timestamp};

/// Seconds between two looks.
pub const TICK_SECS: i64 = 10;

/// Seconds without any event that are no silence but an outage, or a clock that jumped.
pub const OUTAGE_SECS: i64 = 6 * 3_600;

/// Gaps to have seen.
pub const LEAST_GAPS: u32 = 100;

/// The longest gap of a regular series, seconds, unless it is periodic.
pub const MOST_GAP_SECS: f32 = 30.0;

/// A periodic series' longest gap is no more than this many mean ones.
const PERIODIC: f32 = 2.0;

/// log2 of the series kept.
const SERIES_BITS: u32 = 13;

const LONGEST: usize = 6;

/// Gaps after which the longest are taken down, and to what part.
const FADE_EVERY: u32 = 256;
const FADE_TO: f32 = 0.775;

/// Of the longest gap, added to the spread: the longest so far is not the longest there is.
const SPREAD_PART: f32 = 0.3;
const SPREAD_SECS: f32 = 0.5;

/// Nats a spread is worth. Chosen so that two spreads are one in a thousand.
const NATS: f32 = 3.45;

/// Evidence at which a silence is told and then held, nats: about one false alarm in a day of 10 s ticks.
pub const TOLD_AT: f32 = 9.0;

/// One template, or one template on one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Series {
    slot: u32,
    /// Of the slot; another template has it when the two differ.
    generation: u32,
    of_stream: bool,
    is_told: bool,
    stream: u64,
    last: i64,
    /// Of the gaps that count the sum is the time from here to the last event.
    first: i64,
    gaps: u32,
    longest: [f32; LONGEST],
}

/// A series that fell silent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Silent {
    /// Of the template.
    pub slot: usize,
    /// The stream, when only there.
    pub stream: Option<StreamKey>,
    /// How odd, nats.
    pub evidence: f32,
    /// Seconds since its last event.
    pub elapsed: f32,
    /// Longest gap before, seconds.
    pub longest: f32,
}

/// Gaps of every series.
#[derive(Debug, Clone)]
pub struct Silence {
    /// Of whole templates, by slot.
    templates: Vec<Series>,
    /// Of templates on one stream.
    series: Streams<Series>,
    generations: Vec<u32>,
    next_look: i64,
    newest: i64,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            templates: Vec::new(),
            series: Streams::new(SERIES_BITS),
            generations: Vec::new(),
            next_look: i64::MIN,
            newest: 0,
        }
    }
}

impl Series {
    #[inline]
    fn see(&mut self, now: i64) {
        let gap = now.saturating_sub(self.last);
        let [.., least] = self.longest;
        // Most gaps are among the shorter ones.
        if self.is_told
            || gap < 0
            || self.last == 0
            || gap as f32 * 1e-6 > least
            || self.gaps % FADE_EVERY == FADE_EVERY - 1
        {
            self.see_odd(gap, now);
        } else {
            self.gaps += 1;
        }
        self.last = now;
    }

    /// An event that changes more than the number of gaps.
    #[cold]
    fn see_odd(&mut self, gap: i64, now: i64) {
        if self.last == 0 {
            self.first = now;
        } else if gap < 0 || self.is_told {
            // Neither a clock set back nor a gap that was told is a usual gap.
            self.first = self.first.saturating_add(gap);
        } else {
            self.learn(gap as f32 * 1e-6);
        }
        self.is_told = false;
    }

    fn learn(&mut self, gap: f32) {
        self.gaps = self.gaps.saturating_add(1);
        if self.gaps.is_multiple_of(FADE_EVERY) {
            self.longest.iter_mut().for_each(|gap| *gap *= FADE_TO);
        }
        let Some(last) = self.longest.last_mut().filter(|last| gap > **last) else { return };
        *last = gap;
        self.longest.sort_unstable_by(|a, b| b.total_cmp(a));
    }

    /// Seconds.
    fn mean_gap(&self) -> f32 {
        self.last.saturating_sub(self.first) as f32 * 1e-6 / self.gaps.max(1) as f32
    }

    /// As if nothing had happened for this long.
    fn skip(&mut self, micros: i64) {
        if self.last != 0 {
            self.last = self.last.saturating_add(micros);
            self.first = self.first.saturating_add(micros);
        }
    }

    /// Bytes of [`Self::checkpoint`].
    const BYTES: usize = 40 + 4 * LONGEST;

    fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.slot.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&(u32::from(self.of_stream) | u32::from(self.is_told) << 1).to_le_bytes());
        out.extend_from_slice(&self.stream.to_le_bytes());
        out.extend_from_slice(&self.last.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.gaps.to_le_bytes());
        self.longest.iter().for_each(|gap| out.extend_from_slice(&gap.to_le_bytes()));
    }

    fn restore(from: &mut StateReader<'_>) -> Result<Self, StateError> {
        let what = "gaps between events";
        let (slot, generation, flags) = (from.u32(what)?, from.u32(what)?, from.u32(what)?);
        let mut series = Self {
            slot,
            generation,
            of_stream: flags & 1 != 0,
            is_told: flags & 2 != 0,
            stream: from.u64(what)?,
            last: from.i64(what)?,
            first: from.i64(what)?,
            gaps: from.u32(what)?,
            ..Self::default()
        };
        for gap in &mut series.longest {
            *gap = from.f32(what)?;
        }
        Ok(series)
    }

    fn is_regular(&self) -> bool {
        let mean = self.mean_gap();
        self.gaps >= LEAST_GAPS && (self.longest[0] <= MOST_GAP_SECS || self.longest[0] <= PERIODIC * mean)
    }

    fn silent(&self, now: i64) -> Option<Silent> {
        let [longest, .., least] = self.longest;
        let elapsed = now.saturating_sub(self.last) as f32 * 1e-6;
        let beyond = elapsed - TICK_SECS as f32 - longest;
        if self.is_told || beyond <= 0.0 || !self.is_regular() {
            return None;
        }
        let excess = self.longest.iter().map(|gap| gap - least).sum::<f32>() / (LONGEST - 1) as f32;
        let evidence = NATS * beyond / (excess + SPREAD_PART * longest + SPREAD_SECS);
        let stream = self.of_stream.then_some(StreamKey(self.stream));
        Some(Silent { slot: self.slot as usize, stream, evidence, elapsed, longest })
    }
}

impl Silence {
    /// The most silent series that was not told of yet, when it is time to look.
    pub fn look(&mut self, now: Timestamp) -> Option<Silent> {
        let step = TICK_SECS * 1_000_000;
        let waited = now.0.saturating_sub(self.next_look);
        // A clock set back by more than a look does not stop the looking.
        if (-step..0).contains(&waited) {
            return None;
        }
        self.next_look = now.0.saturating_add(step);
        let mut worst: Option<Silent> = None;
        let generations = &self.generations;
        let is_current =
            |series: &Series| generations.get(series.slot as usize).is_some_and(|found| *found == series.generation);
        let all = self.templates.iter_mut().chain(self.series.iter_mut());
        for series in all.filter(|series| is_current(series)) {
            let Some(silent) = series.silent(now.0) else { continue };
            series.is_told = silent.evidence >= TOLD_AT;
            if worst.is_none_or(|worst| silent.evidence > worst.evidence) {
                worst = Some(silent);
            }
        }
        worst
    }

    /// Notes that the input goes on.
    #[inline]
    fn go_on(&mut self, now: i64) {
        let away = now.saturating_sub(self.newest);
        if away.saturating_abs() > OUTAGE_SECS * 1_000_000 {
            if self.newest != 0 {
                let all = self.templates.iter_mut().chain(self.series.iter_mut());
                all.for_each(|series| series.skip(away));
            }
            self.next_look = now;
        }
        self.newest = now;
    }

    fn see_stream(&mut self, slot: u32, generation: u32, stream: StreamKey, now: i64) {
        let key = hash(1, u64::from(generation) << 32 | u64::from(slot), stream.0);
        let Some(series) = self.series.of(key) else { return };
        if series.last == 0 {
            *series = Series { slot, generation, of_stream: true, stream: stream.0, ..Series::default() };
        }
        series.see(now);
    }
}

impl Detector for Silence {
    const KIND: DetectorKind = DetectorKind::Silence;

    /// An event is never silent.
    #[inline]
    fn observe(&mut self, input: &Input) -> f32 {
        let (slot, now) = (input.slot, input.timestamp.0);
        if slot >= self.generations.len() {
            self.generations.resize(slot + 1, 0);
            self.templates.resize(slot + 1, Series::default());
        }
        self.go_on(now);
        let generation = self.generations.get(slot).copied().unwrap_or_default();
        if let Some(series) = self.templates.get_mut(slot) {
            if series.last == 0 {
                *series = Series { slot: slot as u32, generation, ..Series::default() };
            }
            series.see(now);
        }
        if input.stream != StreamKey::default() {
            self.see_stream(slot as u32, generation, input.stream, now);
        }
        0.0
    }

    fn merge(&mut self, from: usize, _into: usize) {
        self.forget(from);
    }

    fn forget(&mut self, slot: usize) {
        if let Some(generation) = self.generations.get_mut(slot) {
            *generation = generation.wrapping_add(1);
        }
        if let Some(series) = self.templates.get_mut(slot) {
            *series = Series::default();
        }
    }

    fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.newest.to_le_bytes());
        out.extend_from_slice(&(self.generations.len() as u32).to_le_bytes());
        self.generations.iter().for_each(|generation| out.extend_from_slice(&generation.to_le_bytes()));
        self.templates.iter().for_each(|series| series.checkpoint(out));
        self.series.checkpoint(out, Series::checkpoint);
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let what = "gaps between events";
        let mut restored = Self { newest: from.i64(what)?, ..Self::default() };
        let length = from.length(what, super::MOST_TEMPLATES, 4 + Series::BYTES)?;
        restored.generations = (0..length).map(|_| from.u32(what)).collect::<Result<_, _>>()?;
        restored.templates = (0..length).map(|_| Series::restore(from)).collect::<Result<_, _>>()?;
        restored.series.restore(from, what, Series::BYTES, Series::restore)?;
        *self = restored;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn second(s: i64) -> Timestamp {
        Timestamp(s * 1_000_000)
    }

    fn heartbeat(silence: &mut Silence, seconds: impl Iterator<Item = i64>) -> Vec<Silent> {
        let mut told = Vec::new();
        for s in seconds {
            silence.observe(&Input { timestamp: second(s), stream: StreamKey(7), ..Input::default() });
            told.extend(silence.look(second(s)).filter(|silent| silent.evidence >= TOLD_AT));
        }
        told
    }

    #[test]
    fn a_heartbeat_that_stops_is_told_once_and_again_after_it_was_back() {
        let mut silence = Silence::default();
        assert_eq!(heartbeat(&mut silence, (1..200).map(|n| n * 5)), []);
        let told = |silence: &mut Silence, from: i64| {
            let looks = (0..6).filter_map(|n| silence.look(second(from + n * 10)));
            looks.filter(|silent| silent.evidence >= TOLD_AT).count()
        };
        assert_eq!(told(&mut silence, 1_000), 1);
        heartbeat(&mut silence, (220..240).map(|n| n * 5));
        assert_eq!(told(&mut silence, 1_200), 1);
    }

    #[test]
    fn a_stream_that_falls_silent_is_told_though_its_template_goes_on_elsewhere() {
        let mut silence = Silence::default();
        let see = |silence: &mut Silence, s: i64, stream: u64| {
            silence.observe(&Input { timestamp: second(s), stream: StreamKey(stream), ..Input::default() });
        };
        for s in (1..1_000).step_by(5) {
            see(&mut silence, s, 1);
            see(&mut silence, s, 2);
        }
        let looks = (1_001..1_060).step_by(5).filter_map(|s| {
            see(&mut silence, s, 1);
            silence.look(second(s))
        });
        let told: Vec<_> = looks.filter(|silent| silent.evidence >= TOLD_AT).map(|silent| silent.stream).collect();
        assert_eq!(told, [Some(StreamKey(2))]);
    }

    #[test]
    fn what_comes_as_it_pleases_is_never_silent() {
        let mut silence = Silence::default();
        let irregular = (1..2_000i64).scan(0, |at, n| {
            *at += if n % 40 == 0 { 100 + n % 7 * 60 } else { 1 };
            Some(*at)
        });
        assert_eq!(heartbeat(&mut silence, irregular), []);
        assert_eq!(silence.look(second(1_000_000)), None);
    }

    #[test]
    fn clocks_that_jump_tell_nothing() {
        let mut silence = Silence::default();
        heartbeat(&mut silence, (1..200).map(|n| n * 5));
        let day = 86_400;
        assert!(heartbeat(&mut silence, (201..300).map(|n| n * 5 + day)).is_empty(), "a day ahead");
        assert!(heartbeat(&mut silence, (201..300).map(|n| n * 5)).is_empty(), "a day back");
        assert!(heartbeat(&mut silence, (201..300).map(|n| n * 5)).is_empty(), "eight minutes back");
        for extreme in [i64::MIN, i64::MAX] {
            silence.observe(&Input { timestamp: Timestamp(extreme), ..Input::default() });
            silence.look(Timestamp(extreme));
        }
    }
}

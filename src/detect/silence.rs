//! A regular template that stopped.
//!
//! Series are the events of a template, and where there are several streams those of a template on one. Of each the six longest gaps are kept, slowly fading. A series is
//! regular when it has had [`LEAST_GAPS`] gaps and the longest is no more than [`MOST_GAP_SECS`] or twice the mean. Its evidence at a tick is how far the
//! time since its last event, less one window, lies beyond the longest gap, in units of the spread of the longest (the mean excess over the
//! sixth: the scale of an exponential tail; Weissman, J. Am. Stat. Assoc. 73, 1978). It is told once, until it is seen again; one series at a look, the
//! most silent first, and a template's or a stream's series together. Where more than `MOST_AT_ONCE` have stopped it is what they come from that has,
//! and the worst stands for all.
//!
//! When nothing at all came for [`OUTAGE_SECS`], the input or its clock was away, and no series is held to have been silent in that time; nor is any
//! for the time in which nobody looked ([`Silence::resume`]).
//!
//! Series are looked over every [`TICK_SECS`] seconds of the events' time. What was told is kept in checkpoints but not logged: after a crash
//! a silence may be told once more.

mod merge;

use super::streams::Streams;
use super::table::hash;
use super::{Detector, Input, StateError, StateReader};
use crate::event::{DetectorKind, StreamKey, Timestamp};

/// Seconds between two looks.
pub const TICK_SECS: i64 = 10;

/// Seconds without any event that are no silence but an outage, or a clock that jumped.
pub const OUTAGE_SECS: i64 = 6 * 3_600;

const OUTAGE: i64 = OUTAGE_SECS * 1_000_000;

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

/// More series than this that stop together are one thing.
const MOST_AT_ONCE: usize = 8;

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
    /// Nobody looked since the last event.
    was_away: bool,
    /// Whoever sees the next event may not know what its stream is called.
    asks_for_stream: bool,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            templates: Vec::new(),
            series: Streams::new(SERIES_BITS),
            generations: Vec::new(),
            next_look: i64::MIN,
            newest: 0,
            was_away: false,
            asks_for_stream: true,
        }
    }
}

/// Of a template on a stream.
fn stream_key(slot: u32, generation: u32, stream: StreamKey) -> u64 {
    hash(1, u64::from(generation) << 32 | u64::from(slot), stream.0)
}

impl Series {
    /// That of a whole template, unless it has begun.
    #[inline]
    fn begin(&mut self, slot: u32, generation: u32) {
        if self.last == 0 {
            *self = Self { slot, generation, ..Self::default() };
        }
    }

    /// Notes an event; whether it changed more than the number of gaps.
    #[inline]
    fn see(&mut self, now: i64) -> bool {
        let gap = now.wrapping_sub(self.last);
        let [.., least] = self.longest;
        // Most gaps are among the shorter ones. One that is too large for the type wraps below zero; a time so far back that it wraps above is before the last.
        let is_odd = self.is_told
            || now < self.last
            || gap < 0
            || self.last == 0
            || gap as f32 * 1e-6 > least
            || self.gaps % FADE_EVERY == FADE_EVERY - 1;
        if is_odd {
            self.see_odd(now.saturating_sub(self.last), now);
        } else {
            self.gaps += 1;
        }
        self.last = now;
        is_odd
    }

    /// An event that changes more than the number of gaps.
    #[cold]
    fn see_odd(&mut self, gap: i64, now: i64) {
        if self.last == 0 {
            self.first = now;
        } else if gap < 0 && self.forget_gap(gap as f32 * -1e-6) {
            // The event before was of a time ahead, which turned out to be none: neither was the gap before it.
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

    /// Takes the longest gap back if it is at least so long; whether it was.
    fn forget_gap(&mut self, least: f32) -> bool {
        let [longest, ..] = self.longest;
        if longest < least {
            return false;
        }
        self.longest.rotate_left(1);
        let [.., before, last] = &mut self.longest;
        // What it had pushed out was no longer than this.
        *last = *before;
        true
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
    /// Whether it is time to look; the next time is [`TICK_SECS`] later.
    pub fn is_due(&mut self, now: Timestamp) -> bool {
        self.come_back(now.0);
        let step = TICK_SECS * 1_000_000;
        let waited = now.0.saturating_sub(self.next_look);
        // A clock set back by more than a look does not stop the looking.
        if (-step..0).contains(&waited) {
            return false;
        }
        self.next_look = now.0.saturating_add(step);
        true
    }

    /// The most silent series that was not told of yet, of those with at least so much evidence: it is told of now.
    pub fn worst(&mut self, now: Timestamp, least: f32) -> Option<Silent> {
        let mut worst: Option<Silent> = None;
        let mut stopped = 0;
        for silent in self.series().filter_map(|series| series.silent(now.0)).filter(|silent| silent.evidence >= least)
        {
            stopped += 1;
            if worst.is_none_or(|worst| silent.evidence > worst.evidence) {
                worst = Some(silent);
            }
        }
        let worst = worst?;
        let is_told_with = |silent: &Silent| {
            stopped > MOST_AT_ONCE
                || silent.slot == worst.slot
                || worst.stream.is_some() && silent.stream == worst.stream
        };
        for series in self.series() {
            let is_told = series.silent(now.0).is_some_and(|silent| silent.evidence >= least && is_told_with(&silent));
            series.is_told |= is_told;
        }
        Some(worst)
    }

    /// Those of templates that are known.
    fn series(&mut self) -> impl Iterator<Item = &mut Series> {
        let generations = &self.generations;
        let is_current =
            |series: &Series| generations.get(series.slot as usize).is_some_and(|found| *found == series.generation);
        self.templates.iter_mut().chain(self.series.iter_mut()).filter(move |series| is_current(series))
    }

    /// The input was not looked at, since the process was not there or another lane had it: from the last event to the next one counts as no time.
    pub fn resume(&mut self) {
        (self.was_away, self.asks_for_stream) = (true, true);
    }

    /// Whether the last event began a series on its stream, or changed more of one than most do; asked once.
    #[inline]
    pub(super) fn asks_for_stream(&mut self) -> bool {
        std::mem::take(&mut self.asks_for_stream)
    }

    /// Series on a stream that had to go for others.
    pub(super) const fn evicted(&self) -> u64 {
        self.series.evicted()
    }

    /// Streams that have a series, some more than once.
    pub(super) fn streams(&mut self) -> impl Iterator<Item = StreamKey> {
        self.series.iter_mut().map(|series| StreamKey(series.stream))
    }

    /// What comes from here on is another part of the input: nothing of it is regular yet.
    pub(super) fn start_anew(&mut self) {
        self.templates.fill(Series::default());
        self.series.clear();
    }

    /// What names a slot's template on a stream.
    #[inline]
    pub(super) fn key(&self, slot: usize, stream: StreamKey) -> u64 {
        stream_key(slot as u32, self.generations.get(slot).copied().unwrap_or_default(), stream)
    }

    /// Templates on single streams are known.
    pub(super) fn has_streams(&self) -> bool {
        !self.series.is_empty()
    }

    /// Until now there was one stream: what was seen of templates was seen on it.
    pub(super) fn split(&mut self, stream: StreamKey) {
        for series in self.templates.iter().filter(|series| series.last != 0) {
            if let Some(pair) = self.series.of(stream_key(series.slot, series.generation, stream)) {
                *pair = Series { of_stream: true, stream: stream.0, ..*series };
            }
        }
    }

    #[inline]
    fn come_back(&mut self, now: i64) {
        if self.was_away {
            self.was_away = false;
            self.skip(now, TICK_SECS);
        }
    }

    /// When nothing came for longer than `most_secs`, nothing was silent in that time.
    fn skip(&mut self, now: i64, most_secs: i64) {
        let away = now.saturating_sub(self.newest);
        if self.newest == 0 || away.saturating_abs() <= most_secs * 1_000_000 {
            return;
        }
        let all = self.templates.iter_mut().chain(self.series.iter_mut());
        all.for_each(|series| series.skip(away));
        self.newest = now;
        // Who comes once in a look has to have had the time to.
        self.next_look = now.saturating_add(TICK_SECS * 1_000_000);
    }

    /// Notes that the input goes on.
    #[inline]
    fn go_on(&mut self, now: i64) {
        self.come_back(now);
        if now.abs_diff(self.newest) > OUTAGE as u64 {
            self.skip(now, OUTAGE_SECS);
        }
        self.newest = now;
    }

    /// An event at a time of the lane's clock.
    #[inline]
    pub(super) fn see(&mut self, slot: usize, stream: StreamKey, at: Timestamp) {
        let now = at.0;
        self.make_room_for(slot);
        self.go_on(now);
        let generation = self.generations.get(slot).copied().unwrap_or_default();
        if let Some(series) = self.templates.get_mut(slot) {
            series.begin(slot as u32, generation);
            series.see(now);
        }
        if stream != StreamKey::default() {
            self.see_stream(slot as u32, generation, stream, now);
        }
    }

    #[inline]
    fn make_room_for(&mut self, slot: usize) {
        if slot >= self.generations.len() {
            self.generations.resize(slot + 1, 0);
            self.templates.resize(slot + 1, Series::default());
        }
    }

    fn see_stream(&mut self, slot: u32, generation: u32, stream: StreamKey, now: i64) {
        let Some(series) = self.series.of(stream_key(slot, generation, stream)) else { return };
        if series.last == 0 {
            *series = Series { slot, generation, of_stream: true, stream: stream.0, ..Series::default() };
        }
        self.asks_for_stream |= series.see(now);
    }
}

impl Detector for Silence {
    const KIND: DetectorKind = DetectorKind::Silence;

    /// An event is never silent.
    fn observe(&mut self, input: &Input) -> f32 {
        self.see(input.slot, input.stream, input.timestamp);
        0.0
    }

    fn merge(&mut self, from: usize, into: usize) {
        self.take_in(from, into);
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

    fn look(silence: &mut Silence, now: Timestamp) -> Option<Silent> {
        if silence.is_due(now) { silence.worst(now, TOLD_AT) } else { None }
    }

    fn heartbeat(silence: &mut Silence, seconds: impl Iterator<Item = i64>) -> Vec<Silent> {
        let mut told = Vec::new();
        for s in seconds {
            silence.observe(&Input { timestamp: second(s), stream: StreamKey(7), ..Input::default() });
            told.extend(look(silence, second(s)));
        }
        told
    }

    #[test]
    fn a_heartbeat_that_stops_is_told_once_and_again_after_it_was_back() {
        let mut silence = Silence::default();
        assert_eq!(heartbeat(&mut silence, (1..200).map(|n| n * 5)), []);
        let told =
            |silence: &mut Silence, from: i64| (0..6).filter_map(|n| look(silence, second(from + n * 10))).count();
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
            look(&mut silence, second(s))
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
        assert_eq!(look(&mut silence, second(1_000_000)), None);
    }

    #[test]
    fn clocks_that_jump_tell_nothing() {
        let mut silence = Silence::default();
        heartbeat(&mut silence, (1..200).map(|n| n * 5));
        let day = 86_400;
        assert!(heartbeat(&mut silence, (201..300).map(|n| n * 5 + day)).is_empty(), "a day ahead");
        assert!(heartbeat(&mut silence, (201..300).map(|n| n * 5)).is_empty(), "a day back");
        assert!(heartbeat(&mut silence, (201..300).map(|n| n * 5)).is_empty(), "eight minutes back");
        let times = [i64::MIN, i64::MIN + 1, -1, 1, 1_000_000, i64::MAX - 1, i64::MAX];
        for (first, second, now) in times.iter().flat_map(|a| times.iter().flat_map(|b| times.map(|c| (*a, *b, c)))) {
            let (mut series, mut twin) = (Series::default(), Series::default());
            for at in [first, second, now] {
                series.see(at);
                // One that takes every gap for an odd one, by saturating.
                twin.see_odd(at.saturating_sub(twin.last), at);
                twin.last = at;
            }
            assert_eq!(series, twin, "{first} {second} {now}");
        }
        for extreme in [i64::MIN, i64::MAX] {
            silence.observe(&Input { timestamp: Timestamp(extreme), ..Input::default() });
            look(&mut silence, Timestamp(extreme));
        }
    }

    /// Events of `slots`, each every five seconds on a stream of its own.
    fn beat(silence: &mut Silence, seconds: std::ops::Range<i64>, slots: std::ops::Range<usize>) {
        for s in seconds.step_by(5) {
            for slot in slots.clone() {
                let stream = StreamKey(100 + slot as u64);
                silence.observe(&Input { slot, timestamp: second(s), stream, ..Input::default() });
            }
        }
    }

    fn told(silence: &mut Silence, from: i64, least: f32) -> Vec<usize> {
        let looks = (0..12).filter_map(|n| {
            let now = second(from + n * 10);
            if silence.is_due(now) { silence.worst(now, least) } else { None }
        });
        looks.map(|silent| silent.slot).collect()
    }

    #[test]
    fn two_that_stop_together_are_both_told_and_a_whole_input_that_stops_once() {
        let mut silence = Silence::default();
        beat(&mut silence, 1..1_000, 0..3);
        beat(&mut silence, 1_001..1_100, 0..1);
        let mut both = told(&mut silence.clone(), 1_100, TOLD_AT);
        both.truncate(2);
        both.sort_unstable();
        assert_eq!(both, [1, 2]);
        let mut all = Silence::default();
        beat(&mut all, 1..1_000, 0..20);
        assert_eq!(told(&mut all, 1_040, TOLD_AT).len(), 1);
    }

    #[test]
    fn what_is_not_odd_enough_to_be_told_is_told_once_it_is() {
        let mut silence = Silence::default();
        beat(&mut silence, 1..1_000, 0..1);
        assert_eq!(told(&mut silence, 1_010, 60.0), [0]);
        assert!(told(&mut silence, 1_140, 60.0).is_empty(), "once");
    }

    #[test]
    fn the_time_in_which_nobody_looked_is_no_silence() {
        let mut silence = Silence::default();
        beat(&mut silence, 1..1_000, 0..3);
        silence.resume();
        // The first to come back is not the last.
        beat(&mut silence, 4_600..4_601, 0..1);
        assert_eq!(look(&mut silence, second(4_600)), None);
        beat(&mut silence, 4_603..4_700, 0..2);
        assert_eq!(told(&mut silence, 4_700, TOLD_AT).first(), Some(&2), "what stays away is told");
    }
}

//! Too many of a template at once, or too few: its count in a window of 10 s and of 60 s against what windows held before.
//!
//! **Counts.** An event counts as much as it surprised where it came in its stream's order ([`Input::surprise`](super::Input)): a burst that a log
//! always has, the hundred lines of a dump, surprises with its first line only. The count looked at is that of a sliding window: the window that
//! runs, and of the one before it the part not yet slid out.
//!
//! They are kept of the template, and where there are several streams of the template on each of them, too: what says more counts.
//!
//! **Evidence.** Counts are negative-binomial with the decayed mean and variance of past windows, empty ones included. Its
//! rate function (Cramér; Dembo and Zeitouni, "Large Deviations Techniques", 2.2),
//! `I(n) = n ln(n/m) − (n+r) ln((n+r)/(m+r))`, bounds −ln P(N ≥ n). Mean and variance are themselves estimates from few and dependent
//! windows, so that as with Student's distribution the tail is that of a power: `ν ln(1 + I/ν)`, ν a twentieth of the windows seen. One nat is
//! taken off as slack; the longer window counts when it says more.
//!
//! **Drops.** A window that ends with less than half of what is usual, so to speak, is told by the first event after it: with the same bound and slack,
//! and only when windows were seen for ten minutes. After a window without any event nothing is told: that was a silence ([`silence`](super::silence)).
//!
//! Half-life of what was learned: an hour of the events' time, in which a stretch of more than [`OUTAGE_SECS`] without any event is no longer than
//! that: the input was away, or the clock jumped, and windows in which nothing could come are not empty ones. A clock set back goes on from where
//! it was.
//!
//! **Where the series are.** In the lane's own state, and not in a store of their own with two buffers. A lane is one thread, and the only one that reads or writes its
//! series: there is no reader for whom a second buffer would have to stand still, and a look into the window that runs costs no exchange. What is
//! read by others, the history by template and window, has its two buffers: the open window and the sealed ones ([`crate::storage::chunk`]). What survives is the
//! checkpoint: a copy made at a fold and written beside the one before, which goes only when the new one is durable, so that it is the second buffer.
//!
//! **Bounds.** Of templates as many series as `max_templates`: a slot that is given to another template begins anew. Of templates on one stream 8,192, which take less than a
//! megabyte; a newcomer takes the place of the one in its bucket unseen for longest, which `rate_series_evicted_total` counts.

mod join;
mod merge;
mod streams;

use super::extremes::{larger, smaller};
use super::logarithm::ln;
use super::streams::Streams;
use super::{Detector, Input, StateError, StateReader};
use crate::event::{DetectorKind, Timestamp};

/// Lengths of the windows, seconds.
pub const WINDOW_SECS: [u32; WINDOWS] = [10, 60];

const WINDOWS: usize = 2;
const HALF_LIFE_SECS: f64 = 3_600.0;

/// Windows to have seen before one is called full.
const LEAST_WINDOWS: f32 = 6.0;

/// Degrees of freedom a window is worth: neighbouring ones are dependent.
const FREEDOM: f32 = 0.05;

/// No event for longer than this counts as this long, seconds.
pub const OUTAGE_SECS: i64 = 60;

const OUTAGE: i64 = OUTAGE_SECS * 1_000_000;

/// Events this many windows late count as of now.
const LATE_WINDOWS: i64 = 6;

/// After this many empty windows nothing learned is left.
const MOST_WINDOWS: i64 = 1_000_000;

/// Windows to have seen before one is called too empty.
const LEAST_WINDOWS_TO_LACK: f32 = 60.0;

/// Length of the short window, microseconds, and how many of it the long one has.
const SHORT: i64 = WINDOW_SECS[0] as i64 * 1_000_000;
const LONG_RATIO: i64 = (WINDOW_SECS[1] / WINDOW_SECS[0]) as i64;

/// What is seen without surprise still counts this much.
const LEAST_COUNT: f32 = 0.05;

const WHAT: &str = "rate windows";

/// What one window of a template held.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Window {
    running: f32,
    before: f32,
    /// The events themselves, however they count.
    events: f32,
    events_before: f32,
    /// Counts up to this one are no evidence: it changes when a window closes, and spares most events the arithmetic.
    limit: f32,
    /// Decayed number of windows that closed; and what they held, as events count and as they are.
    windows: f32,
    counted: Sums,
    plain: Sums,
}

/// Of what windows held: the decayed sum and the sum of squares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sums {
    sum: f32,
    squares: f32,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            running: 0.0,
            before: 0.0,
            events: 0.0,
            events_before: 0.0,
            limit: f32::INFINITY,
            windows: 0.0,
            counted: Sums::default(),
            plain: Sums::default(),
        }
    }
}

/// What the windows of a template held.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Counts {
    /// Number of the short window that runs, since the epoch; 0: none yet.
    number: i64,
    /// The first short window from which on none was empty: windows that began before it are not whole.
    whole_from: i64,
    windows: [Window; WINDOWS],
}

/// A count and what it is compared to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Excess {
    /// Events in the window; but where there are no more of them than usual, and what is odd is how many came out of their order, as many as these
    /// count: one that was foretold is a twentieth of one.
    pub observed: f32,
    /// What nineteen of twenty windows before stayed below, about; of a drop, above. Of the same: what the window in question holds has no part in it.
    pub expected: f32,
    /// Events in the window, however they count.
    pub events: f32,
    /// Length of the window.
    pub window_secs: u32,
    /// There were too few of them.
    pub is_drop: bool,
    /// They are those of one stream.
    pub of_stream: bool,
}

/// Which window a time is in.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Number of the short window, and when it began.
    number: i64,
    start: i64,
    /// Short windows of the long one that have passed.
    passed: f32,
}

/// Counts of every template.
#[derive(Debug, Clone)]
pub struct Rate {
    templates: Vec<Counts>,
    /// Of templates on one stream, where there are several.
    pairs: Streams<Counts>,
    decays: [f32; WINDOWS],
    /// Time of the last event.
    newest: i64,
    /// What the events' clock is ahead of the steady one, microseconds.
    ahead: i64,
    place: Place,
    excess: Option<Excess>,
}

impl Counts {
    /// Takes in an event of this weight; the strongest evidence, if there is any.
    #[inline]
    fn see(
        &mut self,
        number: i64,
        shares: [f32; WINDOWS],
        decays: [f32; WINDOWS],
        weight: f32,
    ) -> Option<(f32, Excess)> {
        let mut found = if self.number == number { None } else { self.turn(number, decays) };
        for ((window, share), window_secs) in self.windows.iter_mut().zip(shares).zip(WINDOW_SECS) {
            window.running += weight;
            window.events += 1.0;
            let count = window.running + window.before * (1.0 - share);
            if count > window.limit {
                let evidence = window.evidence(count);
                if evidence > found.map_or(0.0, |(most, _)| most) {
                    found = Some((evidence, window.spike(count, share, window_secs)));
                }
            }
        }
        found
    }

    fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.whole_from.to_le_bytes());
        self.windows.iter().for_each(|window| window.checkpoint(out));
    }

    fn restore(from: &mut StateReader<'_>, has_plain: bool) -> Result<Self, StateError> {
        let (number, whole_from) = (from.i64(WHAT)?, from.i64(WHAT)?);
        let windows = [Window::restore(from, has_plain)?, Window::restore(from, has_plain)?];
        Ok(Self { number, whole_from, windows })
    }

    /// Makes the short window of this number the running one; what the windows that end with it lacked, strongest first.
    #[cold]
    fn turn(&mut self, number: i64, decays: [f32; WINDOWS]) -> Option<(f32, Excess)> {
        let passed =
            [1, LONG_RATIO].map(|ratio| number.div_euclid(ratio).saturating_sub(self.number.div_euclid(ratio)));
        // Late events belong to the window that runs; a clock that was set back starts anew from where it is.
        if (-LATE_WINDOWS..0).contains(&passed[0]) {
            return None;
        }
        let mut dropped: Option<(f32, Excess)> = None;
        let is_whole =
            [1, LONG_RATIO].map(|ratio| self.number.div_euclid(ratio).saturating_mul(ratio) >= self.whole_from);
        if passed[0] != 1 {
            self.whole_from = number.saturating_add(1);
        }
        if self.number != 0 {
            let lengths = decays.into_iter().zip(WINDOW_SECS);
            let windows = self.windows.iter_mut().zip(passed.into_iter().zip(is_whole)).zip(lengths);
            for ((window, (passed, is_whole)), (decay, window_secs)) in
                windows.filter(|((_, (passed, _)), _)| *passed > 0)
            {
                // After an empty window it is a silence that ended.
                let is_told = is_whole && passed == 1;
                let evidence = if is_told { window.lack() } else { 0.0 };
                if dropped.map_or(0.0, |(most, _)| most) < evidence {
                    dropped = Some((evidence, window.drop(window_secs)));
                }
                window.close(passed, decay);
            }
        }
        self.number = number;
        dropped
    }
}

impl Window {
    fn close(&mut self, passed: i64, decay: f32) {
        let passed = passed.min(MOST_WINDOWS);
        self.windows = self.windows * decay + 1.0;
        self.counted.add(self.running, decay);
        self.plain.add(self.events, decay);
        if passed > 1 {
            let faded = decay.powi(passed as i32 - 1);
            self.windows = self.windows * faded + (1.0 - faded) / (1.0 - decay);
            self.counted.scale(faded);
            self.plain.scale(faded);
        }
        let kept = if passed == 1 { 1.0 } else { 0.0 };
        (self.before, self.events_before) = (self.running * kept, self.events * kept);
        (self.running, self.events) = (0.0, 0.0);
        self.set_limit();
    }

    /// A normal distribution's bound is no less than the evidence's: within √2 deviations it is below a nat, and nothing is left after the slack.
    fn set_limit(&mut self) {
        let mean = self.counted.mean(self.windows);
        let is_full = self.windows >= LEAST_WINDOWS;
        self.limit = if is_full { mean + (2.0 * self.counted.variance(self.windows)).sqrt() } else { f32::INFINITY };
    }

    /// Evidence of a count above the limit.
    #[cold]
    fn evidence(&self, count: f32) -> f32 {
        self.tail(rate_function(count, self.counted.mean(self.windows), self.counted.variance(self.windows)))
    }

    /// Evidence that the window that ends holds too little.
    fn lack(&self) -> f32 {
        let (mean, variance) = (self.counted.mean(self.windows), self.counted.variance(self.windows));
        let lack = mean - self.running;
        if self.windows < LEAST_WINDOWS_TO_LACK || lack <= 0.0 || lack * lack <= 2.0 * variance {
            return 0.0;
        }
        self.tail(rate_function(self.running, mean, variance))
    }

    /// Nats of a bound on −ln P: a power's tail.
    fn tail(&self, bound: f32) -> f32 {
        let freedom = self.windows * FREEDOM;
        freedom * ln(1.0 + bound / freedom) - 1.0
    }

    /// What is told of too many: `count`, of which so much of the window has passed.
    #[cold]
    fn spike(&self, count: f32, share: f32, window_secs: u32) -> Excess {
        let events = self.events + self.events_before * (1.0 - share);
        let most = self.plain.most(self.windows);
        let (observed, expected) =
            if events > most { (events, most) } else { (count, smaller(self.counted.most(self.windows), count)) };
        Excess { observed, expected, events, window_secs, is_drop: false, of_stream: false }
    }

    /// What is told of too few in the window that ends.
    #[cold]
    fn drop(&self, window_secs: u32) -> Excess {
        let Self { events, running, .. } = *self;
        let least = self.plain.least(self.windows);
        let (observed, expected) =
            if events < least { (events, least) } else { (running, larger(self.counted.least(self.windows), running)) };
        Excess { observed, expected, events, window_secs, is_drop: true, of_stream: false }
    }

    /// Bytes of [`Self::checkpoint`], and before windows had plain sums.
    const BYTES: usize = 36;
    const BYTES_WITHOUT_PLAIN: usize = 28;

    fn checkpoint(&self, out: &mut Vec<u8>) {
        let Self { running, before, events, events_before, windows, counted, plain, .. } = *self;
        let sums = [counted.sum, counted.squares, plain.sum, plain.squares];
        let values = [running, before, events, events_before, windows].into_iter().chain(sums);
        values.for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }

    fn restore(from: &mut StateReader<'_>, has_plain: bool) -> Result<Self, StateError> {
        let what = WHAT;
        let mut window = Self {
            running: from.f32(what)?,
            before: from.f32(what)?,
            events: from.f32(what)?,
            events_before: from.f32(what)?,
            limit: 0.0,
            windows: from.f32(what)?,
            counted: Sums::restore(from)?,
            plain: Sums::default(),
        };
        window.plain = if has_plain { Sums::restore(from)? } else { window.plain_by_the_last() };
        window.set_limit();
        Ok(window)
    }

    /// What windows held in events, if they always counted as much as of late.
    fn plain_by_the_last(&self) -> Sums {
        let (events, count) = (self.events + self.events_before, self.running + self.before);
        let events_a_count = if count > 0.0 { events / count } else { 1.0 };
        let Sums { sum, squares } = self.counted;
        Sums { sum: sum * events_a_count, squares: squares * events_a_count * events_a_count }
    }
}

impl Sums {
    fn add(&mut self, held: f32, decay: f32) {
        self.sum = self.sum * decay + held;
        self.squares = self.squares * decay + held * held;
    }

    fn scale(&mut self, by: f32) {
        self.sum *= by;
        self.squares *= by;
    }

    fn mean(self, windows: f32) -> f32 {
        (self.sum + 0.5) / (windows + 1.0)
    }

    fn variance(self, windows: f32) -> f32 {
        let mean = self.mean(windows);
        ((self.squares + 1.0) / (windows + 1.0) - mean * mean).max(mean)
    }

    /// What nineteen of twenty windows stay below, about.
    fn most(self, windows: f32) -> f32 {
        self.mean(windows) + 2.0 * self.variance(windows).sqrt()
    }

    /// And what they stay above.
    fn least(self, windows: f32) -> f32 {
        (self.mean(windows) - 2.0 * self.variance(windows).sqrt()).max(0.0)
    }

    fn restore(from: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self { sum: from.f32(WHAT)?, squares: from.f32(WHAT)? })
    }
}

/// Cramér's rate function of the negative binomial distribution; Poisson's when the variance is no more than the mean.
fn rate_function(count: f32, mean: f32, variance: f32) -> f32 {
    let size = if variance > mean * 1.01 { mean * mean / (variance - mean) } else { mean * 100.0 };
    let count = count.max(f32::MIN_POSITIVE);
    (count * ln(count / mean) - (count + size) * ln((count + size) / (mean + size))).max(0.0)
}

impl Default for Rate {
    fn default() -> Self {
        let decays = WINDOW_SECS.map(|secs| (-f64::from(secs) / HALF_LIFE_SECS).exp2() as f32);
        let pairs = Streams::new(streams::PAIR_BITS);
        Self { templates: Vec::new(), pairs, decays, newest: 0, ahead: 0, place: Place::default(), excess: None }
    }
}

impl Rate {
    /// What the last event's evidence rests on, if it gave any.
    pub fn excess(&self) -> Option<Excess> {
        self.excess
    }

    /// How much an event of this surprise counts.
    #[inline]
    pub(super) fn weight(surprise: f32) -> f32 {
        smaller(larger(surprise, LEAST_COUNT), 1.0)
    }

    /// As [`observe`](Detector::observe), of an event that counts so much; `pair` names its template on its stream, where there are several.
    #[inline]
    pub(super) fn see(&mut self, slot: usize, pair: Option<u64>, at: Timestamp, weight: f32) -> f32 {
        let micros = self.steady(at.0);
        let (number, shares) = self.place(micros);
        let decays = self.decays;
        let Some(counts) = self.counts(slot) else { return 0.0 };
        let mut found = counts.see(number, shares, decays, weight);
        if let Some(counts) = pair.and_then(|key| self.pairs.of(key))
            && let Some((evidence, excess)) = counts.see(number, shares, decays, weight)
            && found.is_none_or(|(most, _)| evidence > most)
        {
            found = Some((evidence, Excess { of_stream: true, ..excess }));
        }
        // Most events have none. One place to write it, not a copy of what was just written in parts, which the processor would wait for.
        let Some((evidence, excess)) = found else {
            self.excess = None;
            return 0.0;
        };
        self.excess = Some(excess);
        evidence
    }

    /// Takes in events of a slot that another lane saw at about `micros`; `weight` is what they count together.
    pub(super) fn absorb(&mut self, slot: usize, micros: i64, events: u32, weight: f32) {
        let number = self.steady(micros).div_euclid(SHORT);
        let decays = self.decays;
        let Some(counts) = self.counts(slot) else { return };
        if counts.number != number {
            counts.turn(number, decays);
        }
        for window in &mut counts.windows {
            window.running += weight;
            window.events += events as f32;
        }
    }

    /// Microseconds on a clock that neither jumps nor goes back. The lane's own ([`clock`](super::clock)) tells how long nothing came, which a silence or a budget by the hour
    /// must know, and goes back when what was ahead proves wrong; to windows such a stretch is nothing that could have held events.
    #[inline]
    fn steady(&mut self, micros: i64) -> i64 {
        if micros.abs_diff(self.newest) > OUTAGE as u64 {
            self.skip_outage(micros);
        }
        self.newest = micros;
        micros.saturating_sub(self.ahead)
    }

    #[cold]
    fn skip_outage(&mut self, micros: i64) {
        let passed = micros.saturating_sub(self.newest);
        let is_no_time = if passed > OUTAGE { passed - OUTAGE } else { passed };
        self.ahead = self.ahead.saturating_add(is_no_time);
    }

    /// As [`restore`](Detector::restore), of what was written before events were summed as they are.
    pub(super) fn restore_without_plain(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.restore_windows(from, false)
    }

    fn restore_windows(&mut self, from: &mut StateReader<'_>, has_plain: bool) -> Result<(), StateError> {
        let (newest, ahead) = (from.i64(WHAT)?, from.i64(WHAT)?);
        let window_bytes = if has_plain { Window::BYTES } else { Window::BYTES_WITHOUT_PLAIN };
        let length = from.length(WHAT, super::MOST_TEMPLATES, 16 + WINDOWS * window_bytes)?;
        let templates = (0..length).map(|_| Counts::restore(from, has_plain)).collect::<Result<_, _>>()?;
        *self = Self { templates, newest, ahead, ..Self::default() };
        Ok(())
    }

    #[inline]
    fn counts(&mut self, slot: usize) -> Option<&mut Counts> {
        if slot >= self.templates.len() {
            self.templates.resize(slot + 1, Counts::default());
        }
        self.templates.get_mut(slot)
    }

    /// The number of the short window at a time, and of each window the part that has passed. Most events are in the same window as the last.
    #[inline]
    fn place(&mut self, micros: i64) -> (i64, [f32; WINDOWS]) {
        if micros.wrapping_sub(self.place.start) as u64 >= SHORT as u64 {
            let number = micros.div_euclid(SHORT);
            let passed = number.rem_euclid(LONG_RATIO) as f32;
            // At the ends of time it wraps, and back again.
            self.place = Place { number, start: number.wrapping_mul(SHORT), passed };
        }
        let share = micros.wrapping_sub(self.place.start) as f32 * (1.0 / SHORT as f32);
        (self.place.number, [share, (self.place.passed + share) * (1.0 / LONG_RATIO as f32)])
    }
}

impl Detector for Rate {
    const KIND: DetectorKind = DetectorKind::Rate;

    fn observe(&mut self, input: &Input) -> f32 {
        self.see(input.slot, None, input.timestamp, Self::weight(input.surprise))
    }

    fn merge(&mut self, from: usize, into: usize) {
        self.take_in(from, into);
    }

    fn forget(&mut self, slot: usize) {
        if let Some(counts) = self.templates.get_mut(slot) {
            *counts = Counts::default();
        }
    }

    fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.newest.to_le_bytes());
        out.extend_from_slice(&self.ahead.to_le_bytes());
        out.extend_from_slice(&(self.templates.len() as u32).to_le_bytes());
        self.templates.iter().for_each(|counts| counts.checkpoint(out));
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.restore_windows(from, true)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// State bytes as they were before windows had plain sums.
    pub(in crate::detect) fn without_plain(bytes: &[u8]) -> Vec<u8> {
        let (head, counts) = bytes.split_at(20);
        let mut former = head.to_vec();
        for counts in counts.chunks(16 + 2 * 36) {
            let (numbers, windows) = counts.split_at(16);
            former.extend_from_slice(numbers);
            windows.chunks(36).for_each(|window| former.extend_from_slice(&window[..28]));
        }
        former
    }

    fn input(millis: i64, slot: usize) -> Input {
        Input { slot, timestamp: Timestamp::from_millis(millis), surprise: 1.0, ..Input::default() }
    }

    /// One event a second of slot 0, from `start` for `secs` seconds; the strongest evidence.
    fn steady(rate: &mut Rate, start: i64, secs: i64) -> f32 {
        (start..start + secs).map(|s| rate.observe(&input(s * 1_000, 0))).fold(0.0, f32::max)
    }

    #[test]
    fn a_tenfold_burst_gives_evidence_and_says_how_many_were_expected() {
        let mut rate = Rate::default();
        assert!(steady(&mut rate, 1_000, 1_000) < 1.0);
        let burst = (0..150).map(|n| rate.observe(&input(2_000_000 + n * 100, 0))).fold(0.0, f32::max);
        assert!(burst > 4.0, "{burst}");
        let excess = rate.excess().unwrap();
        assert!(excess.observed > 90.0 && excess.expected < 80.0 && excess.events == excess.observed, "{excess:?}");
        assert!(steady(&mut rate, 3_000, 1_000) < 1.0, "and it is over afterwards");
    }

    /// Thirty events every ten seconds, of which all but the first were foretold; for so many windows.
    fn dumps(rate: &mut Rate, windows: i64) {
        for n in 0..windows * 30 {
            let surprise = if n % 30 == 0 { 1.0 } else { 0.0 };
            rate.observe(&Input { surprise, ..input(1_000_000 + n / 30 * 10_000 + n % 30, 0) });
        }
    }

    #[test]
    fn what_was_expected_is_of_the_windows_before_however_the_odd_one_counts() {
        let mut rate = Rate::default();
        dumps(&mut rate, 360);
        let mut told = Vec::new();
        for surprise in [1.0, 0.5, 0.2] {
            let mut odd = rate.clone();
            (0..400).for_each(|n| _ = odd.observe(&Input { surprise, ..input(1_000_000 + 3_600_000 + n, 0) }));
            told.push(odd.excess().unwrap());
        }
        for Excess { observed, expected, .. } in &told {
            assert!((expected - told[0].expected).abs() < 0.01, "{told:?}");
            assert!(*observed >= 400.0 && (30.0..45.0).contains(expected), "{told:?}");
        }
    }

    #[test]
    fn where_no_more_came_than_usual_what_is_told_is_how_many_were_out_of_their_order() {
        let mut rate = Rate::default();
        dumps(&mut rate, 360);
        let odd = (0..10).map(|n| rate.observe(&Input { surprise: 1.0, ..input(1_000_000 + 3_600_000 + n, 0) }));
        assert!(odd.fold(0.0, f32::max) > 3.0);
        let Excess { observed, expected, events, .. } = rate.excess().unwrap();
        assert!(observed > expected && expected < 20.0 && observed < events, "{:?}", rate.excess());
    }

    #[test]
    fn what_was_learned_before_the_sums_were_plain_is_read_and_told_in_events() {
        let mut rate = Rate::default();
        dumps(&mut rate, 360);
        let mut bytes = Vec::new();
        rate.checkpoint(&mut bytes);
        let mut former = Rate::default();
        former.restore_without_plain(&mut StateReader::new(&without_plain(&bytes))).unwrap();
        for rate in [&mut rate, &mut former] {
            (0..400).for_each(|n| _ = rate.observe(&input(1_000_000 + 3_600_000 + n, 0)));
        }
        let (known, taken) = (rate.excess().unwrap(), former.excess().unwrap());
        assert_eq!((known.observed, known.events), (taken.observed, taken.events));
        assert!((taken.expected / known.expected - 1.0).abs() < 0.2, "{known:?} {taken:?}");
    }

    #[test]
    fn a_template_that_falls_to_a_tenth_is_told_as_a_drop_and_its_recovery_is_none() {
        let mut rate = Rate::default();
        let mut strongest = (0.0, None);
        let mut at = 1_000_000i64;
        let mut run = |rate: &mut Rate, events: i64, step: i64| {
            for _ in 0..events {
                at += step;
                let evidence = rate.observe(&input(at, 0));
                if evidence > strongest.0 {
                    strongest = (evidence, rate.excess());
                }
            }
            std::mem::take(&mut strongest)
        };
        assert!(run(&mut rate, 10_000, 100).0 < 1.0, "ten a second");
        let (evidence, drop) = run(&mut rate, 180, 1_000);
        let drop = drop.unwrap();
        assert!(evidence > 8.0 && drop.is_drop && drop.observed < 61.0 && drop.expected > 70.0, "{evidence} {drop:?}");
        at += 30_000;
        assert!(rate.observe(&input(at, 0)) < 1.0, "the end of a silence is no drop");
    }

    #[test]
    fn a_burst_that_is_no_surprise_does_not_count() {
        let mut rate = Rate::default();
        steady(&mut rate, 1_000, 1_000);
        let foretold = |n: i64| Input { surprise: 0.01, ..input(2_000_000 + n * 100, 0) };
        let burst = (0..150).map(|n| rate.observe(&foretold(n))).fold(0.0, f32::max);
        assert!(burst < 1.0, "{burst}");
    }

    #[test]
    fn clocks_that_jump_and_late_events_give_no_evidence_and_no_panic() {
        let mut rate = Rate::default();
        steady(&mut rate, 100_000, 1_000);
        let day = 86_400;
        assert!(steady(&mut rate, 100_000 + day, 60) < 1.0, "a day ahead");
        assert!(steady(&mut rate, 100_060, 60) < 1.0, "a day back");
        let jitter = (0..1_000).map(|n| rate.observe(&input(100_200_000 + n * 1_000 - n % 7 * 900, 0)));
        assert!(jitter.fold(0.0, f32::max) < 1.0);
        let times =
            [i64::MIN, i64::MIN + 1, -OUTAGE - 1, -OUTAGE, -1, 0, 1, OUTAGE, OUTAGE + 1, i64::MAX - 1, i64::MAX];
        for (first, second) in times.iter().flat_map(|a| times.map(|b| (*a, b))) {
            let (mut steady, mut newest, mut ahead) = (Rate::default(), 0i64, 0i64);
            for micros in [first, second] {
                // Each difference saturates.
                let passed = micros.saturating_sub(newest);
                let is_no_time = if passed > OUTAGE { passed - OUTAGE } else { passed };
                ahead = if (-OUTAGE..=OUTAGE).contains(&passed) { ahead } else { ahead.saturating_add(is_no_time) };
                newest = micros;
                assert_eq!(steady.steady(micros), micros.saturating_sub(ahead), "{first} {second}");
            }
        }
        for extreme in [i64::MIN, i64::MAX, 0, -1] {
            let evidence = rate.observe(&Input { timestamp: Timestamp(extreme), ..Input::default() });
            assert!(evidence.is_finite(), "{extreme}");
        }
    }

    #[test]
    fn what_another_lane_tells_of_a_time_far_ahead_empties_no_windows() {
        let mut rate = Rate::default();
        steady(&mut rate, 1_000, 1_000);
        for far in [253_370_764_800, -253_370_764_800, i64::MAX / 1_000_000] {
            rate.absorb(0, far * 1_000_000, 1, 1.0);
            assert!(steady(&mut rate, 2_000, 60) < 1.0, "what is usual still is");
        }
    }

    #[test]
    fn everything_in_one_second_and_one_event_an_hour_are_fine() {
        let mut rate = Rate::default();
        assert!((0..100_000).all(|n| rate.observe(&input(5_000_000 + n / 100, 0)) == 0.0), "nothing to compare with");
        let mut rare = Rate::default();
        assert!((1..1_000).all(|hour| rare.observe(&input(hour * 3_600_000, 0)) < 1.0));
    }
}

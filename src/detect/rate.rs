//! Too many of a template at once: its count in a window of 10 s and of 60 s against what windows held before.
//!
//! **Counts.** An event counts as much as it surprised where it came in its stream's order ([`Input::surprise`](super::Input)): a burst that a log
//! always has, the hundred lines of a dump, surprises with its first line only. The count looked at is that of a sliding window: the window that
//! runs, and of the one before it the part not yet slid out.
//!
//! **Evidence.** Counts are negative-binomial with the decayed mean and variance of past windows, empty ones included. Its
//! rate function (Cramér; Dembo and Zeitouni, "Large Deviations Techniques", 2.2),
//! `I(n) = n ln(n/m) − (n+r) ln((n+r)/(m+r))`, bounds −ln P(N ≥ n). Mean and variance are themselves estimates from few and dependent
//! windows, so that as with Student's distribution the tail is that of a power: `ν ln(1 + I/ν)`, ν a twentieth of the windows seen. One nat is
//! taken off as slack; the longer window counts when it says more.
//!
//! Half-life of what was learned: an hour of the events' time, in which a stretch of more than [`OUTAGE_SECS`] without any event is no longer than
//! that: the input was away, or the clock jumped, and windows in which nothing could come are not empty ones. A clock set back goes on from where
//! it was.

mod join;

use super::logarithm::ln;
use super::{Detector, Input, StateError, StateReader};
use crate::event::DetectorKind;

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

/// Events this many windows late count as of now.
const LATE_WINDOWS: i64 = 6;

/// After this many empty windows nothing learned is left.
const MOST_WINDOWS: i64 = 1_000_000;

/// What is seen without surprise still counts this much.
const LEAST_COUNT: f32 = 0.05;

/// What a template and window held.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Window {
    /// Number of the running window since the epoch; 0: none yet.
    number: i64,
    running: f32,
    before: f32,
    /// Decayed: windows, sum of their counts, sum of squares.
    windows: f32,
    sum: f32,
    squares: f32,
}

/// A count and what it is compared to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Excess {
    /// Events in the window, as they count.
    pub observed: f32,
    /// What nineteen of twenty windows stay below, about.
    pub expected: f32,
    /// Length of the window.
    pub window_secs: u32,
}

/// Counts of every template.
#[derive(Debug, Clone)]
pub struct Rate {
    templates: Vec<[Window; WINDOWS]>,
    decays: [f32; WINDOWS],
    /// Time of the last event.
    newest: i64,
    /// What the events' clock is ahead of the steady one, microseconds.
    ahead: i64,
    excess: Option<Excess>,
}

impl Window {
    /// Makes the window of time `number` the running one.
    #[inline]
    fn advance(&mut self, number: i64, decay: f32) {
        if number == self.number {
            return;
        }
        let passed = number.saturating_sub(self.number);
        // Late events belong to the window that runs; a clock that was set back starts anew from where it is.
        if (-LATE_WINDOWS..0).contains(&passed) {
            return;
        }
        if self.number != 0 && passed > 0 {
            self.close(passed, decay);
        }
        self.number = number;
    }

    #[cold]
    fn close(&mut self, passed: i64, decay: f32) {
        let passed = passed.min(MOST_WINDOWS);
        self.windows = self.windows * decay + 1.0;
        self.sum = self.sum * decay + self.running;
        self.squares = self.squares * decay + self.running * self.running;
        if passed > 1 {
            let faded = decay.powi(passed as i32 - 1);
            self.windows = self.windows * faded + (1.0 - faded) / (1.0 - decay);
            self.sum *= faded;
            self.squares *= faded;
        }
        self.before = if passed == 1 { self.running } else { 0.0 };
        self.running = 0.0;
    }

    /// Evidence of the count so far, `share` of the window having passed, and the count.
    #[inline]
    fn evidence(&self, share: f32) -> (f32, f32) {
        let count = self.running + self.before * (1.0 - share);
        if self.windows < LEAST_WINDOWS || count * (self.windows + 1.0) <= self.sum + 0.5 {
            return (0.0, count);
        }
        let mean = (self.sum + 0.5) / (self.windows + 1.0);
        let variance = self.variance(mean);
        // The bound is no more than that of a normal distribution: below a nat nothing is left after the slack.
        if (count - mean) * (count - mean) <= 2.0 * variance {
            return (0.0, count);
        }
        let freedom = self.windows * FREEDOM;
        let bound = rate_function(count, mean, variance);
        (freedom * ln(1.0 + bound / freedom) - 1.0, count)
    }

    fn variance(&self, mean: f32) -> f32 {
        ((self.squares + 1.0) / (self.windows + 1.0) - mean * mean).max(mean)
    }

    fn usual(&self) -> f32 {
        let mean = (self.sum + 0.5) / (self.windows + 1.0);
        mean + 2.0 * self.variance(mean).sqrt()
    }
}

/// Cramér's rate function of the negative binomial distribution; Poisson's when the variance is no more than the mean.
fn rate_function(count: f32, mean: f32, variance: f32) -> f32 {
    let size = if variance > mean * 1.01 { mean * mean / (variance - mean) } else { mean * 100.0 };
    (count * ln(count / mean) - (count + size) * ln((count + size) / (mean + size))).max(0.0)
}

impl Default for Rate {
    fn default() -> Self {
        let decays = WINDOW_SECS.map(|secs| (-f64::from(secs) / HALF_LIFE_SECS).exp2() as f32);
        Self { templates: Vec::new(), decays, newest: 0, ahead: 0, excess: None }
    }
}

impl Rate {
    /// What the last event's evidence rests on, if it gave any.
    pub fn excess(&self) -> Option<Excess> {
        self.excess
    }

    /// How much an event counts.
    pub(super) fn weight(input: &Input) -> f32 {
        input.surprise.clamp(LEAST_COUNT, 1.0)
    }

    /// Takes in events of a slot that another lane saw at about `input.timestamp`; `weight` is what they count together.
    pub(super) fn absorb(&mut self, slot: usize, micros: i64, weight: f32) {
        let micros = micros.saturating_sub(self.ahead);
        let decays = self.decays;
        let windows = self.windows(slot).into_iter().flatten();
        for ((window, (number, _)), decay) in windows.zip(places(micros)).zip(decays) {
            window.advance(number, decay);
            window.running += weight;
        }
    }

    /// Microseconds on a clock that neither jumps nor goes back.
    #[inline]
    fn steady(&mut self, micros: i64) -> i64 {
        let outage = OUTAGE_SECS * 1_000_000;
        let passed = micros.saturating_sub(self.newest);
        if passed > outage {
            self.ahead = self.ahead.saturating_add(passed - outage);
        } else if passed < -outage {
            self.ahead = self.ahead.saturating_add(passed);
        }
        self.newest = micros;
        micros.saturating_sub(self.ahead)
    }

    fn windows(&mut self, slot: usize) -> Option<&mut [Window; WINDOWS]> {
        if slot >= self.templates.len() {
            self.templates.resize(slot + 1, Default::default());
        }
        self.templates.get_mut(slot)
    }
}

/// Of each window at a time: its number, and the part of it that has passed.
#[inline]
fn places(micros: i64) -> [(i64, f32); WINDOWS] {
    const SHORT: i64 = WINDOW_SECS[0] as i64 * 1_000_000;
    const RATIO: i64 = (WINDOW_SECS[1] / WINDOW_SECS[0]) as i64;
    // Remainders by multiplication, which costs less than a second division; at the ends of time it wraps, and back again.
    let short = micros.div_euclid(SHORT);
    let share = micros.wrapping_sub(short.wrapping_mul(SHORT)) as f32 / SHORT as f32;
    let long = short.div_euclid(RATIO);
    [(short, share), (long, ((short - long * RATIO) as f32 + share) / RATIO as f32)]
}

impl Detector for Rate {
    const KIND: DetectorKind = DetectorKind::Rate;

    fn observe(&mut self, input: &Input) -> f32 {
        let weight = Self::weight(input);
        let micros = self.steady(input.timestamp.0);
        let lengths = WINDOW_SECS.into_iter().zip(self.decays);
        let mut strongest = 0.0;
        let mut excess = None;
        let windows = self.windows(input.slot).into_iter().flatten();
        for ((window, (number, share)), (secs, decay)) in windows.zip(places(micros)).zip(lengths) {
            window.advance(number, decay);
            window.running += weight;
            let (evidence, count) = window.evidence(share);
            if evidence > strongest {
                strongest = evidence;
                excess = Some((count, *window, secs));
            }
        }
        self.excess =
            excess.map(|(observed, window, window_secs)| Excess { observed, expected: window.usual(), window_secs });
        strongest
    }

    fn merge(&mut self, from: usize, into: usize) {
        let Some(gone) = self.templates.get_mut(from).map(std::mem::take) else { return };
        for (window, gone) in self.windows(into).into_iter().flatten().zip(gone) {
            if gone.windows > window.windows {
                *window = Window { windows: gone.windows, ..*window };
            }
            window.sum += gone.sum;
            window.squares += gone.squares;
        }
    }

    fn forget(&mut self, slot: usize) {
        if let Some(windows) = self.templates.get_mut(slot) {
            *windows = Default::default();
        }
    }

    fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.newest.to_le_bytes());
        out.extend_from_slice(&self.ahead.to_le_bytes());
        out.extend_from_slice(&(self.templates.len() as u32).to_le_bytes());
        for window in self.templates.iter().flatten() {
            out.extend_from_slice(&window.number.to_le_bytes());
            for value in [window.running, window.before, window.windows, window.sum, window.squares] {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let what = "rate windows";
        let read = |from: &mut StateReader<'_>| -> Result<Window, StateError> {
            Ok(Window {
                number: from.i64(what)?,
                running: from.f32(what)?,
                before: from.f32(what)?,
                windows: from.f32(what)?,
                sum: from.f32(what)?,
                squares: from.f32(what)?,
            })
        };
        let (newest, ahead) = (from.i64(what)?, from.i64(what)?);
        let length = from.length(what, super::MOST_TEMPLATES, WINDOWS * 28)?;
        let templates = (0..length).map(|_| Ok([read(from)?, read(from)?])).collect::<Result<_, _>>()?;
        *self = Self { templates, newest, ahead, ..Self::default() };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

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
        assert!(excess.observed > 90.0 && excess.expected < 80.0, "{excess:?}");
        assert!(steady(&mut rate, 3_000, 1_000) < 1.0, "and it is over afterwards");
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
        for extreme in [i64::MIN, i64::MAX, 0, -1] {
            let evidence = rate.observe(&Input { timestamp: Timestamp(extreme), ..Input::default() });
            assert!(evidence.is_finite(), "{extreme}");
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

//! What time it is for the detectors: one clock for a lane that does not run back once it runs, whatever the clocks of its hosts say.
//!
//! Events of several hosts come mixed, and of several hosts some clock is minutes off; batches come late; a timestamp may be anything. The lane
//! **follows** one of these clocks. Events of others count as happening now.
//!
//! - An event up to [`NEAR_SECS`] after the last one moves the lane's clock to it; one before it does not move it.
//! - **Behind.** When only earlier events come, and these go on by [`FOLLOWED_AFTER_SECS`] of their own time beyond what clocks have been seen to differ
//!   by, the followed clock is gone or was set back: theirs is followed from there on, and the lane's time goes on from where it was.
//! - **Ahead.** Events further ahead may mean that nothing came for a while. They count as of their own time at once; the lane's clock jumps when
//!   they have gone on by [`AGREED_AFTER_SECS`], and no further than two of them say. When the followed clock tells something before that, it was another
//!   clock, and for [`DOUBTED_SECS`] what is ahead counts as now, and is followed as what is behind.
//!
//! **Start.** What came first may be of any clock. Until the lane's has gone on by [`FOLLOWED_AFTER_SECS`], it starts anew, and runs back, with events that are
//! behind it by more than an hour: once more of them came than it told itself, or have gone on for as long. A single event from the year 9999 is the lane's time until two
//! others came. This is not kept in checkpoints: a restored clock is past its start.
//!
//! While others' events have gone on for [`LOST_AFTER_SECS`] and none is followed yet, what time it is is not known: counts by time say nothing.
//!
//! The clock of arrival is one and needs no such caution: the lane's jumps when it jumps ahead, and goes on from where it was when it is set back.
//!
//! Where clocks agree the lane's time is the events' own. Both differ by an offset once another clock is followed.

use super::{StateError, StateReader};
use crate::event::Timestamp;

/// Events no further from each other than this are of one clock, seconds.
pub const NEAR_SECS: i64 = 10;

/// What is further ahead is so once it has gone on by so much and nothing contradicted it, seconds.
pub const AGREED_AFTER_SECS: i64 = 60;

/// Other clocks are followed once they have gone on by so much while the followed one told nothing, seconds.
pub const FOLLOWED_AFTER_SECS: i64 = 10;

/// Before that, nobody knows what time it is once they have gone on by so much, seconds.
pub const LOST_AFTER_SECS: i64 = 1;

/// So long it is remembered that clocks differ, seconds.
pub const DOUBTED_SECS: i64 = 6 * 3_600;

const NEAR: i64 = NEAR_SECS * 1_000_000;
/// The clock of arrival was set back when it tells this much less than before: less is another thread's that waited.
const SET_BACK: i64 = 60 * 1_000_000;
const AGREED_AFTER: i64 = AGREED_AFTER_SECS * 1_000_000;
const FOLLOWED_AFTER: i64 = FOLLOWED_AFTER_SECS * 1_000_000;
const LOST_AFTER: i64 = LOST_AFTER_SECS * 1_000_000;
const DOUBTED: i64 = DOUBTED_SECS * 1_000_000;

/// Clocks that differ by more are not waited for any longer than this.
const MOST_SPREAD: i64 = 3_600 * 1_000_000;

/// No time yet.
const NEVER: i64 = i64::MIN;

/// Whose clock timestamps are of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// Of this host, when it saw the event.
    Arrival,
    /// Of the hosts that wrote the events.
    #[default]
    Event,
}

/// What other clocks told since the followed one last told something, in its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Others {
    /// [`NEVER`]: nothing.
    last: i64,
    latest: i64,
    /// How far they have gone on, a gap for [`AGREED_AFTER_SECS`] at most; what one of them is behind another comes off.
    gone_on: i64,
}

impl Others {
    const NONE: Self = Self { last: NEVER, latest: NEVER, gone_on: 0 };

    const fn is_none(self) -> bool {
        self.last == NEVER
    }

    fn go_on(&mut self, at: i64) {
        let step = if self.is_none() { 0 } else { at.saturating_sub(self.last).min(AGREED_AFTER) };
        self.gone_on = self.gone_on.saturating_add(step).max(0);
        self.last = at;
        self.latest = self.latest.max(at);
    }
}

/// What the clock that was followed first has told, while it is not known whether it was the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    at: i64,
    /// Events at its own time or somewhat later, less those that are far behind.
    lead: i64,
}

/// The lane's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    source: Source,
    now: i64,
    start: Option<Start>,
    /// What the followed clock is ahead of the lane's.
    offset: i64,
    ahead: Others,
    behind: Others,
    /// When clocks last contradicted the followed one.
    doubted: i64,
    /// What clocks have been seen to differ by, and when.
    spread: i64,
    spread_seen: i64,
    is_lost: bool,
}

impl Clock {
    pub(super) const fn new(source: Source) -> Self {
        let (ahead, behind) = (Others::NONE, Others::NONE);
        Self {
            source,
            now: NEVER,
            start: None,
            offset: 0,
            ahead,
            behind,
            doubted: NEVER,
            spread: 0,
            spread_seen: NEVER,
            is_lost: false,
        }
    }

    /// When an event of this timestamp is, for the detectors.
    #[inline]
    pub(super) fn see(&mut self, told: Timestamp) -> Timestamp {
        let is_usual = self.ahead.is_none() && self.behind.is_none() && self.start.is_none();
        // What overflows is not near: one branch that is foreseen, where saturating takes several instructions.
        if let Some(at) = told.0.checked_sub(self.offset)
            && at.checked_sub(self.now).is_some_and(|ahead| (0..=NEAR).contains(&ahead))
            && is_usual
        {
            self.now = at;
            return Timestamp(at);
        }
        Timestamp(self.see_odd(told.0, told.0.saturating_sub(self.offset)))
    }

    /// When it is that the clock of another lane tells this. Of arrival all lanes have the same clock, and what another one tells moves none: it may be
    /// long ago.
    pub(super) fn see_elsewhere(&mut self, told: Timestamp) -> Timestamp {
        match self.source {
            Source::Event => self.see(told),
            Source::Arrival => self.now().max(self.at(told)),
        }
    }

    /// Of the last event it is not known when it was.
    #[inline]
    pub(super) const fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Where the lane is.
    pub(super) const fn now(&self) -> Timestamp {
        Timestamp(self.now)
    }

    /// Where it will be if what is ahead is right and nothing contradicts it any more.
    pub(super) fn latest(&self) -> Timestamp {
        let is_doubted = self.ahead.is_none() || self.remembers(self.doubted);
        Timestamp(if is_doubted { self.now } else { self.now.max(self.ahead.latest) })
    }

    /// What the followed clock tells at a time of the lane.
    pub(super) const fn told(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_add(self.offset))
    }

    /// The lane's time when the followed clock tells this.
    pub(super) const fn at(&self, told: Timestamp) -> Timestamp {
        Timestamp(told.0.saturating_sub(self.offset))
    }

    #[cold]
    #[inline(never)]
    fn see_odd(&mut self, told: i64, at: i64) -> i64 {
        let ahead = at.saturating_sub(self.now);
        if self.now == NEVER || self.is_start_wrong(ahead) {
            self.start_at(told);
        } else if (0..=NEAR).contains(&ahead) {
            self.move_to(at);
        } else if self.source == Source::Arrival {
            if ahead < -SET_BACK {
                self.follow(told);
            }
            self.now = self.now.max(at);
        } else if ahead < 0 {
            if ahead >= -NEAR {
                self.contradict();
            }
            self.behind.go_on(at);
            self.follow_others(told, self.behind.gone_on);
        } else {
            return self.see_ahead(told, at);
        }
        self.now
    }

    /// Whether an event that is so far ahead shows that the clock began with another one.
    fn is_start_wrong(&mut self, ahead: i64) -> bool {
        let Some(start) = &mut self.start else { return false };
        if self.now.saturating_sub(start.at) >= FOLLOWED_AFTER {
            self.start = None;
            return false;
        }
        let is_far_behind = ahead < -MOST_SPREAD;
        start.lead += if is_far_behind { -1 } else { i64::from((-NEAR..=NEAR).contains(&ahead)) };
        is_far_behind && start.lead < 0
    }

    fn start_at(&mut self, told: i64) {
        (self.now, self.offset) = (told, 0);
        self.start = (self.source == Source::Event).then_some(Start { at: told, lead: 1 });
        self.leave_others();
    }

    /// The followed clock tells this.
    fn move_to(&mut self, at: i64) {
        self.contradict();
        self.differ_by(self.behind.gone_on);
        self.now = at;
        self.leave_others();
    }

    /// What was ahead was another clock: the followed one is here.
    fn contradict(&mut self) {
        if !self.ahead.is_none() {
            self.doubted = self.now;
            self.differ_by(self.ahead.gone_on);
            self.ahead = Others::NONE;
        }
    }

    fn see_ahead(&mut self, told: i64, at: i64) -> i64 {
        let agreed = self.ahead.latest;
        self.ahead.go_on(at);
        if self.remembers(self.doubted) {
            self.follow_others(told, self.ahead.gone_on);
            return self.now;
        }
        if self.ahead.gone_on >= AGREED_AFTER {
            self.now = self.now.max(agreed);
            self.leave_others();
            if at.saturating_sub(self.now) <= NEAR {
                self.now = self.now.max(at);
            } else {
                self.ahead.go_on(at);
            }
        }
        self.now.max(self.ahead.latest)
    }

    /// Follows the others when they have gone on for long enough.
    fn follow_others(&mut self, told: i64, gone_on: i64) {
        let beyond = gone_on - self.spread();
        self.is_lost = beyond >= LOST_AFTER;
        if beyond >= FOLLOWED_AFTER {
            // Where they differ from each other by as much, that is no reason the next time.
            self.differ_by(gone_on);
            self.follow(told);
        }
    }

    /// Goes on from here by the clock that tells this; from there, when the one before has told next to nothing and is hours ahead of it.
    fn follow(&mut self, told: i64) {
        let is_far_behind = told.saturating_sub(self.offset) < self.now.saturating_sub(MOST_SPREAD);
        if self.start.is_some() && is_far_behind {
            return self.start_at(told);
        }
        self.offset = told.saturating_sub(self.now);
        self.leave_others();
    }

    fn leave_others(&mut self) {
        (self.ahead, self.behind) = (Others::NONE, Others::NONE);
        self.is_lost = false;
    }

    fn differ_by(&mut self, micros: i64) {
        if micros > 0 && micros >= self.spread() {
            (self.spread, self.spread_seen) = (micros.min(MOST_SPREAD), self.now);
        }
    }

    /// What clocks differ by, as far as it is remembered.
    fn spread(&self) -> i64 {
        if self.remembers(self.spread_seen) { self.spread } else { 0 }
    }

    fn remembers(&self, at: i64) -> bool {
        at != NEVER && self.now.saturating_sub(at) < DOUBTED
    }

    pub(super) fn checkpoint(&self, out: &mut Vec<u8>) {
        let Self { now, offset, ahead, behind, doubted, spread, spread_seen, is_lost, .. } = *self;
        let [a, b] = [ahead, behind].map(|others| [others.last, others.latest, others.gone_on]);
        let times = [[now, offset, doubted], a, b, [spread, spread_seen, i64::from(is_lost)]];
        times.as_flattened().iter().for_each(|time| out.extend_from_slice(&time.to_le_bytes()));
    }

    /// Takes in what [`Self::checkpoint`] wrote; the source stays.
    pub(super) fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let what = "clock of a lane";
        let (now, offset, doubted) = (from.i64(what)?, from.i64(what)?, from.i64(what)?);
        let others = |from: &mut StateReader<'_>| {
            Ok(Others { last: from.i64(what)?, latest: from.i64(what)?, gone_on: from.i64(what)?.max(0) })
        };
        let (ahead, behind) = (others(from)?, others(from)?);
        let (spread, spread_seen) = (from.i64(what)?.clamp(0, MOST_SPREAD), from.i64(what)?);
        let is_lost = from.i64(what)? != 0;
        let (source, start) = (self.source, None);
        *self = Self { source, now, start, offset, ahead, behind, doubted, spread, spread_seen, is_lost };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 3_600.0;

    fn seconds(s: f64) -> Timestamp {
        Timestamp((s * 1e6) as i64)
    }

    /// The lane's seconds of events told at these seconds.
    fn seen(clock: &mut Clock, told: impl IntoIterator<Item = f64>) -> Vec<f64> {
        told.into_iter().map(|s| clock.see(seconds(s)).0 as f64 * 1e-6).collect()
    }

    fn of_events() -> Clock {
        Clock::new(Source::Event)
    }

    /// Knuth's MMIX generator.
    fn random(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `count` events a second of hosts whose clocks are `skews` off, each as often as its share says; the lane's seconds at the end of each second.
    fn mixed(clock: &mut Clock, seconds: std::ops::Range<i64>, count: u64, skews: &[(f64, f64)]) -> Vec<f64> {
        let mut state = seconds.start as u64 + 1;
        let mut next = |second: i64, n: u64| {
            let chosen = random(&mut state) * skews.iter().map(|(share, _)| share).sum::<f64>();
            let mut left = chosen;
            let host = skews.iter().find(|(share, _)| {
                left -= share;
                left < 0.0
            });
            second as f64 + n as f64 / count as f64 + host.map_or(0.0, |(_, skew)| *skew)
        };
        seconds.map(|second| seen(clock, (0..count).map(|n| next(second, n)))[count as usize - 1]).collect()
    }

    /// Whether a lane that saw all this ran as time does, after its start.
    fn runs_true(lane: &[f64]) -> bool {
        let (first, last) = (lane[lane.len() / 10], lane[lane.len() - 1]);
        let passed = (lane.len() - 1 - lane.len() / 10) as f64;
        lane.windows(2).all(|pair| pair[0] <= pair[1]) && ((last - first) / passed - 1.0).abs() < 0.02
    }

    #[test]
    fn one_clock_is_told_as_it_is() {
        let mut clock = of_events();
        let told: Vec<f64> = (0..1_000).map(|n| 1e6 + f64::from(n) * 7.5).collect();
        assert_eq!(seen(&mut clock, told.clone()), told);
        assert_eq!(clock.told(clock.now()), seconds(told[999]));
    }

    #[test]
    fn an_event_an_hour_is_told_as_it_is_and_the_lane_is_one_behind_at_most() {
        let mut clock = of_events();
        let told: Vec<f64> = (0..50).map(|n| f64::from(n) * HOUR).collect();
        assert_eq!(seen(&mut clock, told.clone()), told);
        assert!(clock.now() >= seconds(48.0 * HOUR));
    }

    #[test]
    fn hosts_that_are_minutes_off_change_nothing_in_how_time_runs() {
        let fleets: [&[(f64, f64)]; 6] = [
            &[(1.0, 0.0), (1.0, 300.0)],
            &[(1.0, 300.0), (1.0, 0.0)],
            &[(10.0, 0.0), (0.1, 290.0), (1.0, -3_000.0)],
            &[(1.0, 0.0), (20.0, -80.0), (20.0, -30.0), (20.0, -61.0)],
            &[(0.05, 0.0), (5.0, -20.0), (5.0, -45.0), (5.0, -100.0), (5.0, -150.0)],
            &[(1.0, 0.0), (1.0, -7.0), (1.0, 50.0), (0.01, 86_400.0 * 365.0), (0.01, -1.7e9)],
        ];
        for fleet in fleets {
            let lane = mixed(&mut of_events(), 1_800_000_000..1_800_003_600, 20, fleet);
            assert!(runs_true(&lane), "{fleet:?}: {:?}", &lane[lane.len() - 1]);
        }
    }

    #[test]
    fn batches_of_hosts_that_are_minutes_off_change_nothing_either() {
        let mut clock = of_events();
        let lane: Vec<f64> = (0..2_000)
            .map(|batch| {
                let (from, skew) = (f64::from(batch / 2) * 5.0, if batch % 2 == 0 { 0.0 } else { 300.0 });
                seen(&mut clock, (0..200).map(|n| from + skew + f64::from(n) * 0.025))[199]
            })
            .collect();
        let passed = lane[1_999] - lane[199];
        assert!((passed / 4_500.0 - 1.0).abs() < 0.02, "{passed}");
    }

    #[test]
    fn when_the_followed_host_goes_the_others_are_followed_and_time_neither_jumps_nor_stops() {
        for skew in [-300.0, -20.0, 300.0, 20.0] {
            let mut clock = of_events();
            let both = mixed(&mut clock, 0..600, 20, &[(1.0, 0.0), (1.0, skew)]);
            let after = mixed(&mut clock, 600..1_200, 20, &[(1.0, skew)]);
            let passed = after[599] - both[599];
            assert!((passed - 600.0).abs() < 2.0 * FOLLOWED_AFTER_SECS as f64 + 21.0, "{skew}: {passed}");
            assert!(after.windows(2).all(|pair| pair[1] - pair[0] < 2.0), "{skew}");
        }
    }

    #[test]
    fn a_clock_that_is_set_goes_on_from_where_it_was_and_a_quiet_hour_is_an_hour() {
        let mut clock = of_events();
        let before = mixed(&mut clock, 0..600, 20, &[(1.0, 0.0)]);
        let back = mixed(&mut clock, -86_400..-85_800, 20, &[(1.0, 0.0)]);
        let passed = back[599] - before[599];
        assert!((passed - 600.0).abs() < 1.5 * FOLLOWED_AFTER_SECS as f64, "{passed}");
        let quiet = mixed(&mut clock, -85_800 + 3_600..-85_200 + 3_600, 20, &[(1.0, 0.0)]);
        assert!((quiet[0] - back[599] - HOUR).abs() < 2.0, "{}", quiet[0] - back[599]);
        assert!((clock.now().0 as f64 * 1e-6 - quiet[599]).abs() < 1.0, "the lane is there, too");
    }

    #[test]
    fn a_first_event_from_the_year_9999_is_the_time_until_two_others_came() {
        const YEAR_9999: f64 = 253_370_764_800.0;
        for (first, quickly) in [(1, 2), (7, 8)] {
            let mut clock = of_events();
            seen(&mut clock, std::iter::repeat_n(YEAR_9999, first));
            let sane = seen(&mut clock, (0..600).map(|n| 1.8e9 + f64::from(n)));
            assert!(
                sane[quickly..].iter().zip(quickly..).all(|(lane, n)| *lane == 1.8e9 + n as f64),
                "{:?}",
                &sane[..9]
            );
            assert_eq!((clock.told(clock.now()), clock.is_lost()), (clock.now(), false));
        }
        let mut all_at_once = of_events();
        seen(&mut all_at_once, std::iter::repeat_n(YEAR_9999, 1_000));
        let sane = seen(&mut all_at_once, (0..600).map(|n| 1.8e9 + f64::from(n)));
        assert_eq!(sane[599], 1.8e9 + 599.0, "few events in ten seconds are right against a thousand in none");
    }

    #[test]
    fn a_clock_that_has_run_does_not_start_anew() {
        let mut clock = of_events();
        mixed(&mut clock, 1_800_000_000..1_800_000_030, 20, &[(1.0, 0.0)]);
        let before = clock.now();
        seen(&mut clock, (0..100).map(|n| 1.7e9 + f64::from(n)));
        assert!(clock.now() >= before && clock.told(clock.now()) >= seconds(1.7e9));
    }

    #[test]
    fn while_none_of_the_others_is_followed_yet_nobody_knows_the_time() {
        let mut clock = of_events();
        mixed(&mut clock, 0..600, 20, &[(1.0, 0.0), (1.0, -300.0)]);
        assert!(!clock.is_lost());
        mixed(&mut clock, 600..605, 20, &[(1.0, -300.0)]);
        let lost = clock.is_lost();
        mixed(&mut clock, 605..1_000, 20, &[(1.0, -300.0)]);
        assert!(lost && !clock.is_lost());
    }

    #[test]
    fn the_clock_of_arrival_jumps_ahead_at_once_and_goes_on_when_it_is_set_back() {
        let mut clock = Clock::new(Source::Arrival);
        assert_eq!(seen(&mut clock, [0.0, 1.0, HOUR, HOUR + 1.0]), [0.0, 1.0, HOUR, HOUR + 1.0]);
        assert_eq!(seen(&mut clock, [HOUR + 0.5]), [HOUR + 1.0], "another thread's, a little later");
        assert_eq!(seen(&mut clock, [7.0, 8.0, 9.0]), [HOUR + 1.0, HOUR + 2.0, HOUR + 3.0]);
        assert_eq!(clock.at(seconds(10.0)), seconds(HOUR + 4.0));
        clock.see_elsewhere(seconds(-600.0));
        assert_eq!(
            seen(&mut clock, [10.0, 11.0]),
            [HOUR + 4.0, HOUR + 5.0],
            "what another lane tells late changes nothing"
        );
    }

    #[test]
    fn any_timestamps_leave_a_clock_that_does_not_run_back_and_runs_again() {
        let mut clock = of_events();
        let mut state = 7;
        for n in 0..20_000 {
            let before = clock.now();
            let told = match n % 7 {
                0 => i64::MIN,
                1 => i64::MAX,
                2 => 0,
                _ => (random(&mut state) * 2f64.powi((random(&mut state) * 63.0) as i32)) as i64,
            };
            clock.see(Timestamp(told));
            assert!(clock.now() >= before || clock.start.is_some());
        }
        let lane = mixed(&mut clock, 1_800_000_000..1_800_020_000, 1, &[(1.0, 0.0)]);
        assert!(lane[19_999] - lane[10_000] > 9_990.0 || clock.now().0 > i64::MAX / 2, "{:?}", clock);
    }

    #[test]
    fn a_restored_clock_goes_on_where_it_was() {
        let mut clock = of_events();
        mixed(&mut clock, 0..600, 20, &[(1.0, 0.0), (0.1, -300.0), (0.1, 300.0)]);
        mixed(&mut clock, 600..605, 20, &[(1.0, -300.0)]);
        assert!(clock.is_lost());
        let mut bytes = Vec::new();
        clock.checkpoint(&mut bytes);
        let mut again = of_events();
        again.restore(&mut StateReader::new(&bytes)).unwrap();
        assert_eq!(again, clock);
        assert!((0..bytes.len()).all(|end| of_events().restore(&mut StateReader::new(&bytes[..end])).is_err()));
    }
}

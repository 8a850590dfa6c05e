//! What a template is wont to do at this hour: so that the nightly job does not alert every night.
//!
//! Kept only of templates that would have alerted for being rare, many or few: the last [`VISITS`] hours in which they did, and how much of
//! them there was. It is usual at an hour of the week when it was there at two of the last three days' same hour, or in both of the last two weeks;
//! the hours next to it count too, since jobs begin on the hour and clocks change. A burst is usual up to twice what it was then.
//!
//! Hours are those of UTC, by the events' time, and no time zone is asked for: what is compared is the same hour so many days or weeks before, and that is the same in
//! all of them. What keeps a local time comes an hour earlier or later in UTC when clocks change, which is within the hours that count.
//!
//! Some 2,000 profiles of 120 bytes are kept; of those the ones unseen for longest make room.

mod join;

use super::logarithm::ln;
use super::streams::Streams;
use super::table::hash;
use super::{StateError, StateReader};
use crate::event::Timestamp;

const PROFILE_BITS: u32 = 11;

/// Hours remembered of a template: two weeks of nights, and a few more.
const VISITS: usize = 24;

/// An hour and the two next to it.
const HOURS: usize = 3;

/// No hour.
const NEVER: i32 = i32::MIN;

const HOUR_MICROS: i64 = 3_600_000_000;
const DAY_HOURS: i64 = 24;
const WEEK_HOURS: i64 = 7 * DAY_HOURS;

/// Levels an octave.
const OCTAVE: u8 = 4;

/// How much of a template there is: quarter-octaves of events; 0: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level(u8);

impl Level {
    /// It is there.
    pub(super) const SOME: Self = Self(1);

    /// Of so many events in a window.
    pub(super) fn of(events: f32) -> Self {
        let octaves = ln(events.clamp(0.0, 1e9) + 1.0) * std::f32::consts::LOG2_E;
        // A cast saturates.
        Self(((octaves * f32::from(OCTAVE)).ceil() as u8).max(1))
    }

    /// Whether this is no more than twice that.
    pub(super) fn is_like(self, usual: Self) -> bool {
        usual.0 > 0 && self.0 <= usual.0.saturating_add(OCTAVE)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Profile {
    /// Since the epoch.
    hours: [i32; VISITS],
    levels: [Level; VISITS],
}

impl Default for Profile {
    fn default() -> Self {
        Self { hours: [NEVER; VISITS], levels: [Level::default(); VISITS] }
    }
}

impl Profile {
    fn visits(&self) -> impl Iterator<Item = (i32, Level)> + Clone + '_ {
        self.hours.iter().copied().zip(self.levels.iter().copied()).filter(|(hour, _)| *hour != NEVER)
    }

    fn see(&mut self, hour: i64, level: Level) {
        // All times there are fit.
        let hour = i32::try_from(hour).unwrap_or(i32::MAX);
        let mut visits = self.hours.iter_mut().zip(&mut self.levels);
        if let Some((_, known)) = visits.find(|(seen, _)| **seen == hour) {
            *known = level.max(*known);
        } else if let Some(oldest) = self.hours.iter_mut().zip(&mut self.levels).min_by_key(|(seen, _)| **seen) {
            (*oldest.0, *oldest.1) = (hour, level);
        }
    }

    /// What is usual in an hour or one of those next to it, by the days and weeks before.
    fn usual(&self, hour: i64) -> Level {
        const AGO: [i64; 5] = [DAY_HOURS, 2 * DAY_HOURS, 3 * DAY_HOURS, WEEK_HOURS, 2 * WEEK_HOURS];
        // So long before each of the hours, the last of them first.
        let mut levels = [[Level::default(); HOURS]; AGO.len()];
        let last = hour.saturating_add(1);
        for (seen, level) in self.visits() {
            let ago = last.saturating_sub(i64::from(seen));
            // What comes all day long was there within the last hours, mostly.
            if ago < DAY_HOURS {
                continue;
            }
            for (of, least) in levels.iter_mut().zip(AGO) {
                let place = usize::try_from(ago - least).ok().and_then(|before| of.get_mut(before));
                place.into_iter().for_each(|place| *place = level.max(*place));
            }
        }
        let usual = |before: usize| {
            let [a, b, c, week, two_weeks] = levels.map(|of| of[before]);
            let second_of_three = a.min(b).max(a.max(b).min(c));
            second_of_three.max(week.min(two_weeks))
        };
        (0..HOURS).map(usual).max().unwrap_or_default()
    }
}

/// What is told apart of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is there, and how much of it.
    Presence,
    /// There is too little of it.
    Drop,
}

/// Profiles by template.
#[derive(Debug, Clone)]
pub(super) struct Season {
    profiles: Streams<Profile>,
}

impl Default for Season {
    fn default() -> Self {
        Self { profiles: Streams::new(PROFILE_BITS) }
    }
}

fn key(slot: usize, kind: Kind) -> u64 {
    hash(3, slot as u64, kind as u64)
}

impl Season {
    /// What is usual of a template at this time; then notes that there is so much of it now.
    pub(super) fn see(&mut self, slot: usize, kind: Kind, at: Timestamp, level: Level) -> Level {
        let Some(profile) = self.profiles.of(key(slot, kind)) else { return Level::default() };
        let hour = at.0.div_euclid(HOUR_MICROS);
        let usual = profile.usual(hour);
        profile.see(hour, level);
        usual
    }

    /// What was usual of the template in `from` is so of the one in `into`: the hours of both, of an hour the higher level.
    pub(super) fn merge(&mut self, from: usize, into: usize) {
        for kind in [Kind::Presence, Kind::Drop] {
            let Some(gone) = self.profiles.peek(key(from, kind)).copied() else { continue };
            self.profiles.remove(key(from, kind));
            if let Some(profile) = self.profiles.of(key(into, kind)) {
                profile.unite(&gone);
            }
        }
    }

    /// The slot is about to hold another template.
    pub(super) fn forget(&mut self, slot: usize) {
        [Kind::Presence, Kind::Drop].iter().for_each(|kind| self.profiles.remove(key(slot, *kind)));
    }

    pub(super) fn checkpoint(&self, out: &mut Vec<u8>) {
        self.profiles.checkpoint(out, |profile, out| {
            out.push(profile.visits().count() as u8);
            for (hour, level) in profile.visits() {
                out.extend_from_slice(&hour.to_le_bytes());
                out.push(level.0);
            }
        });
    }

    pub(super) fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let what = "hours of the week";
        self.profiles.restore(from, what, 1, |from| {
            let mut profile = Profile::default();
            for _ in 0..from.u8(what)? {
                let hour = i64::from(from.u32(what)?.cast_signed());
                profile.see(hour, Level(from.u8(what)?));
            }
            Ok(profile)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One hour after the other, looked up one by one.
    fn naive_usual(profile: &Profile, hour: i64) -> Level {
        let at =
            |hour: i64| profile.visits().find(|(seen, _)| i64::from(*seen) == hour).map_or(Level(0), |seen| seen.1);
        let usual = |hour: i64| {
            let mut days = [1, 2, 3].map(|days| at(hour - days * DAY_HOURS));
            days.sort();
            days[1].max(at(hour - WEEK_HOURS).min(at(hour - 2 * WEEK_HOURS)))
        };
        [hour - 1, hour, hour + 1].map(usual).into_iter().max().unwrap()
    }

    proptest! {
        #[test]
        fn what_is_usual_is_what_the_hours_say_one_by_one(
            // Near the same hour of a few days, and anywhere.
            visits in prop::collection::vec((prop_oneof![0..400i64, (0..15i64, -2..3i64).prop_map(|(day, off)| 24 * day + off)], 1..9u8), 0..40),
            hour in prop_oneof![-50..450i64, (0..17i64, -2..3i64).prop_map(|(day, off)| 24 * day + off)],
        ) {
            let mut profile = Profile::default();
            visits.iter().for_each(|(hour, level)| profile.see(*hour, Level(*level)));
            prop_assert_eq!(profile.usual(hour), naive_usual(&profile, hour));
        }
    }

    fn hours(hours: i64, minutes: i64) -> Timestamp {
        Timestamp(hours * HOUR_MICROS + minutes * 60_000_000)
    }

    fn see(season: &mut Season, at: Timestamp, level: u8) -> u8 {
        season.see(7, Kind::Presence, at, Level(level)).0
    }

    #[test]
    fn what_comes_every_night_is_usual_from_the_third_night_on_and_a_missed_night_changes_nothing() {
        let mut season = Season::default();
        let night = |n: i64| hours(3 + n * 24, 1);
        let found: Vec<u8> = [0, 1, 2, 3, 5, 6].map(|n| see(&mut season, night(n), 30)).to_vec();
        assert_eq!(found, [0, 0, 30, 30, 30, 30]);
        assert_eq!(see(&mut season, hours(3 + 7 * 24 - 1, 59), 30), 30, "a minute early");
        assert_eq!(see(&mut season, hours(15 + 7 * 24, 0), 30), 0, "at noon it is not usual");
        assert_eq!(see(&mut season, night(11), 30), 0, "it was away for three nights");
    }

    #[test]
    fn when_clocks_change_what_keeps_a_local_time_stays_usual() {
        for change in [-1, 1] {
            let mut season = Season::default();
            let night = |n: i64| hours(3 + n * 24 + if n < 6 { 0 } else { change }, 1);
            let found: Vec<u8> = (0..12).map(|n| see(&mut season, night(n), 30)).collect();
            assert_eq!(found[2..], [30; 10], "{change}");
        }
    }

    #[test]
    fn what_comes_every_week_is_usual_from_the_third_week_on() {
        let mut season = Season::default();
        let found: Vec<u8> = (0..5).map(|n| see(&mut season, hours(50 + n * WEEK_HOURS, 10), 20)).collect();
        assert_eq!(found, [0, 0, 20, 20, 20]);
        assert_eq!(see(&mut season, hours(50 + 300 * WEEK_HOURS, 10), 20), 0, "years later");
    }

    #[test]
    fn what_comes_every_night_does_so_under_another_name_too() {
        let mut season = Season::default();
        let night = |n: i64| hours(3 + n * 24, 1);
        (0..3).for_each(|n| _ = see(&mut season, night(n), 30));
        season.merge(7, 9);
        season.merge(7, 9);
        assert_eq!(season.see(9, Kind::Presence, night(3), Level(30)).0, 30);
        assert_eq!(see(&mut season, night(3), 30), 0, "not where it was");
    }

    #[test]
    fn twice_as_much_is_usual_and_more_is_not() {
        assert!(Level::of(200.0).is_like(Level::of(100.0)) && Level::of(3.0).is_like(Level::of(200.0)));
        assert!(!Level::of(500.0).is_like(Level::of(100.0)) && !Level::of(1.0).is_like(Level::default()));
        for odd in [f32::NAN, f32::INFINITY, -1.0] {
            assert!(Level::of(odd) >= Level::SOME);
        }
    }

    #[test]
    fn memory_is_bounded_and_odd_times_are_fine() {
        let mut season = Season::default();
        for slot in 0..100_000 {
            season.see(slot, Kind::Presence, hours(slot as i64, 0), Level::SOME);
        }
        assert!(season.profiles.iter_mut().count() <= 1 << PROFILE_BITS);
        for extreme in [i64::MIN, i64::MAX] {
            season.see(1, Kind::Drop, Timestamp(extreme), Level::SOME);
        }
        let mut bytes = Vec::new();
        season.checkpoint(&mut bytes);
        let mut again = Season::default();
        again.restore(&mut StateReader::new(&bytes)).unwrap();
        let mut twice = Vec::new();
        again.checkpoint(&mut twice);
        assert_eq!(bytes, twice);
        season.forget(99_999);
        assert_eq!(season.see(99_999, Kind::Presence, hours(99_999 + 24, 0), Level::SOME).0, 0);
    }
}

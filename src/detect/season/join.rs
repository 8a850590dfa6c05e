//! Hours of several hosts united.

use super::{HOUR_MICROS, Kind, NEVER, Profile, Season, VISITS, WEEK_HOURS, key};
use crate::detect::joining::Moves;
use crate::event::Timestamp;

impl Profile {
    /// The hours of both, the newest where there are more than fit; of an hour of both the higher level.
    pub(super) fn unite(&mut self, other: &Self) {
        let oldest = |profile: &Self| profile.hours.iter().copied().min().unwrap_or(NEVER);
        for (hour, level) in other.visits() {
            if self.visits().count() < VISITS || hour > oldest(self) {
                self.see(i64::from(hour), level);
            }
        }
    }
}

impl Season {
    /// As if the hours of `other` had been seen, too.
    pub(in crate::detect) fn join(&mut self, other: &Self, moves: &Moves) {
        for (slot, moved) in moves.iter() {
            for kind in [Kind::Presence, Kind::Drop] {
                let Some(theirs) = other.profiles.peek(key(slot, kind)).copied() else { continue };
                if let Some(own) = self.profiles.of(key(moved.slot, kind)) {
                    own.unite(&theirs);
                }
            }
        }
    }

    /// Moves all hours on by as many whole weeks as lie between the two times: what was usual at an hour of the week stays so.
    pub(in crate::detect) fn move_on(&mut self, from: Timestamp, to: Timestamp) {
        let weeks = to.0.saturating_sub(from.0).div_euclid(HOUR_MICROS * WEEK_HOURS).max(0);
        let hours = i32::try_from(weeks.saturating_mul(WEEK_HOURS)).unwrap_or(0);
        for profile in self.profiles.iter_mut() {
            let seen = profile.hours.iter_mut().filter(|hour| **hour != NEVER);
            seen.for_each(|hour| *hour = hour.saturating_add(hours));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::joining::Moved;
    use crate::detect::season::Level;

    fn night(n: i64) -> Timestamp {
        Timestamp((3 + n * 24) * HOUR_MICROS)
    }

    fn nightly(slot: usize, nights: std::ops::Range<i64>, level: u8) -> Season {
        let mut season = Season::default();
        nights.for_each(|n| _ = season.see(slot, Kind::Presence, night(n), Level(level)));
        season
    }

    fn moved(from: usize, to: usize) -> Moves {
        let place = |slot| (slot == from).then_some(Moved { slot: to, keeps_wildcards: true });
        Moves::new((0..=from).map(place).collect())
    }

    #[test]
    fn what_comes_every_night_elsewhere_is_usual_here_and_the_louder_host_says_how_much() {
        let mut both = Season::default();
        both.join(&nightly(7, 0..5, 20), &moved(7, 2));
        both.join(&nightly(4, 0..5, 30), &moved(4, 2));
        assert_eq!(both.see(2, Kind::Presence, night(5), Level::SOME).0, 30);
        assert_eq!(both.see(2, Kind::Presence, Timestamp(night(5).0 + 9 * HOUR_MICROS), Level::SOME).0, 0);
        assert_eq!(both.see(7, Kind::Presence, night(5), Level::SOME).0, 0);
    }

    #[test]
    fn of_many_hours_the_newest_stay() {
        let mut both = Season::default();
        both.join(&nightly(0, 100..140, 20), &moved(0, 0));
        both.join(&nightly(0, 0..40, 20), &moved(0, 0));
        assert_eq!(both.see(0, Kind::Presence, night(140), Level::SOME).0, 20);
    }

    #[test]
    fn weeks_later_the_same_hour_of_the_week_is_usual_still() {
        for days in [0, 3, 6, 7, 20, 700] {
            let mut season = nightly(0, 0..24, 20);
            season.move_on(night(23), night(24 + days));
            assert_eq!(season.see(0, Kind::Presence, night(24 + days), Level::SOME).0, 20, "{days} days later");
        }
        let mut season = nightly(0, 0..24, 20);
        season.move_on(night(23), Timestamp(i64::MIN));
        season.move_on(Timestamp(i64::MIN), Timestamp(i64::MAX));
    }
}

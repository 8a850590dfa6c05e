//! The unit of retention, and its name.

use std::fmt;
use std::str::FromStr;

use crate::event::Timestamp;

const MICROS: i64 = 3_600_000_000;

/// A whole hour, UTC. Text form: `YYYYMMDDTHH`, whose order is that of time. Years 0001 to 9999; times beyond count to the first or last hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(i64);

impl Hour {
    const FIRST: i64 = -17_259_888;
    const LAST: i64 = 70_389_527;

    /// The hour `time` lies in.
    pub fn of(time: Timestamp) -> Self {
        Self(time.0.div_euclid(MICROS).clamp(Self::FIRST, Self::LAST))
    }

    /// When it starts.
    pub const fn start(self) -> Timestamp {
        Timestamp(self.0 * MICROS)
    }

    /// Whole hours from `earlier` to `self`; negative when `self` comes first.
    pub const fn hours_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(24));
        write!(f, "{year:04}{month:02}{day:02}T{:02}", self.0.rem_euclid(24))
    }
}

/// Serialises as its text.
impl serde::Serialize for Hour {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not an [`Hour`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an hour: expected YYYYMMDDTHH in UTC, as in 20260131T07")]
pub struct ParseHourError;

impl FromStr for Hour {
    type Err = ParseHourError;

    fn from_str(text: &str) -> Result<Self, ParseHourError> {
        let number = |range: std::ops::Range<usize>| {
            let digits = text.get(range).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| digits.parse::<i64>().ok()).ok_or(ParseHourError)
        };
        let days = days(number(0..4)?, number(4..6)?, number(6..8)?);
        let hour = Self(days * 24 + number(9..11)?);
        // Dates that do not exist come out under another name.
        if hour.0 >= Self::FIRST && hour.to_string() == text { Ok(hour) } else { Err(ParseHourError) }
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar. Years are counted from March so that the leap day ends one.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days`].
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_names() {
        let name = |seconds: i64| Hour::of(Timestamp(seconds * 1_000_000)).to_string();
        assert_eq!(name(0), "19700101T00");
        assert_eq!(name(-1), "19691231T23");
        assert_eq!(name(951_868_799), "20000229T23");
        assert_eq!(name(1_769_843_999), "20260131T07");
        assert_eq!(Hour::of(Timestamp(i64::MIN)).to_string(), "00010101T00");
        assert_eq!(Hour::of(Timestamp(i64::MAX)).to_string(), "99991231T23");
    }

    #[test]
    fn refuses_what_is_no_hour() {
        for bad in [
            "",
            "20260131",
            "20260131T24",
            "20260230T00",
            "20260131T7",
            "20260131T071",
            "2026013+T07",
            "00000101T00",
            "２0260131T07",
        ] {
            assert_eq!(bad.parse::<Hour>(), Err(ParseHourError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips_and_sorts_by_time(a: i64, b: i64) {
            let (a, b) = (Hour::of(Timestamp(a)), Hour::of(Timestamp(b)));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn agrees_with_the_calendar_of_jiff(seconds in -62_135_596_800i64..=253_402_207_200) {
            let theirs = jiff::Timestamp::from_second(seconds).unwrap().strftime("%Y%m%dT%H").to_string();
            prop_assert_eq!(Hour::of(Timestamp(seconds * 1_000_000)).to_string(), theirs);
        }
    }
}

//! Timestamps as logs write them.
//!
//! | form | example |
//! |---|---|
//! | RFC 3339, ISO 8601, with `T`, space, `_`, `-` or `:` before the time | `2015-10-18T18:01:47.978+02:00`, `2015-10-18 18:01:47,978` |
//! | the same with `/` or `.`, or a date without separators | `2005-06-03-15.42.50.363779`, `20171223-22:15:29:606` |
//! | Unix time in s, ms, µs or ns, told apart by size | `1131566461`, `1131566461.25`, `1131566461250` |
//! | Common Log Format | `10/Oct/2000:13:55:36 -0700` |
//! | RFC 2822 | `Tue, 15 Nov 1994 08:12:31 GMT` |
//! | syslog, and asctime with the year behind it | `Jun  9 06:06:20`, `Sun Dec 04 04:47:44 2005` |
//! | two-digit years | `17/06/09 20:10:40`, `081109 203615` |
//! | month and day only | `03-17 16:13:38.811` |
//!
//! Without a zone it is UTC. Without a year it is the latest year that does not put the
//! time more than a day ahead of now.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::event::Timestamp;

/// How far into a line a timestamp may start, in bytes.
const LINE_PREFIX_BYTES: usize = 64;
/// How far ahead of now a time without a year may be: clocks and zones differ.
const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

/// RFC 3339 in UTC, with as many decimals as it needs.
pub fn format(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| time.0.to_string(), |time| time.to_string())
}

/// From year, month, day, hour, minute and second in UTC, and nanoseconds.
pub fn from_civil(parts: [i64; 6], nanos: i64) -> Option<Timestamp> {
    let [year, month, day, hour, minute, second] = parts;
    civil(year, Day { year: Some(year), month, day }, Clock { hour, minute, second, micros: nanos.div_euclid(1_000) })
}

/// Year, month, day, hour, minute and second in UTC, and nanoseconds; nothing beyond the years -9999 to 9999.
pub fn to_civil(time: Timestamp) -> Option<([i64; 6], i64)> {
    let date = Offset::UTC.to_datetime(jiff::Timestamp::from_microsecond(time.0).ok()?);
    let parts = [
        i64::from(date.year()),
        i64::from(date.month()),
        i64::from(date.day()),
        i64::from(date.hour()),
        i64::from(date.minute()),
        i64::from(date.second()),
    ];
    Some((parts, i64::from(date.subsec_nanosecond())))
}

/// Reads a whole text; `now` gives the year where the text has none.
pub fn parse(text: &[u8], now: Timestamp) -> Option<Timestamp> {
    let text = text.trim_ascii();
    if let Some(time) = epoch(text) {
        return Some(time);
    }
    let (time, used) = prefix(text, now)?;
    (used == text.len()).then_some(time)
}

/// Reads the timestamp at or near the start of a log line: at the start of one of its first words, or behind a bracket.
pub fn from_line(line: &[u8], now: Timestamp) -> Option<Timestamp> {
    let head = line.get(..line.len().min(LINE_PREFIX_BYTES)).unwrap_or(line);
    let starts = std::iter::once(0).chain(
        head.iter()
            .enumerate()
            .filter(|(_, byte)| matches!(byte, b' ' | b'\t' | b'[' | b'(' | b'|' | b'=' | b'"'))
            .map(|(at, _)| at + 1),
    );
    starts
        .filter_map(|at| line.get(at..))
        .find_map(|rest| prefix(rest, now).map(|(time, _)| time).or_else(|| epoch_word(rest)))
}

/// A number of s, ms, µs or ns since 1970. Its size tells which: 1e11 s is the year 5138, 1e11 ms is 1973.
pub fn epoch(text: &[u8]) -> Option<Timestamp> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let split = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (whole, fraction) = digits.split_at(split);
    let fraction = fraction.strip_prefix(b".");
    let all_digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if whole.len() > 19 || !all_digits(whole) || fraction.is_some_and(|text| !all_digits(text)) {
        return None;
    }
    let whole = number(whole)?;
    let micros = match whole {
        0..100_000_000_000 => whole.checked_mul(1_000_000)? + micros(fraction.unwrap_or_default()),
        0..100_000_000_000_000 => whole.checked_mul(1_000)? + micros(fraction.unwrap_or_default()) / 1_000,
        0..100_000_000_000_000_000 => whole,
        _ => whole / 1_000,
    };
    Some(Timestamp(if negative { -micros } else { micros }))
}

/// A word of 10, 13, 16 or 19 digits: Unix time of our days, and hardly anything else.
fn epoch_word(text: &[u8]) -> Option<Timestamp> {
    let digits = text.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let plausible = matches!(digits, 10 | 13 | 16 | 19) && text.first() == Some(&b'1');
    let ends =
        text.get(digits).is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'.' | b',' | b']' | b')' | b'|' | b'"'));
    if plausible && ends { epoch(text.get(..digits)?) } else { None }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |sum, byte| sum.checked_mul(10)?.checked_add(i64::from(byte - b'0')))
}

/// The first six decimals of a fraction of a second.
fn micros(digits: &[u8]) -> i64 {
    let mut sum = 0;
    for place in 0..6 {
        sum = sum * 10 + digits.get(place).map_or(0, |byte| i64::from(byte - b'0'));
    }
    sum
}

const MONTHS: [&[u8; 3]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
const DAYS: [&[u8; 3]; 7] = [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"];

/// Reads from the front of a text; a copy is where to go back to.
#[derive(Clone, Copy)]
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

/// A day; the year is missing where the form has none.
#[derive(Clone, Copy)]
struct Day {
    year: Option<i64>,
    month: i64,
    day: i64,
}

/// A time of day.
#[derive(Clone, Copy)]
struct Clock {
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, accepted: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|byte| accepted.contains(byte))?;
        self.at += 1;
        Some(byte)
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let digits = self.text.get(self.at..self.at + count).filter(|text| text.iter().all(u8::is_ascii_digit))?;
        self.at += count;
        number(digits)
    }

    fn run(&mut self) -> &'a [u8] {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let run = rest.get(..rest.iter().take_while(|byte| byte.is_ascii_digit()).count()).unwrap_or_default();
        self.at += run.len();
        run
    }

    fn name(&mut self, names: &[&[u8; 3]]) -> Option<i64> {
        let word = self.text.get(self.at..self.at + 3)?;
        let index = names.iter().position(|name| word.eq_ignore_ascii_case(*name))?;
        self.at += 3;
        Some(index as i64 + 1)
    }

    /// One or two digits, the first perhaps a space.
    fn day(&mut self) -> Option<i64> {
        self.take(b" ");
        let mut two = *self;
        if let Some(day) = two.digits(2) {
            *self = two;
            return Some(day);
        }
        self.digits(1)
    }

    fn clock(&mut self) -> Option<Clock> {
        let hour = self.digits(2)?;
        let separator = self.take(b":.")?;
        let minute = self.digits(2)?;
        self.take(&[separator])?;
        let second = self.digits(2)?;
        let mut fraction = *self;
        let micros = match fraction.take(b".,:").map(|_| fraction.run()) {
            Some(digits) if !digits.is_empty() => {
                *self = fraction;
                micros(digits)
            }
            _ => 0,
        };
        Some(Clock { hour, minute, second, micros })
    }

    /// The zone behind a time, as seconds east of Greenwich; leaves the reader where it is when there is none.
    fn zone(&mut self) -> Option<i64> {
        let mut ahead = *self;
        ahead.take(b" ");
        if ahead.word(b"UTC").or_else(|| ahead.word(b"GMT")).is_some()
            || (ahead.at == self.at && ahead.take(b"Zz").is_some())
        {
            *self = ahead;
            return Some(0);
        }
        let sign = if ahead.take(b"+-")? == b'-' { -1 } else { 1 };
        let hours = ahead.digits(2)?;
        ahead.take(b":");
        let minutes = ahead.digits(2)?;
        if ahead.peek().is_some_and(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b':') {
            return None;
        }
        *self = ahead;
        Some(sign * (hours * 3600 + minutes * 60))
    }
}

/// Reads the timestamp `text` starts with; also how many bytes it takes.
fn prefix(text: &[u8], now: Timestamp) -> Option<(Timestamp, usize)> {
    let start = Reader { text, at: 0 };
    match text.first()? {
        byte if byte.is_ascii_digit() => {
            [iso, common_log, compact, short_year, month_day, day_first].iter().find_map(|form| form(start, now))
        }
        byte if byte.is_ascii_alphabetic() => named(start, now),
        _ => None,
    }
}

fn civil(year: i64, day: Day, clock: Clock) -> Option<Timestamp> {
    let part = |number: i64| i8::try_from(number).ok();
    // A leap second is the last second of its minute: there is no 60 in Unix time.
    let second = part(if clock.second == 60 { 59 } else { clock.second })?;
    let nanos = i32::try_from(clock.micros.checked_mul(1_000)?).ok()?;
    let year = i16::try_from(year).ok()?;
    let date =
        DateTime::new(year, part(day.month)?, part(day.day)?, part(clock.hour)?, part(clock.minute)?, second, nanos);
    Offset::UTC.to_timestamp(date.ok()?).ok().map(|time| Timestamp(time.as_microsecond()))
}

fn finish(mut reader: Reader<'_>, day: Day, clock: Clock, now: Timestamp) -> Option<(Timestamp, usize)> {
    let offset = reader.zone().unwrap_or(0);
    if offset.abs() >= 24 * 3600 {
        return None;
    }
    let at = |year: i64| {
        let local = civil(year, day, clock)?;
        local.0.checked_sub(offset * 1_000_000).map(Timestamp)
    };
    let time = match day.year {
        Some(year) => at(year)?,
        None => {
            let year = i64::from(Offset::UTC.to_datetime(jiff::Timestamp::from_microsecond(now.0).ok()?).year());
            // Eight years back there is a 29 February for sure.
            let latest = now.0.saturating_add(DAY_MICROS);
            (year - 8..=year + 1).rev().filter_map(at).find(|time| time.0 <= latest)?
        }
    };
    Some((time, reader.at))
}

/// `2015-10-18T18:01:47`, `2005.06.03-15.42.50`, `20171223-22:15:29`.
fn iso(mut reader: Reader<'_>, now: Timestamp) -> Option<(Timestamp, usize)> {
    let year = reader.digits(4)?;
    let separator = reader.take(b"-/.");
    let month = reader.digits(2)?;
    if let Some(separator) = separator {
        reader.take(&[separator])?;
    }
    let day = reader.digits(2)?;
    reader.take(b"Tt _-:")?;
    let clock = reader.clock()?;
    finish(reader, Day { year: Some(year), month, day }, clock, now)
}

/// `10/Oct/2000:13:55:36 -0700`.
fn common_log(mut reader: Reader<'_>, now: Timestamp) -> Option<(Timestamp, usize)> {
    let day = reader.digits(2)?;
    let separator = reader.take(b"/-")?;
    let month = reader.name(&MONTHS)?;
    reader.take(&[separator])?;
    let year = reader.digits(4)?;
    reader.take(b": ")?;
    let clock = reader.clock()?;
    finish(reader, Day { year: Some(year), month, day }, clock, now)
}

/// `081109 203615`.
fn compact(mut reader: Reader<'_>, now: Timestamp) -> Option<(Timestamp, usize)> {
    let (year, month, day) = (reader.digits(2)?, reader.digits(2)?, reader.digits(2)?);
    reader.take(b" ")?;
    let (hour, minute, second) = (reader.digits(2)?, reader.digits(2)?, reader.digits(2)?);
    if reader.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let clock = Clock { hour, minute, second, micros: 0 };
    finish(reader, Day { year: Some(century(year)), month, day }, clock, now)
}

/// `17/06/09 20:10:40`.
fn short_year(mut reader: Reader<'_>, now: Timestamp) -> Option<(Timestamp, usize)> {
    let year = reader.digits(2)?;
    let separator = reader.take(b"/-")?;
    let month = reader.digits(2)?;
    reader.take(&[separator])?;
    let day = reader.digits(2)?;
    reader.take(b" T")?;
    let clock = reader.clock()?;
    finish(reader, Day { year: Some(century(year)), month, day }, clock, now)
}

/// POSIX: 69 to 99 are of the last century.
fn century(year: i64) -> i64 {
    if year < 69 { 2000 + year } else { 1900 + year }
}

/// `03-17 16:13:38.811`, `10.30 16:49:06`.
fn month_day(mut reader: Reader<'_>, now: Timestamp) -> Option<(Timestamp, usize)> {
    let month = reader.digits(2)?;
    reader.take(b"-./")?;
    let day = reader.digits(2)?;
    reader.take(b" ")?;
    let clock = reader.clock()?;
    finish(reader, Day { year: None, month, day }, clock, now)
}

/// `15 Nov 1994 08:12:31`.
fn day_first(mut reader: Reader<'_>, now: Timestamp) -> Option<(Timestamp, usize)> {
    let day = reader.day()?;
    reader.take(b" ")?;
    let month = reader.name(&MONTHS)?;
    reader.take(b" ")?;
    let year = reader.digits(4)?;
    reader.take(b" ")?;
    let clock = reader.clock()?;
    finish(reader, Day { year: Some(year), month, day }, clock, now)
}

/// `Jun  9 06:06:20`, `Sun Dec 04 04:47:44 2005`, `Tue, 15 Nov 1994 08:12:31 GMT`.
fn named(mut reader: Reader<'_>, now: Timestamp) -> Option<(Timestamp, usize)> {
    if reader.name(&DAYS).is_some() {
        reader.take(b",");
        reader.take(b" ")?;
        if reader.peek()?.is_ascii_digit() {
            return day_first(reader, now);
        }
    }
    let month = reader.name(&MONTHS)?;
    reader.take(b" ")?;
    let day = reader.day()?;
    reader.take(b" ")?;
    let clock = reader.clock()?;
    let mut behind = reader;
    let year = behind
        .take(b" ")
        .and_then(|_| behind.digits(4))
        .filter(|_| behind.peek().is_none_or(|byte| !byte.is_ascii_digit()));
    if year.is_some_and(|year| (1970..2100).contains(&year)) {
        return finish(behind, Day { year, month, day }, clock, now);
    }
    finish(reader, Day { year: None, month, day }, clock, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2006-01-02T00:00:00Z.
    const NOW: Timestamp = Timestamp(1_136_160_000_000_000);

    fn shown(text: &str) -> String {
        parse(text.as_bytes(), NOW).map_or_else(|| "none".to_owned(), format)
    }

    #[test]
    fn reads_every_form_of_the_table() {
        for (text, expected) in [
            ("2015-10-18T18:01:47Z", "2015-10-18T18:01:47Z"),
            ("2015-10-18T18:01:47.978+02:00", "2015-10-18T16:01:47.978Z"),
            ("2015-10-18t18:01:47.123456789-0130", "2015-10-18T19:31:47.123456Z"),
            ("2015-10-18 18:01:47,978", "2015-10-18T18:01:47.978Z"),
            ("2005-06-03-15.42.50.363779", "2005-06-03T15:42:50.363779Z"),
            ("20171223-22:15:29:606", "2017-12-23T22:15:29.606Z"),
            ("1131566461", "2005-11-09T20:01:01Z"),
            ("1131566461.25", "2005-11-09T20:01:01.25Z"),
            ("1131566461250", "2005-11-09T20:01:01.25Z"),
            ("1131566461250000", "2005-11-09T20:01:01.25Z"),
            ("1131566461250000000", "2005-11-09T20:01:01.25Z"),
            ("-1.5", "1969-12-31T23:59:58.5Z"),
            ("10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z"),
            ("Tue, 15 Nov 1994 08:12:31 GMT", "1994-11-15T08:12:31Z"),
            ("Jun  9 06:06:20", "2005-06-09T06:06:20Z"),
            ("Jan 2 06:06:20", "2006-01-02T06:06:20Z"),
            ("Feb 29 06:06:20", "2004-02-29T06:06:20Z"),
            ("Sun Dec 04 04:47:44 2005", "2005-12-04T04:47:44Z"),
            ("17/06/09 20:10:40", "2017-06-09T20:10:40Z"),
            ("081109 203615", "2008-11-09T20:36:15Z"),
            ("03-17 16:13:38.811", "2005-03-17T16:13:38.811Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn civil_parts_go_both_ways() {
        for time in [0, 1_131_566_461_250_000, -1, 253_402_207_200_000_000] {
            let (parts, nanos) = to_civil(Timestamp(time)).unwrap();
            assert_eq!(from_civil(parts, nanos), Some(Timestamp(time)), "{time}");
        }
        assert_eq!(to_civil(Timestamp(i64::MAX)), None);
        assert_eq!(from_civil([2024, 2, 30, 0, 0, 0], 0), None);
        assert_eq!(from_civil([i64::MAX, 1, 1, 0, 0, 0], i64::MAX), None);
    }

    #[test]
    fn what_is_no_timestamp_gives_none() {
        for text in [
            "",
            "-",
            "yesterday",
            "2015-13-01T00:00:00Z",
            "2015-02-30 00:00:00",
            "2015-10-18T25:00:00Z",
            "1e9",
            "12345678901234567890",
            "1.",
            "Jun",
            "2015-10-18T18:01:47Z trailing",
        ] {
            assert_eq!(shown(text), "none", "{text}");
        }
    }

    #[test]
    fn finds_the_timestamp_near_the_start_of_a_line() {
        for (line, expected) in [
            ("[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok", "2005-12-04T04:47:44Z"),
            ("081109 203615 148 INFO dfs.DataNode", "2008-11-09T20:36:15Z"),
            ("- 1117838570 2005.06.03 R02-M1-N0-C:J12-U11 2005-06-03-15.42.50.363779 RAS", "2005-06-03T22:42:50Z"),
            ("127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /\"", "2000-10-10T20:55:36Z"),
            ("[10.30 16:49:06] chrome.exe - proxy", "2005-10-30T16:49:06Z"),
            ("Dec 10 06:55:46 LabSZ sshd[24200]: reverse mapping", "2005-12-10T06:55:46Z"),
        ] {
            assert_eq!(from_line(line.as_bytes(), NOW).map(format).as_deref(), Some(expected), "{line}");
        }
        assert_eq!(from_line(b"no time in here, 12:00 at best", NOW), None);
    }
}

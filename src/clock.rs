//! Time, handed in from outside so that tests and replays own it.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::Timestamp;

/// Where the wall clock is read.
pub trait Clock: Send + Sync + Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The system's wall clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
            Err(before) => Timestamp(i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us)),
        }
    }
}

/// A time in words: RFC 3339, or how long before `now` (`90s`, `15m`, `2h`, `7d`).
pub fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(unit) = text.chars().last().filter(|unit| "smhd".contains(*unit))
        && let Some(Ok(count)) = text.strip_suffix(unit).map(str::parse::<u32>)
    {
        let secs = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            _ => 86_400,
        };
        return Some(Timestamp(now.0.saturating_sub(i64::from(count).saturating_mul(secs * 1_000_000))));
    }
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(time.as_microsecond()))
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock to `now`.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = Timestamp(1_741_946_400_000_000);
        assert_eq!(moment("90s", now), Some(Timestamp(now.0 - 90_000_000)));
        assert_eq!(moment("2h", now), Some(Timestamp(now.0 - 7_200_000_000)));
        assert_eq!(moment("2025-03-14T10:00:00Z", now), Some(now));
        for bad in ["", "h", "yesterday", "-3h", "99999999999d", "5mm", "5é"] {
            assert_eq!(moment(bad, now), None, "{bad}");
        }
    }
}

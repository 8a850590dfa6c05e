//! Intervals on a clock that may jump.

use std::time::Duration;

use crate::event::Timestamp;

/// A wall clock that goes this much otherwise than time runs has jumped.
const JUMP_MICROS: u64 = 3_600_000_000;

/// A jump is believed after it has held this long.
const SETTLED_AFTER: Duration = Duration::from_secs(3_600);

/// Last history this much older than the clock is as good as a jump: a machine that starts in 2100 has a wrong clock, not old chunks.
const GAP_MICROS: u64 = 366 * 24 * 3_600_000_000;

/// Something done every so often. A clock that jumps back is as good as one that goes on: nothing waits until it is where it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Every {
    last: Option<Timestamp>,
}

impl Every {
    /// Done last at `last`.
    pub(super) const fn since(last: Timestamp) -> Self {
        Self { last: Some(last) }
    }

    /// Whether `interval_secs` have passed since the last time, which is `now` then; the first call only notes the time.
    pub(super) fn is_due(&mut self, now: Timestamp, interval_secs: i64) -> bool {
        let last = *self.last.get_or_insert(now);
        let is_due = Self::since(last).has_passed(now, interval_secs);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }

    /// Whether `interval_secs` lie between `now` and the last time, either way.
    pub(super) fn has_passed(self, now: Timestamp, interval_secs: i64) -> bool {
        let interval_micros = interval_secs.saturating_mul(1_000_000).unsigned_abs();
        self.last.is_some_and(|last| now.0.abs_diff(last.0) >= interval_micros)
    }
}

/// Tells whether the wall clock can be trusted with removing what it calls old.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    last: Option<(Timestamp, Duration)>,
    unsettled_since: Option<Duration>,
}

impl ClockWatch {
    /// `running` is how long the process has been running, on a clock that does not jump; `newest` the time of the newest history.
    pub(super) fn is_settled(&mut self, wall: Timestamp, running: Duration, newest: Option<Timestamp>) -> bool {
        let jumped = match self.last.replace((wall, running)) {
            Some((before, then)) => {
                let passed = i64::try_from(running.saturating_sub(then).as_micros()).unwrap_or(i64::MAX);
                before.0.saturating_add(passed).abs_diff(wall.0) > JUMP_MICROS
            }
            None => newest.is_some_and(|newest| wall > newest && wall.0.abs_diff(newest.0) > GAP_MICROS),
        };
        if jumped {
            self.unsettled_since = Some(running);
        }
        if self.unsettled_since.is_some_and(|since| running.saturating_sub(since) >= SETTLED_AFTER) {
            self.unsettled_since = None;
        }
        self.unsettled_since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_clock_that_jumps_is_trusted_again_after_an_hour() {
        let mut watch = ClockWatch::default();
        let newest = Some(second(1_800_000_000));
        assert!(watch.is_settled(second(1_800_000_000), MINUTE, newest));
        assert!(watch.is_settled(second(1_800_000_060), MINUTE * 2, newest));
        let future = 4_102_444_800;
        assert!(!watch.is_settled(second(future), MINUTE * 3, newest), "to 2100");
        assert!(!watch.is_settled(second(future + 59 * 60), MINUTE * 62, newest));
        assert!(watch.is_settled(second(future + 60 * 60), MINUTE * 63, newest));
        assert!(!watch.is_settled(second(0), MINUTE * 64, newest), "to 1970");
    }

    #[test]
    fn a_start_years_after_the_newest_history_is_not_trusted_at_once_and_one_weeks_after_is() {
        let start = |wall| ClockWatch::default().is_settled(second(wall), Duration::ZERO, Some(second(1_800_000_000)));
        assert!(!start(4_102_444_800));
        assert!(start(1_800_000_000 + 30 * 86_400));
        assert!(start(0));
        assert!(ClockWatch::default().is_settled(Timestamp(i64::MAX), Duration::ZERO, None));
    }

    const fn second(s: i64) -> Timestamp {
        Timestamp(s * 1_000_000)
    }

    #[test]
    fn is_due_each_time_the_interval_has_passed() {
        let mut every = Every::default();
        let due: Vec<i64> = (0..30).filter(|s| every.is_due(second(*s), 10)).collect();
        assert_eq!(due, [10, 20]);
    }

    #[test]
    fn a_clock_that_jumps_anywhere_is_due_at_once_and_then_as_before() {
        let mut every = Every::default();
        assert!(!every.is_due(second(2_000_000_000), 10));
        assert!(every.is_due(second(0), 10), "back to 1970");
        assert!(!every.is_due(second(9), 10));
        assert!(every.is_due(Timestamp(i64::MAX), 10));
        assert!(every.is_due(Timestamp(i64::MIN), i64::MAX));
    }
}

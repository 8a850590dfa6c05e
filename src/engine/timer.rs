//! Intervals on a clock that may jump.

use crate::event::Timestamp;

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

#[cfg(test)]
mod tests {
    use super::*;

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

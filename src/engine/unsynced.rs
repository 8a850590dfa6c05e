//! What of the logs is not durable yet: how much, and since when.
//!
//! What was appended is unsynced; a sync that begins takes all of it along, and what comes meanwhile is unsynced again. The lag is the age of the
//! oldest that is either, from when its lane handed it over: what a power cut would lose now, in seconds.

use std::time::{Duration, Instant};

/// With `durability: interval` a lag of so many intervals is warned of: the disk, or the turn of a thread, is late.
const LATE_INTERVALS: u32 = 5;

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    bytes: u64,
    since: Option<Instant>,
}

/// Kept by the storage thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsynced {
    appended: Part,
    syncing: Part,
    is_late: bool,
}

impl Unsynced {
    /// A lane handed over `bytes` at `since`, and they were appended.
    pub(super) fn append(&mut self, bytes: u64, since: Instant) {
        self.appended.bytes += bytes;
        self.appended.since.get_or_insert(since);
    }

    /// A sync of all that was appended begins.
    pub(super) fn begin(&mut self) {
        self.syncing.bytes += self.appended.bytes;
        self.syncing.since = self.syncing.since.or(self.appended.since);
        self.appended = Part::default();
    }

    /// It ended. After a failure, too: what it was of is not promised any more.
    pub(super) fn end(&mut self) {
        self.syncing = Part::default();
    }

    /// Nothing is appended that is not synced.
    pub(super) fn clear(&mut self) {
        (self.appended, self.syncing) = (Part::default(), Part::default());
    }

    pub(super) fn bytes(&self) -> u64 {
        self.appended.bytes + self.syncing.bytes
    }

    pub(super) fn since(&self) -> Option<Instant> {
        self.syncing.since.or(self.appended.since)
    }

    /// How late it is, when that is to be told: once until it is on time again.
    pub(super) fn news(&mut self, now: Instant, interval: Duration) -> Option<Duration> {
        let lag = self.since().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let was_late = std::mem::replace(&mut self.is_late, lag > interval * LATE_INTERVALS);
        (self.is_late && !was_late).then_some(lag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_the_age_of_the_oldest_whether_it_waits_or_is_being_synced() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut unsynced = Unsynced::default();
        unsynced.append(10, at(5));
        unsynced.append(10, at(50));
        assert_eq!((unsynced.bytes(), unsynced.since()), (20, Some(at(5))));
        unsynced.begin();
        unsynced.append(1, at(100));
        assert_eq!((unsynced.bytes(), unsynced.since()), (21, Some(at(5))));
        unsynced.end();
        assert_eq!((unsynced.bytes(), unsynced.since()), (1, Some(at(100))));
        unsynced.clear();
        assert_eq!((unsynced.bytes(), unsynced.since()), (0, None));
    }

    #[test]
    fn being_late_is_told_once_until_it_is_on_time_again() {
        let (start, interval) = (Instant::now(), Duration::from_millis(200));
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut unsynced = Unsynced::default();
        unsynced.append(1, at(0));
        let told = |unsynced: &mut Unsynced, millis| unsynced.news(at(millis), interval).is_some();
        assert!(!told(&mut unsynced, 1_000));
        assert!(told(&mut unsynced, 1_001) && !told(&mut unsynced, 5_000));
        unsynced.clear();
        assert!(!told(&mut unsynced, 5_001));
        unsynced.append(1, at(6_000));
        assert!(told(&mut unsynced, 8_000));
    }
}

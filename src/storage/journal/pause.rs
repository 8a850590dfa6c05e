//! Growing pauses between attempts at what failed.

use std::time::{Duration, Instant};

/// The first pause and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Since something failed, when to try it again; each pause is twice the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pause(Option<(Instant, Duration)>);

impl Pause {
    /// It failed; how long the pause is that begins.
    pub(super) fn begin(&mut self, now: Instant) -> Duration {
        let (first, longest) = PAUSES;
        let pause = self.0.map_or(first, |(_, before)| (before * 2).min(longest));
        self.0 = Some((now + pause, pause));
        pause
    }

    /// It worked.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// Not to be tried yet.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.until().is_some_and(|until| until > now)
    }

    /// When it is to be tried again, which may have passed; none when it did not fail the last time.
    pub(super) fn until(&self) -> Option<Instant> {
        self.0.map(|(until, _)| until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_begin_small_again_once_it_worked() {
        let now = Instant::now();
        let mut pause = Pause::default();
        assert!(!pause.is_on(now) && pause.until().is_none());
        let secs: Vec<u64> = (0..8).map(|_| pause.begin(now).as_secs()).collect();
        assert_eq!(secs, [1, 2, 4, 8, 16, 32, 60, 60]);
        let end = now + Duration::from_secs(60);
        assert!(pause.is_on(now) && !pause.is_on(end));
        assert_eq!(pause.until(), Some(end), "also when it has passed");
        pause.end();
        assert_eq!((pause.until(), pause.begin(now).as_secs()), (None, 1));
    }
}

//! Pauses between attempts: doubled each time up to a limit, with a part by chance so that many do not come at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of one request.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    chance: RandomState,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST, chance: RandomState::new() }
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    /// Between half and all of the pause that is due.
    fn next(&mut self) -> Option<Duration> {
        let due = self.next;
        self.next = (due * 2).min(LONGEST);
        let half = due / 2;
        let part = (self.chance.hash_one(due) % 1_024) as u32;
        Some(half + half * part / 1_024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_never_beyond() {
        let pauses: Vec<_> = Backoff::default().take(12).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses[11] >= LONGEST / 2);
    }
}

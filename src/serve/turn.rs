//! The turns of requests: so many are under way, the others wait for a while, first come first served.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::stats::{Raised, Stats, add};

/// The permits of a listener.
#[derive(Debug)]
pub(crate) struct Turns {
    permits: Arc<Semaphore>,
    patience: Duration,
    stats: Arc<Stats>,
}

/// A turn, over when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
    _under_way: Raised,
}

/// None ended in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a turn within {secs} s (receive_timeout_secs), as many requests as may be (concurrency) are under way: come again"
)]
pub(crate) struct Busy {
    secs: u64,
}

impl Turns {
    pub(crate) fn new(concurrency: usize, patience: Duration, stats: &Arc<Stats>) -> Self {
        Self { permits: Arc::new(Semaphore::new(concurrency)), patience, stats: Arc::clone(stats) }
    }

    /// Waits for a turn.
    pub(crate) async fn take(&self) -> Result<Turn, Busy> {
        let waiting = Raised::new(&self.stats, |levels| &levels.waiting);
        // The semaphore is never closed.
        let permit = timeout(self.patience, Arc::clone(&self.permits).acquire_owned()).await.ok().and_then(Result::ok);
        drop(waiting);
        let permit = permit.ok_or(Busy { secs: self.patience.as_secs() });
        let permit = permit.inspect_err(|_| add(&self.stats.requests_turned_away_total, 1))?;
        Ok(Turn { _permit: permit, _under_way: Raised::new(&self.stats, |levels| &levels.under_way) })
    }
}

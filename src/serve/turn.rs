//! The turns of requests: so many are under way, the others wait for a while, first come first served.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// The permits of a listener.
#[derive(Debug)]
pub(crate) struct Turns {
    permits: Semaphore,
    patience: Duration,
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
    pub(crate) fn new(concurrency: usize, patience: Duration) -> Self {
        Self { permits: Semaphore::new(concurrency), patience }
    }

    /// Waits for a turn, which is over when the permit is dropped.
    pub(crate) async fn take(&self) -> Result<SemaphorePermit<'_>, Busy> {
        // The semaphore is never closed.
        let permit = timeout(self.patience, self.permits.acquire()).await.ok().and_then(Result::ok);
        permit.ok_or(Busy { secs: self.patience.as_secs() })
    }
}
